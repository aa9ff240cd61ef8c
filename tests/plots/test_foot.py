"""The line below a figure, and the caption that goes beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from ralr_viz.plots.drawing import find_drawing
from ralr_viz.plots.style import save_figure, style


def read_foot(figure: Figure) -> str:
    return " ".join(t.get_text() for t in figure.findobj(Text) if t.get_gid() == "note").replace("\n", " ")


@pytest.mark.parametrize("kind", ["barrier", "cam", "embedding"])  # each kind of layout
def test_caption_leaves_the_picture_and_comes_back(
    kind: str, check_layout: Callable[..., Figure], make_result: Callable[[str], Any]
) -> None:
    result = make_result(kind)
    alone, whole = (
        check_layout(find_drawing(result).draw, result, caption=caption, column="half")
        for caption in (False, True)
    )
    caption = whole.caption
    assert caption == alone.caption and caption.startswith(alone.origin) and caption.endswith(".")
    assert read_foot(alone) == ("" if kind == "cam" else alone.origin)  # a footer of its own says it
    assert read_foot(whole) == caption
    assert whole.get_figheight() > alone.get_figheight()
    heights = [f.axes[0].get_position().height * f.get_figheight() for f in (alone, whole)]
    assert heights[1] == pytest.approx(heights[0], rel=0.02)


def test_save_figure_writes_the_caption_beside_and_into_the_files(
    tmp_path: Path, make_result: Callable[[str], Any]
) -> None:
    result = make_result("barrier")
    with style():
        figure: Any = find_drawing(result).draw(result)
        figure.caption = "50 % of a_b & ρ ≥ $½$"
        paths = save_figure(figure, tmp_path / "f", {}, {"seed": 3})
    assert [path.name for path in paths[3:]] == ["f.caption.txt", "f.caption.tex"]
    assert paths[3].read_text() == f"{figure.caption}\n"
    assert r"{50 \% of a\_b \& $\rho$ $\geq$ \$$\tfrac{1}{2}$\$}" in paths[4].read_text()
    assert Image.open(paths[1]).info["Description"] == figure.caption
    assert "50 % of a_b".encode("utf-16-be") in paths[0].read_bytes()
