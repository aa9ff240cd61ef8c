"""A task of somebody's own: regression on arrays. Recipes name it as ``line_task:Line``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ralr_viz.recipe import Recipe
from ralr_viz.recipe.rules import RULES, within
from ralr_viz.results.tasks import Score
from ralr_viz.tasks.base import BaseTask
from ralr_viz.tasks.task import Sums


@dataclass(frozen=True, kw_only=True)
class LineRecipe(Recipe):
    """With the noise of its points."""

    noise: float = 0.1
    rules: ClassVar = {**RULES, "noise": within(0, 10)}


class Line(BaseTask):
    """Points (x, sin 3x₀ + noise), x uniform in the square; the score is the mean absolute error."""

    recipe_type = LineRecipe
    name = "line"
    score = Score("mae", "mean absolute error", "m", "lower")
    loss_unit = "m²"
    samples_name = "points"

    def __init__(self, recipe: LineRecipe, root: Path) -> None:
        super().__init__(recipe, root)
        rng = np.random.default_rng(5)
        self.x = rng.uniform(-1, 1, (300, 2)).astype(np.float32)
        self.y = (np.sin(3 * self.x[:, 0]) + recipe.noise * rng.normal(size=300)).astype(np.float32)

    def count(self, split: str) -> int:
        return {"train": 240, "test": 60}[split]

    def batch(self, split: str, places: np.ndarray) -> tuple[Tensor, Tensor]:
        rows = places + (240 if split == "test" else 0)
        return torch.from_numpy(self.x[rows]), torch.from_numpy(self.y[rows])

    def build(self) -> nn.Module:
        width = int(self.recipe.model.removeprefix("mlp"))
        return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width), nn.Tanh(), nn.Linear(width, 1))

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        x, y = batch
        return ((model(x)[:, 0] - y) ** 2).sum(), y.new_tensor(len(y))

    @torch.no_grad()
    def evaluate(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Sums:
        x, y = batch
        error = (model(x)[:, 0] - y).double()
        return Sums((error**2).sum(), error.abs().sum(), error.new_tensor(len(y)))
