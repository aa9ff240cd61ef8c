"""What is drawn of an effect: artists against the result's numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from ralr_viz.plots.drawing import find_drawing
from ralr_viz.plots.effect import draw_effect, effect_caption, effect_table
from ralr_viz.plots.style import style
from ralr_viz.results.effect import EffectResult

NAMES = ("train_loss_eval", "val_loss", "val_acc", "step_length")


def make_result(outcomes: tuple[str, ...] = NAMES, lags: int = 4, **changes: Any) -> EffectResult:
    rng, shape = np.random.default_rng(0), (len(outcomes), lags)
    estimate = rng.normal(size=shape)
    error = rng.uniform(0.1, 0.3, shape)
    estimate[:, -1] = error[:, -1] = np.nan
    values: dict[str, Any] = {
        "outcomes": outcomes,
        "lag": np.arange(lags),
        "estimate": estimate,
        "error": error,
        "low": estimate - 3 * error,
        "high": estimate + 3 * error,
        "mde": 4 * error,
        "p": np.where(np.isnan(estimate), np.nan, 0.03),
        "rows": np.arange(100, 100 + estimate.size).reshape(shape),
        "parameters": np.full(shape, 8),
        "critical": np.full(shape[0], 3.0),
        "overall_p": np.full(shape[0], 0.012),
        "runs": ("demo/ralr/seed0", "demo/ralr/seed1"),
        "draws": np.array([20, 20]),
        "amplified": np.array([11, 9]),
        "law": {"low": 1.0, "high": 3.0, "probability": 0.5, "draw": "uniform", "interval": 1},
        "schedule": "3 phases of constant base LR (10, 5, 5 epochs)",
        "resamples": 999,
        "seed": 0,
    }
    return EffectResult(**(values | changes))


def drawn(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.axison]


def test_draw_effect_shows_estimates_bands_and_mde_of_the_estimable_lags() -> None:
    result = make_result()
    with style("icml"):
        panels = drawn(draw_effect(result))
    assert len(panels) == 4
    for i, panel in enumerate(panels):
        points = next(line for line in panel.lines if str(line.get_gid()).startswith("estimate"))
        np.testing.assert_array_equal(points.get_xdata(), [0, 1, 2])
        np.testing.assert_array_equal(points.get_ydata(), result.estimate[i, :3])
        low = [bar.get_y() for bar in panel.patches]
        high = [bar.get_y() + bar.get_height() for bar in panel.patches]
        np.testing.assert_allclose(low, result.low[i, :3])
        np.testing.assert_allclose(high, result.high[i, :3])
        heights = [
            segment[0, 1]
            for lines in panel.collections
            if isinstance(lines, LineCollection)
            for segment in lines.get_segments()
        ]
        np.testing.assert_allclose(heights, [*-result.mde[i, :3], *result.mde[i, :3]])
        bottom, top = panel.get_ylim()
        assert bottom < min(*low, *heights, 0) and top > max(*high, *heights, 0)


def test_draw_effect_writes_p_and_n() -> None:
    result = make_result(overall_p=np.array([0.012, 0.001, 0.5, 0.04]))
    with style("neurips"):
        panels = drawn(draw_effect(result))
    assert [panel.get_title(loc="right") for panel in panels] == [
        f"exact p {p}" for p in ("= 0.012", "≤ 0.001", "= 0.5", "= 0.04")
    ]  # fmt: skip
    labels = [text.get_text() for text in panels[1].get_xticklabels()]
    assert labels == ["0\nn = 104", "1\nn = 105", "2\nn = 106"]


def test_draw_effect_says_where_nothing_can_be_estimated() -> None:
    result = make_result()
    empty = {key: getattr(result, key).copy() for key in ("estimate", "error", "low", "high", "mde", "p")}
    for values in empty.values():
        values[2] = np.nan
    with style("ieee"):
        panel = drawn(draw_effect(dataclasses.replace(result, **empty)))[2]
    assert [text.get_text() for text in panel.texts] == ["too few draws"]
    assert panel.get_title(loc="right") == ""


@pytest.mark.parametrize("name", ["icml", "neurips", "ieee"])
@pytest.mark.parametrize("outcomes", [NAMES, NAMES[3:]])
@pytest.mark.parametrize("column", ["full", "half"])
def test_draw_effect_keeps_text_inside_and_apart(
    check_layout, name: str, outcomes: tuple[str, ...], column: Any
) -> None:
    result = make_result(outcomes, lags=7, runs=("a-very-long-name-of-a-recipe" * 4,), draws=np.array([20]),
                         amplified=np.array([11]))  # fmt: skip
    figure = check_layout(draw_effect, result, name, column=column)
    assert figure.legends


def test_draw_effect_takes_axes_of_the_user() -> None:
    figure = Figure()
    axes = figure.subplots(4)
    assert draw_effect(make_result(), list(axes)) is figure
    assert not figure.legends


def test_caption_says_what_is_not_separated() -> None:
    caption = effect_caption(make_result())
    for words in (
        "lag 0 is measured right after a larger step",
        "adds to Σ LR",
        "same weights",
        "2 runs, 40 draws, 20",
        "Exact p is of another null than the bars",
    ):
        assert words in caption
    one = make_result(runs=("demo/ralr/seed0",), draws=np.array([20]), amplified=np.array([11]))
    assert "One training" in effect_caption(one) and "One training" not in caption
    few = make_result(rows=np.full((4, 4), 17))
    assert "So few draws" in effect_caption(few) and "So few draws" not in caption
    assert "0.69" not in effect_caption(make_result(NAMES[:2]))


def test_effect_table_has_empty_cells_for_what_is_not_estimable() -> None:
    result = make_result()
    rows = effect_table(result)
    assert len(rows) == 16 and find_drawing(result).table(result) == rows
    assert rows[3]["estimate"] is None and rows[3]["n"] == 103
    assert rows[5]["estimate"] == result.estimate[1, 1] and rows[5]["mde"] == result.mde[1, 1]


def phases(result: EffectResult) -> EffectResult:
    shape = (len(result.outcomes), 3, len(result.lag))
    estimate = np.random.default_rng(1).normal(size=shape)
    return dataclasses.replace(
        result, phase_epochs=np.array([[1, 10], [11, 15], [16, 20]]), phase_estimate=estimate, phase_low=estimate - 1,
        phase_error=np.ones(shape), phase_high=estimate + 1, phase_p=np.full(shape, 0.5), phase_rows=np.full(shape, 44),
        treatments=("factor − 1",) * 3 + ("ln factor",),
    )  # fmt: skip


@pytest.mark.parametrize(("name", "column"), [("icml", "full"), ("ieee", "half")])
def test_draw_effect_has_each_phase_beside_the_others_and_says_what_it_cannot_tell(
    check_layout, name, column
) -> None:
    result = phases(make_result(lags=6))
    figure = check_layout(draw_effect, result, name, column=column)
    for i, outcome in enumerate(result.outcomes):
        drawn = {line.get_gid(): line for line in figure.axes[i].lines if line.get_gid()}
        assert set(drawn) == {f"estimate:{outcome}:{phase}" for phase in result.phases}
        for k, phase in enumerate(result.phases):
            assert drawn[f"estimate:{outcome}:{phase}"].get_ydata() == pytest.approx(
                result.phase_estimate[i, k]
            )
    assert {t.get_text() for t in figure.legends[0].get_texts()} >= {"epochs 11–15", "epochs 16–20"}
    assert figure.axes[3].get_ylabel() == "effect (ln per ln λ)"
    caption = effect_caption(result)
    assert "cannot tell whether amplification helps in the end" in caption and "MDE" not in caption
    assert "in proportion to the rate at 1" in caption and "doubled at +0.69" not in caption
    assert len(effect_table(result)) == len(result.outcomes) * len(result.lag) * 4
