"""Options that many commands share: one name, one meaning."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ralr_viz.errors import InputError

if TYPE_CHECKING:
    from ralr_viz.tasks.own import OwnTask

_CODE = re.compile(r"(?:[^=]*=)?([\w.]+:\w[\w.]*)")


def _allow(context: typer.Context, values: list[str] | None) -> list[str] | None:
    """Allow the code that the words of an option name, until the command is over."""
    from ralr_viz.own_code import allow_code, names_code

    found = [match[1] for value in values or () if (match := _CODE.fullmatch(value)) and names_code(match[1])]
    context.with_resource(allow_code(found))
    return values


def _write_captions(context: typer.Context, wanted: bool) -> bool:
    """Have figures that are drawn until the command is over bear their captions."""
    if wanted:
        from ralr_viz.plots.style import captions

        context.with_resource(captions())
    return wanted


Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="PACKAGE:NAME",
        help="Code of your own that a recipe or a run names as its task, network or optimizer, and that may be imported; "
        "repeatable.",
        callback=_allow,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a recipe setting; repeatable.", callback=_allow
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Folder of ingested data sets. [default: $RALR_VIZ_DATA, else the user's cache]",
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")]
Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        help="auto, fp32 or bf16 (autocast); analyses on CUDA also tf32, training also fp16 (its loss is scaled).",
    ),
]
Checkpoints = Annotated[
    list[str],
    typer.Option(
        "--ckpt",
        metavar="CKPT",
        help="Checkpoint file or run directory (DIR, DIR@200, DIR@best); repeatable.",
    ),
]
OneCheckpoint = Annotated[
    str,
    typer.Option("--ckpt", metavar="CKPT", help="Checkpoint file or run directory (DIR, DIR@200, DIR@best)."),
]
Arch = Annotated[
    str | None,
    typer.Option(
        "--arch",
        help="Network of a file that does not say it: resnet20, torchvision:resnet18, package.module:factory.",
    ),
]
DatasetName = Annotated[
    str | None, typer.Option("--dataset", help="Data set. [default: the one that was trained on]")
]
NumClasses = Annotated[
    int | None,
    typer.Option(
        "--num-classes", metavar="N", min=1, max=1_000_000, help="Classes of a file that does not say it."
    ),
]
Size = Annotated[
    int | None,
    typer.Option(
        "--size",
        metavar="N",
        min=8,
        max=1024,
        help="Side in pixels of the images that a network was trained on, and that photographs are looked at with.",
    ),
]
Resize = Annotated[
    int | None,
    typer.Option(
        "--resize",
        metavar="N",
        min=8,
        max=2048,
        help="Pixels that the shorter side of photographs is scaled to before the centre is cut out. [default: as in training, else 8/7 of --size]",
    ),
]
View = Annotated[
    str | None,
    typer.Option(
        "--view",
        help="How photographs become squares: centre, or warp for the whole picture. [default: as in training]",
    ),
]
Mean = Annotated[
    str | None,
    typer.Option("--mean", metavar="A,B,C", help="Normalisation of other people's weights, in [0, 1]."),
]
Std = Annotated[
    str | None,
    typer.Option("--std", metavar="A,B,C", help="Normalisation of other people's weights, in [0, 1]."),
]
Split = Annotated[str, typer.Option("--split", help="test, train or val (the part held out in training).")]
Limit = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=1, help="Only N images of the split, evenly spread.")
]
Task = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="PACKAGE:FACTORY",
        help="Your own loss and batches in the place of images: a function that returns ralr_viz.task(…).",
    ),
]
BATCH_HELP = "Images per forward pass. [default: {}, fewer of large images]"
Batch = Annotated[int | None, typer.Option("--batch", metavar="N", min=1, help=BATCH_HELP.format(500))]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="NAME",
        help="What an input is called, in the inputs' order; repeatable. [default: its method, else its file]",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite what is there.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no notes on stderr.")]
Style = Annotated[str, typer.Option("--style", help="Sizes and fonts of: icml, neurips, iclr, cvpr, ieee.")]
Caption = Annotated[
    bool,
    typer.Option(
        "--caption",
        help="Write a figure's caption into the picture, too, not only beside it.",
        callback=_write_captions,
    ),
]


def parse_three(text: str | None, option: str) -> tuple[float, float, float] | None:
    """``A,B,C`` as three floats.

    Raises:
        InputError: Not three numbers.
    """
    if text is None:
        return None
    try:
        a, b, c = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"`{option} {text}` must be three numbers such as 0.49,0.48,0.45") from None
    return a, b, c


def load_task(named: str | None) -> OwnTask | None:
    """The task of ``--task``, whose code is imported because it is named here."""
    if named is None:
        return None
    from ralr_viz.tasks.own import load_task

    return load_task(named)


def parse_seeds(text: str) -> list[int]:
    """``0-3`` or ``0,2,5`` as a list of seeds, each once.

    Raises:
        InputError: Anything else.
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if match is None:
            raise InputError(f"`--seeds {text}` must be a range such as 0-3 or a list such as 0,2,5")
        low, high = int(match[1]), int(match[2] or match[1])
        if not low <= high < low + 10_000:
            raise InputError(f"`--seeds {text}`: {low}-{high} is no range of 1 to 10,000 seeds; write 0-3")
        seeds.extend(range(low, high + 1))
    return list(dict.fromkeys(seeds))
