"""Measures of several networks as lines on stdout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ralr_viz.results.measure import Measure


def list_measures(models: Sequence[str], measures: Sequence[Measure]) -> list[str]:
    """A line for each measure: the value of each network, then each one minus the first, with intervals, or why there is none."""
    return [_line(models, measure) for measure in measures]


def _line(models: Sequence[str], measure: Measure) -> str:
    from ralr_viz.results.measure import format_interval

    unit = f" ({measure.unit})" if measure.unit else ""
    parts = [f"{name} {format_interval(*measure.interval(i))}" for i, name in enumerate(models)]
    parts += [
        f"{name} minus {models[0]} {format_interval(*measure.difference(0, i), signed=True)}"
        for i, name in enumerate(models)
        if i
    ]
    refusal = f" ({measure.refusal})" if measure.refusal else ""
    return f"{measure.label}{unit}: {'; '.join(parts)}{refusal}"
