"""Batches on a device: where they are gone through again and again, the images are brought there once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ralr_viz.analysis import pictures as module
from ralr_viz.analysis.pictures import Pictures
from ralr_viz.runtime.device import Runtime

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 4, 4, 3), dtype=np.uint8)
SCALE = ((0.5, 0.45, 0.4), (0.25, 0.2, 0.3))


def make(device: str, passes: int) -> Pictures:
    runtime = Runtime(torch.device(device), "fp32")
    return Pictures.on_device(IMAGES, np.arange(12), *SCALE, runtime, passes=passes)


@pytest.mark.parametrize("passes", [1, 2])
def test_load_is_the_definition_wherever_the_images_lie(device: str, passes: int) -> None:
    pictures = make(device, passes)
    mean, std = (np.array(values, dtype=np.float32) for values in SCALE)
    for start in (0, 5, 10, 0):
        x, target = pictures.load(start, start + 5)
        expected = ((IMAGES[start : start + 5] / 255 - mean) / std).transpose(0, 3, 1, 2)
        np.testing.assert_allclose(x.cpu(), expected, rtol=1e-5, atol=1e-5)
        assert target.tolist() == list(range(start, min(start + 5, 12)))


def test_images_stay_on_a_device_that_is_not_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make("cpu", 2).resident is None
    assert make("meta", 1).resident is None  # another device, of which nothing can be read
    kept = make("meta", 2).resident
    assert kept is not None and kept.shape == IMAGES.shape and kept.dtype == torch.uint8
    monkeypatch.setattr(module, "RESIDENT_BYTES", IMAGES.nbytes - 1)
    assert make("meta", 2).resident is None


@pytest.mark.parametrize(("side", "count"), [(8, 8), (96, 8), (160, 2), (448, 2)])
def test_probe_is_of_few_large_images(side: int, count: int) -> None:
    images = np.zeros((9, side, side, 3), dtype=np.uint8)
    pictures = Pictures.on_device(images, np.zeros(9, np.int64), *SCALE, Runtime(torch.device("cpu"), "fp32"))
    assert pictures.probe().shape == (count, 3, side, side)
