"""Precision, differences and errors drawn: artists and text, not pixels."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.lines import Line2D

from ralr_viz.plots.detection_errors import detection_errors_table, draw_detection_errors
from ralr_viz.plots.style import style
from ralr_viz.results.bundle import load_result, save_result
from ralr_viz.results.detection_errors import RECALLS, DetectionErrorsResult


def make(
    models: tuple[str, ...] = ("baseline", "RALR"), classes: int = 3, **changes: object
) -> DetectionErrorsResult:
    rng, m = np.random.default_rng(0), len(models)
    objects = np.arange(classes) * 10
    precision = rng.uniform(0.3, 0.9, (m, classes))
    precision[:, 0] = np.nan  # the first class has no objects
    value = 100 * rng.uniform(-0.05, 0.05, (m, classes + 1)) / 100
    difference = np.stack([value, value - 0.02, value + 0.02], axis=2)
    difference[0] = np.nan
    values: dict = {
        "models": models,
        "class_names": ("$none$", "dog", *map(str, range(2, classes)))[:classes],
        "images": 80,
        "objects": objects,
        "precision": precision,
        "area": precision,
        "curves": np.sort(rng.random((m, classes, RECALLS)), axis=2)[..., ::-1],
        "difference": difference,
        "counts": rng.integers(0, 1000, (m, 6)),
        "costs": rng.uniform(0, 0.1, (m, 6)),
        "shown_counts": rng.integers(0, 30, (m, 6)),
        "thresholds": (0.3,) * m,
        "judged": "val",
        "operating": rng.random((m, classes, 2)),
        "resamples": 100,
        "dataset": "blobs",
        "split": "test",
    }
    return DetectionErrorsResult(**(values | changes))


def test_detection_errors_draw_a_panel_for_each_class_that_has_objects(find):
    result = make()
    with style():
        figure = draw_detection_errors(result)
    curves, below = figure.axes[:2], figure.axes[2:]
    assert [panel.get_title(loc="left").split("\n")[0] for panel in curves] == ["dog", "2"]
    for label, panel in enumerate(curves, 1):
        lines = find(panel, "curve", Line2D)
        assert len({line.get_linestyle() + line.get_color() for line in lines}) == 2
        for i, line in enumerate(lines):
            np.testing.assert_array_equal(line.get_ydata(), result.curves[i, label])
    left, right = below
    assert [text.get_text() for text in left.get_yticklabels()] == ["mAP", "dog", "2"]
    assert len(find(left, "difference", Line2D)) == 3
    assert len(find(right, "cost", Line2D)) == 12
    words = [text.get_text() for text in right.texts]
    assert f"({result.counts[0, 0]:,}; {result.shown_counts[0, 0]:,})" in words[0]


@pytest.mark.parametrize(
    ("models", "name", "column"), [(("a",), "icml", "full"), (("a", "b", "c"), "cvpr", "half")]
)
def test_detection_errors_draw_one_network_and_narrow_pages(models, name, column):
    with style(name, column=column):
        figure = draw_detection_errors(make(models))
    assert len(figure.axes) == 2 + len(models[:2])


def test_detection_errors_of_many_classes_show_both_ends(read_note):
    result = make(classes=40)
    with style():
        figure = draw_detection_errors(result)
    titles = [panel.get_title(loc="left").split("\n")[0] for panel in figure.axes[:20]]
    order = 1 + np.argsort(-result.difference[1, 1:40, 0])
    assert titles == [result.class_names[c] for c in [*order[:10], *order[-10:]]]
    assert "10 classes at each end of 39" in read_note(figure)


def test_detection_errors_describe_map_difference_and_costs():
    result = make()
    first, second, costs, _ = result.describe()
    assert f"mAP@.5 (VOC07) {100 * result.mean_precision[0]:.2f} %" in first and "$none$" not in first
    assert "minus baseline" in second and "[" in second and "missed" in costs
    few = make(images=20, difference=np.full((2, 4, 3), np.nan))
    assert "no interval of 20 images" in few.describe()[1]


def test_detection_errors_table_and_saved_result_are_whole(tmp_path):
    result = make()
    rows = detection_errors_table(result)
    assert len(rows) == 2 * (4 + 6 + 3 * RECALLS) and len({tuple(row) for row in rows}) == 1
    save_result(result, tmp_path / "it")
    assert load_result(tmp_path / "it") == result
