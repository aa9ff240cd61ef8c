"""What each method of class activation maps is held against: one entry a method."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import pytorch_grad_cam
from pytorch_grad_cam.ablation_layer import AblationLayer
from torch import Tensor


class SetToZero(AblationLayer):
    """The definition; the package's own goes far below zero in maps that are not rectified."""

    def __call__(self, x: Tensor) -> Tensor:
        for i in range(len(self.activations)):
            self.activations[i, self.indices[i]] = 0
        return self.activations


PEERS: dict[str, Callable[..., Any]] = {
    "cam": pytorch_grad_cam.GradCAM,
    "gradcam": pytorch_grad_cam.GradCAM,
    "gradcam++": pytorch_grad_cam.GradCAMPlusPlus,
    "layercam": pytorch_grad_cam.LayerCAM,
    "eigencam": pytorch_grad_cam.EigenCAM,
    "hirescam": pytorch_grad_cam.HiResCAM,
    "xgradcam": pytorch_grad_cam.XGradCAM,
    "scorecam": pytorch_grad_cam.ScoreCAM,
    "ablationcam": partial(pytorch_grad_cam.AblationCAM, ablation_layer=SetToZero()),
}


@pytest.fixture(scope="session")
def peers() -> dict[str, Callable[..., Any]]:
    return PEERS
