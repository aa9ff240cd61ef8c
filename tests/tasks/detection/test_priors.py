from __future__ import annotations

from math import sqrt

import pytest
import torch
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList

from ralr_viz.tasks.detection.priors import SSD300_LEVELS, make_priors, small_levels


def test_ssd300_has_8732_priors_and_they_are_the_references() -> None:
    priors = make_priors(SSD300_LEVELS)
    assert priors.shape == (8732, 4)
    assert priors.dtype == torch.float32
    expected = []
    scales = [0.1, 0.2, 0.375, 0.55, 0.725, 0.9, 1.0]
    for k, side in enumerate([38, 19, 10, 5, 3, 1]):
        ratios = [2, 3, 1 / 2, 1 / 3] if k in (1, 2, 3) else [2, 1 / 2]
        for i in range(side):
            for j in range(side):
                place = [(j + 0.5) / side, (i + 0.5) / side]
                larger = sqrt(scales[k] * scales[k + 1])
                expected += [[*place, scales[k], scales[k]], [*place, larger, larger]]
                expected += [[*place, scales[k] * sqrt(r), scales[k] / sqrt(r)] for r in ratios]
    torch.testing.assert_close(priors, torch.tensor(expected), rtol=0, atol=0)


def test_priors_are_torchvisions_up_to_the_order_of_the_shapes() -> None:
    ratios = [[2], [2, 3], [2, 3], [2, 3], [2], [2]]
    generator = DefaultBoxGenerator(ratios, scales=[0.1, 0.2, 0.375, 0.55, 0.725, 0.9, 1.0], clip=False)
    maps = [torch.zeros(1, 1, level.side, level.side) for level in SSD300_LEVELS]
    (theirs,) = generator(ImageList(torch.zeros(1, 3, 300, 300), [(300, 300)]), maps)
    theirs = torch.cat([(theirs[:, :2] + theirs[:, 2:]) / 2, theirs[:, 2:] - theirs[:, :2]], 1) / 300

    def ranked(priors: torch.Tensor) -> torch.Tensor:
        return torch.tensor(sorted([round(float(v), 4) for v in row] for row in priors))

    torch.testing.assert_close(ranked(make_priors(SSD300_LEVELS)), ranked(theirs), rtol=0, atol=2e-4)


def test_priors_go_past_the_edge() -> None:
    priors = make_priors(SSD300_LEVELS)
    assert float((priors[:, :2] - priors[:, 2:] / 2).min()) < -0.1


@pytest.mark.parametrize(
    ("size", "count"), [(96, 3076), (64, 4 * (256 + 64 + 16 + 4 + 1)), (100, 4 * (625 + 169 + 49 + 16 + 4))]
)
def test_small_priors_are_of_the_strides_4_to_64(size: int, count: int) -> None:
    priors = make_priors(small_levels(size))
    assert priors.shape == (count, 4)
    sides = priors[:2, 2].tolist()
    assert sides == pytest.approx([0.08, sqrt(0.08 * 0.16)])
