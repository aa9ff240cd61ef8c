"""The boxes that an SSD starts from: a few shapes at each position of each of its maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Level:
    """The priors of one map.

    Attributes:
        side: Positions in a row and in a column.
        scale: Side of the square prior, a fraction of the image's.
        ratios: Widths over heights beside 1, each at the square's area.
    """

    side: int
    scale: float
    ratios: tuple[float, ...]

    @property
    def shapes(self) -> int:
        """Priors at each position: the square, a larger square, and one for each ratio."""
        return 2 + len(self.ratios)


_FEW, _MANY = (2.0, 1 / 2), (2.0, 3.0, 1 / 2, 1 / 3)

SSD300_LEVELS = (
    Level(38, 0.1, _FEW),
    Level(19, 0.2, _MANY),
    Level(10, 0.375, _MANY),
    Level(5, 0.55, _MANY),
    Level(3, 0.725, _FEW),
    Level(1, 0.9, _FEW),
)
"""Of sgrvinod's SSD300 (whose 1/3 is .333): conv4_3 lower and the others as in the SSD paper, section 2.2."""

_SMALL_SCALES = (0.08, 0.16, 0.3, 0.5, 0.75)


def small_levels(size: int) -> tuple[Level, ...]:
    """Of the small SSD, whose maps are at strides 4 to 64 of images of ``size`` pixels a side."""
    return tuple(Level(-(-size // (4 << i)), scale, _FEW) for i, scale in enumerate(_SMALL_SCALES))


def make_priors(levels: Sequence[Level]) -> Tensor:
    """Priors (P, 4) float32 as centres, in fractions of the image: level, row, column, shape.

    Each position has the square, the larger square whose side is the geometric mean of this scale and the next
    level's (1 after the last), and the ratios. Priors past the image's edge are left as they are: clipping them costs
    a reader of the reference .9 points of mAP.
    """
    scales = [level.scale for level in levels] + [1.0]
    parts = []
    for level, following in zip(levels, scales[1:], strict=True):
        larger = math.sqrt(level.scale * following)
        shapes = [(level.scale, level.scale), (larger, larger)]
        shapes += [(level.scale * math.sqrt(r), level.scale / math.sqrt(r)) for r in level.ratios]
        centre = (torch.arange(level.side, dtype=torch.float64) + 0.5) / level.side
        cy, cx = torch.meshgrid(centre, centre, indexing="ij")
        places = torch.stack([cx, cy], -1).reshape(-1, 1, 2).expand(-1, len(shapes), 2)
        sizes = torch.tensor(shapes, dtype=torch.float64).expand(len(places), -1, 2)
        parts.append(torch.cat([places, sizes], -1).reshape(-1, 4))
    return torch.cat(parts).float()
