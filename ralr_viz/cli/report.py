"""``ralr-viz report``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_line, print_note
from ralr_viz.cli.output import describe_pasteable, print_nothing
from ralr_viz.cli.progress import show_progress
from ralr_viz.errors import InputError, UnknownNameError

_MEGABYTE = 1_000_000
_WARN, _REFUSE = 10 * _MEGABYTE, 40 * _MEGABYTE
"""Size of a page from which a mail server, and then a browser, has trouble with it."""


def report(
    a: Annotated[
        str,
        typer.Option(
            "--a",
            metavar="RUN",
            help="Run directory (DIR, DIR@24, DIR@best), a method's folder of seeds, or a weights file.",
        ),
    ],
    b: Annotated[
        str | None, typer.Option("--b", metavar="RUN", help="What it is compared with, likewise.")
    ] = None,
    control: Annotated[
        str | None,
        typer.Option(
            "--control",
            metavar="RUN",
            help="A third one beside the two, such as a constant larger learning rate (`scaled`, `matched`).",
        ),
    ] = None,
    label: options.Labels = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The page to write.")] = Path(
        "report.html"
    ),
    samples: Annotated[
        int,
        typer.Option(
            "--samples", metavar="N", min=1, max=50_000, help="Images in the maps, drawn at random."
        ),
    ] = 2000,
    why: Annotated[
        Path | None,
        typer.Option("--why", metavar="DIR", help="What `ralr-viz why --out DIR` found, for its claims."),
    ] = None,
    data: options.Data = None,
    dataset: options.DatasetName = None,
    split: options.Split = "test",
    limit: options.Limit = None,
    arch: options.Arch = None,
    num_classes: options.NumClasses = None,
    size: options.Size = None,
    mean: options.Mean = None,
    std: options.Std = None,
    batch: options.Batch = None,
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=2**32 - 2, help="Of samples, maps and intervals.")
    ] = 0,
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """One self-contained HTML page that shows why one run beats another: open it from disk, mail it.

    What is missing (images, an earlier checkpoint, a log) costs its section only, which says what to run.

    Example: ralr-viz report --a runs/R/baseline --b runs/R/ralr --control runs/R/scaled --out report.html
    """
    from ralr_viz.comparison.samples import SPLITS
    from ralr_viz.report.page import build_report
    from ralr_viz.results.storage import write_bytes
    from ralr_viz.runtime.device import resolve_runtime
    from ralr_viz.runtime.memory import return_large_arrays
    from ralr_viz.workflows.labels import check_labels
    from ralr_viz.workflows.report import gather_inputs
    from ralr_viz.workflows.report.gathering import Options
    from ralr_viz.workflows.report.sides import find_sources

    _check_out(out, force)
    if split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)
    resolve_runtime(device, precision)  # refuse early what is not there
    return_large_arrays()
    sources = find_sources(a, b, control)
    if label:
        check_labels(label, len(sources))
    theirs = {
        "arch": arch,
        "num_classes": num_classes,
        "image_size": size,
        "mean": options.parse_three(mean, "--mean"),
        "std": options.parse_three(std, "--std"),
        "dataset": dataset,
    }
    say, asked = print_nothing if quiet else print_note, describe_pasteable()
    chosen = Options(
        samples, split, limit, data, batch, device, precision, seed, theirs, asked, say, label or ()
    )
    with show_progress(quiet) as progress:
        inputs = gather_inputs(sources, why, chosen, progress)
    page = build_report(inputs).encode("utf-8", "backslashreplace")
    _check_size(len(page), samples, force, quiet)
    write_bytes(out, page, replace=force)
    if not quiet:
        _say_missing(inputs.missing)
    print_line(out)


def _say_missing(missing: Mapping[str, str]) -> None:
    """A line for each reason, with the sections that it costs."""
    sections: dict[str, list[str]] = {}
    for section, reason in missing.items():
        sections.setdefault(reason, []).append(section)
    for reason, names in sections.items():
        print_note(f"{', '.join(names)}: not on the page: {reason}")


def _check_out(out: Path, force: bool) -> None:
    """Refuse early, before the work, what cannot be written or would overwrite something."""
    if out.is_dir():
        raise InputError(f"`--out {out}` is a folder: give the page's file, such as {out / 'report.html'}")
    if out.exists() and not force:
        raise InputError(f"`{out}` exists: pass --force to overwrite it or another --out")
    from ralr_viz.workflows.output import make_folder

    make_folder(out.parent)


def _check_size(size: int, samples: int, force: bool, quiet: bool) -> None:
    """Warn of a page that is hard to mail; refuse one that a browser hardly opens.

    Raises:
        InputError: Too large, and no ``--force``.
    """
    shown = f"{size / _MEGABYTE:.1f} MB"
    if size > _REFUSE and not force:
        raise InputError(
            f"`--samples {samples}` makes a page of {shown}, more than {_REFUSE // _MEGABYTE} MB: take fewer, or pass "
            "--force"
        )
    if size > _WARN and not quiet:
        print_note(f"the page has {shown}: many mail servers refuse that, take fewer --samples")
