"""The style of figures for which nobody chose one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from matplotlib.figure import Figure

from ralr_viz.plots.style import in_style, style


def draw_styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """A ``draw_`` function that draws in the default style where it makes the figure and no style was chosen."""

    @functools.wraps(draw)
    def draw_in_style(result: Any, axes: Any = None, *arguments: Any, **options: Any) -> Figure:
        given = () if axes is None and not arguments else (axes, *arguments)
        if in_style() or axes is not None:
            return draw(result, *given, **options)
        with style():
            return draw(result, *given, **options)

    return draw_in_style
