"""``ralr-viz why``."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_json, print_line, print_note
from ralr_viz.cli.noun_command import make_command
from ralr_viz.cli.output import describe_command, prepare_out, save_all
from ralr_viz.foreign import one_line
from ralr_viz.nouns import NOUNS

if TYPE_CHECKING:
    from ralr_viz.results.measure import Measure
    from ralr_viz.results.why import WhyResult


def why(
    a: Annotated[
        Path, typer.Option("--a", metavar="RUNS", help="Run directory, or folder of seeds, to compare with.")
    ],
    b: Annotated[
        Path,
        typer.Option("--b", metavar="RUNS", help="The runs whose change is asked about, such as RALR's."),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for the table, results and figures.")
    ],
    control: Annotated[
        Path | None,
        typer.Option(
            "--control",
            metavar="RUNS",
            help="Runs with a constant larger learning rate (`scaled`, `matched`).",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="NAME", help="Only this diagnostic; repeatable. [default: all]"),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            "--images",
            metavar="N",
            min=2,
            help="Training images of barriers and sharpness. [default: each one's own]",
        ),
    ] = None,
    arch: options.Arch = None,
    dataset: options.DatasetName = None,
    data: options.Data = None,
    device: options.Device = "auto",
    style: options.Style = "icml",
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Test the paper's explanations on saved runs: one table of claims, measures, intervals and verdicts.

    Runs the diagnostics that the runs and the data allow, each into its own folder with its figure. Stopped
    and started again, it goes on; with more diagnostics or seeds, it adds them.

    Example: ralr-viz why --a runs/R/baseline --b runs/R/ralr --control runs/R/scaled --out out
    """
    from ralr_viz.analysis.why import compute_why
    from ralr_viz.cli.arms import find_arms
    from ralr_viz.cli.why_jobs import DIAGNOSTICS, JobRunner, find_lacks, plan_jobs
    from ralr_viz.plots.why import why_table
    from ralr_viz.train.runtime import resolve_runtime

    prepare_out(out, "why", style=style, force=force or _is_ours(out), texts=["md"])
    resolve_runtime(device)  # refuse early what is not there
    arms = find_arms(a, b, control, quiet=quiet)
    network = {name: value for name, value in (("arch", arch), ("dataset", dataset)) if value is not None}
    jobs, notes = plan_jobs(arms, only, {"data": data, "device": device}, images=images, network=network)
    if not quiet:
        for lack in find_lacks(arms, network):
            print_note(f"why: {lack}")
    commands = {
        name: make_command(NOUNS[name])
        if name in NOUNS
        else getattr(importlib.import_module(f"ralr_viz.cli.{name}"), name)
        for name in DIAGNOSTICS
    }
    results, failed = JobRunner(out, commands, style=style, force=force, quiet=quiet).run(jobs)
    measures: dict[str, list[Sequence[Measure]]] = {}
    for job, found in results:
        if job.per_arm:
            measures.setdefault(job.title, []).append(found.measures())  # type: ignore[attr-defined]
            notes += [job.note] if job.note else []
    for title in [title for title, of_seeds in measures.items() if len(of_seeds) < len(arms.seeds)]:
        del measures[title]
        notes.append(f"{title} is left out of the table: not every seed has it")
    described = [
        {"arm": name, "seed": seed, "run": run.record.label}
        for seed, row in zip(arms.seeds, arms.runs, strict=True)
        for name, run in zip(arms.names, row, strict=True)
    ]
    result = compute_why(
        measures,
        arms=arms.names,
        seeds=arms.seeds,
        notes=[*notes, *failed],
        provenance=describe_command() | {"runs": described, "device": device},
    )
    if as_json:
        print_json([_plain(row) for row in why_table(result)])
    else:
        for line in describe_why(result):
            print_line(line)
    if not quiet:
        for note in result.notes:
            print_note(note)
    texts = {"md": "".join(f"{one_line(line, None)}\n" for line in describe_why(result))}
    save_all(result, out, "why", style=style, force=True, quiet=quiet, texts=texts)


def describe_why(result: WhyResult) -> list[str]:
    """The table as Markdown: the four claims first, then what explores."""
    from ralr_viz.results.why import CLAIMS

    places = {k: m for m in range(len(result.names)) if (k := result.claim_of(m)) is not None}
    header = ["claim", "measure", *result.arms, *_arrows(result), "p, Holm", "verdict"]
    rows = []
    for k, claim in enumerate(CLAIMS):
        if k in places:
            p = "–" if math.isnan(result.corrected_p[k]) else f"{result.corrected_p[k]:.3g}"
            rows.append([claim.text, *_cells(result, places[k]), p, result.verdicts[k]])
        else:
            rows.append([claim.text, "–", *["–"] * (len(header) - 4), "–", result.verdicts[k]])
    lines = [_caption(result), "", *_markdown(header, rows)]
    others = [m for m in range(len(result.names)) if result.claim_of(m) is None]
    if others:
        header = ["diagnostic", "measure", *result.arms, *_arrows(result), "p, uncorrected"]
        rows = [
            [result.diagnostics[m], *_cells(result, m), _number(float(result.p[m, 0]), 2)] for m in others
        ]
        lines += [
            "",
            "Exploratory: no verdict, no correction for their number.",
            "",
            *_markdown(header, rows),
        ]
    return lines


def _caption(result: WhyResult) -> str:
    n = len(result.seeds)
    if n == 1:
        return (
            "One training seed: intervals are over images or directions, and hold for these checkpoints only."
        )
    text = f"{n} training seeds, paired: mean difference [95 % t interval over seeds]"
    text += f"; exact sign-flip p is {result.sign_flip_floor:.3g} at least."
    return text + (" With fewer than 3 seeds, these checkpoints only." if n < 3 else "")


def _arrows(result: WhyResult) -> list[str]:
    names = {"a": result.arms[0], "b": result.arms[1], "control": result.arms[-1]}
    return [" − ".join(names[part] for part in comparison.split(" − ")) for comparison in result.comparisons]


def _cells(result: WhyResult, m: int) -> list[str]:
    from ralr_viz.results.measure import format_interval

    unit = f" ({result.units[m]})" if result.units[m] else ""
    cells = [result.labels[m] + unit] + [_number(float(v), 4) for v in result.values[m].mean(axis=1)]
    for c in range(len(result.comparisons)):
        mean, low, high, _ = result.interval(m, c)
        cells.append("–" if math.isnan(mean) else format_interval(mean, low, high, 3, signed=True))
    return cells


def _number(value: float, digits: int) -> str:
    from ralr_viz.results.measure import format_number

    return "–" if math.isnan(value) else format_number(value, digits)


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    return [lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


def _is_ours(out: Path) -> bool:
    """Whether ``why`` wrote the table that is there, which it may then write anew from what it keeps beside it."""
    from ralr_viz.cli.why_jobs import INDEX

    return (out / INDEX).is_file() and (out / "why").is_dir()
