"""What a recipe's settings may be: the names that each choice has, and the range of each number."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from ralr_viz.errors import InputError
from ralr_viz.train.recipe_values import coerce_value, shorten
from ralr_viz.train.settings import Settings, to_epoch

OPTIMIZERS = ("sgd", "adam", "adagrad")
SCHEDULES = ("multistep", "cosine", "constant", "sgdr", "cyclical", "onecycle")
PRECISIONS = ("auto", "fp32", "bf16")
DRAWS = ("uniform", "integer")
EVALUATE_TEST, EVALUATE_UNUSED = ("epoch", "end"), ("never", "end")

# Beyond these a number is a slip of the keyboard, and what is drawn or computed of it overflows.
MOST_EPOCHS, HIGHEST_FACTOR = 100_000, 1e6
_HIGHEST_RATE = 1e30  # also of weight decay: float32 holds its product with a factor
_MOST_IMAGES = 10**9
_LARGEST_ALPHA = 1000  # of a Beta distribution: λ is then within 0.05 of 1/2
_LARGEST_HOLE = 1024
_MOST_THREADS = 1024
_LONGEST_NAME, _LONGEST_TEXT = 200, 10_000
# Fewer leave OneCycleLR no epoch in which the rate rises, or a cycle no epoch between its ends.
_FEWEST_ONECYCLE, _SHORTEST_CYCLE = 5, 2

_Rule = tuple[Callable[[Any], bool], str]


def _within(low: float, high: float, words: str = "") -> _Rule:
    return lambda value: low <= value <= high, words or f"in [{low}, {high}]"


def _one_of(names: tuple[str, ...]) -> _Rule:
    return lambda value: value in names, f"one of {', '.join(names)}"


def _positive(high: float) -> _Rule:
    return lambda value: 0 < value <= high, f"a positive, finite number, at most {high:g}"


def _text(fewest: int, most: int) -> _Rule:
    return lambda value: fewest <= len(value) <= most, f"a text of {fewest} to {most} characters"


_OF_ITS_TYPE: _Rule = (lambda value: True, "")  # what else holds of it depends on other fields: see below

# What each field may be by itself; the type stands in the class.
RULES: dict[str, _Rule] = {
    "dataset": _text(1, _LONGEST_NAME),
    "model": _text(1, _LONGEST_NAME),
    "epochs": _within(1, MOST_EPOCHS),
    "batch": _within(1, _MOST_IMAGES),
    "lr": _positive(_HIGHEST_RATE),
    "optimizer": _one_of(OPTIMIZERS),
    "momentum": (lambda value: 0 <= value < 1, "in [0, 1)"),
    "nesterov": _OF_ITS_TYPE,
    "weight_decay": _within(0, _HIGHEST_RATE),
    "label_smoothing": (lambda value: 0 <= value < 1, "in [0, 1)"),
    "schedule": _one_of(SCHEDULES),
    "milestones": _OF_ITS_TYPE,
    "gamma": _positive(HIGHEST_FACTOR),
    "restart_epochs": _OF_ITS_TYPE,
    "restart_factor": _within(1, MOST_EPOCHS),
    "cycle": _OF_ITS_TYPE,
    "lr_floor": (lambda value: 0 < value <= 1, "in (0, 1]"),
    "low": _positive(HIGHEST_FACTOR),
    "high": (math.isfinite, "finite"),
    "probability": _within(0, 1),
    "draw": _one_of(DRAWS),
    "interval": _within(1, MOST_EPOCHS),
    "amplify_from": (lambda value: 0 <= value < 1, "a share of the training in [0, 1)"),
    "noise_pct": (lambda value: 0 < value < 1, "in (0, 1), so that the learning rate stays positive"),
    "noise_range": _OF_ITS_TYPE,
    "crop_padding": _within(0, 64),
    "flip": _OF_ITS_TYPE,
    "cutout": _within(0, _LARGEST_HOLE, f"in [0, {_LARGEST_HOLE}] pixels"),
    "mixup": _within(0, _LARGEST_ALPHA),
    "cutmix": _within(0, 1, "in [0, 1]: the probability that a batch is cut"),
    "cutmix_alpha": (lambda value: 0 < value <= _LARGEST_ALPHA, f"in (0, {_LARGEST_ALPHA}]"),
    "validation": _within(0, 0.5),
    "subset": _within(0, _MOST_IMAGES),
    "split_seed": (lambda value: 0 <= value < 2**63, "in [0, 2^63)"),
    "drop_last": _OF_ITS_TYPE,
    "precision": _one_of(PRECISIONS),
    "threads": _within(0, _MOST_THREADS),
    "keep": _OF_ITS_TYPE,
    "keep_every": _within(0, MOST_EPOCHS),
    "train_sample": _within(1, _MOST_IMAGES),
    "evaluate_test": _one_of(EVALUATE_TEST),
    "evaluate_unused": _one_of(EVALUATE_UNUSED),
    "name": _text(0, _LONGEST_NAME),
    "description": _text(0, _LONGEST_TEXT),
}


def check_recipe(r: Settings) -> None:
    """Refuse a setting of another type, outside its range, or at odds with another.

    Raises:
        InputError: The first one, in one line.
    """
    for field in fields(r):
        coerce_value(field.name, getattr(r, field.name), str(field.type))
        holds, words = RULES[field.name]
        _require(r, holds(getattr(r, field.name)), field.name, words)
    _check_training(r)
    _check_schedule(r)
    _check_factors(r)
    _check_augmentation(r)
    unused = r.evaluate_unused == "never" or r.subset > 0
    _require(r, unused, "evaluate_unused", "never without `subset`: all training images are used")


def _check_training(r: Settings) -> None:
    own = ":" in r.model and not r.model.startswith("torchvision:")
    rule = "one of ralr-viz's or torchvision's; train your own in your loop with RunWriter"
    _require(r, not own, "model", rule)
    _require(r, not r.nesterov or r.momentum > 0, "nesterov", "false without momentum")


def _check_schedule(r: Settings) -> None:
    for name in ("milestones", "keep"):
        for value in getattr(r, name):
            _require_epochs(r, value, name)
    growth = len(r.milestones) * max(0.0, math.log10(r.gamma))
    small = math.log10(r.lr) + growth <= math.log10(_HIGHEST_RATE)
    _require(
        r, small, "gamma", f"such that the learning rate stays below {_HIGHEST_RATE:g} after all milestones"
    )
    for name, schedule in (("restart_epochs", "sgdr"), ("cycle", "cyclical")):
        value = getattr(r, name)
        _require_epochs(r, value, name)
        if r.schedule == schedule:
            enough = to_epoch(value, r.epochs) >= _SHORTEST_CYCLE
            _require(r, enough, name, f"{_SHORTEST_CYCLE} epochs or more of the training's {r.epochs}")
    if r.schedule == "onecycle":
        _require(
            r, r.epochs >= _FEWEST_ONECYCLE, "epochs", f"at least {_FEWEST_ONECYCLE} with schedule=onecycle"
        )


def _check_factors(r: Settings) -> None:
    _require(r, r.high >= r.low, "high", f"finite and at least `low` = {r.low}")
    _require(r, r.high <= HIGHEST_FACTOR, "high", f"at most {HIGHEST_FACTOR:.0e}")
    left = r.first_amplified < r.epochs
    _require(r, left, "amplify_from", f"small enough to leave one of the training's {r.epochs} epochs")
    ordered = len(r.noise_range) == 2 and 0 <= r.noise_range[0] < r.noise_range[1] <= 1
    _require(r, ordered, "noise_range", "two rising shares of the training in [0, 1], such as 0,1")
    first, last = r.noise_epochs
    _require(r, first < last, "noise_range", f"wide enough for one of the training's {r.epochs} epochs")


def _check_augmentation(r: Settings) -> None:
    _require(r, not (r.mixup and r.cutmix), "cutmix", f"0 beside `mixup` = {r.mixup!r}: only one may mix")


def _require_epochs(r: Settings, value: int | float, name: str) -> None:
    holds = 0 < value <= (1 if isinstance(value, float) else r.epochs)
    _require(r, holds, name, f"epochs in [1, {r.epochs}] or fractions of the training in (0, 1]")


def _require(r: Settings, holds: bool, name: str, rule: str) -> None:
    if not holds:
        raise InputError(
            f"`{name}` = {shorten(getattr(r, name))} must be {rule}: change it in the recipe or by --set"
        )
