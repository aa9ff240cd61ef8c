"""The charts over the epochs, as Bokeh models, and the numbers beside them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from bokeh.models import GlyphRenderer, LogScale

from ralr_viz.analysis.curves import compute_curves
from ralr_viz.report.curves import _QUANTITIES, build_curves, smooth, smoothing_window


def lines(chart, name):
    return [r for r in chart.renderers if isinstance(r, GlyphRenderer) and r.name == name]


@pytest.mark.parametrize("window", [1, 3, 5, 99])
def test_smooth_is_a_literal_centred_mean_that_shrinks_at_the_ends(window):
    values = np.random.default_rng(0).normal(size=11)
    literal = []
    for i in range(11):
        half = min(window // 2, i, 10 - i)
        literal.append(np.mean(values[i - half : i + half + 1]))
    assert smooth(values, window) == pytest.approx(np.array(literal))


def test_smooth_keeps_a_straight_line_and_its_ends():
    line = np.linspace(3, -2, 20)
    assert smooth(line, 7) == pytest.approx(line)
    assert smooth(np.array([1.0]), 5).tolist() == [1.0]


def test_smoothing_window_is_odd_and_grows():
    windows = [smoothing_window(n) for n in (1, 5, 6, 20, 100, 200, 300)]
    assert windows == [1, 1, 3, 3, 3, 7, 11] and all(w % 2 for w in windows)


def test_build_curves_draws_each_run_raw_and_each_sides_smoothed_mean(make_inputs):
    inputs = make_inputs(seeds=(0, 1))
    charts, result = build_curves(inputs).figures, inputs.curves
    assert list(charts) == ["curves-training", "curves-loss", "curves-accuracy", "curves-lr"]
    raw, wide = lines(charts["curves-loss"], "raw"), lines(charts["curves-loss"], "smoothed")
    assert len(raw) == 4 and len(wide) == 2
    for renderer, row in zip(raw, result.loss, strict=True):
        assert renderer.data_source.data["y"].tolist() == row.tolist()
        assert renderer.data_source.data["x"].tolist() == result.epoch.tolist()
    mean = result.loss[2:].mean(axis=0)
    assert wide[1].data_source.data["y"] == pytest.approx(smooth(mean, 3))
    # never told apart by colour alone
    assert wide[0].glyph.line_color != wide[1].glyph.line_color
    assert wide[0].glyph.line_dash != wide[1].glyph.line_dash


def test_build_curves_links_the_charts_and_gives_each_a_cursor(make_inputs):
    charts = list(build_curves(make_inputs()).figures.values())
    assert len({chart.x_range.id for chart in charts}) == 1
    cursors = [chart.select_one({"name": f"cursor-{chart.name}"}) for chart in charts]
    assert all(cursor.dimension == "height" and cursor.location == 12 for cursor in cursors)
    assert all("mousemove" in chart.js_event_callbacks for chart in charts)
    assert isinstance(charts[-1].y_scale, LogScale)


def test_build_curves_marks_the_amplified_epochs(make_inputs):
    inputs = make_inputs(seeds=(0, 1))
    amplified = inputs.curves.amplified[2:]
    assert amplified.any() and not inputs.curves.amplified[:2].any()
    for chart in build_curves(inputs).figures.values():
        (bands,) = lines(chart, "amplified")
        data = bands.data_source.data
        share = amplified.mean(axis=0)
        assert data["x0"].tolist() == (inputs.curves.epoch[share > 0] - 0.5).tolist()
        assert data["fill_alpha"] == pytest.approx(0.14 * share[share > 0])


def test_build_curves_of_a_run_that_measured_little(make_inputs):
    inputs = make_inputs(sides=1)
    run = dataclasses.replace(inputs.sides[0].runs[0], metrics={"val_acc": np.r_[50.0, np.full(11, np.nan)]})
    side = dataclasses.replace(inputs.sides[0], runs=(run,))
    section = build_curves(dataclasses.replace(inputs, sides=(side,), curves=compute_curves([run])))
    assert list(section.figures) == ["curves-accuracy"]
    assert "Wide grey line" not in section.html and "amplified" not in section.html
    assert section.data["labels"] == ["validation accuracy (%)"]


def test_build_curves_cuts_an_axis_that_explodes(make_inputs):
    inputs = make_inputs()
    run = inputs.sides[1].runs[0]
    exploded = dataclasses.replace(
        run, metrics={**run.metrics, "train_loss": np.r_[run.metrics["train_loss"][:-1], 1e6]}
    )
    sides = (inputs.sides[0], dataclasses.replace(inputs.sides[1], runs=(exploded,)))
    curves = compute_curves([inputs.sides[0].runs[0], exploded])
    chart = build_curves(dataclasses.replace(inputs, sides=sides, curves=curves)).figures["curves-training"]
    assert chart.y_range.end < 100 and "axis cut" in chart.yaxis[0].axis_label


def test_build_curves_keeps_every_number(make_inputs):
    inputs = make_inputs()
    data = build_curves(inputs).data
    assert data["labels"][:3] == ["scheduled LR", "factor", "LR"] and data["runs"] == inputs.name_runs() == [
        "baseline",
        "RALR",
    ]
    names = [name for label in data["labels"] for name, text in _QUANTITIES.items() if text == label]
    for name, values in zip(names, data["values"], strict=True):
        assert np.array(values) == pytest.approx(getattr(inputs.curves, name), rel=1e-6)


def test_build_curves_shows_last_and_best_of_each_run(make_inputs):
    inputs = make_inputs()
    html = build_curves(inputs).html
    for row, name in zip(inputs.curves.summary(), inputs.name_runs(), strict=True):
        assert f"{row['last_acc']:.2f}" in html and f'class="text">{name}</th>' in html


def test_build_curves_without_a_log_says_why(make_inputs):
    section = build_curves(make_inputs(curves=None, missing={"curves": "weights have no log"}))
    assert "Not here: weights have no log." in section.html and not section.figures
