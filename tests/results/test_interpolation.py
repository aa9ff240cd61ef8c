"""Bilinear interpolation against torch, and its exactness where ties are counted."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from ralr_viz.results.interpolation import bilinear_weights, interpolate_maps

sizes = st.integers(1, 20)


@given(n_in=sizes, n_out=sizes)
def test_bilinear_weights_equal_torch(n_in: int, n_out: int) -> None:
    identity = torch.eye(n_in)[:, None]  # each row a signal with one peak
    expected = torch.nn.functional.interpolate(identity, n_out, mode="linear", align_corners=False)[:, 0].T
    np.testing.assert_allclose(bilinear_weights(n_in, n_out), expected, atol=1e-5)


@given(h=st.integers(1, 9), w=st.integers(1, 9), seed=st.integers(0, 100))
def test_interpolate_maps_equals_torch_and_the_matrices(h: int, w: int, seed: int) -> None:
    maps = np.random.default_rng(seed).standard_normal((2, h, w)).astype(np.float32)
    found = interpolate_maps(maps, (20, 13))
    assert found.dtype == np.float64
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(maps)[None].double(), (20, 13), mode="bilinear", align_corners=False
    )[0]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(found, bilinear_weights(h, 20) @ maps @ bilinear_weights(w, 13).T, atol=1e-5)


@given(value=st.floats(-1e6, 1e6), n_in=st.integers(1, 9), n_out=st.integers(1, 70))
def test_interpolate_maps_keeps_equal_values_equal_to_the_bit(value: float, n_in: int, n_out: int) -> None:
    flat = np.full((1, n_in, 3), value)
    assert (interpolate_maps(flat, (n_out, 31)) == value).all()


def test_interpolate_maps_repeats_the_border_to_the_bit() -> None:
    maps = np.random.default_rng(0).standard_normal((50, 7, 7)).astype(np.float32)
    pixels = interpolate_maps(maps, (61, 61))
    assert (pixels[:, :4] == pixels[:, :1]).all()  # 61/7/2 = 4.36 pixels lie beyond the outermost centres
    assert (pixels[:, :, -4:] == pixels[:, :, -1:]).all()
    assert (pixels[:, 0, 0] == maps[:, 0, 0]).all()
