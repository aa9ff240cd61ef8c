"""Which runs are replicates, and names that tell apart what is none: by setting, else by path, else by number."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ralr_viz.results.run import RunRecord

UNTRAINED = frozenset(
    {
        *("name", "description", "keep", "keep_every", "keep_optimizer", "train_sample"),
        *("auto_precision", "examples", "evaluate_every", "evaluate_test", "evaluate_unused"),
        *("average", "beam", "length_penalty", "decoded", "bleu"),
    }
)
"""Settings of a recipe that leave the weights as they are."""
_IDENTITY = frozenset({"recipe", "method", "seed"})
_AMPLIFICATION = frozenset({"low", "high", "probability", "draw", "interval", "amplify_from"})
_NOISE = frozenset({"noise_pct", "noise_range"})
NO_EFFECT = {
    "baseline": _AMPLIFICATION | _NOISE,
    "ralr": _NOISE,
    "scaled": _NOISE,
    "matched": _NOISE,
    "noise": _AMPLIFICATION,
}
"""Settings of a method's factors that the other methods do not use."""
ADDED = {
    **{"label_smoothing": 0.0, "restart_epochs": 0.25, "restart_factor": 1, "cycle": 0.25, "lr_floor": 0.25},
    **{"amplify_from": 0.0, "noise_pct": 0.67, "noise_range": [0.0, 1.0], "threads": 0},
    **{"cutout": 0, "mixup": 0.0, "cutmix": 0.0, "cutmix_alpha": 1.0},
    **{
        "task": "classification",
        "clip_norm": 0.0,
        "evaluate_every": 1,
        "warmup_steps": 0,
        "keep_optimizer": True,
    },
    **{"weights": "", "head_init": "default", "head_lr": 1.0, "input_size": 0, "crop_scale": [0.08, 1.0]},
    **{"resize": 0, "view": "centre", "auto_precision": "", "examples": ""},
}
"""What older recipes, which lack a setting, had for it."""
_MOST_SETTINGS = 3  # in a name


def group_runs(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """What each run is averaged with: equal names are replicates, whose average means something.

    Replicates agree in recipe, method and all settings that change the weights, and each has a seed of its own.
    Everything else gets a name of its own: the method (with its recipe, if there are several) and the settings
    that differ; where these agree too, the part of the path that differs.
    """
    several = len({run.recipe_name for run in runs} - {""}) > 1
    names = [f"{run.recipe_name} {run.method}".strip() if several else run.method for run in runs]
    for rows in _equal(names):
        _append(
            names, rows, describe_settings([runs[i].recipe for i in rows], [runs[i].method for i in rows])
        )
    for rows in _equal(names):
        seeds = {runs[i].seed for i in rows}
        if None in seeds or len(seeds) < len(rows):
            for i, name in zip(
                rows, tell_apart([names[i] for i in rows], [runs[i].path for i in rows]), strict=True
            ):
                names[i] = name
    return tuple(names)


def method_name(method: str) -> str:
    """A method as the paper writes it (between its recipe and the settings that differ, if any), raw otherwise."""
    return re.sub(r"(?<![^ ])ralr(?=$|,)", "RALR", method)


def name_runs(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """A unique name for each run: its label and, where several have one, what differs."""
    return tell_apart(
        [run.label for run in runs],
        [run.path for run in runs],
        settings=[run.recipe for run in runs],
        methods=[run.method for run in runs],
    )


def name_methods(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """``baseline`` and ``RALR`` where that tells runs apart, else with seed, else with what differs."""
    short = [method_name(run.method) for run in runs]
    seeds = [f"{name}, seed {run.seed}" for name, run in zip(short, runs, strict=True)]
    for names in (short, seeds):
        if len(set(names)) == len(names):
            return tuple(names)
    return name_runs(runs)


def tell_apart(
    names: Sequence[str],
    paths: Sequence[Path | None],
    *,
    settings: Sequence[Mapping[str, Any]] | None = None,
    methods: Sequence[str | None] | None = None,
) -> tuple[str, ...]:
    """Names of files or runs, made unique: those that are so already stay as they are.

    Args:
        names: As short as they may be.
        paths: Where each comes from, None where that is not known. A name that is the file's gets the part
            of the path that differs in front (``SAM/metrics``), another one behind.
        settings: Flat recipe of each; where equal names differ in these, they are named so first.
        methods: Of each, for the settings that do not matter to it.

    Returns:
        Unique names; what nothing tells apart is numbered.
    """
    told = list(names)
    if settings is not None:
        of = methods or [None] * len(told)
        for rows in _equal(told):
            _append(told, rows, describe_settings([settings[i] for i in rows], [of[i] for i in rows]))
    for rows in _equal(told):
        parts = _differing_parts([paths[i] for i in rows])
        for i, part in zip(rows, parts, strict=True):
            path = paths[i]
            if part and path is not None:
                own = told[i] in (path.stem, path.name)
                told[i] = f"{part}/{told[i]}" if own else f"{told[i]}, {part}"
    counts: dict[str, int] = {}
    for i, name in enumerate(told):
        counts[name] = counts.get(name, 0) + 1
        if counts[name] > 1:
            told[i] = f"{name} ({counts[name]})"
    return tuple(told)


def describe_settings(recipes: Sequence[Mapping[str, Any]], methods: Sequence[str | None]) -> list[str]:
    """``schedule=cosine``: the settings in which trainings differ, for each; empty where they agree.

    Of many differing settings those are named that are needed to tell the trainings apart.
    """
    known = [ADDED | dict(recipe) for recipe in recipes]
    skip = [UNTRAINED | _IDENTITY | NO_EFFECT.get(method or "", frozenset()) for method in methods]
    names = dict.fromkeys(name for recipe in known for name in recipe)
    columns = {
        name: [
            "" if name in left_out else f"{name}={_show(recipe.get(name))}"
            for recipe, left_out in zip(known, skip, strict=True)
        ]
        for name in names
    }
    differing = [column for column in columns.values() if len(set(column)) > 1]
    if len(differing) > _MOST_SETTINGS:
        needed: list[list[str]] = []
        for column in differing:
            if _count_kinds([*needed, column]) > _count_kinds(needed):
                needed.append(column)
        differing = needed
    return [", ".join(filter(None, row)) for row in zip(*differing, strict=True)] or [""] * len(known)


def _count_kinds(columns: list[list[str]]) -> int:
    """How many trainings these columns tell apart."""
    return len(set(zip(*columns, strict=True))) or 1


def _show(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(_show, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _append(names: list[str], rows: Sequence[int], texts: Sequence[str]) -> None:
    for i, text in zip(rows, texts, strict=True):
        names[i] = f"{names[i]}, {text}" if text else names[i]


def _equal(names: Sequence[str]) -> list[list[int]]:
    """Places of each name that several have."""
    places: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        places.setdefault(name, []).append(i)
    return [rows for rows in places.values() if len(rows) > 1]


def _differing_parts(paths: Sequence[Path | None]) -> list[str]:
    """What is left of each path without the folders that all begin with and the names that all end with."""
    if any(path is None for path in paths):
        return [""] * len(paths)
    parts = [list(path.absolute().parts) for path in paths if path is not None]
    while all(parts) and len({part[0] for part in parts}) == 1:
        parts = [part[1:] for part in parts]
    while all(parts) and len({part[-1] for part in parts}) == 1:
        parts = [part[:-1] for part in parts]
    if len({len(part) for part in parts}) == 1:
        kept = [j for j, column in enumerate(zip(*parts, strict=True)) if len(set(column)) > 1]
        parts = [[part[j] for j in kept] for part in parts]
    return ["/".join(part) for part in parts]
