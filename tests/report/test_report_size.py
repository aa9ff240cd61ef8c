"""How large a report is, and that equal results give equal files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ralr_viz.report.inputs import ReportInputs
from ralr_viz.report.page import build_report

Make = Callable[..., ReportInputs]


def measure(
    make_inputs: Make, make_images: Callable[..., np.ndarray], count: int, size: int, map_side: int
) -> float:
    """Megabytes of a report of so many images; some of them repeat, which WebP does not make use of."""
    inputs = make_inputs(n=count, map_side=map_side)
    images = np.tile(make_images(100, (size, size)), (count // 100, 1, 1, 1))
    return len(build_report(replace(inputs, images=images)).encode()) / 1e6


@pytest.mark.parametrize(("size", "map_side"), [(32, 8), (64, 16)])
def test_report_of_2000_images_is_under_8_megabytes(
    make_inputs: Make, make_images: Callable[..., np.ndarray], size: int, map_side: int
) -> None:
    assert 2 < measure(make_inputs, make_images, 2000, size, map_side) < 8


@pytest.mark.slow
@pytest.mark.parametrize(("size", "map_side"), [(32, 8), (64, 16)])
def test_report_of_10000_images_is_under_25_megabytes(
    make_inputs: Make, make_images: Callable[..., np.ndarray], size: int, map_side: int
) -> None:
    assert 5 < measure(make_inputs, make_images, 10_000, size, map_side) < 25
