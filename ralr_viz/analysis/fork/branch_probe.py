"""Sharpness of a continuation, and the barrier between it and the checkpoint that it left."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ralr_viz.analysis.barrier import measure_barrier
from ralr_viz.analysis.objective import Objective
from ralr_viz.analysis.sharpness import compute_sharpness
from ralr_viz.comparison import Comparison
from ralr_viz.comparison.network import PLAIN, Network
from ralr_viz.errors import InputError
from ralr_viz.train.training import Training

RADIUS = 0.2
"""The headline radius of ``ralr-viz sharpness``."""
DIRECTIONS = 4
POINTS = 5
BATCH = 500


class BranchProbe:
    """Measures state dicts of one architecture on the same training samples, along the same directions.

    Args:
        training: Gives task, network and runtime; it is not changed, nor is torch's generator.
        start: State dict of the checkpoint.
        samples: How many of its fixed training sample, evenly spread.
    """

    def __init__(self, training: Training, start: Mapping[str, Tensor], samples: int) -> None:
        self.training, self.start = training, start
        self.batches = training.task.probe(samples, training.runtime)
        self.count = min(samples, training.evaluator.sizes["train"]) if training.evaluator else samples

    @property
    def settings(self) -> dict[str, float]:
        """What the numbers depend on, beside the networks."""
        return {
            "images": self.count,
            "radius": RADIUS,
            "directions": DIRECTIONS,
            "points": POINTS,
            "batch": BATCH,
        }

    def describe(self) -> tuple[str, ...]:
        """How it is measured, a sentence each."""
        n, what = f"{self.count:,}", self.training.task.samples_name
        return (
            f"Sharpness: mean rise of the loss along ±{DIRECTIONS} common filter-normalised directions, radius "
            f"{RADIUS:g}, {n} training {what} in one draw of training's augmentation, BatchNorm by batch.",
            f"Barrier: highest excess of the loss over the straight line's ends at {POINTS} points, the same "
            f"{what}, BatchNorm statistics recomputed at each.",
        )

    def sharpness(self, state: Mapping[str, Tensor]) -> float:
        """Average filter-normalised sharpness in nats; NaN where the network's outputs are not finite."""
        try:
            branch = Comparison(
                (Network("branch", self._build(state), *PLAIN),),
                self.batches,
                self.training.runtime,
                task=self.training.task,
            )
            found = compute_sharpness(branch, radii=(RADIUS,), directions=DIRECTIONS, worst_radii=())
        except InputError:
            return math.nan
        return float(found.losses.mean() - found.centre_loss[0])

    def barrier(self, state: Mapping[str, Tensor], other: Mapping[str, Tensor] | None = None) -> float:
        """Barrier in nats between a network and another, or the checkpoint; NaN where a loss is not finite."""
        first, second = self._build(self.start if other is None else other), self._build(state)
        try:
            device = self.training.runtime.device
            objective = Objective(
                first, self.training.task, lambda: self.batches.on_device(device), self.training.runtime
            )
            return measure_barrier(objective, first, second, points=POINTS).barrier
        except InputError:
            return math.nan

    def _build(self, state: Mapping[str, Tensor]) -> nn.Module:
        """An own, uncompiled network with these weights, on the training's device."""
        training = self.training
        with torch.random.fork_rng():  # making a network draws its first weights
            model = training.task.build()
        model.load_state_dict(state)
        return training.runtime.place(model).eval()
