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


def test_figure_is_one_forest_plot_in_standardised_units(find):
    result = _why(4)
    with style("icml"):
        figure = draw_why(result)
    assert len(figure.axes) == 1
    for m, claim in ((0, 0), (2, 1)):
        scale = np.sqrt(result.values[m].var(axis=1, ddof=1).mean())
        assert result.scale(m) == pytest.approx(scale)
        for c in range(3):
            (bar,) = find(figure, f"interval:{m}:{c}")
            ends = result.differences[m, c, 1:] / scale
            assert bar.get_xdata() == pytest.approx(np.clip(ends, *figure.axes[0].get_xlim()))
        (arrow,) = find(figure, f"arrow:{m}")
        assert arrow.xy[0] * CLAIMS[claim].sign > 0
        (verdict,) = find(figure, f"verdict:{m}")
        assert verdict.get_text() == "not shown"
    (dots,) = find(figure, "seeds:0:2")
    each = (result.values[0, 2] - result.values[0, 0]) / result.scale(0)
    assert set(dots.get_xdata()) <= set(each.tolist())
    assert CLAIMS[0].text in [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_figure_of_one_seed_is_in_standard_errors_of_the_checkpoints_and_says_so(find, read_note):
    result = _why(1, arms=ARMS[:2])
    with style("ieee"):
        figure = draw_why(result)
    scale = np.ptp(result.within[0, 0, 0]) / 3.92
    assert find(figure, "interval:0:0")[0].get_xdata() == pytest.approx(result.within[0, 0, 0] / scale)
    assert not find(figure, "seeds:*") and "these checkpoints only" in read_note(figure)


def test_figure_writes_a_difference_that_has_no_interval(find):
    rng = np.random.default_rng(1)
    measures = {"barrier": [[Measure("height", "height", "nats", rng.normal(size=2))]]}
    with style("neurips"):
        figure = draw_why(compute_why(measures, arms=ARMS[:2], seeds=[0]))
    assert find(figure, "written:0:0")[0].get_text().endswith("nats, no interval")
    assert not find(figure, "difference:*") and find(figure, "verdict:0")[0].get_text() == "exploratory"


def test_figure_has_no_block_of_a_claim_without_a_number(find):
    nothing = [[Measure(CLAIMS[1].measures[0], "late", "degrees", np.full(2, np.nan))]]
    some = [[Measure("loss", "loss", "nats", np.arange(2.0))]]
    figure = draw_why(compute_why({CLAIMS[1].diagnostic: nothing, "other": some}, arms=ARMS[:2], seeds=[0]))
    assert find(figure, "written:1:0")[0].get_text() == "+1 nats, no interval"
    assert CLAIMS[1].text not in [label.get_text() for label in figure.axes[0].get_yticklabels()]
    figure = draw_why(compute_why({CLAIMS[1].diagnostic: nothing}, arms=ARMS[:2], seeds=[0]))
    assert find(figure, "written:0:0")[0].get_text() == "not measured"


@pytest.mark.parametrize("column", ["full", "half"])
def test_figure_keeps_to_the_page(column, check_layout, find):
    values = np.array([1.0, 0.5, 0.5])
    draws = values[:, None] + np.random.default_rng(0).normal(0, 0.01, (3, 50))
    measure = Measure(CLAIMS[0].measures[0], "rise", "nats", values, draws, "directions")
    result = compute_why({CLAIMS[0].diagnostic: [[measure]]}, arms=ARMS, seeds=[0])
    figure = check_layout(draw_why, result, "icml", column=column)
    said = find(figure, "verdict:0")[0].get_text().replace("\n", " ")
    assert said == "lower than the baseline, not than the constant factor"
    check_layout(draw_why, _why(3), "ieee", column=column)


def test_table_has_a_row_for_each_measure_with_all_seeds():
    result = _why(3)
    rows = why_table(result)
    assert [row["claim"] for row in rows] == [CLAIMS[0].text, "", CLAIMS[1].text, ""]
    assert rows[0]["ralr"] == pytest.approx(result.values[0, 1].mean())
    assert rows[1]["scaled seed2"] == result.values[1, 2, 2]
    assert rows[0]["b − a"] == pytest.approx(rows[0]["ralr"] - rows[0]["baseline"])
    assert rows[0]["Holm p"] == result.corrected_p[0] and rows[1]["Holm p"] is None
    assert rows[1]["verdict"] == "exploratory"
