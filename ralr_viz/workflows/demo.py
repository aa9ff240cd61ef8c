"""The demonstration: a pair of trainings on scikit-learn's digits, the paper's figures of it, and its report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ralr_viz.comparison import Progress
from ralr_viz.errors import InputError
from ralr_viz.recipe import load_recipe
from ralr_viz.report.page import build_report
from ralr_viz.results.run import METRICS
from ralr_viz.results.storage import write_bytes
from ralr_viz.train.methods import Show, prepare_methods, train_all
from ralr_viz.workflows.figures import FIGURES, FigureOptions, draw_figures
from ralr_viz.workflows.output import Say, prepare_output, save_output
from ralr_viz.workflows.report import gather_inputs
from ralr_viz.workflows.report.gathering import Options
from ralr_viz.workflows.report.sides import find_sources
from ralr_viz.workflows.schedule import preview_schedule

RECIPE = "digits-resnet20"
PAGE = "report.html"
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
    if (out / PAGE).exists() and not force:
        raise InputError(f"`{out / PAGE}` exists: pass --force to overwrite it or another --out")
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
    """Draw the schedule and the four figures of what `train_demo` has trained, and write its report; arguments as there.

    Returns:
        The report's page.
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
    return _write_report(out, force, provenance, progress, tell, say)


def _write_report(
    out: Path, force: bool, provenance: Mapping[str, str], progress: Progress | None, tell: Say, say: Say
) -> Path:
    methods = {path.parents[1].name: path.parents[1] for path in (out / "runs").glob(f"*/*/*/{METRICS}")}
    options = Options(
        samples=2000,
        split="test",
        limit=None,
        data=out / "data",
        batch=None,
        device="auto",
        precision="fp32",
        seed=0,
        theirs={"dataset": None},
        provenance=provenance,
        say=say,
    )
    sources = find_sources(str(methods["baseline"]), str(methods["ralr"]))
    inputs = gather_inputs(sources, None, options, progress or (lambda done, total, what: None))
    page = out / PAGE
    write_bytes(page, build_report(inputs).encode("utf-8", "backslashreplace"), replace=force)
    tell(page)
    return page


def _prepare(out: Path, name: str, force: bool, provenance: Mapping[str, str]) -> bool:
    command = provenance.get("command", "")
    return prepare_output(out / "figures", name, style=_STYLE, force=force, command=command)
