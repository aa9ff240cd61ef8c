"""Class activation maps of several networks on the same images, of the same classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ralr_viz.analysis.cam.check import PARITY_LIMIT, CamCheck, verify_cam
from ralr_viz.analysis.cam.methods import METHODS
from ralr_viz.analysis.cam.network_maps import Cam, explain
from ralr_viz.analysis.pictures import check_targets
from ralr_viz.comparison import Comparison, Progress
from ralr_viz.comparison.precision import in_its_precision
from ralr_viz.errors import InputError, RalrVizError
from ralr_viz.nouns import cam as options
from ralr_viz.nouns import check
from ralr_viz.results.cam import CamResult


@in_its_precision
def compute_cam(
    comparison: Comparison,
    *,
    method: str = options.METHOD.default,
    layer: str | None = options.LAYER.default,
    targets: np.ndarray | None = None,
    difference: bool = options.DIFFERENCE.default,
    verify: bool = options.VERIFY.default,
    progress: Progress | None = None,
) -> CamResult:
    """Class activation maps of each network on each image, of the same class by all networks.

    `explain` has the definitions. A figure holds a few images: `select_pictures` chooses some by a rule.

    Args:
        comparison: One network or more, and images; each network sees them in its own normalisation.
        method: ``cam``, which is the closed form where there is one, else Grad-CAM; or one of the `grad-cam`
            package: ``gradcam``, ``gradcam++``, ``layercam``, ``hirescam``, ``xgradcam``, ``eigencam``, ``scorecam``
            or ``ablationcam``.
        layer: Module that the maps are taken from; the last one with a map when left out.
        targets: (n,) integer classes to explain. Left out, and where one is −1: the true class where it is known,
            else the first network's prediction.
        difference: The figure has rows of differences from the first network, too.
        verify: Hold the maps against the `grad-cam` package and, in closed form, against the logits.
        progress: Called as ``progress(done, total, what)`` after each image of a method that runs the network once
            for each channel of the layer; the others take seconds.

    Raises:
        UnknownNameError: No such method or layer.
        InputError: Of `explain`, or ``difference`` of one network.
        RalrVizError: The maps are not those that the package draws.

    Example:
        >>> pair = compare(["runs/R/baseline/seed0", "runs/R/ralr/seed0"])  # doctest: +SKIP
        >>> result = compute_cam(select_pictures(pair, count=8), method="hirescam")  # doctest: +SKIP
        >>> result.display_maps(0)  # (8, H, W) in [0, 1]  # doctest: +SKIP
    """
    check(options.SPEC.options, method=method)
    if difference and len(comparison) < 2:
        raise InputError("`--difference` subtracts the first checkpoint's maps, got 1: pass --ckpt twice")
    samples, runtime = comparison.samples, comparison.runtime
    classes = _classes(samples.labels, targets)
    cams: list[Cam] = []
    checks: list[str] = []
    for network in comparison.networks:
        given: dict[str, Any] = {
            "mean": network.mean,
            "std": network.std,
            "targets": classes,
            "method": method,
            "layer": layer,
            "batch": comparison.batch,
            "device": str(runtime.device),
            "precision": runtime.precision,
            "progress": _progress_of(network.name, method, len(samples), progress),
        }
        if verify:
            found = verify_cam(network.build(), samples.images, **given)
            _refuse_difference(network.name, found)
            checks.append(f"{network.name}: {found}")
            cams.append(found.cam)
        else:
            cams.append(explain(network.build(), samples.images, **given))
        classes = cams[-1].target  # the same in every row
    return _collect(comparison, cams, checks, difference)


def _classes(labels: np.ndarray, targets: np.ndarray | None) -> np.ndarray:
    """What is asked for, else the label; −1 for the prediction."""
    if targets is None:
        return labels
    targets = check_targets(targets, len(labels))
    return np.where(targets == -1, labels, targets)


def _progress_of(
    name: str, method: str, total: int, progress: Progress | None
) -> Callable[[int], object] | None:
    if progress is None or method not in METHODS or not METHODS[method].per_channel:
        return None
    return lambda done: progress(done, total, name)


def _refuse_difference(name: str, found: CamCheck) -> None:
    if not found.passed:
        raise RalrVizError(
            f"{name}: the drawn maps differ from those of grad-cam by {found.parity:.1e}, more than "
            f"{PARITY_LIMIT:g}, so nothing was saved: report this network, or leave out --verify"
        )


def _collect(
    comparison: Comparison, cams: Sequence[Cam], checks: Sequence[str], difference: bool
) -> CamResult:
    samples, names, runtime = comparison.samples, comparison.names, comparison.runtime
    return CamResult(
        images=np.asarray(samples.images),
        indices=samples.indices,
        labels=samples.labels,
        boxes=samples.boxes,
        class_names=samples.class_names,
        models=names,
        methods=tuple(cam.method for cam in cams),
        layers=tuple(cam.layer for cam in cams),
        map_sizes=tuple(cam.raw.shape[1:] for cam in cams),
        maps=np.concatenate([cam.raw.ravel() for cam in cams]),
        targets=np.stack([cam.target for cam in cams]),
        target_probabilities=np.stack([cam.target_probability for cam in cams]),
        predictions=np.stack([cam.prediction for cam in cams]),
        prediction_probabilities=np.stack([cam.prediction_probability for cam in cams]),
        selection=samples.selection or f"{len(samples)} images",
        dataset=samples.dataset,
        split=samples.split,
        image_names=samples.names,
        notes=tuple(f"{name}: {note}" for name, cam in zip(names, cams, strict=True) for note in cam.notes),
        difference=difference,
        checks=tuple(checks),
        provenance=comparison.facts() | {"device": runtime.device.type, "precision": runtime.precision},
    )
