"""How many images `report` looks at in a forward pass."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from torch import nn

import ralr_viz as rv
from ralr_viz.workflows.report.gathering import in_small_passes


@pytest.mark.parametrize(("asked", "side", "expected"), [(None, 8, 32), (None, 512, 7), (200, 8, 200)])
def test_report_looks_at_few_images_at_a_time_on_a_cpu(asked: int | None, side: int, expected: int) -> None:
    images = np.zeros((1, side, side, 3), np.uint8)
    compared = rv.compare(
        {"a": nn.Flatten()}, images=images, mean=(0, 0, 0), std=(1, 1, 1), device="cpu", batch=asked
    )
    options: Any = SimpleNamespace(batch=asked)
    assert in_small_passes(compared, options).batch == expected
