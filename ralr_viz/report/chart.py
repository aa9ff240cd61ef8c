"""The look that the Bokeh charts of the page have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bokeh.plotting import figure

FONT = "system-ui, sans-serif"
_TEXT, _LINE, _GRID = "#24292f", "#6e7781", "#dfe3e8"
"""Of the light page; `static/page.js` sets those of the dark one."""


def new_chart(name: str, **options: Any) -> figure:
    """A Bokeh figure as wide as its section, on the page's ground and without a logo.

    Args:
        name: Of the model, unique on the page; scripts find it by ``report.model(name)``.
        options: Of `bokeh.plotting.figure`.
    """
    from bokeh.models import Grid
    from bokeh.plotting import figure as new_figure

    settings: dict[str, Any] = {"height": 260, "sizing_mode": "stretch_width", "toolbar_location": "above"}
    chart = new_figure(name=name, **settings | options)
    chart.toolbar.logo = None
    chart.toolbar.stylesheets = ["@media print { :host { visibility: hidden; } }"]
    chart.background_fill_color = chart.border_fill_color = chart.outline_line_color = None
    for axis in chart.axis:
        axis.axis_label_text_font = axis.major_label_text_font = FONT
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size, axis.major_label_text_font_size = "13px", "12px"
        axis.axis_label_text_color = axis.major_label_text_color = _TEXT
        axis.axis_line_color = axis.major_tick_line_color = axis.minor_tick_line_color = _LINE
    for grid in chart.select({"type": Grid}):
        grid.grid_line_color = _GRID
    chart.title.text_font, chart.title.text_font_size, chart.title.text_color = FONT, "14px", _TEXT
    return chart
