"""What a result is of, in one line: data set, network, split, number and seeds, as far as it says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ralr_viz.results.bundle import Result

_SPLITS = {"train": "training", "val": "validation"}
_SEED = re.compile(r"(?<!-)\bseed ?(\d+)\b")  # of a path or a label, not of an option
_RECIPE = re.compile(r"([^\s/=]+)/(?:baseline|ralr|scaled|matched|noise)\b")
_MOST = 3  # named


def describe_origin(result: Result) -> str:
    """Its parts, separated by commas; empty where nothing is known.

    Results of older versions name neither network nor seed: there the folder of the runs, whose name tells the recipe,
    stands for the network.
    """
    title = str(getattr(result, "title", ""))
    recipes = list(_recipes(result.provenance))
    datasets = [str(getattr(result, "dataset", None) or "")] + [str(recipe["dataset"]) for recipe in recipes]
    split = str(getattr(result, "split", None) or "")
    parts = [
        title or ", ".join(dict.fromkeys(name for name in datasets if name)),
        "" if title else _networks(result, recipes),
        _SPLITS.get(split, split),
        _number(result),
        _seeds(result, recipes),
    ]
    return ", ".join(part for part in parts if part)


def name_networks(result: Result) -> str:
    """The networks of its recipes; empty where it does not say them."""
    return _networks(result, list(_recipes(result.provenance)))


def _recipes(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every recipe in a provenance, however deep."""
    if isinstance(value, Mapping):
        if "model" in value and "dataset" in value:
            yield value
        for part in value.values():
            yield from _recipes(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _recipes(part)


def _networks(result: Result, recipes: list[Mapping[str, Any]]) -> str:
    names = dict.fromkeys(str(recipe["model"]) for recipe in recipes)
    if not names:
        names = dict.fromkeys(match for text in _texts(result.provenance) for match in _RECIPE.findall(text))
    return ", ".join(names) if len(names) <= _MOST else f"{len(names)} networks"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(part)


def _number(result: Result) -> str:
    """Of the samples that were looked at."""
    many = str(getattr(result, "samples_name", "images"))
    numbers = getattr(result, "images", None)
    if isinstance(numbers, tuple):  # of the two splits
        return (
            " and ".join(f"{n:,} {name}" for n, name in zip(numbers, ("test", "training"), strict=False))
            + f" {many}"
        )
    n = int(getattr(result, "num_images", None) or 0)
    for name in ("labels", "indices"):
        array = getattr(result, name, None)
        n = n or (len(array) if isinstance(array, np.ndarray) else 0)
    if not n:
        return ""
    return f"n = {n:,} {many.removesuffix('s') if n == 1 else many}"


def _seeds(result: Result, recipes: list[Mapping[str, Any]]) -> str:
    """Of the trainings; a result's own ``seed`` is that of its draws, but a tuple has those of its runs."""
    seeds = getattr(result, "seeds", None) or getattr(result, "seed", None)
    if not isinstance(seeds, tuple):
        seeds = [recipe.get("seed") for recipe in recipes]
        if not any(seed is not None for seed in seeds):
            seeds = [int(s) for text in _texts(result.provenance) for s in _SEED.findall(text)]
    found = sorted({int(seed) for seed in seeds if isinstance(seed, int)})
    if not found:
        return ""
    whole = len(found) > 2 and found == list(range(found[0], found[-1] + 1))
    shown = f"{found[0]}–{found[-1]}" if whole else ", ".join(map(str, found))
    return f"seed{'s' * (len(found) > 1)} {shown}"
