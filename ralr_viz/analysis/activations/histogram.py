"""A histogram in one pass and constant memory: its bins widen when a value does not fit."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

HALF = 8192
"""Bins on each side of zero."""

_NARROWEST, _WIDEST = -100, 128
"""Exponents of the range ±2^e of all bins; float32 ends at 2^128."""


class StreamingHistogram:
    r"""Counts of non-zero values in 2·H bins around zero, group by group; exact zeros are left out.

    Bin i, −H ≤ i < H, holds the values in [i·w, (i+1)·w) with w a power of two. A value outside makes w
    double until all fit, and bins 2j and 2j+1 become bin j. As scaling by a power of two is exact, each value
    is always in the bin of the final edges, and any two histograms have edges in common (`align`). Nothing
    waits for the device.

    Attributes:
        counts: (groups, 2·H) int64 on the device.
        exponent: () int64 on the device: w = 2^exponent / H.
        largest: () float32 on the device, the largest magnitude; not finite if one value was not, and then
            the counts mean nothing.

    Args:
        groups: Number of groups.
        device: Where the values are.
        half: H, a power of two.
    """

    def __init__(self, groups: int, device: torch.device, *, half: int = HALF) -> None:
        self.half = half
        self.counts = torch.zeros(groups, 2 * half, dtype=torch.int64, device=device)
        self.exponent = torch.tensor(_NARROWEST, device=device)
        self.largest = torch.zeros((), device=device)

    def add(self, values: Tensor, group: Tensor) -> None:
        """Count values.

        Args:
            values: (b, ...) float32.
            group: (b,) int64 group of each row.
        """
        values = values.flatten(1)
        self.largest = torch.maximum(self.largest, values.abs().amax())
        self.widen(torch.where(self.largest > 0, _exponent(self.largest), _NARROWEST))
        # clamped as integers: what is not finite must not write elsewhere
        bins = (values * self._scale()).floor_().to(torch.int64).clamp_(-self.half, self.half - 1)
        bins += (self.half + 2 * self.half * group)[:, None]
        # `bincount` would wait for the device
        self.counts.view(-1).scatter_add_(0, bins.view(-1), (values != 0).to(torch.int64).view(-1))

    def widen(self, exponent: Tensor) -> None:
        """Make the range of all bins at least ±2^exponent; no count is lost."""
        doublings = (exponent - self.exponent).clamp(min=0)
        if doublings.device.type == "cpu" and not doublings:
            return  # a GPU moves the counts for nothing rather than wait for the answer
        self.exponent = self.exponent + doublings
        index = torch.arange(-self.half, self.half, device=self.counts.device)
        # an arithmetic shift rounds down, so zero stays an edge
        index = (index >> doublings.clamp(max=62)) + self.half
        self.counts = torch.zeros_like(self.counts).scatter_add_(1, index.expand_as(self.counts), self.counts)

    def merge(self, other: StreamingHistogram) -> None:
        """Add the counts of another histogram of as many groups and bins, which may get wider bins."""
        align([self, other])
        self.counts = self.counts + other.counts
        self.largest = torch.maximum(self.largest, other.largest)

    @property
    def width(self) -> float:
        """Width of a bin, w; waits for the device."""
        return math.ldexp(1, int(self.exponent)) / self.half

    def _scale(self) -> Tensor:
        """1/w as () float32, exact: the bits of a power of two are its exponent."""
        exponent = self.half.bit_length() - 1 - self.exponent
        return ((exponent + 127) << 23).to(torch.int32).view(torch.float32)


def align(histograms: Sequence[StreamingHistogram]) -> None:
    """Bring histograms of equally many bins to the same edges."""
    widest = torch.stack([histogram.exponent for histogram in histograms]).amax()
    for histogram in histograms:
        histogram.widen(widest)


def _exponent(largest: Tensor) -> Tensor:
    """The least e with largest < 2^e, as int64."""
    return torch.frexp(largest).exponent.to(torch.int64).clamp(_NARROWEST, _WIDEST)
