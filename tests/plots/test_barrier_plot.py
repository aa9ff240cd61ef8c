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


def test_draw_barrier_shows_loss_gap_and_accuracy_on_shared_axes(find, read_note):
    shown = result()
    figure = draw_barrier(shown)
    for name, values in (("loss", shown.loss), ("gap", shown.gap), ("accuracy", shown.accuracy)):
        drawn = find(figure, f"{name}:*", Line2D)
        np.testing.assert_allclose([line.get_ydata() for line in drawn], values)
        assert len({line.axes for line in drawn}) == 1
        assert len({line.get_marker() for line in drawn}) == 3
    barrier = next(m for m in shown.measures() if m.name == "barrier")
    assert find(figure, "value:RALR*", Line2D)[0].get_xdata()[0] == barrier.values[1]
    note = read_note(figure)
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
