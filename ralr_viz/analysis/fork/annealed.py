"""The end of a training, trained on at ever lower rates: what is left once the noise of its own rate is gone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ralr_viz.analysis.fork.branch import Branch, train_branch
from ralr_viz.analysis.fork.branches import make_folder
from ralr_viz.analysis.fork.point import ForkState
from ralr_viz.analysis.fork.reproduction import recorded_threads, settings_of
from ralr_viz.comparison import Progress
from ralr_viz.errors import CheckpointError, InputError, InterruptedRunError
from ralr_viz.models.checkpoint_file import pack_weights, parse_checkpoint, read_checkpoint_bytes
from ralr_viz.results.storage import write_bytes
from ralr_viz.runtime.device import configured, resolve_runtime
from ralr_viz.runtime.stop import catch_stop_signals
from ralr_viz.train.checkpoint import describe_weights, load_checkpoint
from ralr_viz.train.training import EpochStoppedError, Training


class AnnealedEnd(NamedTuple):
    """Weights that were annealed, their file, and their training loss in eval mode."""

    file: Path
    loss: float


def anneal_end(
    state: ForkState, anneal: Sequence[int], file: Path, *, progress: Progress | None = None
) -> AnnealedEnd:
    """Train a state on for some epochs at a tenth, a hundredth, … of its scheduled rate, at factor 1.

    A state under a larger rate bounces higher above its valley: its loss and its flatness are of the rate as much as
    of the valley (Andriushchenko et al. 2023). The run directory is not touched.

    Args:
        state: What `open_state` returned.
        anneal: Epochs ≥ 1 of each rate.
        file: The ``.safetensors`` file for the weights; one that is there of the same state and epochs is taken as it is.
        progress: Called as ``progress(done, total, what)``.

    Raises:
        InputError: The training diverged, or records no training loss.
        InterruptedRunError: SIGINT or SIGTERM.
        StorageError: The disk is full or cannot be written.
    """
    point, task, device = state
    runtime = resolve_runtime(
        device,
        str(point.state["header"]["precision"]),
        deterministic=True,
        threads=point.recipe.threads or recorded_threads(point.directory),
    )
    key = {
        "checkpoint": point.sha256,
        "data": task.facts.get("content_hash"),
        "anneal": list(anneal),
        "environment": settings_of(runtime),
    }
    if (found := _find(file, key)) is not None:
        return found
    total = sum(anneal)

    def report(done: int) -> None:
        if progress is not None:
            progress(done, total, "epochs of annealing")

    with configured(runtime), catch_stop_signals() as stop:
        training = Training(task, point.method, point.seed, runtime)
        try:
            outcome = train_branch(training, point, Branch(1.0, 0, total, 0, tuple(anneal)), stop, report)
        except EpochStoppedError:
            raise InterruptedRunError(
                f"stopped by signal {stop.number} while `{point.path}` was annealed: the same command begins it again",
                stop.number or 0,
            ) from None
    loss = outcome.records[-1].get("train_loss_eval", math.nan) if outcome.records else math.nan
    if outcome.status != "finished" or not math.isfinite(loss):
        raise InputError(f"`{point.path}` has no training loss after annealing: it {outcome.status}")
    header = describe_weights(load_checkpoint(point.path)) | {"epoch": point.epoch + total}
    _write(file, outcome.states[total], header | {"annealed": key | {"train_loss_eval": loss}})
    return AnnealedEnd(file, loss)


def _find(file: Path, key: dict[str, Any]) -> AnnealedEnd | None:
    try:
        header = parse_checkpoint(file, read_checkpoint_bytes(file))["header"]
        said = dict(header["annealed"])
        loss = float(said.pop("train_loss_eval"))
    except (CheckpointError, KeyError, TypeError, ValueError):
        return None
    return AnnealedEnd(file, loss) if said == key and math.isfinite(loss) else None


def _write(file: Path, weights: dict[str, Tensor], header: dict[str, Any]) -> None:
    make_folder(file.parent)
    write_bytes(file, pack_weights({k: v.contiguous() for k, v in weights.items()}, header), replace=True)
