"""What the tests of all figures look at: the page as it is saved, its texts and its artists, not its pixels."""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from ralr_viz.plots.letters import LiteralFigure
from ralr_viz.plots.style import PNG_DPI, save_figure, style

_HERE, _FEW = Path(__file__).parent, 8


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a figure's pages in all styles, widths and contents a fifth is laid out by default, spread over all; each by ``-m slow``."""
    pages: dict[object, list[pytest.Item]] = {}
    for item in items:
        if (
            isinstance(item, pytest.Function)
            and item.originalname.endswith("_page")
            and _HERE in item.path.parents
        ):
            pages.setdefault(item.function, []).append(item)
    for cases in pages.values():
        for i, item in enumerate(cases):
            if len(cases) > _FEW and i % 5:
                item.add_marker(pytest.mark.slow)


def _texts(figure: Figure) -> list[Text]:
    outside = set()  # labels of ticks beyond the limits, which are not drawn
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if not low - 1e-9 <= tick.get_loc() <= high + 1e-9:
                    outside |= {tick.label1, tick.label2}
    found = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    return [t for t in found if t not in outside]


@contextlib.contextmanager
def _rendered(
    draw: Callable[[Any], Figure], result: Any, name: str = "icml", **options: Any
) -> Iterator[Figure]:
    with style(name, **options), warnings.catch_warnings():
        warnings.simplefilter("error")  # a missing glyph is a warning
        figure = draw(result)
        figure.set_dpi(PNG_DPI)  # at fewer dots, hinting widens small text
        FigureCanvasAgg(figure).draw()
        yield figure  # within the style, which decides how many ticks there are


@pytest.fixture(scope="session")
def render() -> Callable[..., Figure]:
    """``render(draw_x, result, "ieee", column="half")``: the figure as it is saved; a warning is an error."""

    def render_one(*arguments: Any, **options: Any) -> Figure:
        with _rendered(*arguments, **options) as figure:
            return figure

    return render_one


@pytest.fixture(scope="session")
def find() -> Callable[..., list[Any]]:
    """``find(figure_or_axes, "value:*", Line2D)``: the artists of that kind whose gid fits the pattern."""

    def find_all(where: Artist, gid: str, kind: type[Artist] = Artist) -> list[Any]:
        return [a for a in where.findobj(kind) if fnmatchcase(str(a.get_gid()), gid)]

    return find_all


@pytest.fixture(scope="session")
def read_note() -> Callable[[Figure], str]:
    """``read_note(figure)``: its caption."""

    def read(figure: Figure) -> str:
        assert isinstance(figure, LiteralFigure) and figure.caption
        return figure.caption

    return read


@pytest.fixture(scope="session")
def check_layout() -> Callable[..., Figure]:
    """``check_layout(draw_x, result, "ieee", column="half")`` renders a figure, checks it and returns it.

    It is no wider than the style's page. No text is small, leaves the page or touches another; nor do panels
    with all that belongs to them, legends and the figure's own texts.
    """

    def check(*arguments: Any, **options: Any) -> Figure:
        with _rendered(*arguments, **options) as figure:
            assert figure.get_figwidth() <= mpl.rcParams["figure.figsize"][0] + 1e-9
            assert min(t.get_size() for t in figure.findobj(Text)) >= 6.5
            shown = {t: t.get_window_extent() for t in _texts(figure)}
            parts = {a: a.get_tightbbox() for a in (*figure.axes, *figure.legends)}
            parts |= {t: box for t, box in shown.items() if t in figure.texts}
            page = figure.bbox
            for artist, box in (shown | parts).items():
                assert page.x0 <= box.x0 and box.x1 <= page.x1, artist
                assert page.y0 <= box.y0 and box.y1 <= page.y1, artist
            for boxes in (shown, parts):
                for (a, box_a), (b, box_b) in itertools.combinations(boxes.items(), 2):
                    assert not box_a.overlaps(box_b) or _are_parallel(a, b), (a, b)
        return figure

    return check


def _are_parallel(a: Artist, b: Artist) -> bool:
    """Whether both are texts of one slant: their boxes overlap where their letters do not."""
    slants = [t.get_rotation() % 90 if isinstance(t, Text) else 0 for t in (a, b)]
    return slants[0] == slants[1] != 0


@pytest.fixture
def check_same_bytes(tmp_path: Path) -> Callable[..., None]:
    """``check_same_bytes(draw_x, x_table, make)``: drawing and saving leave matplotlib's settings and the
    result as they were, and a second time gives the same files."""

    def check(draw: Callable[[Any], Figure], table: Callable[[Any], Any], make: Callable[[], Any]) -> None:
        result, saved = make(), []
        for folder in ("first", "second"):
            with style():
                before = mpl.rcParams.copy()
                figure = draw(result)
                assert mpl.rcParams.copy() == before
                saved.append(save_figure(figure, tmp_path / folder / "x", table(result), {}))
                assert mpl.rcParams.copy() == before
        for first, second in zip(*saved, strict=True):
            assert first.read_bytes() == second.read_bytes()
        assert result == make()

    return check
