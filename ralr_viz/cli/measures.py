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
    unit = f" ({measure.unit})" if measure.unit else ""
    parts = [f"{name} {_interval(measure.interval(i))}" for i, name in enumerate(models)]
    parts += [
        f"{name} minus {models[0]} {_interval(measure.difference(0, i), signed=True)}"
        for i, name in enumerate(models)
        if i
    ]
    refusal = f" ({measure.refusal})" if measure.refusal else ""
    return f"{measure.label}{unit}: {'; '.join(parts)}{refusal}"


def _interval(numbers: tuple[float, float, float], *, signed: bool = False) -> str:
    value, low, high = (f"{number:{'+' if signed else ''}.4g}".replace("-", "−") for number in numbers)
    return value if low == "nan" or low == "+nan" else f"{value} [{low}, {high}]"
