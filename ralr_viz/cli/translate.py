"""``ralr-viz translate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_json, print_line, print_note
from ralr_viz.cli.progress import show_progress


def translate(
    ckpt: options.Checkpoints,
    text: Annotated[
        list[str] | None, typer.Option("--text", metavar="SENTENCE", help="Sentence; repeatable.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Instead: sentences, one a line, in UTF-8.")
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option("--reference", metavar="FILE", help="Their translations by people, one a line."),
    ] = None,
    data: options.Data = None,
    split: options.Split = "test",
    limit: Annotated[
        int,
        typer.Option(
            "--limit",
            metavar="N",
            min=1,
            help="Without --text or --file: sentences of the split, evenly spread.",
        ),
    ] = 8,
    beam: Annotated[
        int | None,
        typer.Option(
            "--beam", metavar="N", min=1, max=64, help="Hypotheses of a sentence. [default: the recipe's]"
        ),
    ] = None,
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Translate sentences with one checkpoint or more, and mark the words in which they differ by brackets.

    Example: ralr-viz translate --ckpt runs/R/baseline/seed0 --ckpt runs/R/ralr/seed0 --text "A dog runs."
    """
    from ralr_viz.analysis.translations import translate as translate_with
    from ralr_viz.comparison import compare
    from ralr_viz.data.parallel import read_lines
    from ralr_viz.errors import InputError

    if text and file is not None:
        raise InputError("give sentences by --text or by --file, not by both")
    if reference is not None and file is None:
        raise InputError("`--reference` belongs to the lines of a --file: give that, too")
    lines = read_lines(file) if file is not None else text or None
    references = read_lines(reference) if reference is not None else ()
    compared = compare(ckpt, root=data, split=split, limit=limit, device=device, precision=precision)
    with show_progress(quiet) as progress:
        found = translate_with(compared, lines, references, beam=beam, progress=progress)
    if as_json:
        rows = zip(*found.hypotheses, strict=True)
        print_json(
            [
                {
                    "source": found.sources[i],
                    "reference": found.references[i] if found.references else None,
                    "translations": dict(zip(found.models, row, strict=True)),
                }
                for i, row in enumerate(rows)
            ]
        )
        return
    for i in range(len(found)):
        named = found.lines(i)
        width = max(len(name) for name, _ in named)
        for name, line in named:
            print_line(f"{name:<{width}}  {line}")
        print_line("")
    if len(compared) > 1 and not quiet:
        print_note(f"{found.differing:,} of {len(found):,} translations differ")
