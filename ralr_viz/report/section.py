"""A section of the report: its HTML, its figures, its data, and the scripts that it needs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

if TYPE_CHECKING:
    from bokeh.model import Model


@dataclass(frozen=True, eq=False)
class Section:
    """What `ralr_viz.report.page` puts together.

    Attributes:
        key: Id of its ``<section>``.
        title: Its heading.
        html: Rendered with autoescape; holds ``<div id="figure-NAME"></div>`` for each of ``figures``.
        figures: Bokeh models by name. All of the page share one document, and so their data sources.
        scripts: Files of ``static/`` that it needs, in order; each is inlined once.
        styles: Likewise, CSS.
        whose: Whose checkpoints it is of, as a sentence.
        data: JSON that its scripts find in ``<script id="data-KEY">``; NaN becomes null.
    """

    key: str
    title: str
    html: Markup
    figures: Mapping[str, Model] = field(default_factory=dict)
    scripts: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    whose: str = ""


def render_template(name: str, **context: object) -> Markup:
    """Render a file of ``templates/``; every value is escaped unless it is `Markup`."""
    return Markup(_environment().get_template(name).render(**context))


def missing_section(key: str, title: str, reason: str) -> Section:
    """A section whose result is not there: it says why, and which command makes it."""
    return Section(key, title, render_template("missing.html", reason=reason))


def read_static(name: str) -> str:
    """Text of a file of ``static/``."""
    return resources.files("ralr_viz.report").joinpath("static", name).read_text(encoding="utf-8")


def dump_json(value: object) -> Markup:
    """JSON that may stand in a ``<script>``: no ``<``, ``>`` or ``&``, and null for NaN and infinities."""
    text = json.dumps(_plain(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy's arrays and scalars
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("ralr_viz.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = format_number
    environment.filters["code"] = mark_code
    return environment


def mark_code(text: str) -> Markup:
    """Text, escaped, with what stands in backticks as ``<code>``."""
    parts = str(text).split("`")
    if len(parts) % 2 == 0:  # a backtick without its other
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(parts)
    )


def place_interval(ends: Sequence[float], reach: float) -> list[float] | None:
    """Low end, value and high end, from (value, low, high), as places from 0 to 100 of ``interval.html``.

    Args:
        ends: In their unit; NaN ends of an interval that is not known lie at the value.
        reach: What lies at the drawing's right end; 0 lies in its middle.

    Returns:
        None where the value is not known.
    """
    value, low, high = ends
    if not math.isfinite(value) or not reach > 0:
        return None
    return [50 * (1 + (end if math.isfinite(end) else value) / reach) for end in (low, value, high)]


def format_number(value: float, spec: str = ".2f") -> str:
    """A number with a true minus sign; ``–`` where it is not known."""
    return f"{value:{spec}}".replace("-", "−") if math.isfinite(value) else "–"
