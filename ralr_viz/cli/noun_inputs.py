"""By which options the commands of nouns open what they look at; `ralr_viz.workflows.subjects` opens it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ralr_viz.cli import options
from ralr_viz.nouns import Noun, Option
from ralr_viz.nouns.cam import CHOICE

Parameters = tuple[list[inspect.Parameter], list[inspect.Parameter]]


def keyword(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    """A parameter of a command."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def parameter(option: Option) -> inspect.Parameter:
    """The parameter of a command that an option of a noun makes."""
    kind: Any = str if option.many == "comma" else option.of_one
    default = option.default
    if option.many == "comma":
        default = ",".join(f"{value:g}" for value in option.default) or "none"
    elif option.many == "repeated":
        kind = list[option.of_one]  # type: ignore[name-defined]
    if option.default is None:
        kind = kind | None
    numeric = not option.many and option.of_one in (int, float)
    declared = typer.Option(
        option.flags,
        metavar=option.metavar,
        min=option.least if numeric else None,
        max=option.most if numeric else None,
        help=option.help,
    )
    return keyword(option.name, Annotated[kind, declared], default)


_LABELS = keyword("label", options.Labels, None)
_AUGMENT = Annotated[
    bool,
    typer.Option(
        "--augment/--no-augment",
        help="Give the images one fixed draw of training's augmentation, whose statistics BatchNorm knows.",
    ),
]
_SOME = Annotated[
    list[str] | None,
    typer.Option(
        "--ckpt",
        metavar="CKPT",
        help="Checkpoint file or run directory (DIR, DIR@200, DIR@best); repeatable.",
    ),
]
_PATH = Annotated[
    Path | None,
    typer.Option("--run", metavar="RUN", help="Instead: the path of a run through the epochs it has kept."),
]
_PAIRS = Annotated[
    list[str],
    typer.Option(
        "--ckpt",
        metavar="CKPT",
        help="Checkpoint file or run directory (DIR, DIR@200, DIR@best); two make a pair.",
    ),
]

_NULL = Annotated[
    list[str] | None,
    typer.Option(
        "--null",
        metavar="CKPT",
        help="Two checkpoints that differ by the seed only: what differs anyway; repeatable by two.",
    ),
]


_IMAGES = Annotated[
    list[Path] | None, typer.Option("--images", metavar="FILE...", help="Your own pictures, one or more.")
]
# click's options take one value each; the others of `--images A B C` arrive as arguments
_MORE_IMAGES = Annotated[list[Path] | None, typer.Argument(metavar="--images FILE", hidden=True)]


def _batch(most: int) -> Any:
    """``--batch`` of a noun that takes so many small images."""
    shown = options.BATCH_HELP.format(most)
    return Annotated[int | None, typer.Option("--batch", metavar="N", min=1, help=shown)]


_OF_IMAGES = {"dataset", "arch", "num_classes", "size", "resize", "view", "mean", "std"}
"""Options by which networks that look at images are opened."""


def _network_parameters(noun: Noun, ckpt: Any = options.Checkpoints) -> Parameters:
    inputs = noun.spec.inputs
    limit: Any = options.Limit
    limit_help = inputs.limit_help
    if inputs.limit_on_gpu is not None:
        limit_help = f"Images. [default: {inputs.limit} on the CPU, else {inputs.limit_on_gpu}]"
    if limit_help:
        limit = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help=limit_help)]
    precision: Any = options.Precision
    if inputs.precision_help:
        precision = Annotated[str, typer.Option("--precision", help=inputs.precision_help)]
    after = [
        keyword("augment", _AUGMENT, True),
        keyword("data", options.Data, None),
        keyword("dataset", options.DatasetName, None),
        keyword("task", options.Task, None),
        keyword("allow", options.Allow, None),
        keyword("split", options.Split, inputs.split),
        keyword("limit", limit, None if inputs.limit_on_gpu else inputs.limit),
        keyword("arch", options.Arch, None),
        keyword("num_classes", options.NumClasses, None),
        keyword("size", options.Size, None),
        keyword("resize", options.Resize, None),
        keyword("view", options.View, None),
        keyword("mean", options.Mean, None),
        keyword("std", options.Std, None),
        keyword("batch", _batch(inputs.batch), None),
        keyword("device", options.Device, "auto"),
        keyword("precision", precision, inputs.precision),
    ]
    left_out = {"augment"} if not inputs.augment else set()
    left_out |= {"task", "allow"} if not noun.of_any_task else set()
    left_out |= {"batch"} if not inputs.batch else set()
    left_out |= {"split"} if not inputs.split else set()
    left_out |= _OF_IMAGES if not noun.of_any_task and "classification" not in noun.tasks else set()
    return [keyword("ckpt", ckpt), _LABELS], [p for p in after if p.name not in left_out]


def _path_parameters(noun: Noun) -> Parameters:
    _, after = _network_parameters(noun)
    return [keyword("ckpt", _SOME, None), keyword("run", _PATH, None), _LABELS], after


def _pair_parameters(noun: Noun) -> Parameters:
    return _network_parameters(noun, _PAIRS)


_RUNS = Annotated[
    list[Path],
    typer.Option("--run", metavar="RUN", help="Run directory, or a folder of them; repeatable."),
]
_CHURN = Annotated[
    bool,
    typer.Option(
        "--churn/--no-churn", help="Predictions and probabilities that change late: needs the images."
    ),
]

_KEPT = Annotated[
    bool,
    typer.Option("--kept", help="Evaluate the kept states on images of --split instead of reading records."),
]


def _run_parameters(noun: Noun) -> Parameters:
    inputs = noun.spec.inputs
    after = [
        *([keyword("churn", _CHURN, True)] if inputs.churn else []),
        *([keyword("kept", _KEPT, False)] if inputs.kept else []),
        keyword("data", options.Data, None),
        keyword("allow", options.Allow, None),
        keyword("split", options.Split, inputs.split),
        keyword("limit", options.Limit, inputs.limit),
        keyword("batch", _batch(inputs.batch), None),
        keyword("device", options.Device, "auto"),
        keyword("precision", options.Precision, inputs.precision),
    ]
    return [keyword("run", _RUNS), _LABELS], after if inputs.churn or inputs.kept else []


def _null_parameters(noun: Noun) -> Parameters:
    before, after = _pair_parameters(noun)
    return [*before, keyword("null", _NULL, None)], after


_STATE = Annotated[
    list[str],
    typer.Option(
        "--ckpt",
        metavar="RUN@E",
        help="State to continue: run directory and kept epoch, or a .pt file with the optimizer's state; repeatable, one of each seed.",
    ),
]


def _state_parameters(noun: Noun) -> Parameters:
    after = [
        keyword("data", options.Data, None),
        keyword("allow", options.Allow, None),
        keyword("device", options.Device, "auto"),
    ]
    return [keyword("ckpt", _STATE)], after


_LOGS = Annotated[
    list[Path],
    typer.Option(
        "--run", metavar="RUN", help="Run directory, a folder of them, or a CSV of your own log; repeatable."
    ),
]
_COLUMN = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="NAME=COLUMN",
        help="Column of a CSV that is not recognised, e.g. val_acc=score; repeatable.",
    ),
]


def _log_parameters(noun: Noun) -> Parameters:
    return [keyword("run", _LOGS), _LABELS], [keyword("column", _COLUMN, None)]


def _picture_parameters(noun: Noun) -> Parameters:
    before, after = _network_parameters(noun)
    chosen = [
        keyword("images", _IMAGES, None),
        keyword("more", _MORE_IMAGES, None),
        *map(parameter, CHOICE),
    ]
    return before, [*chosen, *after]


def _detector_parameters(noun: Noun) -> Parameters:
    """A detector's run says its data, size and normalisation."""
    before, after = _network_parameters(noun)
    kept = ("data", "split", "limit", "device")
    return before, [p for p in after if p.name in kept]


INPUTS: dict[str, Callable[[Noun], Parameters]] = {
    "networks": _network_parameters,
    "networks or path": _path_parameters,
    "pictures": _picture_parameters,
    "detectors": _detector_parameters,
    "pairs": _pair_parameters,
    "pairs and nulls": _null_parameters,
    "runs": _run_parameters,
    "logs": _log_parameters,
    "state": _state_parameters,
}
"""Parameters of the command, before ``--out`` and after the noun's own options, by what the noun takes."""
