"""Calibration drawn: artists and text, not pixels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from ralr_viz.plots.calibration import calibration_table, draw_calibration
from ralr_viz.plots.style import style
from ralr_viz.results.bundle import load_result, save_result
from ralr_viz.results.calibration import METRICS, CalibrationResult

LONG = "American_Staffordshire_terrier, Staffordshire"


def make(
    models: tuple[str, ...] = ("baseline", "RALR"), classes: int = 10, **changes: object
) -> CalibrationResult:
    rng, m, n, bins = np.random.default_rng(0), len(models), 5 * classes, 15
    labels = np.tile(np.arange(classes), 5)
    confidence = np.sort(rng.uniform(0.35, 1, (m, bins)), axis=1)
    accuracy = np.clip(confidence - 0.05, 0, 1)
    values = rng.random((m, len(METRICS)))
    difference = rng.uniform(-5, 5, (m, classes))
    difference[0] = 0
    arguments: dict = {
        "models": models,
        "indices": np.arange(n) * 2,
        "labels": labels,
        "predicted": np.where(rng.random((m, n)) < 0.7, labels, 0),
        "values": values,
        "draws": values[..., None] + 0.01 * rng.standard_normal((m, len(METRICS), 40)),
        "ece_ratio": np.ones(m),
        "ece_floor": np.full((m, 2), 0.5),
        "bin_confidence": confidence,
        "bin_accuracy": accuracy,
        "bin_low": accuracy - 0.04,
        "bin_high": accuracy + 0.03,
        "classes": np.arange(classes),
        "class_accuracy": rng.uniform(50, 90, (m, classes)),
        "class_difference": np.stack([difference, difference - 2, difference + 2], axis=2),
        "class_names": (LONG, "$a$", *map(str, range(2, classes))),
        "dataset": "cifar10",
        "split": "test",
        "device": "cpu",
        "precision": "fp32",
    }
    return CalibrationResult(**(arguments | changes))


def test_calibration_draws_bins_and_intervals_with_common_limits():
    result = make()
    with style():
        figure = draw_calibration(result)
    panels = figure.axes[:2]
    assert panels[0].get_xlim() == panels[1].get_xlim() == panels[0].get_ylim()
    for i, panel in enumerate(panels):
        (bins,) = (line for line in panel.lines if line.get_gid() == "bins")
        np.testing.assert_array_equal(bins.get_xdata(), result.bin_confidence[i])
        np.testing.assert_array_equal(bins.get_ydata(), result.bin_accuracy[i])
        ends = [line.get_ydata() for line in panel.lines if line.get_gid() == "interval"]
        np.testing.assert_allclose(ends, np.stack([result.bin_low[i], result.bin_high[i]], axis=1))
        assert (
            f"ECE {result.values[i, 2]:.2f} %" in panel.get_xlabel() and "floor 0.50 %" in panel.get_xlabel()
        )


def test_calibration_sorts_classes_by_their_difference():
    result = make()
    with style():
        panel = draw_calibration(result).axes[2]
    found = [line.get_xdata()[0] for line in panel.lines if line.get_gid() == "difference"]
    assert found == sorted(result.class_difference[1, :, 0], reverse=True)
    full = [line.get_markerfacecolor() != "white" for line in panel.lines if line.get_gid() == "difference"]
    assert full == [abs(value) > 2 for value in found]
    fixed, broken = len(result.fixed(1)), len(result.broken(1))
    assert f"{fixed} images fixed, {broken} broken, McNemar p" in panel.get_xlabel()


def test_calibration_of_many_classes_shows_both_ends():
    result = make(classes=100)
    with style():
        figure = draw_calibration(result)
    panel = figure.axes[2]
    found = [line.get_xdata()[0] for line in panel.lines if line.get_gid() == "difference"]
    ranked = sorted(result.class_difference[1, :, 0], reverse=True)
    assert found == ranked[:12] + ranked[-12:]
    note = next(t.get_text() for t in figure.findobj(Text) if t.get_gid() == "note").replace("\n", " ")
    assert "the 12 at each end of 100 (chosen by outcome)" in note and "5.0 would by chance" in note


def test_calibration_of_one_network_has_only_its_reliability():
    with style():
        figure = draw_calibration(make(("baseline",)))
    assert len(figure.axes) == 1
    note = next(t.get_text() for t in figure.findobj(Text) if t.get_gid() == "note")
    assert "Classes" not in note and "training seeds" in note


@pytest.mark.parametrize(("venue", "column"), [("icml", "full"), ("ieee", "half"), ("neurips", "full")])
@pytest.mark.parametrize(
    ("models", "classes"),
    [
        (("baseline",), 10),
        (("baseline", "RALR", "scaled"), 10),
        (("tiny-imagenet-50-resnet20-short, baseline, seed 0, epoch 200", "RALR"), 100),
    ],
)
def test_calibration_text_stays_on_the_page(venue, column, models, classes):
    with style(venue, column=column):
        figure = draw_calibration(make(models, classes))
        figure.set_dpi(300)  # as it is saved; hinting makes coarser text wider
        FigureCanvasAgg(figure).draw()
    page = figure.bbox
    assert min(text.get_fontsize() for text in figure.findobj(Text)) >= 6.5
    for artist in [*figure.axes, *figure.legends, *figure.texts]:
        box = artist.get_tightbbox()
        assert page.x0 - 1 <= box.x0 and box.x1 <= page.x1 + 1, artist
        assert page.y0 - 1 <= box.y0 and box.y1 <= page.y1 + 1, artist
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_calibration_table_has_everything():
    result = make()
    rows = calibration_table(result)
    parts = {part: [row for row in rows if row["part"] == part] for part in {row["part"] for row in rows}}
    assert len(parts["measure"]) == 2 * (len(METRICS) + 1) and len(parts["bin"]) == 30
    assert len(parts["class"]) == 20
    assert [row["item"] for row in parts["fixed"]] == [str(i) for i in result.fixed(1)]
    assert [row["item"] for row in parts["broken"]] == [str(i) for i in result.broken(1)]
    assert parts["changed"][0]["value"] == result.mcnemar_p(1)
    assert parts["class"][10]["minus_first"] == result.class_difference[1, 0, 0]
    assert len({tuple(row) for row in rows}) == 1


def test_calibration_result_comes_back_from_disk_and_refuses_other_shapes(tmp_path):
    result = make()
    assert load_result(save_result(result, tmp_path / "calibration")) == result
    assert [m.name for m in result.measures()] == list(METRICS)
    for change in ({"models": ("a",)}, {"predicted": np.zeros((2, 3))}, {"draws": np.zeros((2, 3))}):
        with pytest.raises(ValueError):
            dataclasses.replace(result, **change)
