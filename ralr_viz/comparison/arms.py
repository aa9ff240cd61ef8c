"""The runs that are compared: two methods and perhaps a control, paired by training seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ralr_viz.errors import InputError
from ralr_viz.results.names import group_runs
from ralr_viz.results.run import RunRecord, find_runs, load_run
from ralr_viz.train.checkpoint import saved_epochs


@dataclass(frozen=True)
class Run:
    """A run directory and what its record says."""

    folder: Path
    record: RunRecord

    @property
    def last(self) -> int:
        """Its last finished epoch."""
        return int(self.record.epoch[-1])

    @property
    def saved(self) -> set[int]:
        """Epochs whose state it has kept."""
        return set(saved_epochs(self.folder))

    def at(self, epoch: int) -> str:
        """``--ckpt`` of the state after an epoch."""
        return f"{self.folder}@{epoch}"


@dataclass(frozen=True)
class Arms:
    """Runs (seeds, arms) of A, B and perhaps a control.

    Attributes:
        names: Of the arms.
        seeds: That all arms have, growing.
        runs: For each seed, one run of each arm.
        notes: Which seeds were left out.
    """

    names: tuple[str, ...]
    seeds: tuple[int, ...]
    runs: tuple[tuple[Run, ...], ...]
    notes: tuple[str, ...] = ()


def find_arms(paths: Mapping[str, Path], names: Sequence[str] = ()) -> Arms:
    """Pair the runs of two methods, and perhaps a control, by training seed.

    Args:
        paths: Run directory, or folder of seeds, of each arm in turn, by what an error calls it.
        names: Of the arms; left out, their methods where these differ, else ``A``, ``B``, ``control``.

    Raises:
        InputError: No common seed, two runs of one seed in an arm, runs without a seed, or runs that are no
            comparison: other data, network or length.
    """
    if not 2 <= len(paths) <= 3:
        raise InputError(f"{len(paths)} arms were given: give two, or two and a control")
    found = {option: find_seeds(option, path) for option, path in paths.items()}
    common = sorted(set.intersection(*(set(runs) for runs in found.values())))
    if not common:
        shown = "; ".join(f"{option} has {_list(sorted(runs))}" for option, runs in found.items())
        raise InputError(
            f"the arms have no training seed in common ({shown}): train them with the same --seeds"
        )
    notes = tuple(
        f"{option}: {_list(left)} left out, since not every arm has it"
        for option, runs in found.items()
        if (left := sorted(set(runs) - set(common)))
    )
    table = tuple(tuple(runs[seed] for runs in found.values()) for seed in common)
    check_comparable([run for row in table for run in row])
    methods = tuple(run.record.method for run in table[0])
    if not names:
        names = methods if len(set(methods)) == len(methods) else ("A", "B", "control")[: len(methods)]
    return Arms(tuple(names), tuple(common), table, notes)


def find_seeds(option: str, path: Path) -> dict[int, Run]:
    """The runs of one method by training seed.

    Raises:
        InputError: As `runs_by_seed`, or a run without a seed.
    """
    runs: dict[int, Run] = {}
    for seed, run in runs_by_seed(option, path).items():
        if seed is None:
            raise InputError(f"`{run.folder}` has no training seed: add `seed` to its recipe.toml")
        runs[seed] = run
    return runs


def runs_by_seed(option: str, path: Path) -> dict[int | None, Run]:
    """The runs in a folder of one method; the only one may lack a seed.

    Raises:
        InputError: No run there, two of one seed, or runs that are no replicates: of several methods or
            settings; ``option`` names it.
    """
    runs: dict[int | None, Run] = {}
    for folder in find_runs(path):
        record = load_run(folder)
        if record.seed in runs:
            raise InputError(
                f"`{option} {path}` has two runs of seed {record.seed}, `{runs[record.seed].folder}` and `{folder}`: "
                "give the folder of one method, such as RUNS/RECIPE/ralr"
            )
        runs[record.seed] = Run(folder, record)
    groups = dict.fromkeys(group_runs([run.record for run in runs.values()]))
    if len(groups) > 1 and None not in runs:
        raise InputError(
            f"`{option} {path}` has runs of {len(groups)} trainings ({'; '.join(groups)}), which are no seeds of one: "
            "give the folder of one method and its settings, such as RUNS/RECIPE/ralr"
        )
    return runs


def check_comparable(runs: Sequence[Run]) -> None:
    """Refuse runs that differ in more than their method.

    Raises:
        InputError: Of other data, network or length.
    """
    first = runs[0]
    for name in ("dataset", "model", "epochs", "subset", "validation", "split_seed"):
        expected = first.record.recipe.get(name)
        for run in runs[1:]:
            if run.record.recipe.get(name) != expected:
                raise InputError(
                    f"`{run.folder}` has `{name}` = {run.record.recipe.get(name)}, `{first.folder}` has {expected}: "
                    "compare runs that differ in their method only"
                )


def _list(seeds: list[int]) -> str:
    return ("seed " if len(seeds) == 1 else "seeds ") + ", ".join(map(str, seeds))
