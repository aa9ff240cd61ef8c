"""From a saved result to the functions that draw it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from ralr_viz import plots
from ralr_viz.errors import InputError
from ralr_viz.results.bundle import Result
from ralr_viz.results.table_csv import Table


class Drawing(NamedTuple):
    """How a kind of result is drawn, and the numbers of its CSV."""

    draw: Callable[[Any], Figure]
    table: Callable[[Any], Table]


def find_drawing(result: Result) -> Drawing:
    """The functions ``draw_<kind>`` and ``<kind>_table`` of ``ralr_viz/plots/<kind>.py``.

    Raises:
        InputError: Results of this kind have no figure.
    """
    kind = result.kind
    modules = {module.name for module in pkgutil.iter_modules(plots.__path__)}
    module = importlib.import_module(f"{plots.__name__}.{kind}") if kind in modules else None
    if not hasattr(module, f"draw_{kind}"):
        raise InputError(f"a result of kind `{kind}` has no figure: draw one that a figure's command saved")
    return Drawing(getattr(module, f"draw_{kind}"), getattr(module, f"{kind}_table"))
