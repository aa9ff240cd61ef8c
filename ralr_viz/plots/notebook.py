"""Figures that a notebook shows by themselves, in the style that they were drawn in."""

from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

_DPI = 192
_SHRUNK = 1.5  # pixels of the picture for one of the page, or small letters could not be read on it


class ShownFigure(Figure):
    """A figure that a notebook shows as a picture, without ``%matplotlib inline`` and without pyplot.

    Fonts and formulas are looked up when a figure is drawn, so it keeps the settings that it was made in.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._settings = {name: mpl.rcParams[name] for name in mpl.rcParams if not name.startswith("backend")}

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """The picture and the size at which it is shown, for IPython."""
        buffer = io.BytesIO()
        with mpl.rc_context(self._settings):
            self.savefig(buffer, format="png", dpi=_DPI)
        width, height = (round(side * _DPI / _SHRUNK) for side in self.get_size_inches())
        return buffer.getvalue(), {"width": width, "height": height}
