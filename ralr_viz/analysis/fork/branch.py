"""One continuation of a checkpoint, outside its run directory, and the file that keeps it."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ralr_viz.analysis.fork.point import ForkPoint
from ralr_viz.errors import DivergedError
from ralr_viz.models.digest import find_in_archive, is_whole, seal_archive
from ralr_viz.results.document import check_unpacked_size, parse_json
from ralr_viz.results.storage import write_bytes
from ralr_viz.runtime.stop import StopSignal
from ralr_viz.train.optim import hold_factor, hold_rates
from ralr_viz.train.training import Training

_FORMAT = 1


@dataclass(frozen=True)
class Branch:
    """What a continuation is: a factor for the first ``amplified`` of its epochs, a draw of the order, and its end.

    Attributes:
        factor: Of the first epochs; None replays the factors that the run itself drew.
        repeat: 0 has the run's own order and augmentation, each other number one of its own.
        epochs: How many.
        amplified: How many of them at ``factor``; the others are at 1, unless they are annealed.
        anneal: Epochs at a tenth, a hundredth, … of the scheduled rate of the checkpoint, after the amplified ones.
    """

    factor: float | None
    repeat: int
    epochs: int
    amplified: int
    anneal: tuple[int, ...] = ()

    @property
    def label(self) -> str:
        return "recorded factors" if self.factor is None else f"factor {self.factor:g}"


@dataclass(frozen=True, eq=False)
class BranchOutcome:
    """What a continuation left.

    Attributes:
        records: The record of each epoch (as in ``metrics.jsonl``) with ``distance`` from the checkpoint, NaN
            for None; as many as were trained before it ended or diverged.
        digests: SHA-256 of the state dict after each epoch.
        status: ``finished`` or ``diverged``.
        probes: What `analysis.fork` measured of the weights, by name.
        states: State dicts after ``amplified`` epochs and after the last, by epoch, on the CPU; saved where it is asked for.
    """

    records: tuple[dict[str, float], ...]
    digests: tuple[str, ...]
    status: str
    probes: dict[str, tuple[float, ...]] = field(default_factory=dict)
    states: dict[int, dict[str, Tensor]] = field(default_factory=dict)


def derive_seed(seed: int, repeat: int) -> int:
    """Seed of a repeat's order and augmentation: the training's own for 0, else a hash of both numbers."""
    if repeat == 0:
        return seed
    # hashed, since seed + repeat would be the order of another training of the study
    digest = hashlib.blake2b(f"ralr-viz/fork/{seed}/{repeat}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def train_branch(
    training: Training,
    point: ForkPoint,
    branch: Branch,
    stop: StopSignal,
    progress: Callable[[int], object] | None = None,
) -> BranchOutcome:
    """Continue a checkpoint; whatever ``training`` was used for before does not matter.

    Args:
        training: Of the point's recipe, method and seed, with the schedule that it was made with.
        point: Where to start.
        branch: How to go on.
        stop: Asked after each step.
        progress: Called with the number of epochs done.

    Raises:
        EpochStoppedError: ``stop`` has a signal.
        CheckpointError: The checkpoint does not fit its recipe.
    """
    drawn = training.scheduler
    try:
        training.restore(dict(point.state), point.path)
        start = training.weights()
        training.order_seed = derive_seed(point.seed, branch.repeat)
        if branch.repeat:  # of dropout; order and augmentation have streams of their own
            torch.manual_seed(training.order_seed)
        if branch.factor is not None:
            training.scheduler = hold_factor(drawn, branch.factor)
        return _train_epochs(training, start, branch, stop, progress)
    finally:
        training.scheduler = drawn


def _train_epochs(
    training: Training,
    start: Tensor,
    branch: Branch,
    stop: StopSignal,
    progress: Callable[[int], object] | None,
) -> BranchOutcome:
    records: list[dict[str, float]] = []
    digests: list[str] = []
    states: dict[int, dict[str, Tensor]] = {}
    rates = [training.scheduler.base_lr]
    for _ in branch.anneal:  # times .1 once more each time, to the bit as a schedule of steps decays
        rates.append([rate * 0.1 for rate in rates[-1]])
    changes = branch.amplified + np.cumsum((0, *branch.anneal[:-1])) + 1
    decayed = dict(zip(changes.tolist(), rates[1:], strict=False))
    for done in range(1, branch.epochs + 1):
        if done in decayed:
            training.scheduler = hold_rates(training.scheduler, decayed[done])
        elif done == branch.amplified + 1 and branch.factor is not None:
            training.scheduler = hold_factor(training.scheduler, 1.0)
        try:
            record = training.next_epoch(stop)
        except DivergedError:
            return BranchOutcome(tuple(records), tuple(digests), "diverged")
        distance = float((training.weights() - start).norm())
        numbers = {name: np.nan if value is None else float(value) for name, value in record.items()}
        records.append(numbers | {"distance": distance})
        digests.append(digest_state(training.model.state_dict()))
        if done in (branch.amplified, branch.epochs):
            states[done] = {k: v.detach().cpu().clone() for k, v in training.model.state_dict().items()}
        if progress is not None:
            progress(done)
    return BranchOutcome(tuple(records), tuple(digests), "finished", states=states)


def digest_state(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of a state dict's names and values, whatever their memory format and device."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].detach().cpu().flatten().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def branch_file(folder: Path, key: Mapping[str, Any]) -> Path:
    """Where a branch of that key is kept: the key decides the name, so a changed setting finds nothing."""
    return folder / f"{hashlib.sha256(_key_text(key).encode()).hexdigest()[:20]}.npz"


def save_branch(file: Path, key: Mapping[str, Any], outcome: BranchOutcome) -> None:
    """Keep a finished branch with the states that it has, whole or not at all.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    names = list(outcome.records[0]) if outcome.records else []
    text = {"key": _key_text(key), "names": names, "digests": outcome.digests, "status": outcome.status}
    table = np.array([[record[name] for name in names] for record in outcome.records], dtype=np.float64)
    arrays = {f"probe_{name}": np.array(values) for name, values in outcome.probes.items()}
    for epoch, state in outcome.states.items():
        arrays |= {f"state_{epoch}_{name}": tensor.numpy() for name, tensor in state.items()}
    buffer = io.BytesIO()
    np.savez(buffer, about=np.array(json.dumps(text)), table=table, **arrays)  # type: ignore[arg-type]
    write_bytes(file, seal_archive(buffer))


def load_branch(file: Path, key: Mapping[str, Any]) -> BranchOutcome | None:
    """The branch of that key, or None where there is none, or one that is damaged."""
    try:
        data = file.read_bytes()
        at = find_in_archive(data)
        if at is not None and not is_whole(data, at):
            return None
        check_unpacked_size(io.BytesIO(data))
        with np.load(io.BytesIO(data), allow_pickle=False) as saved:
            about = parse_json(str(saved["about"]))
            table = saved["table"]
            probes = {n[6:]: tuple(saved[n].tolist()) for n in saved.files if n.startswith("probe_")}
            states: dict[int, dict[str, Tensor]] = {}
            for file_name in (n for n in saved.files if n.startswith("state_")):
                epoch, name = file_name.removeprefix("state_").split("_", 1)
                states.setdefault(int(epoch), {})[name] = torch.from_numpy(saved[file_name])
        if about["key"] != _key_text(key):
            return None
        records = tuple(dict(zip(about["names"], row, strict=True)) for row in table.tolist())
        return BranchOutcome(records, tuple(about["digests"]), str(about["status"]), probes, states)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        EOFError,
        AttributeError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ):
        return None


def _key_text(key: Mapping[str, Any]) -> str:
    return json.dumps({"format": _FORMAT, **key}, sort_keys=True)
