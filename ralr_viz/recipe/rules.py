"""What a recipe's settings may be: the names that each choice has, and the range of each number."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from ralr_viz.errors import InputError
from ralr_viz.own_code import names_code
from ralr_viz.recipe.settings import Settings, to_epoch
from ralr_viz.recipe.values import coerce_value, shorten
from ralr_viz.results.tasks import SETS

OPTIMIZERS = ("sgd", "adam", "adagrad")
_OPTIMIZER = f"one of {', '.join(OPTIMIZERS)}, or package.module:Class"
SCHEDULES = ("multistep", "cosine", "constant", "sgdr", "cyclical", "onecycle", "inverse_sqrt")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
DRAWS = ("uniform", "integer")
EVALUATE_TEST, EVALUATE_UNUSED = ("epoch", "end"), ("never", "end")

# Beyond these a number is a slip of the keyboard, and what is drawn or computed of it overflows.
MOST_EPOCHS, HIGHEST_FACTOR = 100_000, 1e6
_HIGHEST_RATE = 1e30  # also of weight decay: float32 holds its product with a factor
_MOST_IMAGES = 10**9
MOST_THREADS = 1024
_LONGEST_NAME, _LONGEST_TEXT = 200, 10_000
# Fewer leave OneCycleLR no epoch in which the rate rises, or a cycle no epoch between its ends.
_FEWEST_ONECYCLE, _SHORTEST_CYCLE = 5, 2

Rule = tuple[Callable[[Any], bool], str]
"""Whether a value holds, and what it must be, in words."""


def within(low: float, high: float, words: str = "") -> Rule:
    return lambda value: low <= value <= high, words or f"in [{low}, {high}]"


def one_of(names: tuple[str, ...]) -> Rule:
    return lambda value: value in names, f"one of {', '.join(names)}"


def positive(high: float) -> Rule:
    return lambda value: 0 < value <= high, f"a positive, finite number, at most {high:g}"


def _text(fewest: int, most: int) -> Rule:
    return lambda value: fewest <= len(value) <= most, f"a text of {fewest} to {most} characters"


OF_ITS_TYPE: Rule = (lambda value: True, "")  # what else holds of it depends on other fields: see below

# What each field may be by itself; the type stands in the class.
RULES: dict[str, Rule] = {
    "dataset": _text(1, _LONGEST_NAME),
    "model": _text(1, _LONGEST_NAME),
    "epochs": within(1, MOST_EPOCHS),
    "batch": within(1, _MOST_IMAGES),
    "lr": positive(_HIGHEST_RATE),
    "task": _text(1, _LONGEST_NAME),
    "optimizer": (lambda value: value in OPTIMIZERS or names_code(value), _OPTIMIZER),
    "momentum": (lambda value: 0 <= value < 1, "in [0, 1)"),
    "nesterov": OF_ITS_TYPE,
    "weight_decay": within(0, _HIGHEST_RATE),
    "schedule": one_of(SCHEDULES),
    "milestones": OF_ITS_TYPE,
    "gamma": positive(HIGHEST_FACTOR),
    "restart_epochs": OF_ITS_TYPE,
    "restart_factor": within(1, MOST_EPOCHS),
    "cycle": OF_ITS_TYPE,
    "warmup_steps": within(0, _MOST_IMAGES),
    "lr_floor": (lambda value: 0 < value <= 1, "in (0, 1]"),
    "low": positive(HIGHEST_FACTOR),
    "high": (math.isfinite, "finite"),
    "probability": within(0, 1),
    "draw": one_of(DRAWS),
    "interval": within(1, MOST_EPOCHS),
    "amplify_from": (lambda value: 0 <= value < 1, "a share of the training in [0, 1)"),
    "noise_pct": (lambda value: 0 < value < 1, "in (0, 1), so that the learning rate stays positive"),
    "noise_range": OF_ITS_TYPE,
    "validation": within(0, 0.5),
    "subset": within(0, _MOST_IMAGES),
    "split_seed": (lambda value: 0 <= value < 2**63, "in [0, 2^63)"),
    "drop_last": OF_ITS_TYPE,
    "clip_norm": within(0, _HIGHEST_RATE),
    "precision": one_of(PRECISIONS),
    "auto_precision": (
        lambda value: value in ("", *PRECISIONS[1:]),
        f"empty or one of {', '.join(PRECISIONS[1:])}",
    ),
    "threads": within(0, MOST_THREADS),
    "keep": OF_ITS_TYPE,
    "keep_every": within(0, MOST_EPOCHS),
    "keep_optimizer": OF_ITS_TYPE,
    "train_sample": within(1, _MOST_IMAGES),
    "examples": (
        lambda value: set(filter(None, value.split(","))) <= set(SETS) and value.strip(",") == value,
        f"empty, or of {', '.join(SETS)} one or several with commas",
    ),
    "evaluate_every": within(1, MOST_EPOCHS),
    "evaluate_test": one_of(EVALUATE_TEST),
    "evaluate_unused": one_of(EVALUATE_UNUSED),
    "name": _text(0, _LONGEST_NAME),
    "description": _text(0, _LONGEST_TEXT),
}


def check_recipe(r: Settings, rules: Mapping[str, Rule]) -> None:
    """Refuse a setting of another type, outside its range, or at odds with another.

    Args:
        r: The recipe.
        rules: Of each of its fields.

    Raises:
        InputError: The first one, in one line.
    """
    for field in fields(r):
        coerce_value(field.name, getattr(r, field.name), str(field.type))
        holds, words = rules[field.name]
        require(r, holds(getattr(r, field.name)), field.name, words)
    _check_training(r)
    _check_schedule(r)
    _check_factors(r)
    unused = r.evaluate_unused == "never" or r.subset > 0
    require(r, unused, "evaluate_unused", "never without `subset`: all training images are used")


def _check_training(r: Settings) -> None:
    require(r, not r.nesterov or r.momentum > 0, "nesterov", "false without momentum")


def _check_schedule(r: Settings) -> None:
    for name in ("milestones", "keep"):
        for value in getattr(r, name):
            _require_epochs(r, value, name)
    growth = len(r.milestones) * max(0.0, math.log10(r.gamma))
    small = math.log10(r.lr) + growth <= math.log10(_HIGHEST_RATE)
    require(
        r, small, "gamma", f"such that the learning rate stays below {_HIGHEST_RATE:g} after all milestones"
    )
    for name, schedule in (("restart_epochs", "sgdr"), ("cycle", "cyclical")):
        value = getattr(r, name)
        _require_epochs(r, value, name)
        if r.schedule == schedule:
            enough = to_epoch(value, r.epochs) >= _SHORTEST_CYCLE
            require(r, enough, name, f"{_SHORTEST_CYCLE} epochs or more of the training's {r.epochs}")
    warm = r.schedule != "inverse_sqrt" or r.warmup_steps > 0
    require(r, warm, "warmup_steps", "at least 1 with schedule=inverse_sqrt, whose rate rises until then")
    if r.schedule == "onecycle":
        require(
            r, r.epochs >= _FEWEST_ONECYCLE, "epochs", f"at least {_FEWEST_ONECYCLE} with schedule=onecycle"
        )


def _check_factors(r: Settings) -> None:
    require(r, r.high >= r.low, "high", f"finite and at least `low` = {r.low}")
    require(r, r.high <= HIGHEST_FACTOR, "high", f"at most {HIGHEST_FACTOR:.0e}")
    left = r.first_amplified < r.epochs
    require(r, left, "amplify_from", f"small enough to leave one of the training's {r.epochs} epochs")
    ordered = len(r.noise_range) == 2 and 0 <= r.noise_range[0] < r.noise_range[1] <= 1
    require(r, ordered, "noise_range", "two rising shares of the training in [0, 1], such as 0,1")
    first, last = r.noise_epochs
    require(r, first < last, "noise_range", f"wide enough for one of the training's {r.epochs} epochs")


def _require_epochs(r: Settings, value: int | float, name: str) -> None:
    holds = 0 < value <= (1 if isinstance(value, float) else r.epochs)
    require(r, holds, name, f"epochs in [1, {r.epochs}] or fractions of the training in (0, 1]")


def require(r: Settings, holds: bool, name: str, rule: str) -> None:
    """Raises: InputError unless it holds of the setting ``name``, which must be ``rule``."""
    if not holds:
        raise InputError(
            f"`{name}` = {shorten(getattr(r, name))} must be {rule}: change it in the recipe or by --set"
        )
