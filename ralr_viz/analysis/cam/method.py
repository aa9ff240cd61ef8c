"""What the methods of the `grad-cam` package differ in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ralr_viz.analysis.capture import LentModule
from ralr_viz.analysis.maps import MapAxes
from ralr_viz.nouns.cam import METHOD_NAMES

LARGEST_BATCH = 32
"""Images, or changed copies of one, whose graph and activations the package holds at once."""


@dataclass(frozen=True)
class Method:
    """A method of the `grad-cam` package: an entry of `methods.METHODS`.

    Attributes:
        key: As in METHOD_NAMES, which has its name for figures.
        package_class: In `pytorch_grad_cam`.
        gradient: It needs the gradient of the target's logit.
        per_channel: It runs the network once more for each channel of the layer, on changed copies of one image:
            minutes where the others take seconds.
        empty_tells: A map without positive value means that nothing in the image speaks for the class.
        note: What a reader should know of every map.
    """

    key: str
    package_class: str
    gradient: bool = True
    per_channel: bool = False
    empty_tells: bool = True
    note: str = ""

    @property
    def name(self) -> str:
        """In figures."""
        return METHOD_NAMES[self.key]

    def batch(self, asked: int) -> int:
        """Images per call of the package where ``asked`` are: at most LARGEST_BATCH.

        One where copies are made of it: Score-CAM makes one for every channel before its first pass.
        """
        return 1 if self.per_channel else min(asked, LARGEST_BATCH)

    def load(self) -> Any:
        """The package's class."""
        import pytorch_grad_cam  # imports OpenCV and pyplot

        return getattr(pytorch_grad_cam, self.package_class)

    def options(self, layer: LentModule, axes: MapAxes) -> dict[str, Any]:
        """What the package's class takes beside network, layer and axes.

        Args:
            layer: Of the maps; its hooks are removed after the call.
            axes: Of what it returns.
        """
        return {}

    def notes(self, logits: np.ndarray) -> list[str]:
        """What a reader should know of these maps, one sentence each.

        Args:
            logits: (n,) of the target of each map.

        Raises:
            InputError: There is no such map of one of them.
        """
        return [self.note] if self.note else []
