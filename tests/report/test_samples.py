"""What the page's scripts get of the samples, decoded again."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ralr_viz.report.inputs import ReportInputs
from ralr_viz.report.samples import encode_maps, fit_size, pack_samples, pack_sprites
from ralr_viz.results.cam import normalise_cam, unit_mass_maps

Make = Callable[..., ReportInputs]


def unpack(text: str, dtype: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype)


def cut(sheets: list[dict], cell: tuple[int, int]) -> np.ndarray:
    """The images of the sheets, cut out one by one."""
    images = []
    for sheet in sheets:
        data = base64.b64decode(sheet["uri"].removeprefix("data:image/webp;base64,"))
        pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        assert max(pixels.shape) <= 4096
        for i in range(sheet["count"]):
            row, column = divmod(i, sheet["columns"])
            top, left = row * sheet["stride"][0], column * sheet["stride"][1]
            images.append(pixels[top : top + cell[0], left : left + cell[1]])
    return np.stack(images)


def test_pack_samples_holds_what_the_networks_say_of_the_sampled_images(make_inputs: Make) -> None:
    inputs = make_inputs(n=90, sampled=30)
    packed = pack_samples(inputs)
    assert packed is not None and inputs.indices is not None
    assert packed["n"] == 30
    np.testing.assert_array_equal(unpack(packed["indices"], "<i4"), inputs.indices)
    for side, found in zip(packed["sides"], inputs.sides, strict=True):
        predictions, rows = found.predictions, inputs.indices
        assert predictions is not None
        chances = predictions.probabilities[rows]
        np.testing.assert_array_equal(unpack(side["predicted"], "<i2"), chances.argmax(1))
        np.testing.assert_allclose(unpack(side["probability"], "<f4"), chances.max(1), rtol=1e-6)
        true = chances[np.arange(30), predictions.labels[rows]]
        np.testing.assert_allclose(unpack(side["trueProbability"], "<f4"), true, rtol=1e-5)


def test_pack_samples_finds_predictions_in_any_order(make_inputs: Make) -> None:
    inputs = make_inputs(n=30, sampled=10)
    order = np.random.default_rng(0).permutation(30)
    sides = tuple(
        replace(
            side,
            predictions=replace(
                side.predictions,
                **{
                    name: getattr(side.predictions, name)[order]
                    for name in ("indices", "labels", "logits", "features", "true_maps", "predicted_maps")
                },
            ),
        )
        for side in inputs.sides
    )
    assert pack_samples(replace(inputs, sides=sides)) == pack_samples(inputs)


def test_pack_samples_refuses_predictions_of_other_images(make_inputs: Make) -> None:
    inputs = make_inputs(n=30)
    with pytest.raises(ValueError, match="lack some"):
        pack_samples(replace(inputs, indices=np.arange(30) + 1))


@pytest.mark.parametrize("missing", ["images", "indices"])
def test_pack_samples_without_images_is_none(make_inputs: Make, missing: str) -> None:
    assert pack_samples(replace(make_inputs(n=30), **{missing: None})) is None


def test_pack_samples_without_predictions_is_none(make_inputs: Make) -> None:
    inputs = make_inputs(n=30)
    assert (
        pack_samples(replace(inputs, sides=(inputs.sides[0], replace(inputs.sides[1], predictions=None))))
        is None
    )


def test_pack_samples_measures_moved_mass_and_energy_in_box_on_the_exact_maps(make_inputs: Make) -> None:
    inputs = make_inputs(n=20)
    packed = pack_samples(inputs)
    assert packed is not None
    maps = [side.predictions.true_maps for side in inputs.sides if side.predictions is not None]
    unit = [unit_mass_maps(raw, (32, 32)) for raw in maps]
    moved = np.abs(unit[1] - unit[0]).sum((1, 2)) / 2
    np.testing.assert_allclose(unpack(packed["moved"], "<f4"), moved, rtol=1e-5)
    x0, y0, x1, y1 = inputs.boxes[1]  # type: ignore[index]
    inside = unit[1][1, y0 : y1 + 1, x0 : x1 + 1].sum()
    in_box = unpack(packed["sides"][1]["inBox"], "<f4")
    assert in_box[1] == pytest.approx(inside, rel=1e-5)
    assert np.isnan(in_box[0])  # whose box is missing


def test_pack_samples_has_no_comparison_of_one_network_and_no_maps_of_other_networks(
    make_inputs: Make,
) -> None:
    alone = pack_samples(make_inputs(sides=1, n=20, boxes=False))
    assert alone is not None
    assert alone["moved"] is alone["kept"] is alone["boxes"] is alone["differenceLimit"] is None
    assert len(alone["sides"]) == 1
    other = pack_samples(make_inputs(n=20, maps=False))
    assert other is not None
    assert other["moved"] is None and other["sides"][0]["maps"] is None and other["sides"][0]["inBox"] is None


@pytest.mark.parametrize("size", [(32, 32), (28, 28), (64, 64), (20, 33)])
def test_pack_sprites_gives_each_image_back(
    make_images: Callable[..., np.ndarray], size: tuple[int, int]
) -> None:
    images = make_images(37, size)
    found = cut(pack_sprites(images, size), size)
    off = np.abs(found.astype(float) - images).mean((1, 2, 3))
    assert off.max() < 12
    others = np.abs(found.astype(float) - np.roll(images, 1, axis=0)).mean((1, 2, 3))
    assert others.min() > 2 * off.max()


def test_pack_sprites_starts_another_sheet_when_one_is_full(
    make_images: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ralr_viz.report.samples.SHEET", 64)
    images = make_images(11, (32, 32))
    sheets = pack_sprites(images, (32, 32))
    assert [sheet["count"] for sheet in sheets] == [4, 4, 3]
    assert np.abs(cut(sheets, (32, 32)).astype(float) - images).mean() < 12


def test_pack_sprites_of_equal_images_are_equal_bytes(make_images: Callable[..., np.ndarray]) -> None:
    images = make_images(5, (32, 32))
    assert pack_sprites(images, (32, 32)) == pack_sprites(images.copy(), (32, 32))


@pytest.mark.parametrize(
    ("size", "cell"),
    [((32, 32), (32, 32)), ((224, 224), (64, 64)), ((100, 50), (64, 32)), ((1000, 2), (64, 1))],
)
def test_fit_size_keeps_small_images_and_proportions(size: tuple[int, int], cell: tuple[int, int]) -> None:
    assert fit_size(size) == cell


def test_encode_maps_draws_as_the_maps_themselves() -> None:
    raw = np.random.default_rng(0).standard_normal((20, 8, 8)).astype(np.float32)
    grid = encode_maps(raw).astype(float)
    np.testing.assert_allclose(normalise_cam(grid, (32, 32)), normalise_cam(raw, (32, 32)), atol=1 / 200)
    uniform = 1 / 32**2
    np.testing.assert_allclose(
        unit_mass_maps(grid, (32, 32)), unit_mass_maps(raw, (32, 32)), atol=0.02 * uniform
    )


def test_encode_maps_of_a_map_without_positive_value_is_zero() -> None:
    raw = -np.ones((1, 4, 4), np.float32)
    assert not encode_maps(raw).any()


def test_encode_maps_averages_large_maps() -> None:
    raw = np.kron(np.arange(1, 17).reshape(1, 4, 4), np.ones((1, 8, 8))).astype(np.float32)
    small = encode_maps(raw, 4)
    np.testing.assert_array_equal(small[0], np.rint(255 * np.arange(1, 17).reshape(4, 4) / 16))
