"""Images that one network gets right and the other wrong, with what both look at."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ralr_viz.report.detections import build_detections
from ralr_viz.report.inputs import ReportInputs, whose_checkpoints
from ralr_viz.report.samples import pack_array
from ralr_viz.report.section import Section, missing_section, render_template

TITLE = "What the networks look at"
_MISSING = "no images were sampled: ralr-viz cam draws class activation maps"


class Group(NamedTuple):
    """Some of the sampled images.

    Attributes:
        key: ``fixed``, ``broken``, ``wrong`` or ``random``.
        title: In words.
        total: How many there are in the whole split, or how they were drawn, in words.
    """

    key: str
    title: str
    total: str


def build_gallery(inputs: ReportInputs) -> Section:
    """The section of the gallery, drawn from the samples of the section before.

    With two networks: what B gets right and A wrong, the reverse, and a random sample; with one: its errors
    and a random sample. A control is shown beside them.
    """
    if inputs.detections:
        return build_detections(inputs)
    found = [side.predictions for side in inputs.sides if side.predictions is not None]
    if inputs.images is None or inputs.indices is None or len(found) < len(inputs.sides):
        return missing_section("gallery", TITLE, inputs.missing.get("gallery", _MISSING))
    html = render_template(
        "gallery.html",
        groups=list_groups(inputs),
        sides=[side.name for side in inputs.sides],
        has_maps=all(predictions.has_maps for predictions in found),
        seed=inputs.seed,
    )
    return Section(
        key="gallery",
        title=TITLE,
        html=html,
        scripts=("samples.js", "gallery.js"),
        styles=("samples.css",),
        whose=whose_checkpoints(inputs.sides),
        data={
            "order": pack_array(np.random.default_rng(inputs.seed).permutation(len(inputs.indices)), "<i4"),
        },
    )


def list_groups(inputs: ReportInputs) -> list[Group]:
    """The groups of the gallery, in its order."""
    right = [_right(inputs, i) for i in range(len(inputs.pair))]
    names = [side.name for side in inputs.pair]
    split = inputs.sides[0].predictions.split if inputs.sides[0].predictions is not None else None
    of = f"of the {split} images" if split else "of all images"
    chance = Group("random", "Random sample", f"drawn {of} (seed {inputs.seed}), whatever the networks say")
    if len(right) == 1:
        return [Group("wrong", f"Wrong in {names[0]}", _share(~right[0], split)), chance]
    return [
        Group("fixed", f"Fixed by {names[1]}: wrong in {names[0]}", _share(~right[0] & right[1], split)),
        Group("broken", f"Broken by {names[1]}: right in {names[0]}", _share(right[0] & ~right[1], split)),
        chance,
    ]


def _right(inputs: ReportInputs, side: int) -> np.ndarray:
    """Whether a side is right on each labelled image of the whole split."""
    predictions = inputs.sides[side].predictions
    assert predictions is not None  # the caller has checked
    known = predictions.labels >= 0
    return (predictions.predicted == predictions.labels)[known]


def _share(chosen: np.ndarray, split: str | None) -> str:
    return f"{int(chosen.sum()):,} of {len(chosen):,} {split + ' ' if split else ''}images"
