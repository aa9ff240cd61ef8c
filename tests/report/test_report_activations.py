"""The section of the activation histograms: the drawn bins and the numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ralr_viz.plots.activations import activations_table, drawn_bins
from ralr_viz.report.activations import build_activations, list_lines
from ralr_viz.report.inputs import ReportInputs

Make = Callable[..., ReportInputs]


def test_build_activations_draws_the_last_layer_first(make_inputs: Make) -> None:
    inputs = make_inputs(n=12)
    result = inputs.activations
    assert result is not None
    section = build_activations(inputs)
    bins = drawn_bins(result, 1)
    for row in range(2):
        chart = section.figures[f"activations-{row}"]
        bars, outline = (renderer.data_source.data for renderer in chart.renderers)
        np.testing.assert_array_equal(bars["left"], bins.edges[:-1])
        np.testing.assert_array_equal(outline["x"], bins.edges)
        total = result.num_images * result.units[row, 1]
        for state, heights in enumerate((bars["top"], outline["y"][:-1])):
            area = (heights * np.diff(bins.edges)).sum()
            assert area == pytest.approx(bins.counts[row, state].sum() / total)
        assert chart.x_range is section.figures["activations-0"].x_range
        assert chart.y_range.end >= max(bars["top"].max(), outline["y"].max())


def test_build_activations_data_is_the_published_table(make_inputs: Make) -> None:
    result = make_inputs(n=12).activations
    assert result is not None
    layers = build_activations(make_inputs(n=12)).data["layers"]
    table = [bar for bar in activations_table(result) if bar["density"] is not None]
    ours = [
        value
        for layer in layers
        for row in range(2)
        for state in range(2)
        for value in layer["density"][row][state]
    ]
    np.testing.assert_allclose(ours, [bar["density"] for bar in table])


def test_list_lines_are_the_summary_layer_by_layer(make_inputs: Make) -> None:
    result = make_inputs(n=12).activations
    assert result is not None
    lines, summary = list_lines(result), result.summary()
    assert [(line.layer.split()[0], line.row) for line in lines] == [
        ("layer1", "baseline"),
        ("layer1", "RALR"),
        ("layer2", "baseline"),
        ("layer2", "RALR"),
    ]
    by_name = {(row["layer"], row["row"]): row for row in summary}
    for line in lines:
        numbers = by_name[line.layer.split()[0], line.row]
        assert float(line.distance.split()[0]) == pytest.approx(numbers["distance"], rel=0.01)
        assert float(line.change.split()[0]) == pytest.approx(100 * numbers["relative_change"], rel=0.01)
        assert line.zeros.split(" → ")[1] == f"{100 * numbers['zero_share_later']:.1f}"


def test_list_lines_of_one_image_have_no_interval(make_inputs: Make) -> None:
    result = make_inputs(n=12).activations
    assert result is not None
    one = replace(
        result,
        group_images=np.ones(1, np.int64),
        sums=result.sums[..., :1],
        distances_without=np.full((2, 2, 1), np.nan),
        floors=np.full((2, 2, 2), np.nan),
    )
    assert all("[" not in line.distance and line.floor == "–" for line in list_lines(one))


def test_build_activations_without_a_result_says_why(make_inputs: Make) -> None:
    section = build_activations(replace(make_inputs(n=12), activations=None, missing={}))
    assert "ralr-viz activations" in section.html and not section.figures


def test_build_activations_escapes_names_and_tells_unequal_states(make_inputs: Make) -> None:
    inputs = make_inputs(n=12)
    assert inputs.activations is not None
    named = replace(
        inputs.activations,
        rows=("<b>a</b>", "RALR"),
        checkpoints=(("epoch 1", "epoch 2"), ("epoch 1", "epoch 3")),
    )
    html = build_activations(replace(inputs, activations=named)).html
    assert "<b>a" not in html and "&lt;b&gt;a&lt;/b&gt;" in html
    assert "earlier" in html and "epoch 1 → epoch 3" in html
