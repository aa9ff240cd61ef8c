"""Landscapes drawn: artists, text and places, not pixels."""

from __future__ import annotations

import numpy as np
import pytest

from ralr_viz.plots.landscape import draw_landscape, landscape_table
from ralr_viz.results.landscape import LandscapeResult

LONG = "vgg_without_any_pooling-and-a-very-long-name, seed 0, epoch 300"
STYLES = ("icml", "neurips", "ieee")


def make(m: int = 2, states: int = 0, line: bool = False, **changes) -> LandscapeResult:
    x = np.linspace(-0.6, 0.6, 9)
    y = np.zeros(1) if line else x
    base = 0.3 + 3 * x[None, :] ** 2 + 5 * y[:, None] ** 2 + y[:, None] * x[None, :]
    t = np.linspace(1, 0, states)
    values = {
        "models": ("baseline", "RALR", "scaled", "fourth", "fifth")[:m],
        "x": x,
        "y": y,
        "losses": np.stack([base * (1 + 0.2 * i) for i in range(m)]),
        "centre_loss": np.full(m, 0.3),
        "batchnorm": "batch",
        "common": True,
        "num_images": 500,
        "batch": 500,
        "seed": 0,
        "epochs": np.arange(1, states + 1),
        "path": np.stack([-0.5 * t, -0.4 * np.sin(3 * t)], axis=1),
        "path_loss": 0.3 + 2 * t,
        "explained": np.array([0.8, 0.1]) if states else np.zeros(0),
        "walk_explained": np.array([0.62, 0.15]) if states else np.zeros(0),
        "dataset": "cifar10",
        "split": "train",
    }
    return LandscapeResult(**(values | changes))


CASES = {
    "two": make(),
    "one": make(1),
    "three": make(3),
    "five": make(5),
    "path": make(1, 12),
    "line": make(3, line=True),
    "long": make(2, models=(LONG, "$, seed 0$")),
}


@pytest.mark.parametrize("name", STYLES)
@pytest.mark.parametrize("case", CASES)
def test_draw_landscape_overlaps_no_text_and_stays_on_the_page(check_layout, case: str, name: str) -> None:
    figure = check_layout(draw_landscape, CASES[case], name)
    assert all(axes.get_window_extent().height > 0.6 * figure.dpi for axes in figure.axes)


def test_draw_landscape_has_the_same_levels_and_limits_for_all(render, find) -> None:
    figure = render(draw_landscape, make(3))
    panels = [axes for axes in figure.axes if axes.get_title(loc="left").startswith("(")]
    assert len(panels) == 3
    filled = [next(c for c in axes.collections if hasattr(c, "levels")) for axes in panels]
    assert all(np.array_equal(f.levels, filled[0].levels) for f in filled)
    assert len({(f.norm.vmin, f.norm.vmax) for f in filled}) == 1
    steps = np.diff(np.log(filled[0].levels))
    assert steps == pytest.approx(steps[0])  # logarithmic
    assert len({(*axes.get_xlim(), *axes.get_ylim()) for axes in panels}) == 1
    assert len(find(figure, "centre:*")) == 3


def test_draw_landscape_colours_the_path_by_its_own_loss(render, find, read_note) -> None:
    result = make(1, 12)
    figure = render(draw_landscape, result)
    inner, first, last = (find(figure, gid)[0] for gid in ("epochs*", "first*", "last*"))
    assert np.allclose(inner.get_array(), result.path_loss[1:-1])
    assert np.allclose(first.get_array(), result.path_loss[:1])
    assert np.allclose(last.get_offsets()[0], result.path[-1])
    assert inner.norm.vmin < result.path_loss.min() and inner.norm.vmax > result.path_loss.max()
    said = read_note(figure)
    assert (
        "Illustration, no evidence" in said
        and "62 % and 15 % of its variance" in said
        and "1806.08805" in said
    )
    assert "the colour of the loss at their own weights" in said
    assert "(80 % of the variance)" in figure.axes[0].get_xlabel()


def test_draw_landscape_lines_share_a_panel(render, find, read_note) -> None:
    result = make(3, line=True)
    lines = find(render(draw_landscape, result), "line:*")
    assert [line.get_ydata().tolist() for line in lines] == result.losses[:, 0].tolist()
    assert "same for all networks" in read_note(render(draw_landscape, result))


def test_landscape_table_has_every_point() -> None:
    rows = landscape_table(make(2))
    assert len(rows) == 2 * 81 and {row["epoch"] for row in rows} == {None}
    rows = landscape_table(make(1, 12))
    assert len(rows) == 81 + 12 and [row["epoch"] for row in rows[-12:]] == list(range(1, 13))
    assert rows[-1]["loss"] == 0.3
