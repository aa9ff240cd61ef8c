"""Which images a figure shows: chosen by a rule that is printed, or by hand, which is printed, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ralr_viz.analysis.predictions import predictions_of
from ralr_viz.comparison import Comparison, Progress
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.nouns import cam as options
from ralr_viz.results.cam import distinct_parts

Rule = Callable[[np.ndarray, np.ndarray | None], np.ndarray]
"""All indices in random order, and their labels where known, to indices in order of preference."""

_STREAM = 0x43414D
"""Second word of the seed ("CAM"), so that no other draw with the same seed picks the same images."""


def select_pictures(
    comparison: Comparison,
    *,
    rule: str = options.ROWS.default,
    count: int = options.COUNT.default,
    seed: int = options.SEED.default,
    indices: Sequence[int] | None = options.INDICES.default,
    progress: Progress | None = None,
) -> Comparison:
    """The same networks on a few of the images, as a figure shows them.

    Args:
        comparison: Networks on images.
        rule: ``random`` or ``classes``, as in `select_images`; or ``gain`` or ``loss``, as in `select_by_outcome`,
            which take the predictions of the first two networks on all images.
        count: Images to choose; all of them where there are fewer.
        seed: Of a random choice.
        indices: Instead of all that: numbers of images in their split, in the order in which they are shown.
        progress: Of the predictions.

    Raises:
        UnknownNameError: No such rule.
        InputError: Of `check_rule`, `select_images` or `select_by_outcome`.
    """
    check_rule(rule, len(comparison))
    samples = comparison.labelled()
    shown = f"{samples.dataset} {samples.split}" if samples.dataset else "given"
    if indices:
        picked, words = select_by_hand(samples.indices, indices, split=shown)
    elif rule in OUTCOME_RULES:
        pair = comparison if len(comparison) == 2 else replace(comparison, networks=comparison.networks[:2])
        first, second = (found.true_probability for found in predictions_of(pair, progress))
        names = distinct_parts(*pair.names)
        picked, words = select_by_outcome(first, second, count, rule=rule, names=names, split=shown)
    else:
        labels = samples.labels if bool((samples.labels >= 0).all()) else None
        picked, words = select_images(len(samples), count, seed, labels, rule=rule, split=shown)
    seen = "" if samples.view is None else f", {samples.view.describe()}"
    return replace(comparison, samples=samples.take(picked, words + seen))


def select_by_hand(there: np.ndarray, indices: Sequence[int], *, split: str) -> tuple[np.ndarray, str]:
    """Rows of the images with these numbers, and the choice in words.

    Raises:
        InputError: No image of that number, or one twice.
    """
    rows = {index: row for row, index in enumerate(there.tolist())}
    for index in indices:
        if index not in rows:
            raise InputError(
                f"`--indices {index}` is no image of the {len(there):,} {split} ones: raise --limit if it is set"
            )
    if len(set(indices)) < len(indices):
        raise InputError(
            f"`--indices` has an image twice among {', '.join(map(str, indices))}: give each once"
        )
    words = f"{len(indices)} of {len(there):,} {split} images, chosen by hand"
    return np.array([rows[index] for index in indices], np.int64), words


def check_rule(rule: str, networks: int, *, from_files: bool = False) -> None:
    """Refuse early a ``--rows`` that does not go with the other options.

    Raises:
        UnknownNameError: No such rule.
        InputError: It compares networks and there is one, or the images are given one by one.
    """
    if rule not in RULES and rule not in OUTCOME_RULES:
        raise UnknownNameError("--rows", rule, [*RULES, *OUTCOME_RULES])
    if from_files and rule != "random":
        raise InputError(f"`--rows {rule}` chooses images of a split: leave it out, or leave out --images")
    if rule in OUTCOME_RULES and networks < 2:
        raise InputError(
            f"`--rows {rule}` compares the first two checkpoints, got {networks}: pass --ckpt twice"
        )


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


def select_by_outcome(
    first: np.ndarray,
    second: np.ndarray,
    count: int,
    *,
    rule: str,
    names: tuple[str, str],
    split: str = "test",
) -> tuple[np.ndarray, str]:
    """Choose the images on which two networks differ the most: extremes, not examples, and said to be.

    Args:
        first: (n,) probability of the true class by the first network, NaN where no class is known.
        second: The same by the second.
        count: Images to choose; fewer where the networks differ that way on fewer.
        rule: ``gain``, where the second's probability exceeds the first's the most; or ``loss``, where it
            falls short of it the most. Of equal differences the image with the lower index comes first.
        names: Of the two networks, in the text.
        split: What the images are called in the text.

    Returns:
        Indices (≤ count,) int64, the largest difference first, and the rule in words.

    Raises:
        InputError: A count below 1, or no image with such a difference.
        UnknownNameError: No rule of that name.
    """
    if rule not in OUTCOME_RULES:
        raise UnknownNameError("selection rule", rule, OUTCOME_RULES)
    if count < 1:
        raise InputError(f"number of images {count} must be at least 1: raise --count")
    verb, sign = OUTCOME_RULES[rule]
    gain = sign * (second.astype(np.float64) - first)
    order = np.argsort(-gain, kind="stable")  # NaN last
    chosen = order[gain[order] > 0][:count].astype(np.int64)
    if not len(chosen):
        raise InputError(
            f"on none of the {len(gain):,} {split} images {names[1]}'s probability of the true class {verb} "
            f"{names[0]}'s: choose by `random`"
        )
    return chosen, (
        f"{len(chosen):,} of {len(gain):,} {split} images where {names[1]}'s probability of the true class "
        f"{verb} {names[0]}'s the most: chosen by outcome, not typical"
    )


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

OUTCOME_RULES: Mapping[str, tuple[str, int]] = {"gain": ("exceeds", 1), "loss": ("falls short of", -1)}
"""Rules that look at what two networks say of the images, in words and as the sign of the difference."""

_WORDS = {"classes": "random, classes in turn"}
