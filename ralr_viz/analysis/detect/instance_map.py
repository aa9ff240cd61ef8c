"""What one detection rests on: gradient × activation of its logit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ralr_viz.analysis.capture import capture, frozen_parameters
from ralr_viz.tasks.detection.boxes import decode_boxes
from ralr_viz.tasks.detection.network import SSD300, Outputs


class Wanted(NamedTuple):
    """A detection as `find_detections` gives it.

    Attributes:
        box: (4,) float64 corners in fractions of the image.
        label: From 0.
        score: Softmax probability.
    """

    box: np.ndarray
    label: int
    score: float


def map_layer_of(model: nn.Module) -> str:
    """The finest map that a head sees: coarser ones, and so the logits of all priors, follow from it."""
    return "block4" if isinstance(model, SSD300) else "stages.0"


def make_instance_map(model: nn.Module, image: Tensor, priors: Tensor, wanted: Wanted | None) -> np.ndarray:
    r"""Map of what a detection's logit rests on: Σ over the channels of gradient × activation.

    With A the activation of `map_layer_of` and z the logit of the detection's class at its prior,
    :math:`\sum_c A_c \cdot \partial z / \partial A_c`, position by position: unlike a class activation map it is of this
    object alone, and is dark at others of its class.

    Args:
        model: In eval mode.
        image: (1, 3, S, S), normalised, on the device.
        priors: (P, 4) centres.
        wanted: What it has found there; of nothing the map is 0.

    Returns:
        (h, w) float32, signed.

    References:
        Zhao & Chan, ODAM: Gradient-based instance-specific visual explanations for object detection, ICLR 2023.
    """
    with frozen_parameters(model), torch.enable_grad():
        with capture(model, [map_layer_of(model)], keep=lambda tensor: tensor) as calls:
            outputs = model(image.detach().clone().requires_grad_())
        (activation,) = calls[0].outputs
        if wanted is None:
            return np.zeros(tuple(activation.shape[2:]), np.float32)
        logit = outputs.logits[0, find_prior(outputs, priors, wanted), wanted.label + 1]
        (gradient,) = torch.autograd.grad(logit, activation)
    made: np.ndarray = (gradient * activation).sum(1)[0].detach().float().cpu().numpy()
    return made


@torch.no_grad()
def find_prior(outputs: Outputs, priors: Tensor, wanted: Wanted) -> int:
    """The prior that a detection comes from, whose box and score are the nearest."""
    boxes = decode_boxes(outputs.offsets[0].float(), priors.float())
    scores = outputs.logits[0].float().softmax(-1)[:, wanted.label + 1]
    box = torch.tensor(wanted.box, dtype=torch.float32, device=boxes.device)
    return int(((boxes - box).abs().amax(1) + (scores - wanted.score).abs()).argmin())
