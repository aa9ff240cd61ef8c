"""The learning rates of a recipe before it is trained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ralr_viz.analysis.schedule import compute_schedule
from ralr_viz.recipe import Recipe, check_seed
from ralr_viz.results.schedule import ScheduleResult
from ralr_viz.train.optim import preview_lr

CONTROLS = ("scaled",)


def preview_schedule(recipe: Recipe, seed: int = 0, controls: Sequence[str] = CONTROLS) -> ScheduleResult:
    """The learning rate of every epoch under RALR and under other methods.

    Args:
        recipe: What would be trained.
        seed: Of the training.
        controls: Methods to show beside RALR.

    Raises:
        InputError: A seed out of range.
        UnknownNameError: No such method.
    """
    check_seed(seed)
    base, factor = preview_lr(recipe, "ralr", seed)
    arms: list[tuple[str, int | None, np.ndarray]] = [("ralr", seed, factor)]
    for method in controls:
        own = None if method == "scaled" else seed  # whose factor is the same for all
        arms.append((method, own, preview_lr(recipe, method, seed)[1]))
    return compute_schedule(base, arms, recipe=recipe.name, provenance={"recipe": recipe.to_dict()})
