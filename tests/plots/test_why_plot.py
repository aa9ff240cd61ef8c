"""The figure and the table of the claims."""

from __future__ import annotations

import numpy as np
import pytest

from ralr_viz.analysis.why import compute_why
from ralr_viz.plots.style import style
from ralr_viz.plots.why import draw_why, why_table
from ralr_viz.results.measure import Measure
from ralr_viz.results.why import CLAIMS, WhyResult

ARMS = ("baseline", "ralr", "scaled")


def _why(n: int, *, claims: tuple[int, ...] = (0, 1), arms: tuple[str, ...] = ARMS) -> WhyResult:
    rng = np.random.default_rng(0)
    measures = {
        CLAIMS[k].diagnostic: [
            [
                Measure(
                    CLAIMS[k].measures[0],
                    "mean $rise$ <b>",
                    "nats",
                    rng.normal(size=len(arms)),
                    rng.normal(size=(len(arms), 50)),
                    "images",
                ),
                Measure("other", "other", "", rng.normal(size=len(arms))),
            ]
            for _ in range(n)
        ]
        for k in claims
    }
    return compute_why(measures, arms=arms, seeds=list(range(n)))


def _artists(figure, gid: str):
    return [line for axes in figure.axes for line in axes.lines if line.get_gid() == gid]


def test_figure_has_a_row_for_each_measured_claim_and_every_seed_as_a_dot():
    result = _why(4)
    with style("icml"):
        figure = draw_why(result)
    assert len(figure.axes) == 4
    for k, dots in enumerate(_artists(figure, "values:ralr")):
        assert dots.get_xdata() == pytest.approx(result.values[2 * k, 1])
    for k, bars in enumerate(_artists(figure, "interval:1")):
        assert bars.get_xdata() == pytest.approx(result.differences[2 * k, 1, 1:])
    each = _artists(figure, "differences:2")[0].get_xdata()
    assert each == pytest.approx(result.values[0, 2] - result.values[0, 0])
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[0] == CLAIMS[0].text and titles[1].startswith("verdict: not shown")


def test_figure_of_one_seed_shows_the_interval_of_the_checkpoints_and_says_so(read_note):
    result = _why(1, arms=ARMS[:2])
    with style("ieee"):
        figure = draw_why(result)
    (bars,) = _artists(figure, "interval:0")[:1]
    assert bars.get_xdata() == pytest.approx(result.within[0, 0, 0])
    assert "these checkpoints only" in read_note(figure)


def test_figure_without_a_claim_shows_what_there_is():
    rng = np.random.default_rng(1)
    measures = {"barrier": [[Measure("height", "height", "nats", rng.normal(size=2))]]}
    with style("neurips"):
        figure = draw_why(compute_why(measures, arms=ARMS[:2], seeds=[0]))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["barrier", "exploratory"]


def test_table_has_a_row_for_each_measure_with_all_seeds():
    result = _why(3)
    rows = why_table(result)
    assert [row["claim"] for row in rows] == [CLAIMS[0].text, "", CLAIMS[1].text, ""]
    assert rows[0]["ralr"] == pytest.approx(result.values[0, 1].mean())
    assert rows[1]["scaled seed2"] == result.values[1, 2, 2]
    assert rows[0]["b − a"] == pytest.approx(rows[0]["ralr"] - rows[0]["baseline"])
    assert rows[0]["Holm p"] == result.corrected_p[0] and rows[1]["Holm p"] is None
    assert rows[1]["verdict"] == "exploratory"


def test_figure_has_room_for_the_verdict_on_the_control():
    values = np.array([1.0, 0.5, 0.5])
    draws = values[:, None] + np.random.default_rng(0).normal(0, 0.01, (3, 50))
    measure = Measure(CLAIMS[0].measures[0], "rise", "nats", values, draws, "directions")
    result = compute_why({CLAIMS[0].diagnostic: [[measure]]}, arms=ARMS, seeds=[0])
    with style("icml"):
        title = draw_why(result).axes[1].get_title(loc="left")
    assert title == "lower than the baseline, not than the constant factor"
