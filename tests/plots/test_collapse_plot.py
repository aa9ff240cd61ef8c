"""Neural collapse drawn: artists and text, not pixels."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.lines import Line2D

from ralr_viz.plots.collapse import _UNITS, collapse_table, draw_collapse
from ralr_viz.plots.style import style
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


def test_collapse_draws_differences_by_unit_and_the_first_values_by_name(find):
    result = make()
    with style():
        figure = draw_collapse(result)
    assert len(figure.axes) == 4
    names = [name for unit in _UNITS.values() for name in unit]
    for s, split in enumerate(SPLITS):
        row = [
            mark for axes in figure.axes[2 * s : 2 * s + 2] for mark in find(axes, "difference:RALR", Line2D)
        ]
        expected = [result.measure(name, split).difference(0, 1)[0] for name in names]
        assert [mark.get_xdata()[0] for mark in row] == pytest.approx(expected)
        assert figure.axes[2 * s].get_yticklabels()[0].get_text() == f"NC1 ↓ ({result.values[0, s, 0]:.3g})"
    assert not find(figure, "difference:baseline")
    with style():
        alone = draw_collapse(make(("baseline",)))
    assert find(alone.axes[0], "value:baseline")[0].get_xdata()[0] == make(("baseline",)).values[0, 0, 0]


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
        axes = draw_collapse(make(values=values, draws=draws)).axes[0]
    assert "NC3 ↓ (no linear classifier)" in [t.get_text() for t in axes.get_yticklabels()]


def test_collapse_table_has_values_and_differences():
    result = make()
    rows = collapse_table(result)
    assert len(rows) == 2 * len(METRICS) * len(SPLITS)
    first, second = rows[:2]
    assert (first["measure"], first["model"], first["minus_first"]) == ("nc1_test", "baseline", None)
    assert second["minus_first"] == pytest.approx(result.values[1, 0, 0] - result.values[0, 0, 0])
    assert second["minus_first_low"] < second["minus_first"] < second["minus_first_high"]
