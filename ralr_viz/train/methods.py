"""Several methods and seeds of a recipe, trained one after the other: what is compared.

Imports no torch, so that what is wrong is refused at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ralr_viz.errors import DivergedError
from ralr_viz.recipe import Recipe, run_folder
from ralr_viz.results.columns import EXAMPLES_SHARE, speed_of
from ralr_viz.results.run import read_about
from ralr_viz.results.tasks import ACCURACY, About
from ralr_viz.runtime.ranks import ALONE, Ranks
from ralr_viz.train.prepare import finished_result, prepare_run
from ralr_viz.train.setting import Wish, check_beside, forget_setting, setting_of

if TYPE_CHECKING:
    from ralr_viz.train.training import Report

Show = Callable[[Path], "AbstractContextManager[Report | None]"]
"""Called with a run directory; yields what its training reports to."""


@dataclass(frozen=True)
class Ended:
    """How the training of a run directory ended.

    Attributes:
        directory: Of the run.
        result: The content of ``result.json``; of a divergence, ``status`` and ``message``.
        already: It had ended before.
    """

    directory: Path
    result: dict[str, Any]
    already: bool

    @property
    def diverged(self) -> bool:
        """Whether its loss became NaN or infinite."""
        return bool(self.result["status"] == "diverged")

    def describe(self) -> str:
        """A line; of a run that somebody's own loop wrote, little may be known."""
        if self.diverged:
            before = " before" * self.already
            return f"{self.directory} diverged{before}: {self.result.get('message', '')}"
        finished = " is finished already" * self.already
        return f"{self.directory}{finished}: {_summary(self.result, read_about(self.directory))}"


def prepare_methods(
    recipe: Recipe,
    methods: Sequence[str],
    seeds: Sequence[int],
    runs: Path,
    *,
    resume: bool = False,
    force: bool = False,
    check: Callable[[], object] | None = None,
    wish: Wish | None = None,
) -> list[Path]:
    """Run directories of every method at every seed, ready to be trained; arguments and errors of `prepare_run`.

    Args:
        check: Called before anything is written or deleted, where a training is still to be done.
        wish: How they are to be trained; refused then, too, where what stays beside them has another setting.
    """
    arms = [(method, seed) for seed in seeds for method in methods]
    folders = [runs / run_folder(recipe, method, seed) for method, seed in arms]
    if check is not None and (force or any(finished_result(folder) is None for folder in folders)):
        check()
    path = setting_of(runs, recipe)
    if wish is not None:
        check_beside(path, wish, deleted=folders if force else ())
    prepared = [prepare_run(recipe, method, seed, runs, resume=resume, force=force) for method, seed in arms]
    if force:
        forget_setting(path)
    return prepared


def check_runnable(recipe: Recipe, data_root: Path, device: str = "auto", compile: bool = False) -> None:
    """Refuse what cannot be trained here before a run directory is made, or deleted by ``force``.

    Raises:
        InputError: The data set, the network or the device is not there.
    """
    from ralr_viz.runtime.device import resolve_runtime
    from ralr_viz.tasks.opening import open_task

    resolve_runtime(device, recipe.precision, compile=compile)
    open_task(recipe, data_root).build()


def train_all(
    directories: Sequence[Path],
    data_root: Path,
    show: Show,
    *,
    note: Callable[[str], object],
    ranks: Ranks = ALONE,
    **given: Any,
) -> Iterator[Ended]:
    """Train each directory in turn; a divergence is a result, and the others still run.

    Args:
        directories: Prepared.
        data_root: Folder of the ingested data sets.
        show: What shows a training.
        note: Called with what a reader should know, one line.
        ranks: See `train_run`.
        **given: ``device``, ``deterministic`` and ``compile`` of `train_run`.

    Raises:
        DivergedError: At the end, where some have.
        RalrVizError: As `train_run`; the directories behind are not trained then.
    """
    from ralr_viz.train.loop import train_run

    diverged = []
    for directory in directories:
        result = ranks.lead(functools.partial(finished_result, directory))
        already = result is not None
        if result is None:
            say = functools.partial(_note, note, directory)
            try:
                with show(directory) as report:
                    result = train_run(directory, data_root, report=report, note=say, ranks=ranks, **given)
            except DivergedError as error:
                result = {"status": "diverged", "message": str(error)}
        ended = Ended(directory, result, already)
        diverged += [ended.describe()] * ended.diverged
        yield ended
    if diverged:
        raise DivergedError("; ".join(diverged))


def _note(note: Callable[[str], object], directory: Path, line: str) -> None:
    note(f"{directory}: {line}")


def _summary(result: dict[str, Any], about: About) -> str:
    score = about.score or ACCURACY
    column = f"test_{score.key}"
    test, best = _number(result, "last", column), _number(result, "best", column)
    rate, seconds = speed_of(result), _number(result, "seconds")
    parts = [f"{result.get('epochs')} epochs"]
    if test is not None:
        parts.append(f"test {score.title} {score.show(test)} (last epoch)")
    if best is not None and _number(result, "best", f"val_{score.key}") is not None:
        epoch = result["best"].get("epoch")
        parts.append(f"{score.show(best)} at the best validation loss (epoch {epoch})")
    if isinstance(rate, int | float) and seconds is not None:
        parts.append(f"{rate:.0f} {about.samples}/s, {seconds:.0f} s of training")
    if (share := _number(result, EXAMPLES_SHARE)) is not None:
        parts.append(f"{share:.2g} % of that for the record of each example")
    return ", ".join(parts)


def _number(result: dict[str, Any], *keys: str) -> float | None:
    value: Any = result
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, int | float) else None
