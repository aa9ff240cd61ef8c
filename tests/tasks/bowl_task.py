"""A task whose training has a closed form: a quadratic bowl. Recipes name it as ``bowl_task:Bowl``."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ralr_viz.tasks.base import BaseTask

CURVATURES = (0.3, 1.0, 2.5)


class Point(nn.Module):
    """Where a ball lies in the bowl."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.rand(len(CURVATURES)) + 0.5)

    def forward(self, _: Tensor) -> Tensor:
        return (torch.tensor(CURVATURES) * self.place**2).sum() / 2


class Bowl(BaseTask):
    """½ Σ h w² for every sample."""

    name = "bowl"

    def count(self, split: str) -> int:
        return {"train": 12, "test": 4}[split]

    def batch(self, split: str, places: np.ndarray) -> Tensor:
        return torch.from_numpy(places.astype(np.float32))

    def build(self) -> nn.Module:
        return Point()

    def loss(self, model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
        return model(batch) * len(batch), batch.new_tensor(len(batch))
