"""Images with planted objects: masks that are exact, and nothing about the class outside of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ralr_viz.analysis.localisation import compute_localisation
from ralr_viz.comparison import compare
from ralr_viz.data import doctor, load_dataset, planted
from ralr_viz.data.planted import PLANTED_SIGNS, SIGNS, SIZE, draw_planted
from ralr_viz.results.mask_metrics import mask_area, mask_boxes

COUNT = 60


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    made = [draw_planted(i, i % len(PLANTED_SIGNS)) for i in range(COUNT)]
    return np.stack([image for image, _ in made]), np.stack([mask for _, mask in made])


def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planted, "TRAIN", 30)
    monkeypatch.setattr(planted, "TEST", 10)


def test_planted_is_made_at_first_use_and_passes_the_doctor(tmp_path, monkeypatch):
    few(monkeypatch)
    data = load_dataset("planted", tmp_path)
    assert (len(data.train), len(data.test), data.class_ids) == (30, 10, PLANTED_SIGNS)
    assert data.test.masks.shape == (10, SIZE, SIZE)
    np.testing.assert_array_equal(mask_boxes(data.test.masks), data.test.boxes)
    failed = {check.check for check in doctor(tmp_path, "planted") if not check.ok}
    assert failed == {"official sizes"}  # it was made smaller


def test_planted_is_the_same_each_time(tmp_path, monkeypatch):
    few(monkeypatch)
    made = [load_dataset("planted", tmp_path / name) for name in "ab"]
    assert made[0].content_hash == made[1].content_hash


def test_doctor_finds_a_mask_that_was_changed(tmp_path, monkeypatch):
    few(monkeypatch)
    folder = load_dataset("planted", tmp_path).root
    masks = np.load(folder / "test_masks.npy")
    masks[3] = False
    np.save(folder / "test_masks.npy", masks)
    failed = {check.check: check.detail for check in doctor(tmp_path, "planted") if not check.ok}
    assert failed.keys() == {"content", "masks of test", "official sizes"}
    assert "1 empty or of another box" in failed["masks of test"]


def test_every_sign_is_drawn_and_its_object_lies_whole_in_the_image(drawn):
    _, masks = drawn
    assert tuple(SIGNS) == PLANTED_SIGNS
    assert (mask_boxes(masks) >= 0).all() and mask_area(masks).min() > 0.03 and mask_area(masks).max() < 0.25
    framed = np.pad(masks[:, 1:-1, 1:-1], ((0, 0), (1, 1), (1, 1)))
    assert (
        masks.sum(axis=(1, 2)) - framed.sum(axis=(1, 2))
    ).max() < 20  # it may touch the edge, not be cut by it


def test_a_pixel_outside_of_the_mask_does_not_depend_on_the_class():
    for number in range(5):
        (first, mask), *others = [draw_planted(number, label) for label in range(len(SIGNS))]
        for image, other in others:
            np.testing.assert_array_equal(other, mask)
            np.testing.assert_array_equal(image[~mask], first[~mask])
            assert (image[mask] != first[mask]).any()


def small_network() -> nn.Module:
    convolutions = [
        nn.Conv2d(3, 16, 3, 2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, 2, padding=1),
        nn.ReLU(),
    ]
    return nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


def test_random_weights_give_the_area_of_the_mask(drawn):
    """Leaves are alike but for their sign: what knows no sign does not prefer the object's."""
    images, masks = drawn
    torch.manual_seed(0)
    networks = {name: small_network() for name in "abcdefghijkl"}
    pair = compare(
        networks, images=images, labels=np.arange(COUNT) % 10, masks=masks,
        mean=(0.5,) * 3, std=(0.29,) * 3, device="cpu",
    )  # fmt: skip
    found = compute_localisation(pair, sanity=0, resamples=2)
    assert found.region == "mask"
    assert found.baseline("rank", "all")["uniform"] == pytest.approx(found.area.mean())
    rank = found.measure("rank", "all").values
    # weights at random differ by .015; their mean does not prefer the object
    assert rank.mean() == pytest.approx(found.area.mean(), abs=0.015)


class Reader(nn.Module):
    """Sees only the pixels that are marked by pure white, as the test draws objects."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        self.pool, self.flat, self.fc = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 10)
        with torch.no_grad():
            self.conv.weight.fill_(1.0)
            self.conv.bias.fill_(-2.9)
            self.fc.weight.fill_(1.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.flat(self.pool(torch.relu(self.conv(x)))))


def test_a_network_that_sees_the_mask_alone_gives_one(drawn):
    images, masks = drawn
    images = np.where(masks[..., None], 255, np.minimum(images, 240)).astype(np.uint8)
    pair = compare(
        [Reader()], images=images, labels=np.zeros(COUNT, int), masks=masks, mean=(0,) * 3, std=(1,) * 3, device="cpu"
    )  # fmt: skip
    found = compute_localisation(pair, sanity=0, resamples=2)
    for name in ("rank", "energy", "pointing"):
        np.testing.assert_allclose(found.measure(name, "all").values, 1, rtol=1e-6)
