"""Localisation of maps that are known against boxes that are known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ralr_viz.analysis.localisation.faithfulness import Faithfulness
from ralr_viz.analysis.localisation.sanity import Cascade
from ralr_viz.analysis.localisation.scores import box_accuracy, score_maps
from ralr_viz.errors import InputError
from ralr_viz.results.box_metrics import energy_in_box, rank_accuracy
from ralr_viz.results.localisation import METRICS, STRATA, SURE
from ralr_viz.results.predictions import PredictionsResult

SIZE = (16, 16)


def predictions(
    maps: np.ndarray, labels: np.ndarray, decided: np.ndarray, **changes: object
) -> PredictionsResult:
    n = len(labels)
    values: dict = {
        "model": "net",
        "indices": np.arange(n) * 2,
        "labels": labels,
        "logits": np.eye(3, dtype=np.float32)[decided],
        "features": np.zeros((n, 2), np.float32),
        "feature_layer": "fc",
        "true_maps": maps.astype(np.float32),
        "predicted_maps": maps.astype(np.float32),
        "map_layer": "layer3",
    }
    return PredictionsResult(**(values | changes))


def scene(seed: int = 0, n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes on a grid of 4×4 cells of 4 pixels, maps that are 1 inside, and labels."""
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 3, (n, 2))
    size = rng.integers(1, 3, (n, 2))
    boxes = np.hstack([4 * corner, 4 * np.minimum(corner + size, 4) - 1]).astype(np.int16)
    maps = np.zeros((n, 4, 4))
    for cam, (x0, y0, x1, y1) in zip(maps, boxes // 4, strict=True):
        cam[y0 : y1 + 1, x0 : x1 + 1] = 1
    return boxes, maps, np.arange(n) % 3


def test_localisation_of_perfect_maps_beats_every_blind_map():
    boxes, maps, labels = scene()
    result = score_maps([predictions(maps, labels, labels)], boxes, SIZE, resamples=50)
    for stratum in STRATA:
        for name in ("rank", "energy", "pointing"):
            value = result.measure(name, stratum).values[0]
            assert (
                value > 0.9 * (name != "energy")
                and value > max(result.baseline(name, stratum).values()) + 0.1
            )
        assert result.measure("box", stratum).values[0] > 0.9
        assert result.measure("top1", stratum).values[0] > 0.9


def test_localisation_strata_and_their_means():
    boxes, maps, labels = scene()
    decided = np.where(np.arange(60) % 4 == 0, (labels + 1) % 3, labels)
    a, b = predictions(maps, labels, labels, model="a"), predictions(maps[::-1], labels, decided, model="b")
    result = score_maps([a, b], boxes, SIZE, resamples=5)
    area = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1) / 256
    masks = {"small": area < 0.25, "all": area > 0, "correct": decided == labels}
    for stratum, mask in masks.items():
        assert result.count("rank", stratum) == mask.sum()
        assert result.count("box", stratum) == mask[1::2].sum()  # the other half chose the threshold
        for i, p in enumerate((a, b)):
            rank = rank_accuracy(p.true_maps, boxes, SIZE)[mask].mean()
            energy = energy_in_box(p.true_maps, boxes, SIZE)[mask].mean()
            assert result.measure("rank", stratum).values[i] == pytest.approx(rank)
            assert result.measure("energy", stratum).values[i] == pytest.approx(energy)
        assert result.baseline("energy", stratum)["uniform"] == pytest.approx(area[mask].mean())
    assert result.measures()[0].name == "rank_small"
    # with a wrong prediction there is no top-1 localisation
    box = box_accuracy(result.overlap[1])
    right = (result.overlap[1] >= 0.5) & result.correct[1]
    assert result.measure("top1", "all").values[1] == pytest.approx(right[1::2].mean())
    assert result.measure("box", "all").values[1] == pytest.approx(np.nanmean(box))


def test_localisation_threshold_is_chosen_on_the_other_half():
    boxes, maps, labels = scene()
    # the tuned half's maps are a frame of .5 around a core of 1 that is the object; the others' are the reverse
    low = np.where(maps > 0, 1.0, 0.5)
    tuned = np.arange(60) % 2 == 0
    other = np.zeros_like(maps)
    mixed = np.where(tuned[:, None, None], low - 0.5, other)
    result = score_maps([predictions(mixed, labels, labels)], boxes, SIZE, resamples=5)
    changed = np.where(tuned[:, None, None], low - 0.5, np.random.default_rng(0).random(maps.shape))
    again = score_maps([predictions(changed, labels, labels)], boxes, SIZE, resamples=5)
    assert result.thresholds == again.thresholds  # whatever the evaluated half is
    assert np.isnan(result.overlap[0, tuned]).all() and np.isfinite(result.overlap[0, ~tuned]).all()
    # constant maps of the evaluated half are the whole image
    np.testing.assert_allclose(result.overlap[0, ~tuned], result.area[~tuned])


def test_localisation_drops_improper_boxes_and_counts_zero_maps():
    boxes, maps, labels = scene()
    boxes[3], boxes[4], boxes[5] = -1, (-9, 2, -1, 9), (16, 0, 19, 3)  # none, and two beside the image
    maps[10], maps[11], maps[3] = 0, -1, 0
    result = score_maps([predictions(maps, labels, labels)], boxes, SIZE, resamples=5)
    assert result.dropped == 3 and len(result.labels) == 57
    assert result.zero_maps.tolist() == [2]  # the third was dropped
    np.testing.assert_array_equal(result.indices, np.delete(np.arange(60) * 2, [3, 4, 5]))
    for position in (10 - 3, 11 - 3):
        assert result.energy[0, position] == pytest.approx(result.area[position])
    assert any("2 maps have no positive value" in note for note in result.notes)
    assert any("3 images have no proper box" in note for note in result.notes)


def test_localisation_draws_are_common_and_cover_the_mean():
    boxes, maps, labels = scene(n=90)
    noisy = maps + np.random.default_rng(1).standard_normal(maps.shape)
    a, b = predictions(noisy, labels, labels, model="a"), predictions(3 * noisy, labels, labels, model="b")
    result = score_maps([a, b], boxes, SIZE, resamples=300)
    rank = result.measure("rank", "all")
    assert rank.difference(0, 1) == pytest.approx((0, 0, 0), abs=1e-9)  # no scale enters
    spread = result.rank[0].std() / np.sqrt(90)
    _, low, high = rank.interval(0)
    assert (high - low) / (2 * 1.96 * spread) == pytest.approx(1, abs=0.2)
    assert score_maps([a, b], boxes, SIZE, resamples=300) == result


def test_localisation_keeps_the_checks():
    boxes, maps, labels = scene()
    p = predictions(maps, labels, labels)
    q = predictions(maps, labels, labels, model="other")
    cascades = [
        Cascade(("fc", "layer2", "layer1"), np.full((3, 4), 0.5)),
        Cascade(("fc", "conv"), np.array([[1, 0.5], [0, 0.5]])),
    ]
    gains = np.random.default_rng(0).standard_normal((2, 3, 2, 8))
    result = score_maps(
        [p, q], boxes, SIZE, sanity=cascades, faithfulness=[Faithfulness(g) for g in gains], resamples=20
    )
    assert result.sanity_stages == (("fc", "layer2", "layer1"), ("fc", "conv"))
    np.testing.assert_allclose(result.sanity[0, :, 0], 0.5)
    np.testing.assert_allclose(result.sanity[1, :2, 0], [0.75, 0.25])
    assert np.isnan(result.sanity[1, 2]).all()
    np.testing.assert_allclose(result.faithfulness, gains.mean(axis=3))
    assert result.gain("road", "centre").draws.shape == (2, 20)
    assert [m.name for m in result.measures()][-1] == "road_over_centre"
    assert len(result.measures()) == len(STRATA) * len(METRICS) + len(SURE) + 1 + 6


def logits_of(target: np.ndarray) -> np.ndarray:
    """Logits (n, 3) of images of class 0 with these probabilities of it."""
    return np.log(np.stack([target, (1 - target) / 2, (1 - target) / 2], axis=1)).astype(np.float32)


def test_a_network_that_is_only_surer_has_no_better_maps_among_equally_sure():
    """Maps are as good as the network is sure: the plain mean differs, the stratified one does not."""
    n = 200
    boxes, maps, _ = scene(n=n)
    labels, away = np.zeros(n, int), np.roll(maps, 2, axis=(1, 2))
    networks = []
    for model, share in (("unsure", 0.3), ("surer", 0.8)):
        good = (np.arange(n) * 7919 % n) < share * n
        target = np.where(good, 0.95, 0.3)
        cams = np.where(good[:, None, None], maps, away)
        networks.append(predictions(cams, labels, labels, model=model, logits=logits_of(target)))
    result = score_maps(networks, boxes, SIZE, resamples=200)
    measures = {m.name: m for m in result.measures()}
    np.testing.assert_allclose(result.target, [p.true_probability for p in networks])
    assert result.sure_counts.tolist() == [[140, 0, 60, 0], [40, 0, 160, 0]]
    assert np.isnan(measures["rank_likely"].values).all()
    plain, low, _ = measures["rank_all"].difference(0, 1)
    assert plain > 0.2 and low > 0.1
    value, low, high = measures["rank_equally_sure"].difference(0, 1)
    assert low <= 0 <= high and abs(value) < 0.05
    expected = (
        180 * result.rank[1][result.target[1] < 0.5].mean()
        + 220 * result.rank[1][result.target[1] > 0.5].mean()
    ) / 400
    assert measures["rank_equally_sure"].values[1] == pytest.approx(expected)


def test_networks_that_are_never_equally_sure_are_not_compared_among_such():
    boxes, maps, labels = scene()
    networks = [
        predictions(maps, 0 * labels, 0 * labels, model=str(p), logits=logits_of(np.full(60, p)))
        for p in (0.3, 0.95)
    ]
    names = [m.name for m in score_maps(networks, boxes, SIZE, resamples=20).measures()]
    assert "rank_sure" in names and "rank_equally_sure" not in names


def test_localisation_of_masks_is_of_their_pixels():
    boxes, maps, labels = scene()
    masks = np.repeat(np.repeat(maps > 0, 4, axis=1), 4, axis=2)
    p = predictions(maps, labels, labels)
    whole, by_mask = (score_maps([p], boxes, SIZE, masks=m, resamples=20) for m in (None, masks))
    assert (whole.region, by_mask.region) == ("box", "mask")
    np.testing.assert_allclose(by_mask.rank, whole.rank)
    half = masks & (np.arange(16) % 2 == 0)
    found = score_maps([p], boxes, SIZE, masks=half, resamples=20)
    np.testing.assert_allclose(found.area, whole.area / 2)
    assert found.rank.mean() < whole.rank.mean() and found.overlap[0, 1] == whole.overlap[0, 1]
    assert found.measure("energy", "all").label == "energy in the mask, all masks"
    with pytest.raises(InputError, match="1 images with a box have an empty mask"):
        score_maps([p], boxes, SIZE, masks=masks & (np.arange(60) > 0)[:, None, None])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predictions": []}, "`predictions` is empty"),
        ({"boxes": np.zeros((3, 4), int)}, r"`boxes` is \(3, 4\): one x0 y0 x1 y1 for each of 60"),
        ({"boxes": np.full((60, 4), -1)}, "0 of 60 images have a proper box"),
        ({"sanity": [None, None]}, "`sanity` has 2 entries for 1 networks"),
    ],
)
def test_localisation_refuses_in_one_line(change, message):
    boxes, maps, labels = scene()
    arguments: dict = {"predictions": [predictions(maps, labels, labels)], "boxes": boxes, "image_size": SIZE}
    with pytest.raises(InputError, match=message) as caught:
        score_maps(**(arguments | change))
    assert "\n" not in str(caught.value)


def test_localisation_refuses_a_network_without_maps():
    boxes, maps, labels = scene()
    p = dataclasses.replace(
        predictions(maps, labels, labels), true_maps=np.zeros((60, 0, 0)), predicted_maps=np.zeros((60, 0, 0))
    )
    with pytest.raises(InputError, match="`net` has no class activation maps in closed form"):
        score_maps([p], boxes, SIZE)
