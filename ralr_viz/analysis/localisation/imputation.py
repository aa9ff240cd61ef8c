"""ROAD's imputation: pixels that were taken away become what their neighbours say, all at once."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import SuperLU, splu

_NOISE = 0.01
_NEIGHBOURS = {(0, 1): 1 / 6, (1, 0): 1 / 6, (1, 1): 1 / 12, (1, -1): 1 / 12}
"""Weights of the linear imputation, of one of each two opposite neighbours."""
_LEAF = 16
"""Pixels of a part that is not divided any more."""


class Imputer:
    """Fills missing pixels with the weighted mean of their eight neighbours, solved for all at once.

    The equations are eliminated in the order of a nested dissection of the image: that leaves half of the work of a
    general order at 224 pixels a side, and lets a pixel cost hardly more than in a small image.

    Args:
        size: (H, W) in pixels.

    References:
        Rong et al., A consistent and efficient evaluation strategy for attribution methods, ICML 2022, section 4.2.
        George, Nested dissection of a regular finite element mesh, SIAM J. Numer. Anal. 10, 1973.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        height, width = size
        position = np.arange(height * width).reshape(height, width)
        ends: list[tuple[np.ndarray, np.ndarray, float]] = []
        for (down, right), weight in _NEIGHBOURS.items():
            here = position[: height - down, max(0, -right) : width - max(0, right)].ravel()
            there = position[down:, max(0, right) : width - max(0, -right)].ravel()
            ends += [(here, there, weight), (there, here, weight)]
        rows, columns, values = (
            np.concatenate(part)
            for part in zip(*((a, b, np.full(len(a), w)) for a, b, w in ends), strict=True)
        )
        self._weights = sparse.csr_matrix((values, (rows, columns)), shape=(height * width,) * 2)
        self._total = np.asarray(self._weights.sum(axis=1)).ravel()  # less than 1 at the border
        self._order = dissect(height, width)

    def fill(self, picture: np.ndarray, gone: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """The picture (C, H, W) with the pixels at ``gone`` imputed, plus a hundredth of the noise (C, H, W)."""
        flat = picture.reshape(len(picture), -1).astype(np.float64)
        kept = np.ones(flat.shape[1], dtype=bool)
        kept[gone] = False
        missing = self._order[~kept[self._order]]
        solved = self.factorise(missing).solve(self._weights[missing][:, kept] @ flat[:, kept].T)
        filled = flat.copy()
        filled[:, missing] = solved.T + _NOISE * noise.reshape(len(picture), -1)[:, missing]
        return filled.reshape(picture.shape).astype(np.float32)

    def factorise(self, missing: np.ndarray) -> SuperLU:
        """LU factors of the equations of missing pixels, which are eliminated in this order."""
        system = sparse.diags(self._total[missing]) - self._weights[missing][:, missing]
        # symmetric and diagonally dominant, so that no pivot has to be looked for
        return splu(
            system.tocsc(), permc_spec="NATURAL", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
        )


def dissect(height: int, width: int) -> np.ndarray:
    """Flat positions (H·W,) of an image in nested dissection order: halves first, the line between them last."""
    order = np.empty(height * width, dtype=np.int64)
    position = np.arange(height * width).reshape(height, width)
    parts, end = [position], len(order)
    while parts:  # filled from the end
        part = parts.pop()
        rows, columns = part.shape
        if part.size <= _LEAF:
            line, halves = part, []
        elif rows >= columns:
            line, halves = part[rows // 2], [part[: rows // 2], part[rows // 2 + 1 :]]
        else:
            line, halves = part[:, columns // 2], [part[:, : columns // 2], part[:, columns // 2 + 1 :]]
        order[end - line.size : end] = line.ravel()
        end -= line.size
        parts += halves
    return order
