"""Neural collapse drawn: artists and text, not pixels."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.lines import Line2D

from ralr_viz.plots.collapse import collapse_table, draw_collapse
from ralr_viz.plots.style import COLORS, style
from ralr_viz.results.collapse import METRICS, SPLITS, CollapseResult


def make(models: tuple[str, ...] = ("baseline", "RALR"), **changes: object) -> CollapseResult:
    rng, m = np.random.default_rng(0), len(models)
    values = rng.random((m, len(SPLITS), len(METRICS)))
    arguments: dict = {
        "models": models,
        "values": values,
        "draws": values[..., None] + 0.01 * rng.standard_normal((*values.shape, 60)),
        "draw_ratio": np.ones_like(values),
        "images": (10_000, 9_000),
        "subset": (5_000, 4_997),
        "classes": np.arange(10),
        "feature_widths": (64,) * m,
        "k": 20,
        "seed": 0,
        "dataset": "cifar10",
        "device": "cpu",
        "precision": "fp32",
    }
    return CollapseResult(**(arguments | changes))


def test_collapse_marks_are_the_values_and_lines_their_intervals(find):
    result = make()
    with style():
        figure = draw_collapse(result)
    assert len(figure.axes) == len(METRICS)
    for q, axes in enumerate(figure.axes):
        for i, model in enumerate(result.models):
            marks = find(axes, f"value:{model}", Line2D)
            assert [mark.get_xdata()[0] for mark in marks] == list(result.values[i, :, q])
            ends = [list(line.get_xdata()) for line in find(axes, f"interval:{model}", Line2D)]
            name = list(METRICS)[q]
            np.testing.assert_allclose(
                ends, [result.measure(name, split).interval(i)[1:] for split in SPLITS]
            )
    assert figure.axes[0].get_title(loc="left") == "NC1 ↓"
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["test", "train"]
    assert figure.axes[0].get_ylim()[0] > figure.axes[0].get_ylim()[1]  # the first row is above


def test_collapse_marks_are_hollow_where_the_difference_may_be_none(find):
    values = np.ones((2, len(SPLITS), len(METRICS)))
    values[1, 0] = 2
    noise = 0.01 * np.random.default_rng(0).standard_normal((1, len(SPLITS), len(METRICS), 60))
    draws = values[..., None] + noise * np.array([1, 2])[:, None, None, None]
    with style():
        axes = draw_collapse(make(values=values, draws=draws)).axes[0]
    for model, faces in (("RALR", [COLORS["ralr"], "white"]), ("baseline", [COLORS["baseline"]] * 2)):
        assert [line.get_markerfacecolor() for line in find(axes, f"value:{model}", Line2D)] == faces


@pytest.mark.parametrize("venue", ["icml", "neurips", "ieee"])
@pytest.mark.parametrize(
    "models",
    [
        ("baseline",),
        ("baseline", "RALR", "scaled"),
        tuple(f"tiny-imagenet-50-resnet20-short, baseline, seed {i}, epoch 200" for i in range(3)),
    ],
)
@pytest.mark.parametrize("column", ["full", "half"])
def test_collapse_text_stays_on_the_page(check_layout, venue, models, column):
    check_layout(draw_collapse, make(models), venue, column=column)


def test_collapse_note_says_what_the_numbers_are(read_note):
    with style():
        figure = draw_collapse(make())
    note = read_note(figure)
    for part in ("10,000 test and 9,000 train images", "eval mode, cpu, fp32", "60 bootstraps over images"):
        assert part in note
    assert "not over training seeds" in note and "nothing about test accuracy by itself" in note


def test_collapse_note_warns_of_few_images_a_class(read_note):
    result = make()
    ratio = result.draw_ratio.copy()
    ratio[1, 0, 0] = 0.69
    notes = []
    for changes in ({}, {"draw_ratio": ratio}):
        with style():
            figure = draw_collapse(make(**changes))
        notes.append(read_note(figure))
    assert "a resample" not in notes[0]
    assert "NC1 of a resample was down to 0.69 times the sample's" in notes[1].replace("\n", " ")


def test_collapse_without_classifier_says_so_in_its_panel():
    result = make()
    values, draws = result.values.copy(), result.draws.copy()
    values[:, :, 3], draws[:, :, 3] = np.nan, np.nan
    with style():
        axes = draw_collapse(make(values=values, draws=draws)).axes[3]
    assert [t.get_text() for t in axes.texts] == ["no linear classifier"]


def test_collapse_table_has_values_and_differences():
    result = make()
    rows = collapse_table(result)
    assert len(rows) == 2 * len(METRICS) * len(SPLITS)
    first, second = rows[:2]
    assert (first["measure"], first["model"], first["minus_first"]) == ("nc1_test", "baseline", None)
    assert second["minus_first"] == pytest.approx(result.values[1, 0, 0] - result.values[0, 0, 0])
    assert second["minus_first_low"] < second["minus_first"] < second["minus_first_high"]
