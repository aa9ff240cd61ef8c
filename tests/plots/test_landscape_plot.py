"""Landscapes drawn: artists, text and places, not pixels."""

from __future__ import annotations

import itertools
import warnings

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from ralr_viz.plots.landscape import draw_landscape, landscape_table
from ralr_viz.plots.style import save_figure, style
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


def draw(result: LandscapeResult, name: str = "icml", **options: str) -> Figure:
    with style(name, **options), warnings.catch_warnings():
        warnings.simplefilter("error")  # a missing glyph is a warning
        figure = draw_landscape(result)
        figure.set_dpi(300)  # as saved: at fewer dots, hinting widens small text
        FigureCanvasAgg(figure).draw()
    return figure


def texts(figure: Figure) -> list[Text]:
    outside = set()  # labels of ticks beyond the limits, which are not drawn
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            outside |= {t.label1 for t in ticks if not low - 1e-9 <= t.get_loc() <= high + 1e-9}
            outside |= {t.label2 for t in ticks if not low - 1e-9 <= t.get_loc() <= high + 1e-9}
    found = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    return [t for t in found if t not in outside]


def note(figure: Figure) -> str:
    return next(t.get_text() for t in texts(figure) if t.get_gid() == "note").replace("\n", " ")


def artists(figure: Figure, prefix: str) -> list:
    return [a for a in figure.findobj() if str(a.get_gid()).startswith(prefix)]


@pytest.mark.parametrize("name", STYLES)
@pytest.mark.parametrize("case", CASES)
def test_draw_landscape_overlaps_no_text_and_stays_on_the_page(case: str, name: str) -> None:
    figure = draw(CASES[case], name)
    with style(name):
        assert figure.get_figwidth() <= mpl.rcParams["figure.figsize"][0] + 1e-9
    shown, page = texts(figure), figure.bbox
    assert min(t.get_size() for t in shown) >= 6.5
    boxes = [t.get_window_extent() for t in shown]
    for text, box in zip(shown, boxes, strict=True):
        assert page.x0 - 0.5 <= box.x0 and box.x1 <= page.x1 + 0.5, text
        assert page.y0 - 0.5 <= box.y0 and box.y1 <= page.y1 + 0.5, text
    for (a, box_a), (b, box_b) in itertools.combinations(zip(shown, boxes, strict=True), 2):
        assert not box_a.padded(-2.4).overlaps(box_b.padded(-2.4)), (a, b)
    for a, b in itertools.combinations(figure.axes, 2):
        assert not a.get_window_extent().overlaps(b.get_window_extent())
        assert a.get_window_extent().height > 0.6 * figure.dpi


def test_draw_landscape_touches_no_global_state_and_saves_the_same_twice(tmp_path) -> None:
    result = make()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        with style("icml"):
            before = dict(mpl.rcParams)
            figure = draw_landscape(result)
            assert dict(mpl.rcParams) == before
            paths = save_figure(figure, tmp_path / name / "x", landscape_table(result), {})
    for path in paths:
        assert path.read_bytes() == (tmp_path / "a" / path.name).read_bytes()
    assert result == make()


def test_draw_landscape_has_the_same_levels_and_limits_for_all() -> None:
    figure = draw(make(3))
    panels = [axes for axes in figure.axes if axes.get_title(loc="left").startswith("(")]
    assert len(panels) == 3
    filled = [next(c for c in axes.collections if hasattr(c, "levels")) for axes in panels]
    assert all(np.array_equal(f.levels, filled[0].levels) for f in filled)
    assert len({(f.norm.vmin, f.norm.vmax) for f in filled}) == 1
    steps = np.diff(np.log(filled[0].levels))
    assert steps == pytest.approx(steps[0])  # logarithmic
    assert len({(*axes.get_xlim(), *axes.get_ylim()) for axes in panels}) == 1
    assert len(artists(figure, "centre:")) == 3


def test_draw_landscape_colours_the_path_by_its_own_loss() -> None:
    result = make(1, 12)
    figure = draw(result)
    inner, first, last = (artists(figure, gid)[0] for gid in ("epochs", "first", "last"))
    assert np.allclose(inner.get_array(), result.path_loss[1:-1])
    assert np.allclose(first.get_array(), result.path_loss[:1])
    assert np.allclose(last.get_offsets()[0], result.path[-1])
    assert inner.norm.vmin < result.path_loss.min() and inner.norm.vmax > result.path_loss.max()
    said = note(figure)
    assert (
        "Illustration, no evidence" in said
        and "62 % and 15 % of its variance" in said
        and "1806.08805" in said
    )
    assert "the colour of the loss at their own weights" in said
    assert "(80 % of the variance)" in figure.axes[0].get_xlabel()


def test_draw_landscape_lines_share_a_panel() -> None:
    result = make(3, line=True)
    lines = artists(draw(result), "line:")
    assert [line.get_ydata().tolist() for line in lines] == result.losses[:, 0].tolist()
    assert "same for all networks" in note(draw(result))


def test_landscape_table_has_every_point() -> None:
    rows = landscape_table(make(2))
    assert len(rows) == 2 * 81 and {row["epoch"] for row in rows} == {None}
    rows = landscape_table(make(1, 12))
    assert len(rows) == 81 + 12 and [row["epoch"] for row in rows[-12:]] == list(range(1, 13))
    assert rows[-1]["loss"] == 0.3
