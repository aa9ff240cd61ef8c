"""How one photograph of any shape becomes a square of a network's size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from ralr_viz.errors import InputError, UnknownNameError

MODES = ("centre", "warp")
_SIZES = (8, 2048)


@dataclass(frozen=True)
class View:
    """How photographs are made squares of one size.

    Attributes:
        size: Side in pixels.
        resize: Of ``centre``: the shorter side is scaled to it before the centre is cut out; None for 8/7 of ``size``, as
            256 for 224 and 512 for 448.
        mode: ``centre``, or ``warp``, which squeezes all of the picture into the square.

    Raises:
        InputError: A size that is none, or a ``resize`` that is smaller, or without use.
        UnknownNameError: Another mode.
    """

    size: int
    resize: int | None = None
    mode: Literal["centre", "warp"] = "centre"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UnknownNameError("view", self.mode, MODES)
        if not _SIZES[0] <= self.size <= _SIZES[1]:
            raise InputError(f"view of {self.size} pixels: its side is {_SIZES[0]} to {_SIZES[1]}")
        if self.resize is None:
            return
        if self.mode == "warp":
            raise InputError(f"resize = {self.resize}: a `warp` scales both sides to its size; leave it out")
        if not self.size <= self.resize <= _SIZES[1]:
            raise InputError(
                f"resize = {self.resize}: the shorter side must be {self.size} to {_SIZES[1]} pixels, from which "
                f"{self.size} are cut out"
            )

    @property
    def shorter(self) -> int:
        """What the shorter side is scaled to before the centre is cut out."""
        return self.resize or max(self.size, round(self.size * 8 / 7))

    @property
    def name(self) -> str:
        """``centre-224-of-256`` or ``warp-224``, of a folder."""
        return f"warp-{self.size}" if self.mode == "warp" else f"centre-{self.size}-of-{self.shorter}"

    def describe(self) -> str:
        """In words."""
        if self.mode == "warp":
            return f"warped to {self.size}×{self.size}"
        return f"the centre {self.size}×{self.size} after the shorter side was scaled to {self.shorter}"

    def place(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Height and width that a picture is scaled to, and top and left of what is cut out of that."""
        if self.mode == "warp":
            return self.size, self.size, 0, 0
        short, long = min(height, width), max(height, width)
        longer = int(self.shorter * long / short)  # torchvision's Resize
        high, wide = (self.shorter, longer) if height <= width else (longer, self.shorter)
        # and its CenterCrop, which rounds halves to even
        return high, wide, round((high - self.size) / 2), round((wide - self.size) / 2)


def look_at(image: np.ndarray, view: View) -> np.ndarray:
    """One picture ``(H, W, 3)`` uint8 as the view has it: ``(size, size, 3)``."""
    height, width = image.shape[:2]
    high, wide, top, left = view.place(height, width)
    scaled = Image.fromarray(image)
    if (high, wide) != (height, width):
        scaled = scaled.resize((wide, high), Image.Resampling.BILINEAR)
    return np.asarray(scaled)[top : top + view.size, left : left + view.size]
