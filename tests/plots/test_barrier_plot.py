"""The figure of barriers: what is drawn, and that it fits."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.lines import Line2D

from ralr_viz.plots.barrier import barrier_table, draw_barrier
from ralr_viz.results.barrier import BarrierResult


def result(names=("baseline", "RALR", "scaled"), n=50) -> BarrierResult:
    rng, m, alphas = np.random.default_rng(0), len(names), np.arange(11) / 10
    hill = np.sin(np.pi * alphas)[None, :, None] * np.arange(1, m + 1)[:, None, None]
    losses = (0.5 + hill + rng.exponential(0.2, (1, 1, n))).astype(np.float32)
    return BarrierResult(
        models=tuple(names),
        states=(("epoch 13", "epoch 20"),) * m,
        alphas=alphas,
        losses=losses,
        correct=losses < 1,
        distances=np.ones(m),
        statistics="recomputed",
        indices=np.arange(n),
        dataset="cifar10",
        split="train",
        device="cpu",
        precision="fp32",
    )


def test_draw_barrier_shows_the_loss_above_the_line_of_all_pairs_in_one_panel(find, read_note):
    shown = result()
    figure = draw_barrier(shown)
    drawn = find(figure, "gap:*", Line2D)
    np.testing.assert_allclose([line.get_ydata() for line in drawn], shown.gap)
    (panel,) = figure.axes
    assert len({line.get_marker() for line in drawn}) == 3
    ends = [label.get_text() for label in panel.get_xticklabels()]
    assert (ends[0], ends[-1]) == shown.states[0]
    barrier = next(m for m in shown.measures() if m.name == "barrier")
    note = read_note(figure)
    assert f"RALR {barrier.values[1]:.3g} [" in note
    assert "50 cifar10 train images" in note and "recomputed" in note and "cpu, fp32" in note


@pytest.mark.parametrize(("name", "column"), [("icml", "full"), ("neurips", "full"), ("ieee", "half")])
@pytest.mark.parametrize(
    "names", [("baseline",), ("a-very-long-recipe-name RALR → scaled, seed 0", "b", "c")]
)
def test_draw_barrier_keeps_to_the_page(check_layout, read_note, name, column, names):
    figure = check_layout(draw_barrier, result(names), name, column=column)
    assert figure.legends and read_note(figure)


def test_barrier_table_holds_the_drawn_numbers():
    shown = result()
    rows = barrier_table(shown)
    low, high = shown.gap_interval()
    row = next(r for r in rows if (r["pair"], r["quantity"], r["alpha"]) == ("RALR", "gap", 0.5))
    assert (row["value"], row["low"], row["high"]) == (shown.gap[1, 5], low[1, 5], high[1, 5])
    assert len({tuple(r) for r in rows}) == 1  # the same columns
    assert {"loss", "accuracy", "barrier", "middle_rise"} <= {r["quantity"] for r in rows}
