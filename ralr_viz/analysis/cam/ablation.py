"""Ablation-CAM: how much of the target's logit is lost without a channel is the channel's weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ralr_viz.analysis.cam.method import Method
from ralr_viz.analysis.capture import LentModule
from ralr_viz.analysis.maps import MapAxes
from ralr_viz.errors import InputError


@dataclass(frozen=True)
class Ablation(Method):
    r"""Weights :math:`(y - y_k)/y`, where y is the target's logit and y_k the one with channel k set to zero.

    The package itself sets a channel to zero only in a map whose least value is zero; in any other to 10⁷ below its
    least value, 2·10⁷ in the second copy of a batch and so on, so that maps depend on the batch where no ReLU
    follows. Here it is zero everywhere, as in the paper.
    """

    def options(self, layer: LentModule, axes: MapAxes) -> dict[str, Any]:
        zeroed = _ZeroedChannels(axes)
        layer.register_forward_hook(zeroed.zero)
        return {"ablation_layer": zeroed}

    def notes(self, logits: np.ndarray) -> list[str]:
        if zeros := int((logits == 0).sum()):
            raise InputError(
                f"{self.name} divides by the target's logit, which is 0 on {zeros} of {len(logits)} images: "
                "use another --method"
            )
        if negative := int((logits < 0).sum()):
            return [
                f"{self.name} divides by the target's logit, which is negative on {negative} of {len(logits)} "
                "images: their maps show what speaks against the class"
            ]
        return []


class _ZeroedChannels:
    """What the package asks for channels; it does not put this in the layer's place, since it finds no layer.

    Attributes:
        indices: Channels that are left, which the package shortens.
        copies: In the next pass, each without one of them; 0 where nothing is to be changed.
    """

    def __init__(self, axes: MapAxes) -> None:
        self.axes = axes
        self.indices = np.zeros(0, np.int64)
        self.copies = 0

    def activations_to_be_ablated(self, activations: np.ndarray, ratio: float) -> np.ndarray:
        """All of an image's (channels, h, w)."""
        self.indices = np.arange(len(activations))
        return self.indices

    def set_next_batch(
        self, input_batch_index: int, activations: Tensor, num_channels_to_ablate: int
    ) -> None:
        self.copies = num_channels_to_ablate

    def zero(self, module: nn.Module, args: Any, output: Tensor) -> Tensor | None:
        """Forward hook of the layer."""
        copies, self.copies = self.copies, 0
        if not copies:
            return None
        output = output.clone()
        channels = torch.from_numpy(self.indices[:copies]).to(output.device)
        self.axes(output)[torch.arange(copies, device=output.device), channels] = 0
        return output
