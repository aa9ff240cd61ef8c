"""The figure of dose, diagnostic and score: points, stars and line are the result's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ralr_viz.plots.dose import MOST_ROWS, dose_note, dose_table, draw_dose
from ralr_viz.results.dose import DoseResult


def make(
    measures: int = 2, seeds: int = 3, beside: tuple[str, ...] = ("ralr",), **changes: Any
) -> DoseResult:
    rng = np.random.default_rng(0)
    names, doses = ("0.5", "1", "2", *beside), (0.5, 1.0, 2.0, *(np.nan for _ in beside))
    m = seeds * len(names)
    fields: dict[str, Any] = {
        "noun": "collapse",
        "measures": tuple(f"y{k}" for k in range(measures)),
        "labels": tuple(f"NC1 number {k}, within-class over between-class spread" for k in range(measures)),
        "units": ("nats",) * measures,
        "dose_name": "factor",
        "score_name": "test accuracy",
        "score_unit": "%",
        "runs": tuple(f"{name}, seed {seed}" for seed in range(seeds) for name in names),
        "arms": names * seeds,
        "seeds": tuple(seed for seed in range(seeds) for _ in names),
        "dose": np.tile(doses, seeds),
        "values": rng.random((measures, m)),
        "score": 80 + rng.random(m),
        "dose_tau": np.full(measures, -0.8),
        "dose_p": np.full(measures, 0.01),
        "tau": np.tile([-0.7, -0.1], (measures, 1)),
        "p": np.tile([0.02, 0.7], (measures, 1)),
        "predicted": 80 + rng.random((measures, m)),
        "slope": np.full(measures, -1.0),
        "logarithmic": np.zeros(measures, bool),
        "notes": ("something to know",),
    }
    return DoseResult(**fields | changes)


def test_draw_dose_draws_each_training_where_it_belongs() -> None:
    result = make()
    left, right = draw_dose(result).axes[:2]
    drawn = {line.get_gid(): line for line in (*left.lines, *right.lines)}
    for arm in ("0.5", "1", "2", "ralr"):
        at = result.rows_of(arm)
        np.testing.assert_allclose(drawn[f"y0:{arm}"].get_ydata(), result.values[0, at])
        np.testing.assert_allclose(drawn[f"score:{arm}"].get_xdata(), result.values[0, at])
        np.testing.assert_allclose(drawn[f"score:{arm}"].get_ydata(), result.score[at])
    slope = np.diff(drawn["line"].get_ydata()) / np.diff(drawn["line"].get_xdata())
    np.testing.assert_allclose(slope, -1.0)


def test_draw_dose_of_a_wide_measure_is_logarithmic() -> None:
    result = make(1, logarithmic=np.ones(1, bool))
    left, right = draw_dose(result).axes[:2]
    assert (left.get_yscale(), right.get_xscale()) == ("log", "log")
    (line,) = (line for line in right.lines if line.get_gid() == "line")
    assert np.diff(line.get_ydata()) / np.diff(np.log(line.get_xdata())) == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("dose_p", "p", "tau", "words"),
    [
        (0.2, [0.01, 0.01], [-0.7, -0.5], "does not move"),
        (0.01, [0.2, 0.01], [-0.7, -0.5], "does not order"),
        (0.01, [0.01, 0.2], [-0.7, -0.5], "at equal dose it is not shown"),
        (0.01, [0.01, 0.01], [-0.7, 0.5], "at equal dose it is not shown"),
        (0.01, [0.01, 0.01], [-0.7, -0.5], "it may carry"),
        (np.nan, [0.01, 0.01], [-0.7, -0.5], "does not move"),
    ],
)
def test_verdict_is_no_stronger_than_its_row(
    dose_p: float, p: list[float], tau: list[float], words: str
) -> None:
    result = make(1, dose_p=np.array([dose_p]), p=np.array([p]), tau=np.array([tau]))
    assert words in result.verdict(0) and words in dose_note(result)
    assert any(words in line for line in result.describe())


def test_off_line_is_the_mean_residual_with_a_t_interval() -> None:
    result = make()
    at = result.rows_of("ralr")
    off = (result.score - result.predicted[0])[at]
    mean, low, high = result.off_line(0, "ralr")
    assert mean == pytest.approx(off.mean())
    half = 4.302653 * off.std(ddof=1) / np.sqrt(3)
    assert (low, high) == pytest.approx((mean - half, mean + half))
    assert np.isnan(make(seeds=1).off_line(0, "ralr")[1])


@pytest.mark.parametrize("column", ["full", "half"])
@pytest.mark.parametrize("measures", [1, 5])
@pytest.mark.parametrize("beside", [(), ("ralr", "matched")])
def test_draw_dose_keeps_to_the_page(
    check_layout: Any, column: Any, measures: int, beside: tuple[str, ...]
) -> None:
    figure = check_layout(draw_dose, make(measures, beside=beside), "icml", column=column)
    assert len(figure.axes) == 2 * min(measures, MOST_ROWS)


def test_dose_table_holds_all_numbers() -> None:
    result = make(5)
    rows = dose_table(result)
    assert len(rows) == 5 * len(result.runs)
    assert rows[3]["dose"] is None and rows[3]["value"] == result.values[0, 3]
