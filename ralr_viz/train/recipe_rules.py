"""What a recipe's settings may be: the names that each choice has, and the range of each number."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ralr_viz.errors import InputError

if TYPE_CHECKING:
    from ralr_viz.train.recipe import Recipe

OPTIMIZERS = ("sgd", "adam", "adagrad")
SCHEDULES = ("multistep", "cosine", "constant", "sgdr", "cyclical", "onecycle")
PRECISIONS = ("auto", "fp32", "bf16")
DRAWS = ("uniform", "integer")
EVALUATE_TEST, EVALUATE_UNUSED = ("epoch", "end"), ("never", "end")

# Beyond these a number is a slip of the keyboard, and what is drawn of it overflows.
MOST_EPOCHS, HIGHEST_FACTOR = 100_000, 1e6
_LARGEST_ALPHA = 1000  # of a Beta distribution: λ is then within 0.05 of 1/2
_LARGEST_HOLE = 1024
_MOST_THREADS = 1024
# Fewer leave OneCycleLR no epoch in which the rate rises, or a cycle no epoch between its ends.
_FEWEST_ONECYCLE, _SHORTEST_CYCLE = 5, 2


def to_epoch(value: int | float, epochs: int) -> int:
    """Epochs as they are, or a share of the training in epochs, at least 1."""
    return value if isinstance(value, int) else max(1, round(value * epochs))


def check_recipe(r: Recipe) -> None:
    """Refuse a setting outside its range.

    Raises:
        InputError: The first one, in one line.
    """
    _check_training(r)
    _check_schedule(r)
    _check_factors(r)
    _check_augmentation(r)
    _check_data(r)


def _check_training(r: Recipe) -> None:
    _require(r, 1 <= r.epochs <= MOST_EPOCHS, "epochs", f"in [1, {MOST_EPOCHS}]")
    _require(r, r.batch >= 1, "batch", "at least 1")
    _require(r, math.isfinite(r.lr) and r.lr > 0, "lr", "a positive, finite number")
    own = ":" in r.model and not r.model.startswith("torchvision:")
    _require(
        r,
        not own,
        "model",
        "one of ralr-viz's or torchvision's; train your own in your loop with RunWriter",
    )
    _require(r, r.optimizer in OPTIMIZERS, "optimizer", f"one of {', '.join(OPTIMIZERS)}")
    _require(r, r.precision in PRECISIONS, "precision", f"one of {', '.join(PRECISIONS)}")
    _require(r, 0 <= r.threads <= _MOST_THREADS, "threads", f"in [0, {_MOST_THREADS}]")
    _require(r, 0 <= r.momentum < 1, "momentum", "in [0, 1)")
    _require(r, not r.nesterov or r.momentum > 0, "nesterov", "false without momentum")
    _require(r, math.isfinite(r.weight_decay) and r.weight_decay >= 0, "weight_decay", "at least 0")
    _require(r, 0 <= r.label_smoothing < 1, "label_smoothing", "in [0, 1)")


def _check_schedule(r: Recipe) -> None:
    _require(r, r.schedule in SCHEDULES, "schedule", f"one of {', '.join(SCHEDULES)}")
    _require(r, math.isfinite(r.gamma) and r.gamma > 0, "gamma", "a positive, finite number")
    for name in ("milestones", "keep"):
        for value in getattr(r, name):
            _require_epochs(r, value, name)
    for name, schedule in (("restart_epochs", "sgdr"), ("cycle", "cyclical")):
        value = getattr(r, name)
        _require_epochs(r, value, name)
        if r.schedule == schedule:
            enough = to_epoch(value, r.epochs) >= _SHORTEST_CYCLE
            _require(r, enough, name, f"{_SHORTEST_CYCLE} epochs or more of the training's {r.epochs}")
    _require(r, 1 <= r.restart_factor <= MOST_EPOCHS, "restart_factor", f"in [1, {MOST_EPOCHS}]")
    _require(r, 0 < r.lr_floor <= 1, "lr_floor", "in (0, 1]")
    if r.schedule == "onecycle":
        _require(
            r, r.epochs >= _FEWEST_ONECYCLE, "epochs", f"at least {_FEWEST_ONECYCLE} with schedule=onecycle"
        )


def _check_factors(r: Recipe) -> None:
    _require(r, r.draw in DRAWS, "draw", f"one of {', '.join(DRAWS)}")
    _require(r, 0 <= r.probability <= 1, "probability", "in [0, 1]")
    _require(r, math.isfinite(r.low) and r.low > 0, "low", "a positive, finite number")
    _require(r, math.isfinite(r.high) and r.high >= r.low, "high", f"finite and at least `low` = {r.low}")
    _require(r, r.high <= HIGHEST_FACTOR, "high", f"at most {HIGHEST_FACTOR:.0e}")
    _require(r, r.interval >= 1, "interval", "at least 1")
    _require(r, 0 <= r.amplify_from < 1, "amplify_from", "a share of the training in [0, 1)")
    left = r.first_amplified < r.epochs
    _require(r, left, "amplify_from", f"small enough to leave one of the training's {r.epochs} epochs")
    _require(r, 0 < r.noise_pct < 1, "noise_pct", "in (0, 1), so that the learning rate stays positive")
    ordered = len(r.noise_range) == 2 and 0 <= r.noise_range[0] < r.noise_range[1] <= 1
    _require(r, ordered, "noise_range", "two rising shares of the training in [0, 1], such as 0,1")
    first, last = r.noise_epochs
    _require(r, first < last, "noise_range", f"wide enough for one of the training's {r.epochs} epochs")


def _check_augmentation(r: Recipe) -> None:
    _require(r, 0 <= r.crop_padding <= 64, "crop_padding", "in [0, 64]")
    _require(r, 0 <= r.cutout <= _LARGEST_HOLE, "cutout", f"in [0, {_LARGEST_HOLE}] pixels")
    _require(r, 0 <= r.mixup <= _LARGEST_ALPHA, "mixup", f"in [0, {_LARGEST_ALPHA}]")
    _require(r, 0 <= r.cutmix <= 1, "cutmix", "in [0, 1]: the probability that a batch is cut")
    _require(r, 0 < r.cutmix_alpha <= _LARGEST_ALPHA, "cutmix_alpha", f"in (0, {_LARGEST_ALPHA}]")
    _require(r, not (r.mixup and r.cutmix), "cutmix", f"0 beside `mixup` = {r.mixup!r}: only one may mix")


def _check_data(r: Recipe) -> None:
    _require(r, 0 <= r.validation <= 0.5, "validation", "in [0, 0.5]")
    _require(r, r.subset >= 0, "subset", "at least 0")
    _require(r, r.keep_every >= 0, "keep_every", "at least 0")
    _require(r, r.train_sample >= 1, "train_sample", "at least 1")
    for name, choices in (("evaluate_test", EVALUATE_TEST), ("evaluate_unused", EVALUATE_UNUSED)):
        _require(r, getattr(r, name) in choices, name, f"one of {', '.join(choices)}")
    unused = r.evaluate_unused == "never" or r.subset > 0
    _require(r, unused, "evaluate_unused", "never without `subset`: all training images are used")


def _require_epochs(r: Recipe, value: int | float, name: str) -> None:
    holds = 0 < value <= (1 if isinstance(value, float) else r.epochs)
    _require(r, holds, name, f"epochs in [1, {r.epochs}] or fractions of the training in (0, 1]")


def _require(r: Recipe, holds: bool, name: str, rule: str) -> None:
    if not holds:
        raise InputError(
            f"`{name}` = {getattr(r, name)!r} must be {rule}: change it in the recipe or by --set"
        )
