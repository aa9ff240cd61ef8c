"""Images in which one detector finds objects that the other misses."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

from ralr_viz.plots.detect import draw_detect
from ralr_viz.plots.style import style
from ralr_viz.report.inputs import ReportInputs, whose_checkpoints
from ralr_viz.report.section import Section, render_template
from ralr_viz.results.detect import DetectResult

TITLE = "What the networks find"
_DPI, _QUALITY = 200, 85


def build_detections(inputs: ReportInputs) -> Section:
    """The gallery of detectors: a picture for each group, and a table of what is in it."""
    first = next(iter(inputs.detections.values()))
    html = render_template(
        "detections.html",
        groups=[_show(title, result) for title, result in inputs.detections.items()],
        names=first.models,
        changes=[line for line in first.describe() if "in all" in line],
        remarks=first.remarks(),
    )
    return Section("gallery", TITLE, html, whose=whose_checkpoints(inputs.sides))


def _show(title: str, result: DetectResult) -> dict[str, Any]:
    rows = []
    for image, index in enumerate(result.indices.tolist()):
        true = [result.found_true[result.found(model, image)] for model in range(len(result.models))]
        rows.append(
            {
                "image": index,
                "objects": int((result.truth_image == image).sum()),
                "cells": [
                    (int(of.sum()), len(result.missed(model, image)), int((~of).sum()))
                    for model, of in enumerate(true)
                ],
            }
        )
    return {"title": title, "rule": result.selection, "picture": _draw(result), "rows": rows}


def _draw(result: DetectResult) -> str:
    """The figure as a WebP, which is a fifth of a PNG's bytes."""
    png, webp = io.BytesIO(), io.BytesIO()
    with style("icml"):
        draw_detect(result).savefig(png, format="png", dpi=_DPI)
    Image.open(png).convert("RGB").save(webp, "WEBP", quality=_QUALITY)
    return "data:image/webp;base64," + base64.b64encode(webp.getvalue()).decode("ascii")
