"""The streaming histogram against NumPy's, on the edges that it ended with."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from ralr_viz.analysis.activations.histogram import StreamingHistogram, align

CPU = torch.device("cpu")

# magnitudes over fifty powers of two, so that bins widen many times; and exact zeros
magnitudes = st.tuples(st.floats(1, 2, exclude_max=True, width=32), st.integers(-25, 25))
numbers = st.one_of(
    st.sampled_from([0.0, -0.0]),
    st.tuples(magnitudes, st.sampled_from([-1, 1])).map(lambda x: x[1] * np.ldexp(x[0][0], x[0][1])),
)
batches = st.lists(st.lists(numbers, min_size=1, max_size=12), min_size=1, max_size=6)


def fill(
    batches: list[list[float]], groups: int = 1, half: int = 8, device: torch.device = CPU
) -> StreamingHistogram:
    """A histogram of one value an image, image i of a batch in group i mod ``groups``."""
    histogram = StreamingHistogram(groups, device, half=half)
    for batch in batches:
        values = torch.tensor(batch, dtype=torch.float32, device=device)[:, None]
        histogram.add(values, torch.arange(len(values), device=device) % groups)
    return histogram


def expected(values: np.ndarray, histogram: StreamingHistogram) -> np.ndarray:
    edges = histogram.width * np.arange(-histogram.half, histogram.half + 1)
    return np.histogram(values[values != 0], edges)[0]


@settings(max_examples=30)
@given(batches=batches)
def test_streaming_histogram_equals_numpy_on_its_final_edges(device: str, batches: list[list[float]]) -> None:
    histogram = fill(batches, device=torch.device(device))
    values = np.concatenate(batches)
    np.testing.assert_array_equal(histogram.counts[0], expected(values, histogram))
    assert histogram.counts.sum() == np.count_nonzero(values)
    assert histogram.largest == abs(values).max()
    if values.any():  # no wider than it has to be
        assert histogram.width * histogram.half / 2 <= abs(values).max() < histogram.width * histogram.half


@settings(deadline=None)
@given(batches, batches)
def test_merged_histograms_are_the_histogram_of_all_values(
    one: list[list[float]], other: list[list[float]]
) -> None:
    merged, together = fill(one, 2), fill(one + other, 2)
    merged.merge(fill(other, 2))
    np.testing.assert_array_equal(merged.counts, together.counts)
    assert (merged.width, merged.largest) == (together.width, together.largest)


@settings(deadline=None)
@given(batches, st.integers(-30, 40))
def test_widen_loses_no_count_and_keeps_zero_an_edge(batches: list[list[float]], exponent: int) -> None:
    histogram = fill(batches, 3)
    sides = [part.sum(-1).tolist() for part in histogram.counts.split(histogram.half, dim=1)]
    histogram.widen(torch.tensor(exponent))
    assert [part.sum(-1).tolist() for part in histogram.counts.split(histogram.half, dim=1)] == sides
    assert histogram.width * histogram.half >= 2.0**exponent


def test_widen_from_the_narrowest_bins_in_one_step_is_right() -> None:
    """More doublings at once than an int64 has bits."""
    histogram = fill([[2.0**-99, -(2.0**-99)], [100.0, -3.0, 0.25]], half=64)
    assert histogram.width == 2
    np.testing.assert_array_equal(
        histogram.counts[0], expected(np.array([2.0**-99, -(2.0**-99), 100, -3, 0.25]), histogram)
    )


@settings(deadline=None)
@given(st.lists(batches, min_size=2, max_size=4))
def test_align_brings_histograms_to_the_same_edges(several: list[list[list[float]]]) -> None:
    histograms = [fill(batches) for batches in several]
    widest = max(histogram.width for histogram in histograms)
    align(histograms)
    for histogram, batches in zip(histograms, several, strict=True):
        assert histogram.width == widest
        np.testing.assert_array_equal(histogram.counts[0], expected(np.concatenate(batches), histogram))


def test_streaming_histogram_keeps_groups_apart() -> None:
    rng = np.random.default_rng(0)
    values = np.maximum(rng.standard_normal((50, 4, 3, 2)), 0).astype(np.float32)
    group = rng.integers(0, 5, 50)
    histogram = StreamingHistogram(5, CPU)
    for part in np.array_split(np.arange(50), 7):
        histogram.add(torch.from_numpy(values[part]), torch.from_numpy(group[part]))
    for g in range(5):
        np.testing.assert_array_equal(histogram.counts[g], expected(values[group == g].ravel(), histogram))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_streaming_histogram_shows_a_value_that_is_not_finite(bad: float) -> None:
    histogram = fill([[1.0, 2.0], [bad, 3.0], [4.0]])
    assert not torch.isfinite(histogram.largest)


def test_streaming_histogram_takes_the_whole_range_of_float32() -> None:
    largest = float(torch.finfo(torch.float32).max)
    histogram = fill([[largest, -largest, 1.0]])
    np.testing.assert_array_equal(histogram.counts[0], [1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1])


def test_streaming_histogram_stays_on_the_device() -> None:
    """Under fake tensors, which raise where devices are mixed."""
    with FakeTensorMode():
        histogram = StreamingHistogram(4, torch.device("cuda"), half=16)
        values, group = torch.empty(8, 3, 5, device="cuda"), torch.zeros(8, dtype=torch.int64, device="cuda")
        histogram.add(values, group)
        histogram.add(values, group)
        assert histogram.counts.device.type == histogram.exponent.device.type == "cuda"
        assert histogram.counts.shape == (4, 32)
