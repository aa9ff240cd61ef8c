"""``ralr-viz data``: what is in the data root, and how more comes in."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ralr_viz.cli.lines import print_json, print_line, print_note
from ralr_viz.cli.options import Data, Force, Json, Quiet
from ralr_viz.cli.progress import show_progress

if TYPE_CHECKING:
    from ralr_viz.data import Dataset, DatasetRow, ParallelText

app = typer.Typer(no_args_is_help=True)

Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        help="Decoding threads. [default: one, or one per core where images are scaled]",
    ),
]

Cap = Annotated[
    int | None,
    typer.Option(
        "--cap", metavar="N", help="Longest side in pixels that photographs are stored with. [default: 640]"
    ),
]


@app.command("list")
def list_command(data: Data = None, as_json: Json = False) -> None:
    """The known data sets and your own: what is there, and how to get the rest."""
    from ralr_viz.data import data_root, list_datasets

    root = data_root(data)
    rows = list_datasets(root)
    if as_json:
        print_json([dataclasses.asdict(row) for row in rows])
        return
    print_line(f"data root: {root}")
    width = max(len(row.name) for row in rows)
    for row in rows:
        print_line(f"{row.name:{width}}  {_describe(row)}")


@app.command("doctor")
def doctor_command(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A data set. [default: all]")] = None,
    data: Data = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Read every pixel and check it against the store and the literature; exit code 1 if a check fails."""
    from ralr_viz.data import data_root, doctor

    root = data_root(data)
    with show_progress(quiet) as progress:
        checks = doctor(root, name, progress)
    if as_json:
        print_json([dataclasses.asdict(check) for check in checks])
    elif not checks:
        print_line(f"no data sets in {root}")
    else:
        for check in checks:
            print_line(f"{'ok  ' if check.ok else 'FAIL'}  {check.dataset}: {check.check}: {check.detail}")
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


@app.command("import")
def import_command(
    name: Annotated[str, typer.Argument(help="A known name (cifar10, …) or one of your own.")],
    source: Annotated[
        list[Path],
        typer.Option(
            "--from",
            metavar="PATH",
            help="Folder, zip or tar: official files, class folders or parallel text; repeatable, for parts of one data set.",
        ),
    ],
    data: Data = None,
    size: Annotated[
        int | None,
        typer.Option("--size", metavar="N", help="Scale and crop your own images to N×N (antialiased)."),
    ] = None,
    cap: Cap = None,
    force: Force = False,
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Decode a data set once into the data root; nothing is stored unless all of it is sound."""
    from ralr_viz.data import data_root, import_dataset

    with show_progress(quiet) as progress:
        dataset = import_dataset(
            name,
            source,
            data_root(data),
            size=size,
            cap=cap,
            force=force,
            workers=workers,
            progress=progress,
            say=None if quiet else print_note,
        )
    _print_dataset(dataset, as_json)


@app.command("download")
def download_command(
    name: Annotated[str, typer.Argument(help="A known name, as `ralr-viz data list` has them.")],
    data: Data = None,
    force: Force = False,
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Download the official archives, check their MD5 and import them."""
    from ralr_viz.data import data_root, download_dataset

    with show_progress(quiet) as progress:
        dataset = download_dataset(
            name,
            data_root(data),
            force=force,
            workers=workers,
            progress=progress,
            say=None if quiet else print_note,
        )
    _print_dataset(dataset, as_json)


@app.command("weights")
def weights_command(
    arch: Annotated[str, typer.Argument(help="Network, e.g. torchvision:resnet50.")],
    name: Annotated[str, typer.Argument(help="Its weights, as torchvision calls them: IMAGENET1K_V1.")],
) -> None:
    """Download torchvision's weights to where it keeps them, and check their hash; print the file.

    Example: ralr-viz data weights torchvision:resnet50 IMAGENET1K_V1
    """
    from ralr_viz.models import check_model
    from ralr_viz.models.pretrained import locate_weights

    check_model(arch)
    print_line(locate_weights(arch, name, download=True)[0])


def _describe(row: DatasetRow) -> str:
    if row.languages is not None:
        pairs = "" if row.n_train is None else f"{row.n_train:,} + {row.n_test:,} "
        what = f"{pairs}sentence pairs, {row.languages[0]} to {row.languages[1]}"
        return "; ".join(filter(None, [f"{'ready' if row.present else 'absent':7}  {what}", row.note]))
    if row.n_train is None:
        return f"damaged  {row.note}"
    status = "ready" if row.present else "absent"
    counts = f"{row.n_train:,} + {row.n_test:,}"
    if row.image_size is not None:
        images = f"{counts} images of {row.image_size} pixels a side"
    elif row.side_range is not None:
        images = f"{counts} photographs of {row.side_range[0]} to {row.side_range[1]} pixels a side"
    else:
        images = f"{counts} photographs"
    return "; ".join(
        filter(
            None, [f"{status:7}  {images}, {row.num_classes} classes", "boxes" * bool(row.boxes), row.note]
        )
    )


def _print_dataset(dataset: Dataset | ParallelText, as_json: bool) -> None:
    from ralr_viz.data import ParallelText

    if isinstance(dataset, ParallelText):
        _print_text(dataset, as_json)
        return
    facts = {
        "name": dataset.name,
        "path": str(dataset.root),
        "n_train": len(dataset.train),
        "n_test": len(dataset.test),
        "num_classes": dataset.num_classes,
        "image_size": None if dataset.has_photographs else dataset.image_size,
        "side_range": dataset.side_range,
        "boxes": dataset.has_boxes,
        "mean": dataset.mean,
        "std": dataset.std,
        "content_hash": dataset.content_hash,
        "notes": dataset.notes,
    }
    if as_json:
        print_json(facts)
    else:
        line = "{name}: {n_train:,} + {n_test:,} images, {num_classes} classes, in {path}"
        print_line(line.format(**facts))
        for note in dataset.notes:
            print_note(f"{dataset.name}: {note}")


def _print_text(text: ParallelText, as_json: bool) -> None:
    facts = {
        "name": text.name,
        "path": str(text.root),
        "source": text.source,
        "target": text.target,
        **{f"n_{split}": count for split, count in text.counts.items()},
        "content_hash": text.content_hash,
        "notes": text.notes,
    }
    if as_json:
        print_json(facts)
        return
    line = "{name}: {n_train:,} + {n_val:,} + {n_test:,} sentence pairs, {source} to {target}, in {path}"
    print_line(line.format(**facts))
    for note in text.notes:
        print_note(f"{text.name}: {note}")
