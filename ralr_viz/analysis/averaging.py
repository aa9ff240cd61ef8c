"""Averaged weights of the states that a run has kept, a control: is a gain what averaging gives anyway?

``RUN@swa`` and ``RUN@ema`` are then states like any other, which every command takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from ralr_viz.analysis.evaluation import evaluate_one, scale_on
from ralr_viz.comparison import Comparison, Progress, compare
from ralr_viz.comparison.precision import in_its_precision
from ralr_viz.data.augment import normalise_batch
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.models.average import average_weights
from ralr_viz.models.checkpoint_file import pack_weights
from ralr_viz.results.averages import AVERAGES, KINDS, read_averages
from ralr_viz.results.run import load_run
from ralr_viz.results.storage import write_bytes, write_json
from ralr_viz.train.checkpoint import Checkpoint, describe_weights, load_checkpoint, saved_epochs

START, DECAY = 0.75, 0.8


def average_states(
    run: str | Path,
    kind: str = "swa",
    *,
    start: float = START,
    decay: float = DECAY,
    root: Path | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> dict[str, Any]:
    r"""Average the late kept states of a run, make BatchNorm's statistics anew, score it, and keep it beside the last state.

    The mean is over the states of the epochs after ``start`` of the training: of ``swa`` the plain one, of ``ema``
    :math:`\theta \leftarrow d\,\theta + (1 - d)\,w_e`, state after state. Statistics are those of the training images in
    one draw of training's augmentation, each image once.

    Args:
        run: Run directory of a classifier that has kept its states (``keep_every``).
        kind: ``swa`` or ``ema``.
        start: Share of the training, in [0, 1).
        decay: d in [0, 1).
        root: Folder of the data sets.
        device: Where statistics and scores are made, in fp32.
        progress: Called as ``progress(done, total, what)`` after each state.

    Returns:
        ``epochs`` that are averaged, ``start`` and ``decay``, and of ``test`` and, where images were held out, ``val``
        the ``loss`` (nats), ``acc`` (per cent) and ``n``; it is also written to ``averages.json``.

    Raises:
        InputError: Fewer than two kept states to average, or a network that is no classifier of images.

    References:
        Izmailov et al., Averaging weights leads to wider optima and better generalization (SWA), UAI 2018. Polyak &
        Juditsky, Acceleration of stochastic approximation by averaging, 1992.
    """
    if kind not in KINDS:
        raise UnknownNameError("average", kind, KINDS)
    for name, value in (("start", start), ("decay", decay)):
        if not 0 <= value < 1:
            raise InputError(f"`{name}` = {value} must be in [0, 1)")
    folder = Path(run)
    epochs = choose_epochs(folder, start)
    states = _read(folder, epochs, progress)
    last = load_checkpoint(f"{folder}@{epochs[-1]}")
    if not last.is_classifier:
        raise InputError(
            f"`{folder}` is no run that classifies images: its averaged weights are not scored here"
        )
    weights = average_weights(states, None if kind == "swa" else decay)
    model = last.build()
    model.load_state_dict(weights)
    if any(isinstance(module, _BatchNorm) for module in model.modules()):
        _renew_statistics(compare([last], root=root, split="train", device=device), model)
    found: dict[str, Any] = {"epochs": epochs, "start": start} | ({"decay": decay} if kind == "ema" else {})
    for split in ("test", "val") if _holds_out(last) else ("test",):
        found[split] = _score(compare([last], root=root, split=split, device=device), model)
    found["precision"] = "fp32"
    header = describe_weights(last) | {"averaged": {"kind": kind, "epochs": epochs}}
    # under the path of the kept states, so that RUN@swa is found where RUN@20 is
    state = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    write_bytes(folder / "checkpoints" / f"{kind}.safetensors", pack_weights(state, header))
    write_json(folder / AVERAGES, read_averages(folder) | {kind: found})
    return found


def choose_epochs(run: Path, start: float) -> list[int]:
    """Kept epochs after that share of the training.

    Raises:
        InputError: Fewer than two.
    """
    last = load_run(run).planned_epochs
    epochs = [epoch for epoch in saved_epochs(run) if epoch > start * last]
    if len(epochs) < 2:
        raise InputError(
            f"`{run}` has kept {len(epochs)} states after epoch {start * last:g} of {last}, and an average takes two or more: "
            "train with --set keep_every=1, or choose a smaller --start"
        )
    return epochs


def _read(folder: Path, epochs: Sequence[int], progress: Progress | None) -> Iterable[dict[str, Tensor]]:
    for done, epoch in enumerate(epochs, 1):
        yield dict(load_checkpoint(f"{folder}@{epoch}").build().state_dict())
        if progress is not None:
            progress(done, len(epochs), "states")


def _holds_out(checkpoint: Checkpoint) -> bool:
    return float((checkpoint.recipe or {}).get("validation", 0) or 0) > 0


@in_its_precision
def _renew_statistics(comparison: Comparison, model: nn.Module) -> None:
    """BatchNorm's statistics of the training images, the mean over batches as torch's `update_bn` makes it."""
    looked, runtime = comparison.augmented(), comparison.runtime
    samples, batch = looked.labelled(), looked.batch_size(500)
    mean, std = scale_on(looked, 0)

    def batches() -> Iterator[Tensor]:
        for first in range(0, len(samples.images), batch):
            x = torch.from_numpy(np.array(samples.images[first : first + batch])).to(runtime.device)
            yield normalise_batch(x, mean, std).contiguous(memory_format=runtime.memory_format)

    update_bn(batches(), runtime.place(model))
    model.eval()


def _score(comparison: Comparison, model: nn.Module) -> dict[str, Any]:
    found = evaluate_one(comparison, 0, model=model)
    return {"loss": found.loss, "acc": found.top1, "n": found.n}
