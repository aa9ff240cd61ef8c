"""The demonstration: a pair of trainings on scikit-learn's digits, and the paper's figures of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ralr_viz.comparison import Progress
from ralr_viz.recipe import load_recipe
from ralr_viz.train.methods import Show, prepare_methods, train_all
from ralr_viz.workflows.figures import FIGURES, FigureOptions, draw_figures
from ralr_viz.workflows.output import Say, prepare_output, save_output
from ralr_viz.workflows.schedule import preview_schedule

RECIPE = "digits-resnet20"
_SCHEDULE, _STYLE = f"schedule-{RECIPE}-seed0", "icml"


def train_demo(
    out: Path, *, force: bool, provenance: Mapping[str, str], show: Show, tell: Say, say: Say, warn: Say
) -> None:
    """Train baseline and RALR, or go on with them.

    Args:
        out: Folder of runs, data and figures.
        force: Replace what is there.
        provenance, tell, say, warn: As in `draw_figures`.
        show: What shows a training.

    Raises:
        InputError: Figures are there already.
    """
    for name in (_SCHEDULE, *FIGURES):
        _prepare(out, name, force, provenance)
    recipe = load_recipe(RECIPE, [])
    directories = prepare_methods(
        recipe, ["baseline", "ralr"], [0], out / "runs", resume=not force, force=force
    )
    for ended in train_all(directories, out / "data", show, note=warn):
        say(ended.describe())
        tell(ended.directory)


def draw_demo(
    out: Path,
    *,
    force: bool,
    provenance: Mapping[str, str],
    progress: Progress | None,
    tell: Say,
    say: Say,
    warn: Say,
) -> Path:
    """Draw the schedule and the four figures of what `train_demo` has trained; arguments as there.

    Returns:
        The folder of the figures.
    """
    schedule, pictures = preview_schedule(load_recipe(RECIPE, [])).asked_by(provenance), out / "figures"
    for line in schedule.describe():
        tell(line)
    again = _prepare(out, _SCHEDULE, force, provenance)
    save_output(schedule, pictures, _SCHEDULE, style=_STYLE, force=again, saved=tell, note=say)
    draw_figures(
        out / "runs",
        pictures,
        FigureOptions(out / "data", force=force),
        provenance=provenance,
        progress=progress,
        tell=tell,
        say=say,
        warn=warn,
    )
    return pictures


def _prepare(out: Path, name: str, force: bool, provenance: Mapping[str, str]) -> bool:
    command = provenance.get("command", "")
    return prepare_output(out / "figures", name, style=_STYLE, force=force, command=command)
