"""What each method of class activation maps is held against: one entry a method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import pytorch_grad_cam

PEERS: dict[str, Callable[..., Any]] = {
    "cam": pytorch_grad_cam.GradCAM,
    "gradcam": pytorch_grad_cam.GradCAM,
    "gradcam++": pytorch_grad_cam.GradCAMPlusPlus,
    "layercam": pytorch_grad_cam.LayerCAM,
    "eigencam": pytorch_grad_cam.EigenCAM,
    "scorecam": pytorch_grad_cam.ScoreCAM,
}


@pytest.fixture(scope="session")
def peers() -> dict[str, Callable[..., Any]]:
    return PEERS
