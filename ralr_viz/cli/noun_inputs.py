"""How the commands of nouns open what they look at: the options, and what is made of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_note
from ralr_viz.errors import InputError
from ralr_viz.nouns import Inputs

if TYPE_CHECKING:
    from ralr_viz.comparison import Comparison

Parameters = tuple[list[inspect.Parameter], list[inspect.Parameter]]


class Opener(NamedTuple):
    """What a noun takes.

    Attributes:
        parameters: Of the command, before ``--out`` and after the noun's own options.
        open: Called with the noun's defaults, the values of these parameters (all taken out), the noun's own
            options and ``--quiet``; returns the first argument of the noun's function, or `Opened`.
    """

    parameters: Callable[[Inputs], Parameters]
    open: Callable[[Inputs, dict[str, Any], dict[str, Any], bool], Any]


class Opened(NamedTuple):
    """What a noun's function is called with: its first argument and more that come by the same options."""

    subject: Any
    more: dict[str, Any] = {}  # noqa: RUF012


def keyword(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    """A parameter of a command."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


_AUGMENT = Annotated[
    bool,
    typer.Option(
        "--augment/--no-augment",
        help="Give the images one fixed draw of training's augmentation, whose statistics BatchNorm knows.",
    ),
]
_PAIRS = Annotated[
    list[str],
    typer.Option(
        "--ckpt",
        metavar="CKPT",
        help="Checkpoint file or run directory (DIR, DIR@200, DIR@best); two make a pair.",
    ),
]


def _network_parameters(inputs: Inputs, ckpt: Any = options.Checkpoints) -> Parameters:
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
        keyword("split", options.Split, inputs.split),
        keyword("limit", limit, None if inputs.limit_on_gpu else inputs.limit),
        keyword("arch", options.Arch, None),
        keyword("num_classes", options.NumClasses, None),
        keyword("size", options.Size, None),
        keyword("mean", options.Mean, None),
        keyword("std", options.Std, None),
        keyword("batch", options.Batch, inputs.batch),
        keyword("device", options.Device, "auto"),
        keyword("precision", precision, inputs.precision),
    ]
    left_out = {"augment"} if not inputs.augment else set()
    left_out |= {"batch"} if not inputs.batch else set()
    return [keyword("ckpt", ckpt)], [p for p in after if p.name not in left_out]


def open_networks(inputs: Inputs, given: dict[str, Any], own: dict[str, Any], quiet: bool) -> Comparison:
    """The networks of ``--ckpt`` on the images of ``--split`` and ``--limit``; `compare` has the errors."""
    from ralr_viz.comparison import compare
    from ralr_viz.train.runtime import resolve_runtime

    limit = given["limit"]
    if limit is None and inputs.limit_on_gpu is not None:
        on_cpu = resolve_runtime(given["device"], "fp32").device.type == "cpu"
        limit = inputs.limit if on_cpu else inputs.limit_on_gpu
    found = compare(
        list(given["ckpt"]),
        data=given["dataset"],
        root=given["data"],
        split=given["split"],
        limit=limit,
        mean=options.parse_three(given["mean"], "--mean"),
        std=options.parse_three(given["std"], "--std"),
        arch=given["arch"],
        num_classes=given["num_classes"],
        image_size=given["size"],
        device=given["device"],
        precision=inputs.auto_precision if given["precision"] == "auto" else given["precision"],
        batch=given.get("batch"),
    )
    if not quiet:
        for note in found.notes:
            print_note(note)
    return found.augmented(own["seed"]) if given.get("augment") else found


def _pair_parameters(inputs: Inputs) -> Parameters:
    return _network_parameters(inputs, _PAIRS)


def _open_pairs(inputs: Inputs, given: dict[str, Any], own: dict[str, Any], quiet: bool) -> Comparison:
    _check_even("--ckpt", given["ckpt"])
    return open_networks(inputs, given, own, quiet)


def _check_even(option: str, specs: Sequence[str]) -> None:
    """Before any of them is read."""
    if len(specs) % 2:
        raise InputError(
            f"`{option}` is given {len(specs)} times: every pair takes two, e.g. {option} RUN@200 {option} RUN@300"
        )


_RUNS = Annotated[
    list[Path],
    typer.Option("--run", metavar="RUN", help="Run directory, or a folder of them; repeatable."),
]
_CHURN = Annotated[
    bool, typer.Option("--churn/--no-churn", help="Predictions that change late: needs the images.")
]


def _run_parameters(inputs: Inputs) -> Parameters:
    after = [
        keyword("churn", _CHURN, True),
        keyword("data", options.Data, None),
        keyword("split", options.Split, inputs.split),
        keyword("limit", options.Limit, inputs.limit),
        keyword("batch", options.Batch, inputs.batch),
        keyword("device", options.Device, "auto"),
        keyword("precision", options.Precision, inputs.precision),
    ]
    return [keyword("run", _RUNS)], after if inputs.churn else []


def open_runs(inputs: Inputs, given: dict[str, Any], own: dict[str, Any], quiet: bool) -> Any:
    """The paths of ``--run``; where churn is measured, their states and the networks of the late phase."""
    if not inputs.churn:
        return given["run"]
    from ralr_viz.analysis.movement.movement import note_no_churn
    from ralr_viz.comparison import late_states, open_states
    from ralr_viz.comparison.samples import check_split

    check_split(given["split"])
    runs, late = open_states(given["run"]), None
    if quiet:  # which a damaged state must not be lost to
        for run in (run for run in runs if run.damage):
            print_note(f"left out: {run.damage}")
    if given["churn"]:
        where = {name: given[name] for name in ("split", "limit", "device", "precision", "batch")}
        try:
            late = late_states(runs, root=given["data"], **where)
        except InputError as error:
            if not quiet:
                print_note(note_no_churn(error))
    if late is not None and not quiet:
        for note in late.notes:
            print_note(note)
    return Opened(runs, {"late": late})


INPUTS = {
    "networks": Opener(_network_parameters, open_networks),
    "pairs": Opener(_pair_parameters, _open_pairs),
    "runs": Opener(_run_parameters, open_runs),
}
