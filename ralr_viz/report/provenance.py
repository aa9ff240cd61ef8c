"""Where everything comes from, and what a reader must not conclude."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any

from ralr_viz._version import __version__
from ralr_viz.plots.embedding_layout import METHOD_NAMES
from ralr_viz.report.inputs import ReportInputs, Side
from ralr_viz.report.section import Section, render_template
from ralr_viz.results.bundle import Result, without_paths

TITLE = "Provenance and caveats"
_PACKAGES = ("numpy", "scipy", "bokeh", "jinja2", "pillow")
_ENVIRONMENT = ("ralr_viz", "torch", "numpy", "python", "platform", "device", "precision", "threads")


def build_provenance(inputs: ReportInputs) -> Section:
    """Checkpoints, recipes, environments, versions and commands, and the caveats."""
    html = render_template(
        "provenance.html",
        names=[side.name for side in inputs.sides],
        checkpoints=[_checkpoint_rows(side) for side in inputs.sides],
        checkpoint_keys=_CHECKPOINT,
        runs=[row for side in inputs.sides for row in _run_rows(side)],
        environment=_ENVIRONMENT,
        recipes=recipe_table(inputs),
        versions=versions(inputs),
        commands=commands(inputs),
        caveats=caveats(inputs),
    )
    return Section("provenance", TITLE, html)


_CHECKPOINT = {
    "label": "checkpoint",
    "arch": "network",
    "epoch": "epoch",
    "seed": "training seed",
    "mean": "mean",
    "std": "std",
    "sha256": "SHA-256 of the file",
}


def caveats(inputs: ReportInputs) -> list[str]:
    """What the page's pictures and numbers do not say, a sentence or two each, as far as they are on it."""
    found = []
    if inputs.embedding is not None:
        name = METHOD_NAMES[inputs.embedding.method]
        found += [
            f"{name} keeps neighbours, not distances: the gaps between clusters, their sizes and their densities "
            "in the map mean nothing, and the axes have no unit. Compare neighbourhoods, and the numbers that are "
            "measured on the features themselves.",
        ]
        if inputs.embedding.align == "init":
            found.append(
                "The second map starts from the first one's, so it is biased towards its arrangement; that a point "
                "moved in the picture is weaker evidence than that its neighbourhood changed."
            )
    found += _describe_parts(inputs)
    if any(side.predictions is not None and side.predictions.has_maps for side in inputs.sides):
        found.append(
            "Class activation maps are scaled image by image: colours compare places within a map, not the strength "
            "of one map with that of another. A map shows what the last layer reads, not what caused the answer."
        )
    if inputs.activations is not None:
        found.append(
            "Two equal activation histograms do not mean that no unit moved: units may have traded places. The "
            "correlation and the relative change compare the same unit on the same image."
        )
    if inputs.verdict is not None and inputs.verdict.images:
        found.append(
            "Intervals over images hold for these checkpoints. How a method varies from training to training, only "
            "training seeds can tell."
        )
    if inputs.verdict is not None and inputs.verdict.classes is not None and len(inputs.sides) == 2:
        found.append("The classes are many comparisons at once: some intervals exclude 0 by chance alone.")
    if any(run.recipe.get("validation") == 0 for side in inputs.sides for run in side.runs):
        found.append("Nothing was held out in training: the test images are what the paper calls validation.")
    return found


def _describe_parts(inputs: ReportInputs) -> list[str]:
    """Which parts of the page are of which part of the images; nothing where all are of all."""
    sampled, predicted = len(inputs.random_indices), inputs.num_predicted
    found = []
    if inputs.sampling and sampled < predicted:
        found.append(
            f"The maps and their numbers rest on a part of the images: {inputs.sampling}. Accuracies and losses are "
            f"of all {predicted:,} images that were evaluated; the gallery adds images that were chosen by outcome."
        )
    if inputs.is_limited:
        found.append(
            f"Only {predicted:,} of the {inputs.split_size:,} images of the split were evaluated (--limit), evenly "
            "spread: the others enter only what the training logs and the claims say."
        )
    return found


def recipe_table(inputs: ReportInputs) -> list[dict[str, Any]]:
    """All settings of the recipes: ``key``, ``values`` as text, and whether they differ."""
    recipes = [side.recipe for side in inputs.sides]
    known = all(recipes)
    rows = []
    for key in dict.fromkeys(key for recipe in recipes for key in recipe):
        values = [_text(recipe.get(key)) for recipe in recipes]
        rows.append({"key": key, "values": values, "differ": known and len(set(values)) > 1})
    return rows


def commands(inputs: ReportInputs) -> list[tuple[str, str]]:
    """What each part was made by, and the command, without absolute paths."""
    found = [("this page", inputs.command)]
    results: dict[str, Result | None] = {"the claims": inputs.why, "the activations": inputs.activations}
    for name, result in results.items():
        command = None if result is None else result.provenance.get("command")
        if command and command != inputs.command:
            found.append((name, str(command)))
    return [(name, without_paths(command)) for name, command in found if command]


def versions(inputs: ReportInputs) -> list[tuple[str, str]]:
    """Packages that made this page and what is on it."""
    found = {"ralr-viz": __version__} | {name: metadata.version(name) for name in _PACKAGES}
    for result in (inputs.embedding, inputs.activations):
        packages = {} if result is None else result.provenance.get("packages", {})
        if isinstance(packages, Mapping):
            found |= {str(name): str(version) for name, version in packages.items()}
    return sorted(found.items())


def _checkpoint_rows(side: Side) -> dict[str, str]:
    return {key: _text(side.checkpoint.get(key)) for key in _CHECKPOINT}


def _run_rows(side: Side) -> list[dict[str, Any]]:
    rows = []
    for run in side.runs:
        env = run.env or {}
        cells = [_text(env.get(key)) for key in _ENVIRONMENT]
        epochs = int(run.epoch[-1])
        rows.append({"label": run.label, "status": run.status, "epochs": epochs, "cells": cells})
    return rows


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:.6g}"
    return "–" if value is None else str(without_paths(str(value)))
