"""Layouts by the real UMAP, whose functions take seconds to compile."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from ralr_viz.analysis.embedding.layout import Engine, displacement, lay_out


@pytest.fixture(scope="module")
def points() -> list[np.ndarray]:
    """100 digits, and the same rotated, scaled and with small noise."""
    scans, rng = load_digits().data[:100], np.random.default_rng(0)
    rotation = np.linalg.qr(rng.standard_normal((64, 64)))[0]
    return [scans, 0.3 * scans @ rotation + 0.3 * rng.standard_normal((100, 64))]


def engine() -> Engine:
    return Engine("umap", 20.0, 10, 1, None)


@pytest.mark.slow
def test_umap_starts_from_the_first_map_and_repeats(points: list[np.ndarray]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # none reaches the user
        its_engine = engine()
        maps, floor = lay_out(its_engine, points, ["a", "b"], "init", 0)
        again, _ = lay_out(engine(), points, ["a", "b"], "init", 0)
    np.testing.assert_array_equal(maps, again)
    assert displacement(*maps) < 0.5 and floor < 0.5
    assert maps[0].shape == (100, 2)


@pytest.mark.slow
def test_umap_leaves_torch_the_threads_that_it_had(points: list[np.ndarray]) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        engine().embed(points[0], None, 0, "a")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
def test_aligned_umap_repeats_and_couples(points: list[np.ndarray]) -> None:
    maps, floor = lay_out(engine(), points, ["a", "b"], "aligned-umap", 0)
    again, _ = lay_out(engine(), points, ["a", "b"], "aligned-umap", 0)
    other, _ = lay_out(engine(), points, ["a", "b"], "aligned-umap", 1)
    np.testing.assert_array_equal(maps, again)
    assert not np.array_equal(maps, other)
    assert floor < displacement(*maps) < 0.5
