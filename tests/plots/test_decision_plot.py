"""The figure of a study that decides: the tests, or how far the runs are."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.lines import Line2D

from ralr_viz.plots.decision import decision_table, draw_decision
from ralr_viz.plots.style import style
from ralr_viz.results.decision import ESTIMATE, DecisionResult
from ralr_viz.study.decision import decide, estimate_difference
from ralr_viz.study.grid_file import load_study


def make(*, complete=True):
    study = load_study("decide")
    rng = np.random.default_rng(1)
    states = np.full((11, 8), "finished", dtype="<U8")
    states[4:, 3:] = "not run"
    measured = np.full((11, 8, 8), np.nan)
    measured[:, :, 0] = 81 + rng.normal(0, 0.5, (11, 8)) + 0.8 * (np.arange(11) == 2)[:, None]
    measured[4:, 3:] = np.nan
    if not complete:
        states[0, 0], measured[:] = "running", np.nan
    outcome = measured[:, :, 0]
    verdict = decide(study.rule, {arm: outcome[i] for i, arm in enumerate(study.rule.arms)})
    explored = np.array(
        [np.full(len(ESTIMATE), np.nan)] * 4 + [estimate_difference(x - outcome[0]) for x in outcome[4:]]
    )
    return DecisionResult(
        name="decide", title=study.title, note=study.note, rule=dict(study.rule.protocol["decision"]),
        arms=tuple(c.name for c in study.cells), methods=tuple(c.method for c in study.cells),
        main=np.arange(11) < 4, seeds=study.seeds, states=states, measured=measured,
        families=("Mechanism", "Mechanism", "Replication"), levels=np.full(3, 0.025),
        contrasts=np.array([[2, 0], [2, 3], [1, 0]]), estimates=verdict.estimates, answers=verdict.answers,
        explored=explored, conditions={"device": ("cpu",)},
    )  # fmt: skip


@pytest.mark.parametrize("name", ["icml", "ieee"])
def test_figure_has_every_seed_and_interval_of_each_test(name, find):
    result = make()
    with style(name):
        figure = draw_decision(result)
    (axes,) = figure.axes
    assert len(axes.get_yticks()) == 10
    outcome = result.value("outcome")
    (dots,) = find(axes, "seeds:0", Line2D)
    np.testing.assert_array_equal(dots.get_xdata(), outcome[2] - outcome[0])
    for c in range(3):
        (line,) = find(axes, f"interval:{c}", Line2D)
        found = result.estimate(c)
        np.testing.assert_array_equal(line.get_xdata(), [found["low"], found["high"]])
    assert decision_table(result) == result.records()
    plt.close(figure)


def test_figure_shows_only_progress_while_runs_are_missing(find):
    with style("icml"):
        figure = draw_decision(make(complete=False))
    (axes,) = figure.axes
    assert not find(axes, "seeds:*", Line2D)
    assert [t.get_text() for t in axes.texts][:2] == [" 7 of 8", " 8 of 8"]
    plt.close(figure)
