"""The schedule figure: its artists, not its pixels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from ralr_viz.analysis.schedule import compute_schedule
from ralr_viz.plots.schedule import draw_schedule, schedule_table
from ralr_viz.plots.style import COLORS, PNG_DPI, save_figure, style
from ralr_viz.results.schedule import ScheduleResult


@pytest.fixture(autouse=True)
def in_style() -> Iterator[None]:
    with style():
        yield


def schedule(num_epochs: int = 4) -> ScheduleResult:
    base = np.where(np.arange(num_epochs) < num_epochs / 2, 0.1, 0.01)
    factor = np.resize([1, 3, 2, 1], num_epochs)
    return compute_schedule(
        base,
        [
            ("baseline", None, np.ones(num_epochs)),
            ("ralr", 7, factor),
            ("scaled", None, np.full(num_epochs, 1.5)),
        ],
    )


def test_draw_schedule_draws_each_arm_as_stairs() -> None:
    result = schedule()
    figure = draw_schedule(result)
    (panel,) = figure.axes
    stairs = {p.get_label(): p for p in panel.patches if isinstance(p, StepPatch) and not p.get_fill()}
    labels = ["scheduled LR", "baseline", "RALR, seed 7", "scaled"]
    assert [label.split(":")[0] for label in stairs] == labels
    for patch, lr in zip(stairs.values(), [result.base_lr, *result.lr], strict=True):
        np.testing.assert_array_equal(patch.get_data().values, lr)
        np.testing.assert_array_equal(patch.get_data().edges, [0.5, 1.5, 2.5, 3.5, 4.5])
    styles = {patch.get_linestyle() for patch in list(stairs.values())[1:]}
    assert len(styles) == 3
    assert panel.get_yscale() == "log"
    assert panel.get_ylim()[0] < 0.01


def test_draw_schedule_marks_only_random_amplification() -> None:
    (panel,) = draw_schedule(schedule()).axes
    (dots,) = panel.lines
    assert dots.get_color() == COLORS["ralr"]
    np.testing.assert_allclose(dots.get_xydata(), [[2, 0.3], [3, 0.02]])


def test_draw_schedule_says_what_it_adds_up_to() -> None:
    figure = draw_schedule(schedule())
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "scheduled LR",
        "baseline: the scheduled LR",
        "RALR, seed 7: 50% of the epochs amplified, ×2.50 on average; Σ LR is ×1.95 the scheduled one",
        "scaled: every epoch amplified, ×1.50; Σ LR is ×1.50 the scheduled one",
    ]


def test_draw_schedule_does_not_call_noise_an_amplification() -> None:
    result = compute_schedule([0.1] * 4, [("noise", 3, [0.5, 1.0, 1.25, 1.0])])
    assert draw_schedule(result).legends[0].get_texts()[1].get_text() == (
        "noise, seed 3: 50% of the epochs multiplied, ×0.88 on average; Σ LR is ×0.94 the scheduled one"
    )


@pytest.mark.parametrize("name", ["icml", "neurips", "ieee"])
@pytest.mark.parametrize("column", ["full", "half"])
@pytest.mark.parametrize("num_epochs", [1, 20, 300])
def test_draw_schedule_has_no_text_over_data_or_off_the_page(name: str, column: Any, num_epochs: int) -> None:
    with style(name, column=column):
        figure = draw_schedule(schedule(num_epochs))
        figure.set_dpi(PNG_DPI)  # the screen dpi hints letters to other widths
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        legend, panel = (
            figure.legends[0].get_window_extent(renderer),
            figure.axes[0].get_window_extent(renderer),
        )
        assert legend.y0 >= panel.y1
        assert legend.x0 >= 0 and legend.x1 <= figure.bbox.x1 and legend.y1 <= figure.bbox.y1
        assert panel.height > 0.4 * figure.bbox.height


def test_draw_schedule_takes_axes_of_the_callers() -> None:
    mine = Figure()
    panel = mine.subplots()
    assert draw_schedule(schedule(), panel) is mine
    assert not mine.legends
    assert len(panel.get_legend_handles_labels()[1]) == 4


def test_draw_schedule_takes_an_lr_of_zero() -> None:
    figure = draw_schedule(compute_schedule([0.1, 0.05, 0.0], [("ralr", 0, [1.0, 2.0, 3.0])]))
    low, high = figure.axes[0].get_ylim()
    assert 0 < low < 0.05 < 0.1 < high


def test_schedule_table_holds_every_drawn_number(tmp_path: Path) -> None:
    result = schedule()
    rows = schedule_table(result)
    assert len(rows) == 12
    assert rows[5] == {
        "method": "ralr", "seed": 7, "epoch": 2, "base_lr": 0.1, "factor": 3.0, "lr": 0.1 * 3.0, "amplified": True,
    }  # fmt: skip
    first, second = (
        [p.read_bytes() for p in save_figure(draw_schedule(result), tmp_path / n / "s", rows, {})]
        for n in "ab"
    )
    assert first == second
