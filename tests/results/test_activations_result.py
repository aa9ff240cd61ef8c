"""The numbers behind the activation histograms against NumPy and SciPy on the raw values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ralr_viz.results.activations import MEASURES, ActivationsResult, wasserstein_distance
from ralr_viz.results.jackknife import jackknife_interval

Layers = list[np.ndarray]
"""For each layer the values of one row, (2, images, channels, h, w)."""


def make_result(rows: list[Layers], groups: int, width: float = 0.25) -> ActivationsResult:
    """A result from raw values, in the most literal way."""
    n, num_layers = rows[0][0].shape[1], len(rows[0])
    group = np.arange(n) % groups
    bins = [_bins([row[i] for row in rows], width) for i in range(num_layers)]

    def histogram(values: np.ndarray, i: int) -> np.ndarray:
        return np.histogram(values[values != 0], bins[i] * width)[0]

    def distance(pair: list[np.ndarray], i: int) -> float:
        counts = np.stack([histogram(values, i) for values in pair])
        zeros = np.array([(values == 0).sum() for values in pair])
        return float(wasserstein_distance(counts, zeros, start=int(bins[i][0]), width=width))

    def sums(a: np.ndarray, b: np.ndarray) -> list[list[float]]:
        a, b = a.astype(float), b.astype(float)
        terms = (a - 0.5, b - 0.5, (a - 0.5) ** 2, (b - 0.5) ** 2, (a - b) ** 2)
        return [[term[group == g].sum() for g in range(groups)] for term in terms]

    both = range(2)
    return ActivationsResult(
        rows=tuple(f"row {i}" for i in range(len(rows))),
        checkpoints=(("epoch 1", "epoch 2"),) * len(rows),
        layers=(tuple(f"layer{i + 1}" for i in range(num_layers)),) * len(rows),
        shapes=tuple(tuple(layer.shape[2:] for layer in row) for row in rows),
        bin_widths=np.full(num_layers, width),
        bin_starts=np.array([int(b[0]) for b in bins]),
        bin_numbers=tuple(len(b) - 1 for b in bins),
        counts=np.concatenate(
            [histogram(row[i][s], i) for i in range(num_layers) for row in rows for s in both]
        ),
        zeros=np.array([[[(layer[s] == 0).sum() for layer in row] for s in both] for row in rows]),
        group_images=np.bincount(group),
        shifts=np.full((len(rows), num_layers), 0.5),
        sums=np.array([[sums(*layer) for layer in row] for row in rows]),
        distances_without=np.array(
            [
                [
                    [distance(list(layer[:, group != g]), i) if groups > 1 else np.nan for g in range(groups)]
                    for i, layer in enumerate(row)
                ]
                for row in rows
            ]
        ),
        floors=np.array(
            [
                [
                    [
                        distance([layer[s, group % 2 == 0], layer[s, group % 2 == 1]], i)
                        if groups > 1
                        else np.nan
                        for i, layer in enumerate(row)
                    ]
                    for s in both
                ]
                for row in rows
            ]
        ),
        dead_channels=np.zeros((len(rows), 2, num_layers), np.int64),
        selection=f"{n} images",
        provenance={"seed": 0},
    )


def _bins(values: list[np.ndarray], width: float) -> np.ndarray:
    low, high = min(v.min() for v in values), max(v.max() for v in values)
    return np.arange(np.floor(low / width), np.floor(high / width) + 2)


def draw(seed: int, n: int = 24, shape: tuple[int, int, int] = (3, 2, 2), moved: float = 0.4) -> np.ndarray:
    """Two states of a layer behind a ReLU: half zeros, images that differ, units that moved a little."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((n, *shape)) + rng.standard_normal((n, 1, 1, 1))
    b = a + moved * rng.standard_normal(a.shape) - 0.1
    return np.maximum(np.stack([a, b]), 0).astype(np.float32)


@pytest.fixture(scope="module")
def raw() -> list[Layers]:
    """Two rows of two layers on 24 images; the second layer is not rectified."""
    return [[draw(0), draw(1, shape=(2, 1, 5)) - 0.6], [draw(2, moved=0.9), draw(3, shape=(2, 1, 5)) - 0.6]]


@pytest.fixture(scope="module")
def result(raw: list[Layers]) -> ActivationsResult:
    return make_result(raw, groups=5)  # 24 images: groups of five and of four


def literal(name: str, a: np.ndarray, b: np.ndarray) -> float:
    """A measure by the book, on raw values."""
    a, b = a.ravel().astype(float), b.ravel().astype(float)
    if name == "correlation":
        return float(np.corrcoef(a, b)[0, 1])
    return float(np.linalg.norm(a - b) / np.sqrt((a @ a + b @ b) / 2))


def test_moments_and_paired_measures_equal_numpy(result: ActivationsResult, raw: list[Layers]) -> None:
    assert (result.num_images, result.num_layers) == (24, 2)
    np.testing.assert_array_equal(result.units, [[12, 10], [12, 10]])
    for r, i in np.ndindex(2, 2):
        values = raw[r][i].astype(float)
        np.testing.assert_allclose(result.mean[r, :, i], values.reshape(2, -1).mean(1))
        np.testing.assert_allclose(result.sd[r, :, i], values.reshape(2, -1).std(1))
        np.testing.assert_allclose(result.zero_share[r, :, i], (values == 0).reshape(2, -1).mean(1))
        for name in ("correlation", "relative_change"):
            assert result.measure(name).value[r, i] == pytest.approx(literal(name, *values))


@pytest.mark.parametrize("name", MEASURES)
def test_intervals_are_the_jackknife_of_the_measure_on_the_other_images(
    result: ActivationsResult, raw: list[Layers], name: str
) -> None:
    group, replicates = np.arange(24) % 5, np.empty((2, 2, 6))
    for r, i in np.ndindex(2, 2):
        for k, kept in enumerate([group >= 0, *(group != g for g in range(5))]):
            a, b = raw[r][i][:, kept]
            if name.startswith("distance"):
                one = make_result([[raw[r][i][:, kept]]], groups=1)
                spread = np.sqrt((a.astype(float).var() + b.astype(float).var()) / 2)
                distance = one.measure("distance").value[0, 0]
                replicates[r, i, k] = distance / spread if name == "distance_sd" else distance
            else:
                replicates[r, i, k] = literal(name, a, b)
    for measured, expected in (
        (result.measure(name), jackknife_interval(replicates, result.group_images)),
        (result.difference(name), jackknife_interval(replicates - replicates[0], result.group_images)),
    ):
        for mine, theirs in zip(measured, expected, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)
    assert (result.measure(name).low < result.measure(name).value).all()


floats = st.floats(-8, 8, width=32).map(lambda x: x if abs(x) > 2 else 0.0)  # many exact zeros
samples = st.lists(floats, min_size=1, max_size=30)


@given(samples, samples, st.sampled_from([0.0625, 0.5, 4.0]))
def test_distance_is_within_its_bound_of_the_distance_of_the_values(
    one: list[float], other: list[float], width: float
) -> None:
    pair = np.zeros((2, max(len(one), len(other)), 1, 1, 1), np.float32)
    for values, row in zip((one, other), pair, strict=True):
        row[: len(values), 0, 0, 0] = values
    result = make_result([[pair]], groups=1, width=width)
    truth = stats.wasserstein_distance(*pair.reshape(2, -1))
    bound = result.distance_bound[0, 0]
    assert abs(result.measure("distance").value[0, 0] - truth) <= bound * (1 + 1e-9) + 1e-12
    assert bound == pytest.approx(width * np.count_nonzero(pair) / pair.size)


@given(
    st.integers(0, 10_000),
    st.integers(1, 9),
    st.integers(-12, 4),
)
def test_wasserstein_distance_equals_scipy_on_the_middles(seed: int, number: int, start: int) -> None:
    rng = np.random.default_rng(seed)
    counts, zeros = rng.integers(0, 5, (3, 2, number)), rng.integers(1, 6, (3, 2))
    places = np.append((start + np.arange(number) + 0.5) * 0.25, 0)
    distances = wasserstein_distance(counts, zeros, start=start, width=0.25)
    for i in range(3):
        masses = [np.append(counts[i, s], zeros[i, s]) for s in range(2)]
        assert distances[i] == pytest.approx(stats.wasserstein_distance(places, places, *masses), abs=1e-12)


def test_wasserstein_distance_of_nothing_is_nan_and_of_the_same_is_zero() -> None:
    counts = np.array([[3, 0, 4]] * 2)
    assert wasserstein_distance(counts, np.array([2, 2]), start=-1, width=0.5) == 0
    assert np.isnan(wasserstein_distance(counts * [[1], [0]], np.array([2, 0]), start=-1, width=0.5))


def test_measures_are_means_over_the_layers_with_the_jackknife_of_these(result: ActivationsResult) -> None:
    for measure, name, scale in zip(
        result.measures(), ("distance_sd", "relative_change"), (1, 100), strict=True
    ):
        replicates = scale * result._replicates(name).mean(axis=1)
        expected = jackknife_interval(replicates, result.group_images)
        np.testing.assert_allclose(measure.values, expected.value)
        for i in range(2):
            assert measure.interval(i) == pytest.approx(
                (expected.value[i], expected.low[i], expected.high[i]), rel=0.1
            )
        value, low, high = measure.difference(0, 1)
        assert low < value == measure.values[1] - measure.values[0] < high


def test_a_single_image_has_no_interval_and_no_floor() -> None:
    one = make_result([[draw(4, n=1)]], groups=1)
    for name in MEASURES:
        value, low, high = one.measure(name)
        assert np.isfinite(value).all() and np.isnan(low).all() and np.isnan(high).all()
    row = one.summary()[0]
    assert np.isnan([row["floor_earlier"], row["floor_later"], row["distance_low"]]).all()
    assert row["images"] == 1


def test_the_same_network_twice_has_not_moved() -> None:
    values = draw(0)
    values[1] = values[0]
    same = make_result([[values]], groups=4)
    for name, value in (("distance", 0), ("distance_sd", 0), ("correlation", 1), ("relative_change", 0)):
        estimate = same.measure(name)
        np.testing.assert_array_equal([end[0, 0] for end in estimate], [value] * 3)


def test_a_layer_of_zeros_has_no_correlation() -> None:
    zero = make_result([[np.zeros((2, 6, 1, 2, 2), np.float32)]], groups=3)
    assert zero.measure("distance").value == 0
    for name in ("distance_sd", "correlation", "relative_change"):
        assert np.isnan(zero.measure(name).value).all()
    assert (zero.zero_share == 1).all()
    assert (zero.distance_bound == 0).all()


def test_units_that_swap_move_although_their_distribution_stays() -> None:
    """What a histogram alone cannot show, and the paired measures are for."""
    values = draw(0, n=40)
    values[1] = values[0][:, ::-1, ::-1]
    swapped = make_result([[values]], groups=4)
    assert swapped.measure("distance").value[0, 0] == 0
    assert swapped.measure("relative_change").value[0, 0] > 0.3
    assert swapped.measure("correlation").value[0, 0] < 0.9


def test_summary_has_a_row_for_each_row_and_layer(result: ActivationsResult) -> None:
    table = result.summary()
    assert [(row["row"], row["layer"]) for row in table] == [
        (r, layer) for r in ("row 0", "row 1") for layer in ("layer1", "layer2")
    ]
    last = table[3]
    assert (last["shape"], last["units"], last["images"]) == ("2×1×5", 10, 24)
    assert last["sd_later"] == result.sd[1, 1, 1]
    assert last["zero_share_earlier"] == result.zero_share[1, 0, 1]
    assert last["floor_later"] == result.floors[1, 1, 1]
    assert last["relative_change_high"] == result.measure("relative_change").high[1, 1]
    difference = result.difference("relative_change")
    assert last["relative_change_difference_low"] == difference.low[1, 1]
    changes = [row["relative_change"] for row in table]
    assert last["relative_change_difference"] == pytest.approx(changes[3] - changes[1])
    assert np.isnan(table[0]["relative_change_difference"])
    assert all(list(row) == list(last) for row in table)


def test_measure_refuses_a_name_it_does_not_know(result: ActivationsResult) -> None:
    with pytest.raises(ValueError, match="`movement` is none of the measures distance"):
        result.measure("movement")


def test_histogram_and_edges_belong_together(result: ActivationsResult, raw: list[Layers]) -> None:
    for i in range(2):
        edges = result.edges(i)
        for r, s in np.ndindex(2, 2):
            values = raw[r][i][s]
            np.testing.assert_array_equal(
                result.histogram(i)[r, s], np.histogram(values[values != 0], edges)[0]
            )
