"""Draw how far two networks are apart: predictions and errors, and the weights layer by layer."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.layer_axis import name_layers
from ralr_viz.plots.measure_panels import add_model_legend, draw_measures, is_wide, model_marks
from ralr_viz.plots.style import new_figure
from ralr_viz.results.distance import DRAWS, DistanceResult

_SHARES = {
    "disagreement": "predictions\ndiffer",
    "error_agreement": "errors\nagree",
    "expected_agreement": "… if in-\ndependent",
}
_LABELS = 0.8  # inches


def draw_distance(result: DistanceResult) -> Figure:
    """Draw (a) shares of the images, (b) divergence, (c) distance and (d) angle of each layer's weights.

    All pairs share each panel; those that show what differs anyway are dashed.

    Args:
        result: What `compute_distance` returned.

    Returns:
        A figure of the current style's width.
    """
    wide, count = is_wide(), len(result.models)
    shares = 0.9 + 0.15 * count
    heights = [shares, 1.3] if wide else [shares, 0.3 + 0.1 * count, 1.2, 1.2]
    figure = new_figure(
        (1.8 if wide else 3.3) + sum(heights) + 0.1 * count
    )  # beside panels: names, axes, legend, note
    grid = figure.add_gridspec(len(heights), 2 if wide else 1, height_ratios=heights)
    places = [grid[0, 0], grid[0, 1], grid[1, 0], grid[1, 1]] if wide else [grid[i, 0] for i in range(4)]
    panels = [figure.add_subplot(place) for place in places]
    measures = {measure.name: measure for measure in result.measures()}
    draw_measures(panels[0], [(label, measures[name]) for name, label in _SHARES.items()], result.models)
    panels[0].set_xlabel("share of the images (%)")
    draw_measures(panels[1], [("", measures["divergence"])], result.models)
    panels[1].set_xlabel("Jensen–Shannon divergence (nats)")
    for panel in panels[:2]:
        panel.set_xlim(left=min(0.0, panel.get_xlim()[0]))
    room = mpl.rcParams["figure.figsize"][0] / (2 if wide else 1) - _LABELS
    for panel, quantity, values, label in (
        (panels[2], "relative", result.layer_relative, "distance / norm (%)"),
        (panels[3], "angle", result.layer_angles, "angle (degrees)"),
    ):
        _draw_layers(panel, result, quantity, values)
        name_layers(panel, result.layers, room)
        if panel is panels[2] and not wide:  # the panel below has the names
            panel.tick_params(labelbottom=False)
        panel.set_ylabel(label)
    for letter, panel in zip("abcd", panels, strict=True):
        panel.set_title(f"({letter})", fontweight="bold")
    add_model_legend(figure, result.models)
    add_foot(figure, result, distance_note(result))
    return figure


def distance_table(result: DistanceResult) -> list[dict[str, Any]]:
    """All numbers: a row for each pair and measure, and for each pair, layer and quantity."""
    rows: list[dict[str, Any]] = []
    layers = {
        "distance": result.layer_distances,
        "relative_distance": result.layer_relative,
        "angle": result.layer_angles,
    }
    for i, name in enumerate(result.models):
        head = {
            "pair": name,
            "null": result.null[i],
            "first": result.states[i][0],
            "second": result.states[i][1],
        }
        for measure in result.measures():
            ends = dict(zip(("value", "low", "high"), measure.interval(i), strict=True))
            rows.append(head | {"layer": None, "quantity": measure.name, "unit": measure.unit} | ends)
        units = {"distance": "", "relative_distance": "%", "angle": "degrees"}
        rows += [
            head
            | {"layer": layer, "quantity": quantity, "unit": units[quantity]}
            | {"value": float(values[i, j]), "low": np.nan, "high": np.nan}
            for quantity, values in layers.items()
            for j, layer in enumerate(result.layers)
        ]
    return rows


def distance_note(result: DistanceResult) -> str:
    """What the numbers are of, and what may not be concluded from them."""
    where = " ".join(str(part) for part in (result.dataset, result.split) if part)
    run = ", ".join(part for part in (result.device, result.precision) if part)
    ends = "; ".join(
        f"{name}: {first} to {second}"
        for name, (first, second) in zip(result.models, result.states, strict=True)
    )
    null = (
        "A pair is further apart than seeds are only where it lies beyond the null"
        if any(result.null)
        else "No null pair was given: two seeds of one method are far apart, too, so no value here is large by itself"
    )
    return (
        f"{ends}. {result.num_images:,} {where + ' ' if where else ''}images, BatchNorm in eval mode{', ' + run if run else ''}. "
        "Errors agree where both networks are right or both wrong; if independent: with these two accuracies. Distances of a "
        "layer's weights are over the mean of both norms; where a BatchNorm follows, their scale changes no prediction, and the "
        f"angle does not see it. Intervals: 95 % of {DRAWS:,} bootstraps over images, of shares Wilson's, the same for all pairs; of these networks, not "
        f"over trainings. {null}."
    )


def _draw_layers(panel: Axes, result: DistanceResult, quantity: str, values: np.ndarray) -> None:
    for i, (name, (color, marker)) in enumerate(model_marks(result.models).items()):
        look: dict[str, Any] = {"color": color, "marker": marker, "ms": 2.8, "mew": 0, "lw": 1.0}
        line = (0, (3, 1.5)) if result.null[i] else "-"
        panel.plot(np.arange(len(result.layers)), values[i], ls=line, gid=f"{quantity}:{name}", **look)
    panel.set_ylim(bottom=0)
    panel.yaxis.set_major_locator(MaxNLocator(5))
