"""The states that runs have kept: read one at a time, or compared at both ends of the late phase."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ralr_viz.comparison.comparison import Comparison, compare
from ralr_viz.errors import CheckpointError, InputError
from ralr_viz.models.checkpoint_file import parse_checkpoint, read_checkpoint_bytes
from ralr_viz.results.movement import late_start
from ralr_viz.results.records import Source, read_records
from ralr_viz.results.run import RunRecord
from ralr_viz.train.checkpoint import Checkpoint, load_checkpoint, resolve_checkpoint, saved_epochs

State = Mapping[str, Any]
"""Name of a parameter → tensor or array."""


class KeptStates(Mapping[int, State]):
    """Epoch → the parameters that a run directory has kept, read from disk at each look, in network order.

    Args:
        run: The directory.
        arch: Of its network, where that is the caller's own; see `load_checkpoint`.

    Attributes:
        damage: Why the last state cannot be read, where there is one that cannot; its epoch is left out.
    """

    def __init__(self, run: Path, arch: str | None = None) -> None:
        self._arch = arch
        self._specs = {epoch: f"{run}@{epoch}" for epoch in saved_epochs(run)}
        self.damage = ""
        try:
            file = resolve_checkpoint(run)
        except CheckpointError:  # a record without any state is fine
            return
        try:
            parse_checkpoint(file, read_checkpoint_bytes(file))
        except CheckpointError as error:
            self.damage = str(error)
            return
        with contextlib.suppress(CheckpointError):  # nor need the state say of which network it is
            last = load_checkpoint(run, arch=arch).epoch
            if last is not None:
                self._specs.setdefault(last, str(run))

    def checkpoint(self, epoch: int) -> Checkpoint:
        """What was kept after an epoch."""
        return load_checkpoint(self._specs[epoch], arch=self._arch)

    def __getitem__(self, epoch: int) -> State:
        checkpoint = self.checkpoint(epoch)
        if checkpoint.parameters and set(checkpoint.parameters) <= checkpoint.weights.keys():
            return {name: checkpoint.weights[name] for name in checkpoint.parameters}
        return dict(checkpoint.build(classifier=False).named_parameters())

    def __iter__(self) -> Iterator[int]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)


class RunStates(NamedTuple):
    """A run's record and its state after each kept epoch; values are looked up one at a time and not held."""

    record: RunRecord
    states: Mapping[int, State]

    @property
    def damage(self) -> str:
        """Why its last state is left out; empty where it is not."""
        return self.states.damage if isinstance(self.states, KeptStates) else ""

    @property
    def late_ends(self) -> tuple[int, int] | None:
        """The epochs after which its late phase begins and ends, where both states are kept."""
        end = self.record.planned_epochs
        start = late_start(end)
        # of a set: `in` would read the state of a mapping that has no faster way
        return (start, end) if start < end and {start, end} <= set(self.states) else None


Moved = Source | tuple[RunRecord, Mapping[int, State]]
"""A run directory, a folder of them, a record, or a record with states of one's own."""


def open_states(runs: Moved | Sequence[Moved], arch: str | None = None) -> list[RunStates]:
    """Records and kept states of runs; a record that was read from a run directory has the states that lie there.

    Args:
        runs: What is opened.
        arch: Of all their networks, where these are the caller's own.

    Raises:
        InputError: No run directory where one is named, or a damaged one.
    """
    one = isinstance(runs, str | os.PathLike | RunRecord | RunStates)
    found: list[RunStates] = []
    for run in [runs] if one else runs:  # type: ignore[union-attr]
        if isinstance(run, tuple):
            found.append(RunStates(*run))
        else:
            found += [RunStates(record, _kept(record.path, arch)) for record in read_records(run)]  # type: ignore[arg-type]
    return found


def late_states(
    runs: Moved | Sequence[Moved],
    *,
    root: Path | None = None,
    split: str = "test",
    limit: int | None = None,
    device: str = "auto",
    precision: str = "fp32",
    batch: int | None = None,
) -> Comparison | None:
    """The networks after 2/3 of each training and at its end, side by side on the same images.

    Args:
        runs: As `open_states` takes them.
        root, split, limit, device, precision, batch: As for `compare`.

    Returns:
        Two networks for each run that has kept both, in the order of the runs; None where no run has.

    Raises:
        InputError: As `compare`; or states of the caller's own, of which only he can make networks.
    """
    ends: list[Checkpoint] = []
    for run in open_states(runs):
        if run.late_ends is None:
            continue
        if not isinstance(run.states, KeptStates):
            raise InputError(
                f"the states of `{run.record.label}` are in no run directory: `compare` two networks of your own"
            )
        ends += [run.states.checkpoint(epoch) for epoch in run.late_ends]
    if not ends:
        return None
    return compare(ends, root=root, split=split, limit=limit, device=device, precision=precision, batch=batch)


def _kept(path: Path | None, arch: str | None) -> Mapping[int, State]:
    return KeptStates(path, arch) if path is not None and path.is_dir() else {}
