"""A study: the grid of trainings behind one table.

A cell of the table is one recipe trained by one method, over the study's seeds. Where its runs lie is decided by
the recipe alone, so that studies share them: the baselines of Tables 1 and 2 serve Tables 6 to 9.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.recipe import Recipe, check_seed, run_folder
from ralr_viz.study.rule import Rule

MOST_SEEDS = 10_000


class Axis(NamedTuple):
    """One dimension of the grid: its name and the label of each value."""

    name: str
    labels: tuple[str, ...]


class PaperValue(NamedTuple):
    """Accuracy in per cent as the paper prints it; ``std`` is None where it gives none."""

    mean: float
    std: float | None


@dataclass(frozen=True, eq=False)
class Cell:
    """One entry of the table.

    Attributes:
        labels: Its value on each axis.
        recipe, method: What is trained.
        seeds: Its training seeds.
        stage: Cells of a lower stage are trained first.
        paper: What the paper has for it.
        reference: Index of the cell that it is compared with; None for one that is compared with none.
    """

    labels: Mapping[str, str]
    recipe: Recipe
    method: str
    seeds: tuple[int, ...]
    stage: int = 1
    paper: PaperValue | None = None
    reference: int | None = None

    @property
    def name(self) -> str:
        """Its labels, as in a message."""
        return ", ".join(self.labels.values())

    @cached_property
    def folder(self) -> Path:
        """Folder of its seeds, below the folder of all runs."""
        return run_folder(self.recipe, self.method, 0).parent


@dataclass(frozen=True, eq=False)
class Study:
    """A grid of cells × seeds and how its table is laid out.

    Attributes:
        name: ``table1``, …, or the stem of the user's file.
        title, note: For the caption.
        axes: Of the grid.
        rows, columns: Names of the axes that make the table's rows and columns.
        cells: In the order of the axes, the last one fastest.
        seeds: All training seeds, in the order of their first mention.
        order: Whether a stage is trained ``cell`` by cell or ``seed`` by seed.
        rule: What decides and when, where the study is one that decides.
    """

    name: str
    title: str
    note: str
    axes: tuple[Axis, ...]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    order: str = "cell"
    rule: Rule | None = None

    @property
    def trainings(self) -> list[tuple[Cell, int]]:
        """Every cell and seed, in the order in which they are trained; cells that read scores of one training stand once."""
        place = {seed: i for i, seed in enumerate(self.seeds)}
        found = [(c.stage, i, place[seed], c, seed) for i, c in enumerate(self.cells) for seed in c.seeds]
        if self.order == "seed":
            found.sort(key=lambda f: (f[0], f[2], f[1]))
        else:
            found.sort(key=lambda f: f[:3])
        once = {(cell.folder, seed): (cell, seed) for *_, cell, seed in reversed(found)}
        return list(reversed(once.values()))

    def directory(self, runs: Path, cell: Cell, seed: int) -> Path:
        """Run directory of one cell and seed."""
        return runs / cell.folder / f"seed{seed}"

    def with_seeds(self, seeds: Iterable[int]) -> Study:
        """The study over other seeds; a cell that has seeds of its own keeps those of them that are named.

        Raises:
            InputError: None, too many, or one out of range.
        """
        chosen = check_seeds(list(seeds), "--seeds")
        cells = [
            replace(c, seeds=chosen if c.seeds == self.seeds else tuple(s for s in c.seeds if s in chosen))
            for c in self.cells
        ]
        return replace(self, seeds=chosen, cells=tuple(cells))


def select_cells(study: Study, only: Sequence[str]) -> Study:
    """The study with the cells that ``AXIS=LABEL[,LABEL]`` choose; several choices must all hold.

    Cells that a chosen one is compared with stay in, since the table needs them.

    Raises:
        InputError: No ``=``, an unknown axis or label, or nothing left.
    """
    rules = _parse_choices(study, only, "--only")
    wanted = {
        i
        for i, cell in enumerate(study.cells)
        if all(cell.labels[axis] in labels for axis, labels in rules.items())
    }
    if not wanted:
        raise InputError(f"`--only` {'; '.join(only)} leaves no cell of `{study.name}`: choose other labels")
    wanted |= {r for i in list(wanted) if (r := study.cells[i].reference) is not None}
    kept = sorted(wanted)
    place = {old: new for new, old in enumerate(kept)}
    cells = [study.cells[i] for i in kept]
    cells = [replace(c, reference=None if c.reference is None else place[c.reference]) for c in cells]
    return replace(study, cells=tuple(cells))


def refer_to(cells: Sequence[Cell], reference: Mapping[str, str]) -> tuple[Cell, ...]:
    """The cells, each compared with the one whose labels are its own but for those of ``reference``."""
    if not reference:
        return tuple(cells)
    index = {tuple(cell.labels.items()): i for i, cell in enumerate(cells)}
    found = []
    for i, cell in enumerate(cells):
        j = index.get(tuple({**cell.labels, **reference}.items()))
        found.append(replace(cell, reference=None if j == i else j))
    return tuple(found)


def compare_with(study: Study, labels: Sequence[str]) -> Study:
    """The study with other references: ``AXIS=LABEL``, such as ``Method=Scaled``.

    Raises:
        InputError: No ``=``, an unknown axis or label, or two labels of one axis.
    """
    rules = _parse_choices(study, labels, "--reference")
    for axis, chosen in rules.items():
        if len(chosen) != 1:
            raise InputError(
                f"`--reference {axis}={','.join(chosen)}` names {len(chosen)} labels: give one an axis"
            )
    return replace(study, cells=refer_to(study.cells, {axis: chosen[0] for axis, chosen in rules.items()}))


def _parse_choices(study: Study, choices: Sequence[str], option: str) -> dict[str, list[str]]:
    """Labels by axis of ``AXIS=LABEL[,LABEL]``; a label with a comma is taken whole."""
    axes = {axis.name: axis.labels for axis in study.axes}
    rules: dict[str, list[str]] = {}
    for choice in choices:
        axis, separator, labels = choice.partition("=")
        if not separator:
            raise InputError(f"`{option} {choice}` has no `=`: write {option} AXIS=LABEL")
        if axis not in axes:
            raise UnknownNameError("axis", axis, axes, f"(of {study.name})")
        chosen = [labels] if labels in axes[axis] else [label.strip() for label in labels.split(",")]
        for label in chosen:
            if label not in axes[axis]:
                raise UnknownNameError(f"label of axis `{axis}`", label, axes[axis], f"(of {study.name})")
        rules.setdefault(axis, []).extend(chosen)
    return rules


def check_seeds(seeds: Any, source: str) -> tuple[int, ...]:
    """Different training seeds, as they came; ``source`` names them in errors.

    Raises:
        InputError: None, too many, one twice or one out of range.
    """
    whole = isinstance(seeds, list) and all(isinstance(s, int) and not isinstance(s, bool) for s in seeds)
    if not whole or not 1 <= len(seeds) <= MOST_SEEDS or len(set(seeds)) != len(seeds):
        raise InputError(
            f"`seeds` of {source} must be 1 to {MOST_SEEDS:,} different integers: e.g. [0, 1, 2, 3]"
        )
    for seed in seeds:
        check_seed(seed)
    return tuple(seeds)
