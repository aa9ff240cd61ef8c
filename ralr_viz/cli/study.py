"""``ralr-viz study list | plan | run | status | table | publish | commands``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_document, print_json, print_line, print_note
from ralr_viz.cli.output import describe_command, prepare_out, save_all
from ralr_viz.cli.study_view import print_plan, watch
from ralr_viz.cli.train import Compile, Deterministic, Runs
from ralr_viz.errors import InputError

if TYPE_CHECKING:
    from ralr_viz.results.decision import DecisionResult
    from ralr_viz.results.study import StudyResult
    from ralr_viz.study.grid import Study
    from ralr_viz.study.plan import Plan, Rate, RateKey

app = typer.Typer(no_args_is_help=True)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Packaged study (see `ralr-viz study list`) or a TOML file.")
]
Seeds = Annotated[
    str | None, typer.Option("--seeds", metavar="A-B", help="Other seeds than the study's: 0-3 or 0,2,5.")
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only", metavar="AXIS=LABEL", help="Only these cells, and those they are compared with; repeatable."
    ),
]

RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Take runs again that failed with an error.")
]


@app.command("list")
def list_studies(as_json: options.Json = False) -> None:
    """List the packaged studies: the paper's tables and their laptop-sized counterparts."""
    from ralr_viz.study.grid_file import load_study, study_names

    studies = [load_study(name) for name in study_names()]
    if as_json:
        rows = [
            {
                "name": s.name,
                "title": s.title,
                "cells": len(s.cells),
                "runs": len(s.trainings),
                "seeds": list(s.seeds),
            }
            for s in studies
        ]
        print_json(rows)
        return
    width = max(len(study.name) for study in studies)
    for study in studies:
        print_line(
            f"{study.name:<{width}}  {len(study.cells):>3} cells, {len(study.trainings):>3} runs  {study.title}"
        )


@app.command("plan")
def plan(
    name: Name,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only look; write no run directory.")] = False,
    pilot: Annotated[
        bool, typer.Option("--pilot", help="Measure the speed of each network here, by 20 steps.")
    ] = False,
    seeds: Seeds = None,
    settings: options.Settings = None,
    allow: options.Allow = None,
    only: Only = None,
    runs: Runs = Path("runs"),
    data: options.Data = None,
    device: options.Device = "auto",
    deterministic: Deterministic = True,
    compile: Compile = False,
    as_json: options.Json = False,
) -> None:
    """Show what a study has, what is missing and what it costs, and write its run directories.

    Example: ralr-viz study plan table9-laptop --dry-run
    """
    from ralr_viz.data import data_root
    from ralr_viz.study.plan import compute_plan, prepare_plan

    study = _load(name, settings, seeds, only)
    found = compute_plan(study, runs, data_root(data))
    if pilot:
        rates = _measure(found, data_root(data), device, deterministic, compile)
        found = compute_plan(study, runs, data_root(data), rates=rates)
    print_plan(found, as_json=as_json)
    if not dry_run:
        directories = prepare_plan(found)
        if not as_json:
            print_note(f"{len(directories)} run directories are prepared below {runs}")


@app.command("run")
def run(
    name: Name,
    engine: Annotated[
        str, typer.Option("--engine", help="local (child processes) or ray (a cluster).")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="A", help="Of an existing Ray cluster: auto, HOST:6379."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            metavar="N",
            min=1,
            help="Runs at once. [default: as many as fit and are fastest together, measured once a study]",
        ),
    ] = None,
    gpus_per_run: Annotated[
        float | None,
        typer.Option(
            "--gpus-per-run",
            metavar="F",
            help="Share of a GPU for a run: 0.5 puts two on one. [default: as measured; on Ray 1]",
        ),
    ] = None,
    cpus_per_run: Annotated[
        int | None,
        typer.Option("--cpus-per-run", metavar="N", min=1, help="Cores for a run on Ray. [default: 1]"),
    ] = None,
    retry_failed: RetryFailed = False,
    seeds: Seeds = None,
    settings: options.Settings = None,
    allow: options.Allow = None,
    only: Only = None,
    runs: Runs = Path("runs"),
    data: options.Data = None,
    device: options.Device = "auto",
    deterministic: Deterministic = True,
    compile: Compile = False,
    quiet: options.Quiet = False,
) -> None:
    """Execute the runs that a study still needs; after any stop the same command goes on.

    Example: ralr-viz study run table9-laptop --jobs 2
    """
    from ralr_viz.cli.study_run import check_outcomes, run_study
    from ralr_viz.data import data_root
    from ralr_viz.own_code import allowed_code
    from ralr_viz.study.execute import ExecuteOptions
    from ralr_viz.study.plan import compute_plan, describe_counts

    study, root = _load(name, settings, seeds, only), data_root(data)
    outcomes = run_study(
        lambda: compute_plan(study, runs, root),
        ExecuteOptions(
            data=root, device=device, deterministic=deterministic, compile=compile, allow=allowed_code()
        ),
        engine=engine,
        address=address,
        jobs=jobs,
        gpus_per_run=gpus_per_run,
        cpus_per_run=cpus_per_run,
        retry_failed=retry_failed,
        quiet=quiet,
    )
    for outcome in outcomes:
        print_line(outcome.directory)
    if not quiet:
        plan = compute_plan(study, runs, root)
        print_note(f"{len(plan.entries)} runs: {describe_counts(plan.counts)}")
    check_outcomes(outcomes)


@app.command("commands")
def commands(
    name: Name,
    retry_failed: RetryFailed = False,
    seeds: Seeds = None,
    settings: options.Settings = None,
    allow: options.Allow = None,
    only: Only = None,
    runs: Runs = Path("runs"),
    data: options.Data = None,
    device: options.Device = "auto",
    deterministic: Deterministic = True,
    compile: Compile = False,
) -> None:
    """Print one `ralr-viz run DIR` a line for each run that nobody has done or does, as for a SLURM array.

    Example: ralr-viz study commands table1 > jobs.txt
    """
    from ralr_viz.data import data_root
    from ralr_viz.own_code import allowed_code
    from ralr_viz.study.begun import as_begun
    from ralr_viz.study.execute import ExecuteOptions
    from ralr_viz.study.plan import compute_plan, describe_counts, prepare_plan

    plan = compute_plan(_load(name, settings, seeds, only), runs, data_root(data))
    wanted = {"pending", "stopped"} | ({"failed"} if retry_failed else set())
    wanted_runs = {entry.directory for entry in plan.entries if entry.state.status in wanted}
    begun, _ = as_begun(plan, ExecuteOptions(None, device, deterministic, compile))
    device, deterministic, compile = begun.device, begun.deterministic, begun.compile
    passed = ["--data", str(data.resolve())] if data is not None else []
    passed += ["--device", device] if device != "auto" else []
    passed += ["--fast"] * (not deterministic) + ["--compile"] * compile
    passed += [word for named in allowed_code() for word in ("--allow", named)]
    for directory in prepare_plan(plan):
        if directory in wanted_runs:
            print_line(shlex.join(["ralr-viz", "run", str(directory), *passed]))
    left_out = {k: v for k, v in plan.counts.items() if k not in wanted}
    if left_out:
        print_note(f"left out: {describe_counts(left_out)}")
    for missing, how in plan.missing_data.items():
        print_note(f"data set {missing} is not there: {how}")


@app.command("status")
def status(
    name: Name,
    seeds: Seeds = None,
    settings: options.Settings = None,
    allow: options.Allow = None,
    only: Only = None,
    runs: Runs = Path("runs"),
    data: options.Data = None,
    once: Annotated[bool, typer.Option("--once", help="Print once and end, as without a terminal.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show how far a study is; on a terminal live, until it is done or Ctrl-C.

    Example: ralr-viz study status table1
    """
    from ralr_viz.data import data_root
    from ralr_viz.study.plan import compute_plan

    study, root = _load(name, settings, seeds, only), data_root(data)
    if as_json or once or not sys.stdout.isatty():
        print_plan(compute_plan(study, runs, root), as_json=as_json)
    else:
        watch(lambda: compute_plan(study, runs, root))


@app.command("table")
def table(
    name: Name,
    format: Annotated[str, typer.Option("--format", help="md, latex, csv or html.")] = "md",
    metric: Annotated[
        str,
        typer.Option(
            "--metric",
            help="Test accuracy: last (epoch), median_last5 or best (at the lowest validation loss).",
        ),
    ] = "last",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Also save the result, its figure and the table in every format."
        ),
    ] = None,
    seeds: Seeds = None,
    settings: options.Settings = None,
    allow: options.Allow = None,
    only: Only = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            "--reference",
            metavar="AXIS=LABEL",
            help="Compare with this label, e.g. Method=Scaled. [default: the study's]",
        ),
    ] = None,
    weights: Annotated[
        str,
        typer.Option(
            "--weights",
            help="swa or ema: scores of averaged weights (ralr-viz average), in place of the last.",
        ),
    ] = "",
    runs: Runs = Path("runs"),
    style: options.Style = "icml",
    caption: options.Caption = False,
    force: options.Force = False,
) -> None:
    """Print the table of a study, finished or not, beside the paper's numbers; of one that decides, its verdict.

    Example: ralr-viz study table table1 --format latex > table1.tex
    """
    from ralr_viz.study.grid import compare_with

    study = _load(name, settings, seeds, only)
    if reference:
        study = compare_with(study, reference)
    kinds = {"md": "md", "tex": "latex", "html": "html"}
    if out is not None:
        force = prepare_out(out, study.name, style=style, force=force, texts=kinds)
    result, render = _compute(study, runs, metric, weights, decides=not reference)
    if out is None:
        print_document(render(format))
        return
    texts = {suffix: render(kind) for suffix, kind in kinds.items()}
    save_all(result, out, study.name, style=style, force=force, texts=texts)


@app.command("publish")
def publish(
    name: Name,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the published runs.")],
    seeds: Seeds = None,
    settings: options.Settings = None,
    allow: options.Allow = None,
    only: Only = None,
    runs: Runs = Path("runs"),
    weights: Annotated[
        str | None,
        typer.Option("--weights", metavar="A-B", help="Seeds whose last states are copied. [default: all]"),
    ] = None,
) -> None:
    """Copy the runs of a study that are done, their last states as safetensors; copied back, they count as done.

    Example: ralr-viz study publish table8-laptop --out checkpoints
    """
    from ralr_viz.study.publish import publish_study

    kept = None if weights is None else options.parse_seeds(weights)
    for directory in publish_study(_load(name, settings, seeds, only), runs, out, weights=kept):
        print_line(directory)


def _compute(
    study: Study, runs: Path, metric: str, weights: str, *, decides: bool
) -> tuple[StudyResult | DecisionResult, Callable[[str], str]]:
    """The table of a study, or what its rule says, and how it is written in a format."""
    from ralr_viz.study.decision import compute_decision
    from ralr_viz.study.render import render_study
    from ralr_viz.study.render_decision import render_decision
    from ralr_viz.study.table import compute_study

    if study.rule is not None:
        if metric != "last" or weights or not decides:
            raise InputError(
                f"`{study.name}` is judged by its own rule: leave out --metric, --weights and --reference"
            )
        decision = compute_decision(study, runs)
        decision = replace(decision, provenance=dict(decision.provenance) | describe_command())
        return decision, partial(render_decision, decision)
    result = compute_study(study, runs, weights=weights)
    result = replace(result, provenance=dict(result.provenance) | describe_command())
    return result, partial(render_study, result, metric=metric)


def _load(name: str, settings: list[str] | None, seeds: str | None, only: list[str] | None) -> Study:
    from ralr_viz.study.grid import select_cells
    from ralr_viz.study.grid_file import load_study

    study = load_study(name, settings or ())
    if only:
        study = select_cells(study, only)
    return study if seeds is None else study.with_seeds(options.parse_seeds(seeds))


def _measure(plan: Plan, data: Path, device: str, deterministic: bool, compile: bool) -> dict[RateKey, Rate]:
    """Speed of each kind of training that is not done and whose data are there."""
    from ralr_viz.study.pilot import measure_rate
    from ralr_viz.study.plan import rate_key

    recipes = {
        rate_key(entry.cell.recipe): entry.cell.recipe
        for entry in plan.entries
        if not entry.done and entry.cell.recipe.dataset not in plan.missing_data
    }
    rates: dict[RateKey, Rate] = {}
    for key, recipe in recipes.items():
        print_note(f"measuring {key.model} on {key.dataset}, batch {key.batch} …")
        rates[key] = measure_rate(recipe, data, device=device, deterministic=deterministic, compile=compile)
    return rates
