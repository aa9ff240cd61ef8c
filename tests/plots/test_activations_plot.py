"""Activation histograms drawn: artists, text and places, not pixels."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ralr_viz.plots.activations import activations_table, draw_activations, drawn_bins
from ralr_viz.plots.style import save_figure, style
from ralr_viz.results.activations import ActivationsResult

METHODS = ("baseline", "RALR", "scaled", "warm restarts", "other")


def make_result(
    rows: int = 2, layers: int = 3, *, images: int = 100, signed: bool = False, seed: int = 0
) -> ActivationsResult:
    """Histograms as a ReLU leaves them (``signed``: as a convolution does), in 1,000 bins or so."""
    rng = np.random.default_rng(seed)
    groups, units, number = min(20, images), 256, 1000
    start = -number // 2 if signed else 0
    middle = (start + np.arange(number) + 0.5) / 64
    density = np.exp(-0.5 * middle**2) + 1e-5
    counts = rng.poisson(0.6 * images * units * density / density.sum(), (layers, rows, 2, number))
    sums = np.abs(rng.standard_normal((rows, layers, 5, groups))) + np.array([[0], [0], [40], [40], [4]])
    estimates = 0.03 + 0.01 * rng.random((rows, layers, groups))
    return ActivationsResult(
        rows=METHODS[:rows],
        checkpoints=(("epoch 200", "epoch 300"),) * rows,
        layers=(tuple(f"layer{i + 1}" for i in range(layers)),) * rows,
        shapes=(((16, 4, 4),) * layers,) * rows,
        bin_widths=np.full(layers, 1 / 64),
        bin_starts=np.full(layers, start),
        bin_numbers=(number,) * layers,
        counts=counts.ravel(),
        zeros=np.moveaxis(images * units - counts.sum(-1), 0, -1),
        group_images=np.full(groups, images // groups),
        shifts=np.zeros((rows, layers)),
        sums=sums * images * units / groups,
        distances_without=estimates if groups > 1 else np.full_like(estimates, np.nan),
        floors=rng.random((rows, 2, layers)) / 100 if groups > 1 else np.full((rows, 2, layers), np.nan),
        dead_channels=np.zeros((rows, 2, layers), np.int64),
        selection=f"all {images:,} cifar100 test images",
        provenance={"seed": 0},
    )


def draw(result: ActivationsResult) -> Figure:
    with style("icml"):
        return draw_activations(result)


def render(result: ActivationsResult, name: str = "icml", **options: str) -> Figure:
    """Lay it out, too, which takes a while."""
    with style(name, **options), warnings.catch_warnings():
        warnings.simplefilter("error")  # a missing glyph is a warning
        figure = draw_activations(result)
        FigureCanvasAgg(figure).draw()
    return figure


LONG = "features.denseblock3.denselayer24.conv2"
CASES = [
    (make_result(3), {"name": "neurips"}),
    (make_result(1, 1), {}),
    (make_result(4, 12), {}),
    (make_result(3), {"column": "half"}),
    (make_result(2), {"name": "neurips", "column": "half"}),
    (make_result(2, images=1), {}),
    (replace(make_result(2), layers=(("conv1", LONG, "relu"),) * 2), {"name": "neurips"}),
    (replace(make_result(2), layers=(("layer1", "layer2", "layer3"), ("layer1", "layer2", LONG))), {}),
    (
        replace(
            make_result(2),
            rows=("baseline → RALR, seeds 0 → 1", "a very long name of a method that nobody uses, seed 12"),
            checkpoints=(
                ("baseline, epoch 300", "RALR, epoch 300"),
                ("epoch_of_a$model$_200", "last-model-of-them-all"),
            ),
        ),
        {},
    ),
    (replace(make_result(1), sums=np.zeros((1, 3, 5, 20)), selection="12,345,678 images of a$b$ test"), {}),
]


@pytest.mark.parametrize(("result", "options"), CASES)
def test_draw_activations_keeps_to_the_page(
    result: ActivationsResult, options: dict[str, str], check_layout
) -> None:
    figure = check_layout(draw_activations, result, **options)
    assert len(figure.axes) == 2 * result.num_layers + 1
    assert len(figure.legends) == 1
    if options.get("column") == "half":
        assert figure.get_figheight() < 4.6  # half of a page


@pytest.mark.parametrize("images", [100, 1])
def test_draw_activations_draws_what_differs_beside_one_plain_histogram(images: int, find) -> None:
    result = make_result(3, 2, images=images)
    figure = draw(result)
    for layer in range(2):
        bins = drawn_bins(result, layer)
        heights = bins.counts / (1 if images == 1 else images * 256 * np.diff(bins.edges))
        (plain,) = find(figure, f"plain:layer{layer + 1}")
        np.testing.assert_allclose(plain.get_data().values, heights[0, 1])
        for row, name in enumerate(result.rows):
            (line,) = find(figure, f"difference:{name}:{layer}")
            np.testing.assert_allclose(line.get_data().values, heights[row, 1] - heights[row, 0])
    assert len(find(figure, "noise")) == (0 if images == 1 else 2)
    assert figure.axes[0].get_ylabel() == ("units" if images == 1 else "density")
    change = 100 * result.measure("relative_change")[0]
    for row, name in enumerate(result.rows):
        np.testing.assert_allclose(find(figure, f"change:{name}")[0].get_xdata(), change[row])


@pytest.mark.parametrize("signed", [False, True])
def test_drawn_bins_are_sums_of_whole_bins(signed: bool) -> None:
    result = make_result(2, signed=signed)
    bins = drawn_bins(result, 0)
    edges, counts = result.edges(0), result.histogram(0)
    assert bins.cut
    for j in range(len(bins.edges) - 1):
        inside = (edges[:-1] >= bins.edges[j]) & (edges[1:] <= bins.edges[j + 1])
        np.testing.assert_array_equal(bins.counts[..., j], counts[..., inside].sum(-1))
    kept = bins.counts.sum() / counts.sum()
    assert 0.999 <= kept < 1
    assert (bins.edges[0] == 0) is not signed or bins.edges[0] < 0


def test_drawn_bins_of_a_layer_without_values_is_one_empty_bin() -> None:
    result = make_result(1, 1)
    empty = replace(
        result, bin_numbers=(1,), counts=np.zeros(2, np.int64), zeros=np.full_like(result.zeros, 25600)
    )
    bins = drawn_bins(empty, 0)
    assert (bins.edges.tolist(), bins.counts.tolist(), bins.cut) == ([0, 1 / 64], [[[0], [0]]], False)
    render(empty)


def test_drawn_bins_say_whether_the_axis_is_cut(read_note) -> None:
    counts = np.zeros((1, 2, 1000), np.int64)
    counts[..., :100] = 50
    whole = replace(make_result(1, 1), counts=counts.ravel())
    assert not drawn_bins(whole, 0).cut
    assert "the axis covers" not in read_note(draw(whole))
    assert "the axis covers 99.9 % of the other values" in read_note(draw(make_result(1, 1)))


def test_activations_note_says_what_is_drawn(read_note) -> None:
    said = read_note(draw(make_result(2)))
    assert "All 100 cifar100 test images, epoch 200 to epoch 300." in said
    assert "jackknife over 20 groups of the images (not over trainings)" in said
    assert "A single image has no interval." in read_note(draw(make_result(2, images=1)))
    mixed = replace(make_result(2), checkpoints=(("epoch 1", "epoch 2"), ("seed 0", "seed 1")))
    assert "baseline: epoch 1 to epoch 2; RALR: seed 0 to seed 1." in read_note(draw(mixed))


def test_draw_activations_touches_no_global_state_and_not_the_result() -> None:
    result = make_result(2)
    with style("icml"):
        before = dict(mpl.rcParams)
        draw_activations(result)
        assert dict(mpl.rcParams) == before
    assert result == make_result(2)


def test_draw_activations_is_saved_the_same_twice(tmp_path: Path) -> None:
    result = make_result(2, 2)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        with style("icml"):
            figure, table = draw_activations(result), activations_table(result)
            paths = save_figure(figure, tmp_path / name / "activations", table, result.provenance)
    for path in paths:
        assert path.read_bytes() == (tmp_path / "a" / path.name).read_bytes()


def test_activations_table_has_the_drawn_bars_and_the_measures() -> None:
    result = make_result(2)
    table = activations_table(result)
    bins = drawn_bins(result, 1)
    zero, *bars = [
        r for r in table if (r["row"], r["layer"], r["checkpoint"]) == ("RALR", "layer2", "epoch 300")
    ]
    assert [r["units"] for r in bars] == bins.counts[1, 1].tolist()
    assert [r["bin_left"] for r in bars] == bins.edges[:-1].tolist()
    assert (zero["bin_left"], zero["bin_right"], zero["density"]) == (0, 0, None)
    assert zero["share"] == result.zero_share[1, 1, 1]
    change = [r for r in table if r["measure"] == "relative_change"]
    assert [r["value"] for r in change] == result.measure("relative_change")[0].ravel().tolist()
    assert all(r["low"] < r["value"] < r["high"] for r in change)


def test_sampling_spread_is_one_where_units_are_independent() -> None:
    rng = np.random.default_rng(0)
    images, units = 40, 256
    values = np.maximum(rng.standard_normal((200, images, units)), 0)
    values = np.floor(values * 64) / 64  # as the bins know them
    result = make_result(1, 1, images=images)
    halves = np.sort(values.reshape(200, 2, -1), axis=-1)
    floor = np.abs(halves[:, 0] - halves[:, 1]).mean()
    number = result.bin_numbers[0]
    counts = np.stack(
        [
            np.bincount((v[v > 0] * 64).astype(int), minlength=number)[:number]
            for v in values[:2].reshape(2, -1)
        ]
    )
    zeros = (images * units - counts.sum(-1)).reshape(1, 2, 1)
    found = replace(
        result, counts=counts.ravel(), zeros=zeros, floors=np.full((1, 2, 1), floor)
    ).sampling_spread
    assert found[0, 0] == pytest.approx(1, rel=0.05)
