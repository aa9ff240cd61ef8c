"""Which images a figure shows: drawn by a seeded rule that is printed, never by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ralr_viz.errors import InputError, UnknownNameError

Rule = Callable[[np.ndarray, np.ndarray | None], np.ndarray]
"""All indices in random order, and their labels where known, to indices in order of preference."""

_STREAM = 0x43414D
"""Second word of the seed ("CAM"), so that no other draw with the same seed picks the same images."""


def select_images(
    n_total: int,
    count: int,
    seed: int,
    labels: np.ndarray | None = None,
    *,
    rule: str = "random",
    split: str = "test",
) -> tuple[np.ndarray, str]:
    """Choose images without looking at them or at any network.

    A smaller ``count`` gives the first images of a larger one. Boxes play no part: images whose box covers
    everything, or is degenerate, are kept like all others.

    Args:
        n_total: Images to choose from.
        count: Images to choose; all of them where there are fewer.
        seed: Non-negative; of a generator that nothing else uses.
        labels: (n_total,) integer classes, for rules that need them.
        rule: ``random``; or ``classes``, which takes one image of every class before a second of any.
        split: What the images are called in the text.

    Returns:
        Indices (min(count, n_total),) int64, and the rule in words, such as "8 of 10,000 test images, random,
        seed 0".

    Raises:
        InputError: No images, a count below 1, a negative seed, or a rule without the labels that it needs.
        UnknownNameError: No rule of that name.
    """
    if rule not in RULES:
        raise UnknownNameError("selection rule", rule, RULES)
    if n_total < 1:
        raise InputError(f"there are no {split} images to choose from: choose another --split")
    if count < 1:
        raise InputError(f"number of images {count} must be at least 1: raise --limit")
    if seed < 0:
        raise InputError(f"`--seed` = {seed} must not be negative")
    order = np.random.default_rng([seed, _STREAM]).permutation(n_total)
    chosen = RULES[rule](order, labels)[:count].astype(np.int64)
    if len(chosen) == n_total:
        return chosen, f"all {n_total:,} {split} images"
    return chosen, f"{len(chosen):,} of {n_total:,} {split} images, {_WORDS.get(rule, rule)}, seed {seed}"


def _random(order: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    return order


def _classes(order: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    if labels is None:
        raise InputError("selection rule `classes` needs labelled images: use `random`")
    shuffled = labels[order]
    turn = np.empty(len(order), dtype=np.int64)
    for label in np.unique(shuffled):
        members = shuffled == label
        turn[members] = np.arange(members.sum())
    return order[np.argsort(turn, kind="stable")]


RULES: Mapping[str, Rule] = {"random": _random, "classes": _classes}

_WORDS = {"classes": "random, classes in turn"}
