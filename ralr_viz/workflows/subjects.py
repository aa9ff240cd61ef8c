"""What a noun's function takes first, opened from what a command or `why` names.

What only one noun needs is imported where it is opened: a command starts with no more than its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from ralr_viz.comparison import Comparison, Progress, compare, late_states, open_states
from ralr_viz.comparison.path import kept_states
from ralr_viz.comparison.samples import check_split
from ralr_viz.errors import InputError
from ralr_viz.nouns import Inputs, Noun
from ralr_viz.nouns.cam import COUNT, ROWS, SEED
from ralr_viz.results.bundle import Result
from ralr_viz.results.examples import Examples
from ralr_viz.runtime.device import resolve_runtime
from ralr_viz.workflows.labels import check_labels, relabel_runs
from ralr_viz.workflows.output import Say

Given = Mapping[str, Any]
"""By the names of the options; what is left out has the noun's default."""
_BRANCHES = "fork-branches"


class Ears(NamedTuple):
    """Who hears of the work: how far it is, notes, and what the quiet must hear, too."""

    progress: Progress | None
    say: Say
    warn: Say


def open_subject(noun: Noun, given: Given, own: Given, ears: Ears) -> tuple[Any, dict[str, Any]]:
    """First argument of a noun's function, and others that follow from what was opened.

    Args:
        noun: Which.
        given: ``ckpt``, ``run``, … and how to look at them.
        own: Values of the noun's own options.
        ears: Told what a reader should know of how it was opened.

    Raises:
        InputError: What is given cannot be opened or compared.
    """
    return _OPENERS[noun.takes](noun.spec.inputs, given, own, ears)


def run_noun(
    noun: Noun,
    given: Given,
    own: Given = MappingProxyType({}),
    *,
    provenance: Mapping[str, str],
    ears: Ears,
) -> Result:
    """Open, compute, and note who asked: what the command of a noun does before it prints and saves.

    Args:
        noun, given, own, ears: As in `open_subject`; they are told the result's notes, too.
        provenance: Kept with the result, before its own.
    """
    subject, more = open_subject(noun, given, own, ears)
    found: Result = noun.load("compute")(subject, **own, **more, progress=ears.progress)
    if given.get("label") and "run" in given and "ckpt" not in given:
        found = relabel_runs(found, given["label"])
    for note in found.remarks():
        ears.say(note)
    return found.asked_by(provenance)


def _open_networks(inputs: Inputs, given: Given, own: Given, ears: Ears) -> tuple[Comparison, dict[str, Any]]:
    limit = given.get("limit")
    if limit is None:
        limit = inputs.limit
        if inputs.limit_on_gpu and resolve_runtime(_device(given), "fp32").device.type != "cpu":
            limit = inputs.limit_on_gpu
    precision = given.get("precision", inputs.precision)
    specs: Any = list(given["ckpt"])
    if given.get("label"):
        specs = dict(zip(check_labels(given["label"], len(specs)), specs, strict=True))
    found = compare(
        specs,
        data=given.get("dataset"),
        root=given.get("data"),
        split=given.get("split", inputs.split or "test"),
        limit=limit,
        mean=given.get("mean"),
        std=given.get("std"),
        arch=given.get("arch"),
        num_classes=given.get("num_classes"),
        image_size=given.get("size"),
        resize=given.get("resize"),
        view=given.get("view"),
        device=_device(given),
        precision=inputs.auto_precision if precision == "auto" else precision,
        batch=given.get("batch"),
        files=given.get("files", ()),
        task=given.get("task"),
    )
    for note in found.notes:
        ears.say(note)
    if given.get("augment", inputs.augment):
        found = found.augmented(own.get("seed", 0))
    return found, {}


def _open_pictures(inputs: Inputs, given: Given, own: Given, ears: Ears) -> tuple[Comparison, dict[str, Any]]:
    """On the caller's own pictures, else on a few images that a rule chooses."""
    from ralr_viz.analysis.selection import check_rule, select_pictures
    from ralr_viz.plots.cam_layout import check_pictures

    images, more, networks = given.get("images") or [], given.get("more") or [], len(given["ckpt"])
    if more and not images:
        raise InputError(f"`{more[0]}` follows no option: write --ckpt {more[0]} or --images {more[0]}")
    files, rule, count = [*images, *more], given.get("rows", ROWS.default), given.get("count", COUNT.default)
    check_rule(rule, networks, from_files=bool(files))
    difference = own.get("difference", False) and networks > 1
    indices = tuple(given.get("indices") or ())
    if indices and (files or rule != ROWS.default):
        raise InputError(f"`--indices {indices[0]}` names images of a split: leave out --rows and --images")
    check_pictures(len(files) or len(indices) or count, networks, difference=difference)
    found, _ = _open_networks(inputs, {**given, "files": files}, own, ears)
    if not files:
        seed = given.get("seed", SEED.default)
        found = select_pictures(
            found, rule=rule, count=count, seed=seed, indices=indices, progress=ears.progress
        )
    ears.say(f"images: {found.samples.selection}")
    return found, {}


def _open_networks_or_path(
    inputs: Inputs, given: Given, own: Given, ears: Ears
) -> tuple[Comparison, dict[str, Any]]:
    run, specs = given.get("run"), given.get("ckpt")
    if (run is None) == (not specs):
        raise InputError("give the networks by --ckpt, or one run by --run")
    if run is None:
        return _open_networks(inputs, given, own, ears)
    specs, epochs = kept_states(run)
    found, _ = _open_networks(inputs, {**given, "ckpt": specs}, own, ears)
    return found, {"epochs": epochs}


def _open_pairs(inputs: Inputs, given: Given, own: Given, ears: Ears) -> tuple[Comparison, dict[str, Any]]:
    _check_even("--ckpt", given["ckpt"])
    return _open_networks(inputs, given, own, ears)


def _open_pairs_and_nulls(
    inputs: Inputs, given: Given, own: Given, ears: Ears
) -> tuple[Comparison, dict[str, Any]]:
    null = list(given.get("null") or ())
    _check_even("--ckpt", given["ckpt"])
    _check_even("--null", null)
    found, _ = _open_networks(inputs, {**given, "ckpt": [*given["ckpt"], *null]}, own, ears)
    return found, {"null_pairs": len(null) // 2}


def _check_even(option: str, specs: Sequence[str]) -> None:
    """Before any of them is read."""
    if len(specs) % 2:
        raise InputError(
            f"`{option}` is given {len(specs)} times: every pair takes two, e.g. {option} RUN@200 {option} RUN@300"
        )


def _open_runs(inputs: Inputs, given: Given, own: Given, ears: Ears) -> tuple[Any, dict[str, Any]]:
    """Paths; where churn is measured, the runs' states and the networks of their late phase."""
    from ralr_viz.analysis.movement.movement import note_no_churn

    if inputs.kept and given.get("kept"):
        return given["run"], {"kept": _evaluate_kept(inputs, given, ears)}
    if not inputs.churn:
        return given["run"], {}
    split = given.get("split", inputs.split)
    check_split(split)
    runs, late = open_states(given["run"], given.get("arch")), None
    for damage in filter(None, (run.damage for run in runs)):
        ears.warn(f"left out: {damage}")
    if given.get("churn", True) and given.get("task") is None:
        try:
            late = late_states(
                runs,
                root=given.get("data"),
                split=split,
                limit=given.get("limit", inputs.limit),
                device=_device(given),
                precision=given.get("precision", inputs.precision),
                batch=given.get("batch"),
            )
        except InputError as error:
            ears.say(note_no_churn(error))
    for note in () if late is None else late.notes:
        ears.say(note)
    return runs, {"late": late}


def _evaluate_kept(inputs: Inputs, given: Given, ears: Ears) -> list[Examples]:
    """What the runs' kept states make of each image."""
    from ralr_viz.analysis.learning import evaluate_kept

    split = given.get("split", inputs.split)
    check_split(split)
    return evaluate_kept(
        given["run"],
        root=given.get("data"),
        split=split,
        limit=given.get("limit", inputs.limit),
        device=_device(given),
        precision=given.get("precision", inputs.precision),
        batch=given.get("batch", inputs.batch),
        progress=ears.progress,
    )


def _open_logs(inputs: Inputs, given: Given, own: Given, ears: Ears) -> tuple[Any, dict[str, Any]]:
    """Paths, with the columns that ``NAME=COLUMN`` names."""
    columns = {}
    for text in given.get("column") or ():
        name, separator, column = text.partition("=")
        if not separator:
            raise InputError(f"`--column {text}` has no `=`: write --column val_acc=score")
        columns[name] = column
    return given["run"], {"columns": columns}


def _open_state(inputs: Inputs, given: Given, own: Given, ears: Ears) -> tuple[Any, dict[str, Any]]:
    """States and their data; what is finished is kept in ``out``."""
    from ralr_viz.analysis.fork.point import open_state

    states = [open_state(ckpt, root=given.get("data"), device=_device(given)) for ckpt in given["ckpt"]]
    return states, {"work": given["out"] / _BRANCHES}


def _device(given: Given) -> str:
    return str(given.get("device", "auto"))


_OPENERS: dict[str, Callable[[Inputs, Given, Given, Ears], tuple[Any, dict[str, Any]]]] = {
    "networks": _open_networks,
    "pictures": _open_pictures,
    "detectors": _open_networks,
    "networks or path": _open_networks_or_path,
    "pairs": _open_pairs,
    "pairs and nulls": _open_pairs_and_nulls,
    "runs": _open_runs,
    "logs": _open_logs,
    "state": _open_state,
}
