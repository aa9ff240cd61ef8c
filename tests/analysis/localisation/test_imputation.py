"""ROAD's imputation against grad-cam's, and what it costs in large images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch_grad_cam.metrics.road import NoisyLinearImputer

from ralr_viz.analysis.localisation.imputation import Imputer, dissect


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_imputer_equals_grad_cams(share):
    rng = np.random.default_rng(0)
    picture = rng.standard_normal((3, 9, 7)).astype(np.float32)
    gone = rng.permutation(63)[: int(share * 63)]
    mask = np.ones(63, dtype=np.float32)
    mask[gone] = 0
    theirs = NoisyLinearImputer(noise=0)(torch.from_numpy(picture), torch.from_numpy(mask.reshape(9, 7)))
    ours = Imputer((9, 7)).fill(picture, gone, np.zeros((3, 9, 7)))
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)


def test_imputer_adds_noise_where_pixels_are_missing_only():
    picture = np.ones((3, 6, 6), np.float32)
    noise = np.random.default_rng(0).standard_normal((3, 6, 6))
    filled = Imputer((6, 6)).fill(picture, np.array([7, 8]), noise)
    np.testing.assert_allclose(
        filled.reshape(3, -1)[:, [7, 8]], 1 + 0.01 * noise.reshape(3, -1)[:, [7, 8]], atol=1e-6
    )
    np.testing.assert_array_equal(np.delete(filled.reshape(3, -1), [7, 8], axis=1), 1)


@pytest.mark.parametrize("size", [(1, 1), (4, 5), (9, 7), (40, 3)])
def test_dissect_has_every_pixel_once(size):
    assert sorted(dissect(*size)) == list(range(size[0] * size[1]))


def test_imputer_costs_a_pixel_hardly_more_in_a_large_image():
    """The factors' entries a pixel, in a hole of half of the image: in reading order they double with the side."""
    entries = {}
    for side in (64, 128):
        hole = np.zeros((side, side), dtype=bool)
        hole[side // 8 : -side // 8, side // 4 :] = True
        order = dissect(side, side)
        factors = Imputer((side, side)).factorise(order[hole.ravel()[order]])
        entries[side] = factors.L.nnz / hole.sum()
    assert entries[128] < 1.35 * entries[64]
    assert entries[128] < 40
