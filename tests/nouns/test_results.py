"""What the result of every noun promises, on one that is published: it is kept, checked, drawn and described."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections import Counter
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt

from ralr_viz.nouns import NOUNS
from ralr_viz.plots.drawing import find_drawing
from ralr_viz.plots.style import save_figure
from ralr_viz.results.bundle import Result, load_result, save_result
from ralr_viz.results.fields import Array, Axis, declarations

ROOT = Path(__file__).parents[2]
# the branches of a fork and the records of learning take hours, and no run that translates or detects is published: their
# own tests make small ones
UNPUBLISHED = {"distance", "fork", "learning", "bleu", "attention", "detect", "detection_errors"}
NAMES = [name for name in NOUNS if name not in UNPUBLISHED]
ROWS = pytest.mark.parametrize("name", NAMES)
DRAWN = ("activations", "barrier", "cam")
"""Drawn twice by default; the others, which the same code draws and saves, with the slow tests."""


@functools.cache
def published() -> dict[str, Path]:
    """Kind of result → folder of the smallest that is published."""
    found = sorted(
        (ROOT / "figures").rglob("manifest.json"), key=lambda p: -(p.parent / "arrays.npz").stat().st_size
    )
    return {json.loads(path.read_text())["kind"]: path.parent for path in found}


def example(name: str) -> Result:
    return load_result(published()[name])


@ROWS
def test_a_result_is_saved_and_loaded(name: str, tmp_path: Path) -> None:
    result = example(name)
    save_result(result, tmp_path / "again")
    assert load_result(tmp_path / "again") == result
    for file in ("arrays.npz", "manifest.json"):
        assert (tmp_path / "again" / file).is_file()


@ROWS
def test_a_result_refuses_arrays_of_another_length_than_their_axis(name: str) -> None:
    result = example(name)
    declared = declarations(type(result))
    axes = Counter(
        axis
        for _, rules in declared.values()
        for rule in rules
        if isinstance(rule, Array | Axis)
        for axis in set(rule.axes)
    )
    refused = 0
    for field, (_, rules) in declared.items():
        value = getattr(result, field)
        rule = next((rule for rule in rules if isinstance(rule, Array)), None)
        if rule is None or value is None or not len(value):
            continue
        shared = not isinstance(rule.axes[0], str) or axes[rule.axes[0]] > 1
        if not shared:
            continue
        longer = np.concatenate([value, value[:1]])
        with pytest.raises(ValueError, match=f"`{field}`|`"):
            dataclasses.replace(result, **{field: longer})
        refused += 1
    assert refused


@ROWS
def test_a_result_describes_itself_in_lines(name: str) -> None:
    result = example(name)
    lines = [*result.describe(), *result.remarks()]
    assert lines and all(line and "\n" not in line for line in lines)


@pytest.mark.parametrize(
    "name", [name if name in DRAWN else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_drawing_touches_nothing_and_saves_the_same_twice(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = example(name)
    plt.get_backend()  # which is found out when it is first asked for
    drawing, settings, numbers = find_drawing(result), mpl.rcParams.copy(), plt.get_fignums()
    figures = [drawing.draw(result), drawing.draw(result)]
    assert not list(tmp_path.iterdir())
    for folder, figure in zip(("first", "second"), figures, strict=True):
        assert figure.axes
        save_figure(figure, tmp_path / folder / "x", drawing.table(result), result.provenance)
    assert plt.get_fignums() == numbers and mpl.rcParams == settings
    for suffix in ("pdf", "png", "csv"):
        first, second = ((tmp_path / folder / f"x.{suffix}").read_bytes() for folder in ("first", "second"))
        assert first == second
    assert first.count(b"\n") > 1
    assert result == example(name)
