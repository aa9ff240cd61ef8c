"""Read what a training left behind: a run directory, finished or in progress."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ralr_viz.errors import InputError
from ralr_viz.foreign import one_line
from ralr_viz.results.columns import ACCURACIES, QUANTITIES
from ralr_viz.results.document import parse_json, parse_toml
from ralr_viz.results.tasks import IMAGES, About, about_run

METRICS = "metrics.jsonl"
RECIPE = "recipe.toml"
# Methods whose factors are constants: nothing is drawn in them, even where their factor changes between pieces.
CONSTANT_METHODS = ("scaled", "matched")
_LONGEST_SHOWN = 40  # characters of a value in a message
_DEPTH = 3  # RECIPE/METHOD/seedK below the folder that is searched


@dataclass(frozen=True, eq=False)
class RunRecord:
    """One training run, wherever it was read from.

    Attributes:
        recipe_name: The recipe; empty for a CSV.
        method: ``baseline``, ``ralr``, ``scaled`` or a name of the user's; the file's name for a CSV.
        seed: Training seed, where known.
        epoch: Finished epochs, growing, int64 of shape (num_epochs,).
        metrics: Each quantity's values, float64 of shape (num_epochs,), NaN where not measured.
        recipe: Flat settings of the run.
        result: Content of ``result.json``; None while the run is in progress and for a CSV.
        env: Content of ``env.json``, where there is one.
        notes: What was assumed while reading, a line each.
        path: Run directory or file that it was read from, where there is one.
    """

    recipe_name: str
    method: str
    seed: int | None
    epoch: np.ndarray
    metrics: Mapping[str, np.ndarray]
    recipe: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] | None = None
    env: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    path: Path | None = None

    @property
    def label(self) -> str:
        """Short name that holds no path: recipe, method and seed."""
        seed = "" if self.seed is None else f"seed{self.seed}"
        return "/".join(part for part in (self.recipe_name, self.method, seed) if part)

    @property
    def status(self) -> str:
        """``finished``, ``diverged``, ``running`` (no ``result.json`` yet) or ``unknown`` (a CSV)."""
        if self.result is not None:
            return str(self.result.get("status", "unknown"))
        return "running" if self.recipe else "unknown"

    @property
    def ended(self) -> bool:
        """Whether its last epoch is the end of its training, as far as one knows: a CSV's is taken for it."""
        return self.status in ("finished", "unknown")

    @property
    def planned_epochs(self) -> int:
        """Length of the training: as the recipe says, of a log without one its last epoch."""
        planned = self.recipe.get("epochs")
        return planned if isinstance(planned, int) and planned >= 1 else int(self.epoch[-1])

    @property
    def images_seen(self) -> float:
        """Training images shown over all epochs, repeats counted; NaN where no epoch recorded them."""
        speed = np.fmax(self.values("images_per_second"), self.values("samples_per_second"))
        shown = self.values("seconds") * speed
        return float(np.nansum(shown)) if np.isfinite(shown).any() else math.nan

    @property
    def about(self) -> About:
        """How one speaks of it."""
        return about_run(self.recipe, self.env)

    def values(self, quantity: str) -> np.ndarray:
        """Values of a quantity, float64 of shape (num_epochs,); all NaN if it was never recorded.

        ``val_acc`` and ``test_acc`` are the score, whatever it is.
        """
        score = self.about.score
        if quantity in ("val_acc", "test_acc") and score is not None:
            quantity = f"{quantity.removesuffix('acc')}{score.key}"
        return self.metrics.get(quantity, np.full(len(self.epoch), np.nan))


def read_about(path: Path) -> About:
    """How one speaks of a run directory; as of images, where it does not say."""
    try:
        return about_run(read_recipe_file(path / RECIPE), _read_json(path / "env.json"))
    except InputError:
        return IMAGES


def load_run(path: Path) -> RunRecord:
    """Read a run directory, finished or in progress.

    A last line of ``metrics.jsonl`` that is only half written is left out; of an epoch that was logged twice
    the later record counts.

    Args:
        path: Folder with ``recipe.toml`` and ``metrics.jsonl``.

    Raises:
        InputError: No run directory, no finished epoch yet, or a damaged file (named, with its line).
    """
    path = Path(path)
    if not (path / METRICS).is_file():
        raise InputError(_not_a_run(path))
    recipe = read_recipe_file(path / RECIPE)
    records = _read_metrics(path / METRICS)
    if not records:
        raise InputError(
            f"`{path}` has no finished epoch in {METRICS}: wait for the first one or resume the run"
        )
    by_epoch = {record["epoch"]: record for record in records}
    counts = Counter(record["epoch"] for record in records)
    epochs = sorted(by_epoch)
    notes = []
    if again := [epoch for epoch in epochs if counts[epoch] > 1]:
        notes.append(f"epoch {', '.join(map(str, again))} is logged more than once: the last record counts")
    names = dict.fromkeys(name for record in records for name in record if name != "epoch")
    result = _read_json(path / "result.json")
    by_epoch[epochs[-1]] |= _measured_at_the_end(result, by_epoch[epochs[-1]])
    metrics = {name: np.array([_number(by_epoch[e].get(name)) for e in epochs]) for name in names}
    accuracies = [metrics[name] for name in ACCURACIES if name in metrics]
    if are_shares(accuracies):
        notes.append("accuracies are all <= 1: taken for per cent, which is what a run directory holds")
    return RunRecord(
        recipe_name=recipe["recipe"],
        method=recipe["method"],
        seed=recipe["seed"],
        epoch=np.array(epochs, dtype=np.int64),
        metrics={
            name: values for name, values in metrics.items() if name in QUANTITIES or not _empty(values)
        },
        recipe=recipe,
        result=result,
        env=_read_json(path / "env.json"),
        notes=tuple(notes),
        path=path,
    )


def _measured_at_the_end(result: Mapping[str, Any] | None, record: Mapping[str, Any]) -> dict[str, Any]:
    """What the last epoch's record lacks and `result.json` has of it, such as the BLEU of a search that is made once."""
    last = (result or {}).get("last")
    if not isinstance(last, Mapping) or last.get("epoch") != record["epoch"]:
        return {}
    return {name: value for name, value in last.items() if name in record and record[name] is None}


def find_runs(path: Path) -> list[Path]:
    """Run directories with a finished epoch: ``path`` itself, else those up to three levels below it.

    Args:
        path: A run directory, or a folder of them such as ``runs/RECIPE`` or ``runs/RECIPE/ralr``.

    Returns:
        Sorted by name, ``seed2`` before ``seed10``; never empty.

    Raises:
        InputError: Not a folder, or no run in it.
    """
    path = Path(path)
    if (path / METRICS).is_file():
        return [path]
    if not path.is_dir():
        raise InputError(_not_a_run(path))
    logs = [log for depth in range(1, _DEPTH + 1) for log in path.glob("*/" * depth + METRICS)]
    runs = [log.parent for log in logs if log.is_file() and log.stat().st_size]
    if not runs:
        raise InputError(_not_a_run(path))
    return sorted(runs, key=lambda run: [_natural(part) for part in run.relative_to(path).parts])


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def _not_a_run(path: Path) -> str:
    if not path.exists():
        return f"no run directory `{path}`: it does not exist; give RUNS/RECIPE/METHOD/seedK"
    if path.is_file():
        return f"`{path}` is a file: give the run directory with {METRICS}, or a .csv log"
    what = "has no finished epoch yet" if (path / RECIPE).is_file() else "is no run directory"
    return f"`{path}` {what}: expects {METRICS} in it; give RUNS/RECIPE/METHOD/seedK"


def read_recipe_file(path: Path) -> dict[str, Any]:
    try:
        recipe = parse_toml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"`{path.parent}` is no run directory: expects {RECIPE} beside {METRICS}; "
            "for a log of your own give a .csv file"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"`{path}` cannot be read: {one_line(error)}; restore it or train again") from error
    for name, kind in (("recipe", str), ("method", str), ("seed", int)):
        if not isinstance(recipe.get(name), kind) or isinstance(recipe[name], bool):
            raise InputError(f"`{path}` lacks `{name}`: add it ({kind.__name__}), as ralr-viz writes it")
    for name, value in recipe.items():
        if _is_too_large(value):
            raise InputError(
                f"`{path}`: `{name}` = {_shorten(value)} must be an integer below 2^63 in size: mend it or train again"
            )
    return recipe


def _read_metrics(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"`{path}` cannot be read: {error.strerror}; check its permissions") from error
    lines = text.split("\n")
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            records.append(_parse_record(line))
        except ValueError as error:
            if number == len(lines):  # no newline after it: a run in progress is writing it, or was killed
                break
            raise InputError(
                f"`{path}` line {number}: {one_line(error)}; remove the line or resume the run"
            ) from error
    return records


def _parse_record(line: str) -> dict[str, Any]:
    try:
        record = parse_json(line)
    except ValueError as error:
        raise ValueError("is not JSON") from error
    if not isinstance(record, dict):
        raise ValueError("is not a JSON object")
    for name, value in record.items():
        if _is_too_large(value):
            raise ValueError(f"`{name}` is {_shorten(value)}, must be an integer below 2^63 in size")
    epoch = record.get("epoch")
    if not isinstance(epoch, int) or isinstance(epoch, bool) or epoch < 1:
        raise ValueError(f"`epoch` is {_shorten(epoch)}, must be an integer >= 1")
    for name in QUANTITIES:
        value = record.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"`{name}` is {_shorten(value)}, must be a number or null")
    return record


def are_shares(accuracies: Sequence[np.ndarray]) -> bool:
    """Whether accuracies of a whole log are in [0, 1] instead of per cent: all are <= 1, one is above 0."""
    return 0 < float(np.nanmax([0.0, *(value for values in accuracies for value in values)])) <= 1


def _number(value: Any) -> float:
    """Number → float; null, and whatever a user's own extra key holds → NaN."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _is_too_large(value: Any) -> bool:
    """Whether it is an integer that int64 does not hold: those of TOML and JSON have no bound."""
    return isinstance(value, int) and not -(2**63) <= value < 2**63


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _empty(values: np.ndarray) -> bool:
    return bool(np.isnan(values).all())


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"`{path}` cannot be read: {one_line(error)}; delete it") from error
    if not isinstance(content, dict):
        raise InputError(f"`{path}` is not a JSON object; delete it")
    return content
