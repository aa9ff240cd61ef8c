"""Calibration drawn: artists and text, not pixels."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.lines import Line2D

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


def test_calibration_draws_bins_and_intervals_with_common_limits(find):
    result = make()
    with style():
        figure = draw_calibration(result)
    panels = figure.axes[:2]
    assert panels[0].get_xlim() == panels[1].get_xlim() == panels[0].get_ylim()
    for i, panel in enumerate(panels):
        (bins,) = find(panel, "bins", Line2D)
        np.testing.assert_array_equal(bins.get_xdata(), result.bin_confidence[i])
        np.testing.assert_array_equal(bins.get_ydata(), result.bin_accuracy[i])
        ends = [line.get_ydata() for line in find(panel, "interval", Line2D)]
        np.testing.assert_allclose(ends, np.stack([result.bin_low[i], result.bin_high[i]], axis=1))
        assert (
            f"ECE {result.values[i, 2]:.2f} %" in panel.get_xlabel() and "floor 0.50 %" in panel.get_xlabel()
        )


SCALED = {
    "temperature": np.array([1.25, 1.5]), "scaled_ece": np.array([1.0, 1.2]), "scaled_floor": np.full((2, 2), 0.75),
    "scaled_draws": np.linspace(0.9, 1.3, 80).reshape(2, 40), "watched": 2000,
}  # fmt: skip


def test_calibration_says_the_error_at_the_fitted_temperature_beside_the_raw_one(check_layout):
    result = make(**SCALED)
    for name, column in (("icml", "full"), ("ieee", "half")):
        figure = check_layout(draw_calibration, result, name, column=column)
        assert "at T = 1.25: ECE 1.00 %, floor 0.75 %" in figure.axes[0].get_xlabel()
    rows = {
        (row["item"], row["model"]): row["value"]
        for row in calibration_table(result)
        if row["part"] == "measure"
    }
    assert (rows["ece_scaled", "RALR"], rows["temperature", "RALR"], rows["ece_scaled_floor", "RALR"]) == (
        1.2,
        1.5,
        0.75,
    )
    assert "at T" not in draw_calibration(make()).axes[0].get_xlabel()  # of a result from before


def test_calibration_sorts_classes_by_their_difference(find):
    result = make()
    with style():
        panel = draw_calibration(result).axes[2]
    found = [line.get_xdata()[0] for line in find(panel, "difference", Line2D)]
    assert found == sorted(result.class_difference[1, :, 0], reverse=True)
    full = [line.get_markerfacecolor() != "white" for line in find(panel, "difference", Line2D)]
    assert full == [abs(value) > 2 for value in found]
    fixed, broken = len(result.fixed(1)), len(result.broken(1))
    assert f"{fixed} images fixed, {broken} broken, McNemar p" in panel.get_xlabel()


def test_calibration_of_many_classes_shows_both_ends(find, read_note):
    result = make(classes=100)
    with style():
        figure = draw_calibration(result)
    panel = figure.axes[2]
    found = [line.get_xdata()[0] for line in find(panel, "difference", Line2D)]
    ranked = sorted(result.class_difference[1, :, 0], reverse=True)
    assert found == ranked[:12] + ranked[-12:]
    note = read_note(figure)
    assert "the 12 at each end of 100 (chosen by outcome)" in note and "5.0 would by chance" in note


def test_calibration_of_one_network_has_only_its_reliability(read_note):
    with style():
        figure = draw_calibration(make(("baseline",)))
    assert len(figure.axes) == 1
    note = read_note(figure)
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
def test_calibration_text_stays_on_the_page(check_layout, venue, column, models, classes):
    check_layout(draw_calibration, make(models, classes), venue, column=column)


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


def test_calibration_result_comes_back_from_disk(tmp_path):
    result = make()
    assert load_result(save_result(result, tmp_path / "calibration")) == result
    assert [m.name for m in result.measures()] == list(METRICS)
