"""What a study has, what it still needs, and what that costs; read from files alone, without torch."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ralr_viz.data import list_datasets
from ralr_viz.errors import InputError
from ralr_viz.recipe import Recipe
from ralr_viz.results.columns import speed_of
from ralr_viz.results.document import parse_json
from ralr_viz.results.run import read_recipe_file
from ralr_viz.results.study import STATES
from ralr_viz.study.grid import Cell, Study
from ralr_viz.study.protocol import record_protocol
from ralr_viz.study.state import RunState, last_record, run_state
from ralr_viz.train.prepare import prepare_run

# What an image costs without gradients, against one that is trained on: one pass of three.
_EVALUATION = 1 / 3
_BUILT = {"digits", "digit-scenes", "planted"}  # at their first use


class RateKey(NamedTuple):
    """Trainings that take the same time an image."""

    dataset: str
    model: str
    batch: int


class Rate(NamedTuple):
    """Measured speed of training and size of a checkpoint.

    Attributes:
        images_per_second: In training, without the evaluations.
        checkpoint_bytes: Of one saved state; None where unknown.
        source: What was measured, and on what.
    """

    images_per_second: float
    checkpoint_bytes: int | None
    source: str


@dataclass(frozen=True, eq=False)
class PlannedRun:
    """One run directory of a study.

    Attributes:
        directory, cell, seed, state: Which run it is and how far.
        seconds: Of training and evaluation that it still needs; None where the speed is unknown.
        bytes: Of checkpoints that it will still write, at most; None where unknown.
    """

    directory: Path
    cell: Cell
    seed: int
    state: RunState
    seconds: float | None
    bytes: int | None

    @property
    def done(self) -> bool:
        """See `RunState`."""
        return self.state.done


@dataclass(frozen=True, eq=False)
class Plan:
    """The runs of a study, each directory once, and what they need.

    Attributes:
        study, runs: What is planned and in which folder of runs.
        entries: One for each run directory, in the order in which they are trained.
        missing_data: For each data set that is not there, how to get it.
        rates: What the estimates rest on.
    """

    study: Study
    runs: Path
    entries: tuple[PlannedRun, ...]
    missing_data: Mapping[str, str]
    rates: Mapping[RateKey, Rate]

    @property
    def counts(self) -> Counter[str]:
        """Number of runs in each state."""
        return Counter(entry.state.status for entry in self.entries)

    @property
    def seconds(self) -> float:
        """What the runs of known speed still need, one after another."""
        return sum(entry.seconds or 0.0 for entry in self.entries)

    @property
    def unknown(self) -> list[PlannedRun]:
        """Runs that are not done and whose speed is unknown."""
        return [entry for entry in self.entries if not entry.done and entry.seconds is None]

    @property
    def free_bytes(self) -> int:
        """Space on the disk of the runs' folder, or of the nearest folder above it that exists."""
        folder = self.runs.absolute()
        return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free

    @property
    def bytes(self) -> int:
        """Checkpoints that will be written at most, where their size is known."""
        return sum(entry.bytes or 0 for entry in self.entries)


def compute_plan(
    study: Study, runs: Path, data_root: Path, *, rates: Mapping[RateKey, Rate] | None = None
) -> Plan:
    """Look at every run directory of a study; nothing is written.

    Args:
        study: Of any size.
        runs: Folder of all runs.
        data_root: Folder of the data sets.
        rates: Measured speeds (see `measure_rate`); what is not in it is taken from finished runs.
    """
    found: dict[Path, tuple[Cell, int, RunState]] = {}
    for cell, seed in study.trainings:
        directory = study.directory(runs, cell, seed)
        if directory not in found:
            found[directory] = (cell, seed, run_state(directory))
    needed = {rate_key(cell.recipe) for cell, _, state in found.values() if not state.done}
    known = dict(rates or {})
    known |= _rates_of_finished(runs, needed - set(known))
    sizes = {row.name: row for row in list_datasets(data_root)}
    entries = []
    for directory, (cell, seed, state) in found.items():
        cost: tuple[float | None, int | None] = (0.0, 0)
        if not state.done:
            row, rate = sizes.get(cell.recipe.dataset), known.get(rate_key(cell.recipe))
            images = _images_per_epoch(cell.recipe, row.n_train, row.n_test) if row else None
            cost = _cost(cell.recipe, _epochs_left(cell.recipe, directory, state), rate, images)
        entries.append(PlannedRun(directory, cell, seed, state, *cost))
    recipes = [entry.cell.recipe for entry in entries if not entry.done]
    wanted = {recipe.dataset for recipe in recipes if recipe.uses_store}
    missing = {}
    for name in sorted(wanted - _BUILT):
        if name not in sizes:
            missing[name] = f"run `ralr-viz data import {name} --from PATH`"
        elif not sizes[name].present:
            missing[name] = sizes[name].note
    return Plan(study, runs, tuple(entries), missing, known)


def prepare_plan(plan: Plan) -> list[Path]:
    """Write ``recipe.toml`` into each run directory that is not done; those there are left as they are.

    Returns:
        Run directories that are not done, in the plan's order.

    Raises:
        InputError: A directory holds a run of other settings, or cannot be made; or the study's rule is not the
            one under which its runs were begun.
        StorageError: It cannot be written.
    """
    if plan.study.rule is not None:
        record_protocol(plan.study, plan.runs)
    waiting = [entry for entry in plan.entries if not entry.done]
    for entry in waiting:
        prepare_run(entry.cell.recipe, entry.cell.method, entry.seed, plan.runs, resume=True)
    return [entry.directory for entry in waiting]


def rate_key(recipe: Recipe) -> RateKey:
    """What the speed of a recipe's training depends on, the machine apart."""
    return RateKey(recipe.dataset, recipe.model, recipe.batch)


def _rates_of_finished(runs: Path, needed: set[RateKey]) -> dict[RateKey, Rate]:
    """Speeds of the first finished run of each kind that is found below ``runs``."""
    rates: dict[RateKey, Rate] = {}
    for directory in _one_finished_of_each(runs):
        if needed <= set(rates):
            break
        try:
            recipe = read_recipe_file(directory / "recipe.toml")
            key = RateKey(str(recipe.get("dataset")), str(recipe.get("model")), int(recipe.get("batch", 0)))
            if key not in needed or key in rates:
                continue
            result = parse_json((directory / "result.json").read_text(encoding="utf-8"))
            speed = float(speed_of(result))
        except (InputError, OSError, ValueError, OverflowError, KeyError, TypeError):
            continue  # somebody's own loop, or a damaged file: no measurement
        if speed > 0:
            rates[key] = Rate(speed, _checkpoint_bytes(directory), _describe(directory, runs))
    return rates


def _one_finished_of_each(runs: Path) -> Iterator[Path]:
    """The first finished run of each recipe and method."""
    for method in sorted(runs.glob("*/*/")):
        for directory in sorted(method.glob("seed*/")):
            if (directory / "result.json").is_file():
                yield directory
                break


def _describe(directory: Path, runs: Path) -> str:
    try:
        env = parse_json((directory / "env.json").read_text(encoding="utf-8"))
        on = f", on {env['device']}, {env['precision']}, {env['threads']} threads"
    except (OSError, ValueError, KeyError, TypeError):
        on = ""
    return f"{directory.relative_to(runs)}{on}"


def _checkpoint_bytes(directory: Path) -> int | None:
    try:
        return (directory / "checkpoints" / "last.pt").stat().st_size
    except OSError:
        return None


def _images_per_epoch(recipe: Recipe, n_train: int | None, n_test: int | None) -> float | None:
    """Images of an epoch, those only evaluated counted by their cost."""
    if n_train is None or n_test is None:
        return None
    kept = recipe.subset or n_train
    held = round(kept * recipe.validation)
    tested = n_test if recipe.evaluate_test == "epoch" else 0  # once at the end is little beside a training
    return kept - held + _EVALUATION * (held + tested + min(recipe.train_sample, kept - held))


def _epochs_left(recipe: Recipe, directory: Path, state: RunState) -> int:
    if state.status == "pending":
        return recipe.epochs
    record = last_record(directory)
    return recipe.epochs - (min(record["epoch"], recipe.epochs) if record else 0)


def _cost(
    recipe: Recipe, epochs: int, rate: Rate | None, images: float | None
) -> tuple[float | None, int | None]:
    if rate is None:
        return None, None
    seconds = epochs * images / rate.images_per_second if images is not None else None
    size = rate.checkpoint_bytes
    # last, the one before and the best, beside those that are kept for good
    return seconds, None if size is None else size * (3 + len(recipe.kept_epochs))


def describe_counts(counts: Mapping[str, int]) -> str:
    """``3 finished, 1 pending``."""
    return ", ".join(f"{counts[status]} {status}" for status in STATES if counts.get(status))
