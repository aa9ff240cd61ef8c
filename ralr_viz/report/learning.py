"""Images that one training keeps and the other loses: the picture, and each run's epochs as a strip."""

from __future__ import annotations

import base64
import io
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ralr_viz.report.inputs import ReportInputs, side_colors
from ralr_viz.report.samples import fit_size
from ralr_viz.report.section import Section, render_template
from ralr_viz.results.learning import LearningResult
from ralr_viz.results.measure import format_interval

TITLE = "What was learned and forgotten"
_QUALITY = 90


class Strip(NamedTuple):
    """The epochs of one run, for one image.

    Attributes:
        name: Of the run.
        color: Of its side, ``#rrggbb``.
        right: (start, length) of each stretch of epochs that have it right, in places on the epochs' axis.
        amplified: Places of the epochs whose rate was amplified; none where all were alike.
        told: The same in words.
    """

    name: str
    color: str
    right: list[tuple[int, int]]
    amplified: list[int]
    told: str


def build_learning(inputs: ReportInputs) -> Section:
    """The section of the timelines; of runs that have kept a record of each example only."""
    result = inputs.learning
    assert result is not None
    measures = result.measures()
    described = result.describe()
    html = render_template(
        "learning.html",
        head=described[0],
        relations=described[1 + len(measures) :],
        remarks=result.remarks(),
        models=_name_models(inputs, result),
        rows=[
            {
                "label": f"{measure.label}{f' ({measure.unit})' if measure.unit else ''}",
                "values": [format_interval(*measure.interval(i), 3) for i in range(len(result.models))],
            }
            for measure in measures
        ],
        groups=_groups(inputs, result),
        epochs=len(result.epoch),
        first=int(result.epoch[0]),
        last=int(result.epoch[-1]),
        marked=_marks_amplified(result).any(),
        stepwise=result.examples == "train",
    )
    return Section("learning", TITLE, html, styles=("learning.css",))


def _groups(inputs: ReportInputs, result: LearningResult) -> list[dict[str, Any]]:
    """The chosen images, those that the second method keeps before those that the first does."""
    methods = list(dict.fromkeys(result.methods))
    every = list(range(len(result.chosen)))
    if len(methods) < 2:
        groups = {"Forgotten most often": every}
    else:
        first, second = (np.mean(result.late[result.rows_of(name)], axis=0) for name in methods[:2])
        gained = [c for c in every if second[result.chosen[c]] > first[result.chosen[c]]]
        a, b = (inputs.label_of(name) for name in methods[:2])
        groups = {
            f"Right late more often in {b} than in {a}": gained,
            f"Right late more often in {a} than in {b}": [c for c in every if c not in gained],
        }
    return [
        {"title": title, "cards": [_card(inputs, result, c) for c in members]}
        for title, members in groups.items()
        if members
    ]


def _card(inputs: ReportInputs, result: LearningResult, c: int) -> dict[str, Any]:
    place = int(result.places[result.chosen[c]])
    label = "" if inputs.learned_labels is None else inputs.class_name(int(inputs.learned_labels[c]))
    picture = "" if inputs.learned_images is None else _encode(inputs.learned_images[c])
    return {"place": place, "label": label, "picture": picture, "strips": list_strips(inputs, result, c)}


def list_strips(inputs: ReportInputs, result: LearningResult, c: int) -> list[Strip]:
    """Of each run, what it made of the chosen image ``c``."""
    methods = list(dict.fromkeys(result.methods))
    colors, marks, strips = side_colors(inputs.sides), _marks_amplified(result), []
    for i, name in enumerate(_name_models(inputs, result)):
        right = result.timeline[i, :, c]
        edges = np.flatnonzero(np.diff(np.concatenate([[False], right, [False]]).astype(int)))
        at = result.chosen[c]
        events, first = int(result.events[i, at]), int(result.first[i, at])
        learned = f"first with epoch {first}, forgotten {events} ×" if first else "never learned"
        strips.append(
            Strip(
                name=name,
                color=colors[min(methods.index(result.methods[i]), len(colors) - 1)],
                right=[(int(a), int(b - a)) for a, b in edges.reshape(-1, 2)],
                amplified=np.flatnonzero(marks[i]).tolist(),
                told=f"right in {int(right.sum())} of {len(right)} epochs, {learned}",
            )
        )
    return strips


def _name_models(inputs: ReportInputs, result: LearningResult) -> list[str]:
    """As the page calls the runs, where they are those of its sides."""
    names = inputs.name_runs()
    return names if len(names) == len(result.models) else list(result.models)


def _marks_amplified(result: LearningResult) -> np.ndarray:
    """(m, E) bool; a factor that is the same in all epochs marks none."""
    return result.amplified & ~result.amplified.all(axis=1, keepdims=True)


def _encode(image: np.ndarray) -> str:
    height, width = fit_size(image.shape[:2])
    picture, buffer = Image.fromarray(image), io.BytesIO()
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    picture.save(buffer, "WEBP", quality=_QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
