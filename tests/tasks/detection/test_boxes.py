from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import box_iou

from ralr_viz.tasks.detection.boxes import compute_overlap, decode_boxes, encode_boxes, to_centres, to_corners


def random_corners(*shape: int, seed: int = 0) -> torch.Tensor:
    points = torch.rand(*shape, 2, 2, generator=torch.Generator().manual_seed(seed))
    return torch.cat([points.amin(-2), points.amax(-2) + 0.02], -1)


def test_overlap_is_torchvisions_for_each_image_of_a_batch() -> None:
    first, second = random_corners(3, 7), random_corners(5, seed=1)
    expected = torch.stack([box_iou(boxes, second) for boxes in first])
    torch.testing.assert_close(compute_overlap(first, second), expected)


def test_overlap_of_boxes_without_area_is_nothing() -> None:
    empty, box = torch.zeros(1, 4), torch.tensor([[0.0, 0, 1, 1]])
    assert compute_overlap(empty, empty).item() == 0
    assert compute_overlap(empty, box).item() == 0


def test_encoding_is_torchvisions_with_the_variances_of_ssd() -> None:
    boxes, priors = random_corners(9), random_corners(9, seed=2)
    coder = BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))
    expected = coder.encode_single(boxes, priors)
    offsets = encode_boxes(boxes, to_centres(priors))
    torch.testing.assert_close(offsets, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        decode_boxes(3 * offsets, to_centres(priors)),
        coder.decode_single(3 * expected, priors),
        rtol=1e-4,
        atol=1e-5,
    )


@given(st.integers(0, 1000))
def test_decoding_undoes_encoding(seed: int) -> None:
    boxes, priors = (
        random_corners(6, seed=seed).double(),
        to_centres(random_corners(6, seed=seed + 1)).double(),
    )
    assert (decode_boxes(encode_boxes(boxes, priors), priors) - boxes).abs().max() < 1e-12
    assert (to_corners(to_centres(boxes)) - boxes).abs().max() < 1e-12


def test_decoding_never_overflows() -> None:
    prior = torch.tensor([[0.5, 0.5, 0.1, 0.1]])
    box = decode_boxes(torch.tensor([[0.0, 0, 1e9, 1e9]]), prior)
    assert float(box[0, 2] - box[0, 0]) == pytest.approx(6.25)
