"""Activation histograms drawn: artists, text and places, not pixels."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from matplotlib.text import Text

from ralr_viz.plots.activations import BINS, COLORS, activations_table, draw_activations, drawn_bins
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


def texts(figure: Figure) -> list[Text]:
    """What is to be read; ticks outside the limits are not drawn."""
    outside = {
        tick.label1
        for axes in figure.axes
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim()))
        for tick in axis.get_major_ticks()
        if not low <= tick.get_loc() <= high
    }
    return [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip() and t not in outside]


LONG = "features.denseblock3.denselayer24.conv2"
CASES = [
    (make_result(2), {"name": "icml"}),
    (make_result(3), {"name": "neurips"}),
    (make_result(3), {"name": "ieee"}),
    (make_result(1, 1), {}),
    (make_result(5, 5), {}),
    (make_result(1, 12), {}),
    (make_result(3), {"column": "half"}),
    (make_result(2), {"name": "ieee", "column": "half"}),
    (make_result(2), {"name": "neurips", "column": "half"}),
    (make_result(2, images=1), {}),
    (make_result(2, signed=True), {}),
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
def test_draw_activations_overlaps_no_text_and_stays_on_the_page(
    result: ActivationsResult, options: dict[str, str]
) -> None:
    figure = render(result, **options)
    with style(**({"name": "icml"} | options)):
        assert figure.get_figwidth() == pytest.approx(mpl.rcParams["figure.figsize"][0])
    page, shown = figure.bbox, texts(figure)
    assert min(t.get_size() for t in shown) >= 6.5
    boxes = [t.get_window_extent() for t in shown]
    for text, box in zip(shown, boxes, strict=True):
        assert page.x0 <= box.x0 and box.x1 <= page.x1, text
        assert page.y0 <= box.y0 and box.y1 <= page.y1, text
    for (a, box_a), (b, box_b) in itertools.combinations(zip(shown, boxes, strict=True), 2):
        assert not box_a.padded(-0.5).overlaps(box_b.padded(-0.5)), (a, b)
    for text, box in zip(shown, boxes, strict=True):
        for axes in figure.axes:
            assert not box.padded(-1).overlaps(axes.get_window_extent().padded(-1)), (text, axes)
    panels = [axes.get_window_extent() for axes in figure.axes]
    assert len(panels) == len(result.rows) * result.num_layers
    for a, b in itertools.combinations(panels, 2):
        assert not a.overlaps(b)
    for box in panels:
        assert box.width / figure.dpi >= 0.75 and box.height / figure.dpi >= 0.7
    (legend,) = figure.legends
    assert not any(legend.get_window_extent().overlaps(box) for box in panels)


def panels_of(figure: Figure, result: ActivationsResult) -> list[list[Axes]]:
    """Panels by row and layer."""
    grid = [[Axes] * result.num_layers for _ in result.rows]
    for axes in figure.axes:
        row, layer, _ = axes.patches[0].get_gid().split(":")
        grid[result.rows.index(row)][result.layers[0].index(layer)] = axes
    return grid


@pytest.mark.parametrize("signed", [False, True])
def test_draw_activations_draws_both_states_over_each_other_in_the_same_bins(signed: bool) -> None:
    result = make_result(3, 2, signed=signed)
    for column in zip(*panels_of(draw(result), result), strict=True):
        limits = {(axes.get_xlim(), axes.get_ylim()) for axes in column}
        assert len(limits) == 1
        steps = [patch.get_data() for axes in column for patch in axes.patches]
        assert len(steps) == 6
        for values, edges, _ in steps:
            np.testing.assert_array_equal(edges, steps[0][1])
            assert limits == {((edges[0], edges[-1]), (0, limits.copy().pop()[1][1]))}
            assert values.max() < limits.copy().pop()[1][1]
            assert 0.5 * BINS <= len(values) <= BINS + 1
            assert 0 in edges
        for axes in column:
            assert [to_rgb(p.get_edgecolor()) for p in axes.patches] == [to_rgb(c) for c in COLORS]
            assert all(p.get_facecolor()[3] == 0.5 and p.get_fill() for p in axes.patches)
            assert all(isinstance(p, StepPatch) for p in axes.patches)


def test_the_area_is_the_share_of_units_that_are_not_zero() -> None:
    result = make_result(2)
    for row, panels in enumerate(panels_of(draw(result), result)):
        for layer, axes in enumerate(panels):
            for state, patch in enumerate(axes.patches):
                values, edges, _ = patch.get_data()
                area = (values * np.diff(edges)).sum()
                outside = 1 - result.zero_share[row, state, layer] - area
                assert 0 <= outside < 0.0015
            assert axes.get_ylabel() == ("density" if layer == 0 else "")


def test_a_single_image_is_drawn_in_units() -> None:
    result = make_result(2, images=1)
    figure = draw(result)
    for row, panels in enumerate(panels_of(figure, result)):
        for layer, axes in enumerate(panels):
            for state, patch in enumerate(axes.patches):
                values = patch.get_data().values
                np.testing.assert_array_equal(values, drawn_bins(result, layer).counts[row, state])
        assert panels[0].get_ylabel() == "units"
    written = "\n".join(t.get_text() for t in texts(figure))
    assert "A single image has no interval." in written
    assert "[" not in written and "floor" not in written and "nan" not in written


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


def test_drawn_bins_say_whether_the_axis_is_cut() -> None:
    counts = np.zeros((1, 2, 1000), np.int64)
    counts[..., :100] = 50
    whole = replace(make_result(1, 1), counts=counts.ravel())
    assert not drawn_bins(whole, 0).cut
    note = " ".join(t.get_text() for t in texts(draw(whole))).replace("\n", " ")
    assert "the axis covers" not in note
    note = " ".join(t.get_text() for t in texts(draw(make_result(1, 1)))).replace("\n", " ")
    assert "the axis covers 99.9 % of the other values" in note


def test_draw_activations_writes_the_numbers_of_each_panel() -> None:
    result = replace(
        make_result(2),
        distances_without=np.broadcast_to([0.03, 0.05] * 10, (2, 3, 20)),
    )
    written = [t.get_text() for t in texts(draw(result))]
    numbers = [text for text in written if text.startswith("zeros")]
    assert len(numbers) == 6
    row = result.summary()[4]
    shown = numbers[4].replace("\n", " ")
    assert f"zeros {100 * row['zero_share_earlier']:.1f} → {100 * row['zero_share_later']:.1f} %" in shown
    assert f"± {row['distance_bound']:.2g} [" in shown
    assert f"r {row['correlation']:.4f}" in shown
    shown_change = float(shown.split("change ")[1].split(" %")[0])
    assert shown_change == pytest.approx(100 * row["relative_change"], rel=0.05)
    heading = {"layer1", f"16×4×4, floor {result.floors[:, :, 0].max():.2g}"}
    assert heading <= set(written)
    assert written.count("layer1") == 1  # above the first row only
    assert {"baseline", "RALR", "epoch 200", "epoch 300", "activation"} <= set(written)
    note = " ".join(written).replace("\n", " ")
    assert "All 100 cifar100 test images." in note
    assert "95 % interval, jackknife over 20 groups of the images (not over trainings)" in note


def test_draw_activations_names_states_that_differ_between_rows() -> None:
    result = replace(make_result(2), checkpoints=(("epoch 1", "epoch 2"), ("seed 0", "seed 1")))
    written = [t.get_text() for t in texts(draw(result))]
    assert {"earlier", "later", "epoch 1 → epoch 2", "seed 0 → seed 1"} <= set(written)


def test_the_two_states_differ_without_colour() -> None:
    grey = [np.dot(to_rgb(color), [0.2126, 0.7152, 0.0722]) for color in COLORS]
    assert grey[0] - grey[1] > 0.3


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


@pytest.mark.parametrize("images", [100, 1])
def test_activations_table_has_the_drawn_bars(images: int) -> None:
    result = make_result(2, images=images)
    table = activations_table(result)
    for row, panels in enumerate(panels_of(draw(result), result)):
        for layer, axes in enumerate(panels):
            for state, patch in enumerate(axes.patches):
                key = (result.rows[row], f"layer{layer + 1}", result.checkpoints[0][state])
                zero, *bars = [r for r in table if (r["row"], r["layer"], r["checkpoint"]) == key]
                values, edges, _ = patch.get_data()
                np.testing.assert_allclose([r["density" if images > 1 else "units"] for r in bars], values)
                np.testing.assert_array_equal([r["bin_left"] for r in bars], edges[:-1])
                np.testing.assert_array_equal([r["bin_right"] for r in bars], edges[1:])
                assert (zero["bin_left"], zero["bin_right"], zero["density"]) == (0, 0, None)
                assert zero["share"] == result.zero_share[row, state, layer]
