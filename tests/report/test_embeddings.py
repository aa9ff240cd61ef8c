"""The section of the maps: its models, its words, its data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from bokeh.models import CustomJS, GlyphRenderer

from ralr_viz.report.embeddings import build_embeddings, list_caveats, list_numbers
from ralr_viz.report.inputs import ReportInputs
from ralr_viz.results.embedding import METRICS

Make = Callable[..., ReportInputs]


def points(section, panel: int) -> GlyphRenderer:
    return section.figures[f"map-{panel}"].renderers[0]


def test_build_embeddings_draws_every_place_of_both_maps_from_one_source(make_inputs: Make) -> None:
    inputs = make_inputs(n=60, sampled=20)
    section = build_embeddings(inputs)
    assert list(section.figures) == ["map-0", "map-1"]
    for panel, coordinates in enumerate(inputs.embedding.coordinates):  # type: ignore[union-attr]
        renderer = points(section, panel)
        assert renderer.data_source is points(section, 0).data_source  # so that selections are shared
        for axis, name in enumerate("xy"):
            column = getattr(renderer.glyph, name)
            assert column == f"{name}{panel}"
            np.testing.assert_array_equal(renderer.data_source.data[column], coordinates[:, axis])


def test_build_embeddings_shows_every_point_at_one_scale(make_inputs: Make) -> None:
    inputs = make_inputs(n=60)
    section = build_embeddings(inputs)
    first, second = section.figures.values()
    coordinates = inputs.embedding.coordinates  # type: ignore[union-attr]
    for axis, name in enumerate(("x_range", "y_range")):
        span = getattr(first, name)
        assert (span.start, span.end) == (getattr(second, name).start, getattr(second, name).end)
        assert span.start < coordinates[..., axis].min() and span.end > coordinates[..., axis].max()
    across, up = (r.end - r.start for r in (first.x_range, first.y_range))
    assert 0.7 - 1e-6 <= up / across <= 1 + 1e-6


def test_build_embeddings_strokes_nothing_after_the_points(make_inputs: Make) -> None:
    # Bokeh's outline is stroked with the path of the last point: a dark ring around that image
    charts = build_embeddings(make_inputs(n=30)).figures.values()
    assert all(chart.outline_line_color is None for chart in charts)


def test_build_embeddings_of_independent_maps_gives_each_its_own_range(make_inputs: Make) -> None:
    inputs = make_inputs(n=60)
    result = inputs.embedding
    assert result is not None
    moved = result.coordinates + np.array([0, 100])[:, None, None]
    independent = replace(result, align="none", coordinates=moved)
    section = build_embeddings(replace(inputs, embedding=independent))
    first, second = section.figures.values()
    assert first.x_range.end < second.x_range.start
    assert len(second.renderers) < len(build_embeddings(inputs).figures["map-1"].renderers)  # no line across
    assert "cannot be compared" in section.html


def test_build_embeddings_reports_the_pointer_by_bokehs_own_events(make_inputs: Make) -> None:
    chart = build_embeddings(make_inputs(n=30)).figures["map-1"]
    for event in ("mousemove", "tap"):
        (callback,) = chart.js_event_callbacks[event]
        assert isinstance(callback, CustomJS) and "panel: 1" in callback.code


def test_build_embeddings_of_one_network_compares_nothing(make_inputs: Make) -> None:
    section = build_embeddings(make_inputs(sides=1, n=30))
    assert list(section.figures) == ["map-0"]
    assert "− baseline" not in section.html and 'value="kept"' not in section.html
    assert section.data["samples"]["kept"] is None


def test_build_embeddings_without_a_map_says_why_and_still_carries_the_samples(make_inputs: Make) -> None:
    inputs = replace(make_inputs(n=30), embedding=None, missing={"embeddings": "too few <images>"})
    section = build_embeddings(inputs)
    assert not section.figures and "too few &lt;images&gt;" in section.html
    assert section.data["samples"]["n"] == 30


def test_build_embeddings_without_images_says_why(make_inputs: Make) -> None:
    section = build_embeddings(replace(make_inputs(n=30), images=None, missing={}))
    assert not section.figures and "ralr-viz embed" in section.html and not section.data


def test_build_embeddings_escapes_names(make_inputs: Make) -> None:
    inputs = make_inputs(n=30)
    sides = (replace(inputs.sides[0], name="<img src=x>"), inputs.sides[1])
    html = build_embeddings(replace(inputs, sides=sides)).html
    assert "<img" not in html and "&lt;img src=x&gt;" in html


def test_build_embeddings_says_how_images_and_maps_were_reduced(make_inputs: Make) -> None:
    assert "reduced to 64" not in build_embeddings(make_inputs(n=12)).html
    html = build_embeddings(make_inputs(n=12, size=(96, 96), map_side=24)).html
    assert "reduced to 64 pixels" in html and "averaged to 16 positions" in html


def test_list_numbers_are_those_of_the_result_and_mark_clear_differences(make_inputs: Make) -> None:
    result = make_inputs(n=30).embedding
    assert result is not None
    lines = list_numbers(result)
    assert len(lines) == len(METRICS) + 1
    for name, line in zip(METRICS, lines, strict=False):
        digits = 1 if name == "knn_accuracy" else 3
        for value, text in zip(result.metric(name)[:, 0], line.values, strict=True):
            assert float(text.split(" ")[0].replace("−", "-")) == pytest.approx(value, abs=0.6 * 10**-digits)
        low, high = result.difference(name)[1, 1:]
        ((_, clear),) = line.differences
        assert clear == (low > 0 or high < 0)
    marked = [clear for line in lines for _, clear in line.differences]
    assert any(marked) and not all(marked)


def test_interval_that_does_not_hold_its_value_is_left_out_and_explained(make_inputs: Make) -> None:
    inputs = make_inputs(n=30)
    assert inputs.embedding is not None
    metrics, differences = inputs.embedding.metrics.copy(), inputs.embedding.differences.copy()
    metrics[1, 0] = 0.232, 0.233, 0.237
    differences[1, 0] = 0.1, 0.2, 0.3
    odd = replace(inputs.embedding, metrics=metrics, differences=differences)
    line = list_numbers(odd)[0]
    assert line.values[1] == "0.232" and line.differences == (("+0.100", False),)
    html = build_embeddings(replace(inputs, embedding=odd)).html
    assert "A value alone has no interval" in html and "[–]" not in html and "nan" not in html


def test_list_caveats_say_what_distances_do_not_mean_and_the_noise_floor(make_inputs: Make) -> None:
    inputs = make_inputs(n=30)
    assert inputs.embedding is not None
    text = " ".join(list_caveats(inputs.embedding, inputs.sides))
    assert "mean little" in text
    assert "0.25 of the RMS radius" in text and "0.04 when the map of baseline is only made again" in text
    alone = make_inputs(sides=1, n=30)
    assert alone.embedding is not None
    assert "RMS" not in " ".join(list_caveats(alone.embedding, alone.sides))
