"""``--a``, ``--b`` and ``--control`` of the report: a run, a folder of seeds, or somebody's weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ralr_viz.comparison.arms import Run, runs_by_seed
from ralr_viz.errors import InputError
from ralr_viz.results.run import METRICS
from ralr_viz.train.checkpoint import resolve_checkpoint


@dataclass(frozen=True)
class Source:
    """What an option names.

    Attributes:
        option: ``--a``, ``--b`` or ``--control``.
        runs: By training seed; the only one may lack one.
        state: ``@best``, ``@24`` or empty.
        weights: What to load where no training log is beside it.
        text: As it was given, without the state.
    """

    option: str
    runs: dict[int | None, Run]
    state: str = ""
    weights: str = ""
    text: str = ""

    @property
    def epoch(self) -> int | str | None:
        """Which epoch of each run is looked at: its number, ``best``, or None for the last one."""
        name = self.state.removeprefix("@")
        if name.isdecimal():
            return int(name)
        return name if name == "best" else None

    @property
    def method(self) -> str:
        """Of its runs; empty where there are none."""
        return next(iter(self.runs.values())).record.method if self.runs else ""

    def spec(self, seed: int | None) -> str:
        """The checkpoint of a training seed as ``--ckpt`` takes it."""
        return self.weights or f"{self.runs[seed].folder}{self.state}"


def find_sources(a: str, b: str | None, control: str | None = None) -> list[Source]:
    """What ``--a``, ``--b`` and ``--control`` name.

    Raises:
        InputError: Nothing there, several runs of one seed, or a control of nothing.
    """
    if control is not None and b is None:
        raise InputError(f"`--control {control}` needs --b: it controls the difference of the two")
    given = {"--a": a, "--b": b, "--control": control}
    return [_find_source(option, text) for option, text in given.items() if text is not None]


def choose_seeds(sources: Sequence[Source]) -> tuple[list[int | None], str]:
    """The seed of each source whose checkpoint is looked at, and what has to be said of it.

    The lowest that all have finished, else the lowest that all have; each one's lowest where none is common.
    """
    seeds: list[set[int | None]] = [set(source.runs) - {None} for source in sources if source.runs]
    common = set.intersection(*seeds) if seeds else set()
    if common:
        whole = {seed for seed in common if all(_is_whole(source, seed) for source in sources)}
        seed = min(whole or common, key=seed_order)
        return [seed if source.runs else None for source in sources], ""
    chosen = [min(source.runs, key=seed_order, default=None) for source in sources]
    known = [seed for seed in chosen if seed is not None]
    if len(known) < 2:
        return chosen, ""
    return chosen, f"No training seed is common to both sides: seeds {known[0]} and {known[1]} are compared"


def _is_whole(source: Source, seed: int | None) -> bool:
    return not source.runs or source.runs[seed].record.ended


def seed_order(seed: int | None) -> int:
    """Sorts seeds, a run without one first."""
    return -1 if seed is None else seed


def _find_source(option: str, text: str) -> Source:
    path, state = Path(text), ""
    if not path.exists() and "@" in text:
        head, _, name = text.rpartition("@")
        path, state = Path(head), f"@{name}"
    if not path.is_dir() or ((path / "checkpoints").is_dir() and not (path / METRICS).is_file()):
        resolve_checkpoint(text)  # refuse early what is not there
        return Source(option, {}, weights=text, text=text)
    return Source(option, runs_by_seed(option, path), state, text=str(path))
