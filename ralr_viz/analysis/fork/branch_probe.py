"""Sharpness of a continuation, and the barrier between it and the checkpoint that it left."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from ralr_viz.analysis.barrier import measure_barrier
from ralr_viz.analysis.objective import classification_objective
from ralr_viz.analysis.sharpness import compute_sharpness
from ralr_viz.comparison import compare
from ralr_viz.comparison.augmentation import augment_once
from ralr_viz.errors import InputError
from ralr_viz.models import build_model
from ralr_viz.train.training import Training

RADIUS = 0.2
"""The headline radius of ``ralr-viz sharpness``."""
DIRECTIONS = 4
POINTS = 5
BATCH = 500


class BranchProbe:
    """Measures state dicts of one architecture on the same training images, along the same directions.

    Args:
        training: Gives architecture, images (of its fixed training sample, evenly spread) and runtime; it is
            not changed, nor is torch's generator.
        start: State dict of the checkpoint.
        images: How many.
    """

    def __init__(self, training: Training, start: Mapping[str, Tensor], images: int) -> None:
        self.training, self.start = training, start
        sample, labels = (t.cpu().numpy() for t in training.eval_sets["train"])
        count = min(images, len(labels))
        chosen = len(labels) * np.arange(count) // count
        self.labels, recipe = labels[chosen], training.recipe
        self.augmented = augment_once(sample[chosen], padding=recipe.crop_padding, flip=recipe.flip)
        self.mean, self.std = training.mean.tolist(), training.std.tolist()

    @property
    def settings(self) -> dict[str, float]:
        """What the numbers depend on, beside the networks."""
        return {
            "images": len(self.labels),
            "radius": RADIUS,
            "directions": DIRECTIONS,
            "points": POINTS,
            "batch": BATCH,
        }

    def describe(self) -> tuple[str, ...]:
        """How it is measured, a sentence each."""
        n = f"{len(self.labels):,}"
        return (
            f"Sharpness: mean rise of the loss along ±{DIRECTIONS} common filter-normalised directions, radius "
            f"{RADIUS:g}, {n} training images in one draw of training's augmentation, BatchNorm by batch.",
            f"Barrier: highest excess of the loss over the straight line's ends at {POINTS} points, the same "
            "images, BatchNorm statistics recomputed at each.",
        )

    def sharpness(self, state: Mapping[str, Tensor]) -> float:
        """Average filter-normalised sharpness in nats; NaN where the network's outputs are not finite."""
        runtime = self.training.runtime
        try:
            branch = compare(
                [self._build(state)],
                images=self.augmented,
                labels=self.labels,
                mean=self.mean,
                std=self.std,
                device=str(runtime.device),
                precision=runtime.precision,
                batch=BATCH,
            )
            found = compute_sharpness(branch, radii=(RADIUS,), directions=DIRECTIONS, worst_radii=())
        except InputError:
            return math.nan
        return float(found.losses.mean() - found.centre_loss[0])

    def barrier(self, state: Mapping[str, Tensor]) -> float:
        """Barrier in nats between the checkpoint and a network; NaN where a loss is not finite."""
        first, second = self._build(self.start), self._build(state)
        try:
            objective = classification_objective(
                first,
                self.augmented,
                self.labels,
                mean=self.mean,
                std=self.std,
                runtime=self.training.runtime,
                batch=BATCH,
            )
            return measure_barrier(objective, first, second, points=POINTS).barrier
        except InputError:
            return math.nan

    def _build(self, state: Mapping[str, Tensor]) -> nn.Module:
        """An own, uncompiled network with these weights, on the training's device."""
        training = self.training
        with torch.random.fork_rng():  # making a network draws its first weights
            model = build_model(training.recipe.model, training.num_classes)
        model.load_state_dict(state)
        return training.runtime.place(model).eval()
