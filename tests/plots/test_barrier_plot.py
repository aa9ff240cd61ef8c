"""The figure of barriers: what is drawn, and that it fits."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ralr_viz.plots.barrier import barrier_table, draw_barrier
from ralr_viz.plots.style import PNG_DPI, style
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


def lines(figure, start):
    return [line for panel in figure.axes for line in panel.lines if str(line.get_gid()).startswith(start)]


def test_draw_barrier_shows_loss_gap_and_accuracy_on_shared_axes():
    shown = result()
    figure = draw_barrier(shown)
    for name, values in (("loss", shown.loss), ("gap", shown.gap), ("accuracy", shown.accuracy)):
        drawn = lines(figure, f"{name}:")
        np.testing.assert_allclose([line.get_ydata() for line in drawn], values)
        assert len({line.axes for line in drawn}) == 1
        assert len({line.get_marker() for line in drawn}) == 3
    barrier = next(m for m in shown.measures() if m.name == "barrier")
    assert lines(figure, "value:RALR")[0].get_xdata()[0] == barrier.values[1]
    note = figure._supxlabel.get_text().replace("\n", " ")
    assert "50 cifar10 train images" in note and "recomputed" in note and "cpu, fp32" in note


@pytest.mark.parametrize(("name", "column"), [("icml", "full"), ("neurips", "full"), ("ieee", "half")])
@pytest.mark.parametrize(
    "names", [("baseline",), ("a-very-long-recipe-name RALR → scaled, seed 0", "b", "c")]
)
def test_draw_barrier_keeps_to_the_page(name, column, names):
    with style(name, column=column):
        figure = draw_barrier(result(names))
        figure.set_dpi(PNG_DPI)
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        boxes = [panel.get_tightbbox(renderer) for panel in figure.axes]
        boxes += [
            figure.legends[0].get_window_extent(renderer),
            figure._supxlabel.get_window_extent(renderer),
        ]
        for box in boxes:
            assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 + 1
            assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1 + 1
        for i, box in enumerate(boxes):
            assert not any(box.shrunk(0.98, 0.98).overlaps(other) for other in boxes[i + 1 :])


def test_barrier_table_holds_the_drawn_numbers():
    shown = result()
    rows = barrier_table(shown)
    low, high = shown.gap_interval()
    row = next(r for r in rows if (r["pair"], r["quantity"], r["alpha"]) == ("RALR", "gap", 0.5))
    assert (row["value"], row["low"], row["high"]) == (shown.gap[1, 5], low[1, 5], high[1, 5])
    assert len({tuple(r) for r in rows}) == 1  # the same columns
    assert {"loss", "accuracy", "barrier", "middle_rise"} <= {r["quantity"] for r in rows}
