"""One pass of a network over a split: logits, penultimate features and class activation maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ralr_viz._version import __version__
from ralr_viz.analysis.capture import capture
from ralr_viz.analysis.head import CamHead, closed_form_maps, find_cam_head, find_classifier
from ralr_viz.analysis.map_layer import check_layer, find_gradient_layer
from ralr_viz.analysis.maps import FIRST, MapAxes
from ralr_viz.analysis.network import classifying
from ralr_viz.analysis.pictures import Pictures, check_images, check_targets
from ralr_viz.analysis.prediction_cache import cache_folder, keep_predictions, read_predictions
from ralr_viz.comparison import Comparison, Network, Progress
from ralr_viz.comparison.precision import in_its_precision
from ralr_viz.errors import InputError
from ralr_viz.models.outputs import find_logits
from ralr_viz.results.predictions import PredictionsResult
from ralr_viz.runtime.device import Runtime

_LARGEST_FEATURE = 1e15
"""Distances and covariances square features and sum them over units and images."""


@in_its_precision
def compute_predictions(
    comparison: Comparison, progress: Progress | None = None
) -> tuple[PredictionsResult, ...]:
    """Everything that the analyses need of each network on these images, in one forward pass.

    The features are the input of the linear layer that gives the logits; of a network without one, the mean
    over the positions of its last map. Maps are the closed form of `compute_cam`, where there is one.

    What was computed once is not computed again: the comparison remembers it, and predictions of a checkpoint on a
    data set are kept on disk, in ``$RALR_VIZ_CACHE``, else the user's cache folder.

    Args:
        comparison: Classifiers. Batches have 500 images where it says none; what is kept is float32, whatever the
            precision.
        progress: Called as ``progress(done, total, what)``, after each batch.

    Raises:
        InputError: Images, labels or normalisation of another shape or range; no logits, no features, or
            outputs that are not finite or features above 1e15.

    Example:
        >>> (found,) = compute_predictions(compare(["runs/R/ralr/seed0"], limit=1000))  # doctest: +SKIP
        >>> found.accuracy, found.features.shape  # doctest: +SKIP
    """
    return tuple(_predict_once(comparison, i, progress) for i in range(len(comparison)))


def predictions_of(
    compared: Comparison | Sequence[PredictionsResult], progress: Progress | None = None
) -> tuple[PredictionsResult, ...]:
    """What an analysis of predictions begins with: a comparison's, or those that the caller has already.

    Args:
        compared: Networks on images, or predictions of networks on the same images.
        progress: Called as ``progress(done, total, what)``.
    """
    if isinstance(compared, Comparison):
        return compute_predictions(compared, progress)
    return tuple(compared)


def _predict_once(comparison: Comparison, i: int, progress: Progress | None) -> PredictionsResult:
    """From the comparison's memory, else the disk, else computed and kept in both."""
    network = comparison.networks[i]
    key = ("predictions", network.identity)  # one network may be in several pairs
    found = comparison.memory.get(key)
    if found is None:
        folder = cache_folder(comparison, network)
        found = None if folder is None else read_predictions(folder)
        if found is None:
            found = _predict(comparison, network, progress)
            if folder is not None:
                keep_predictions(found, folder)
        comparison.memory[key] = found
    return replace(found, model=network.name)


def _predict(comparison: Comparison, network: Network, progress: Progress | None) -> PredictionsResult:
    samples, runtime, batch = comparison.samples, comparison.runtime, comparison.batch_size()
    check_images(samples.images, batch)
    model = runtime.place(network.build())
    targets = check_targets(samples.labels, len(samples.images))
    pictures = Pictures.on_device(samples.images, targets, network.mean, network.std, runtime)
    probe = pictures.probe()
    advance = (
        None
        if progress is None
        else lambda done: progress(done, len(samples), f"predictions of {network.name}")
    )
    with classifying(model, probe, pictures.targets, len(samples.class_names) or None):
        reader = _find_reader(model, probe)
        columns = pictures.run(lambda x, target: reader.read(model, runtime, x, target), batch, advance)
    logits, features, true_maps, predicted_maps = columns
    _check_finite(logits, features)
    return PredictionsResult(
        model=network.name,
        indices=np.asarray(samples.indices, dtype=np.int64),
        labels=pictures.targets,
        logits=logits,
        features=features,
        feature_layer=reader.classifier or reader.layer,
        true_maps=true_maps,
        predicted_maps=predicted_maps,
        map_layer=str(reader.head) if reader.head is not None else "",
        class_names=samples.class_names,
        dataset=samples.dataset,
        split=samples.split,
        notes=() if reader.classifier else (f"features are the mean of the map of `{reader.layer}`",),
        provenance=_provenance(comparison, network),
    )


def _check_finite(logits: np.ndarray, features: np.ndarray) -> None:
    broken = int((~np.isfinite(logits).all(axis=1) | ~np.isfinite(features).all(axis=1)).sum())
    if broken:
        raise InputError(
            f"the network's outputs are not finite on {broken} of {len(logits)} images: "
            "the checkpoint has diverged, choose an earlier one"
        )
    largest = float(np.abs(features).max(initial=0))
    if largest > _LARGEST_FEATURE:
        raise InputError(
            f"the features reach {largest:.1e}, whose squares overflow float32 (at most {_LARGEST_FEATURE:.0e}): "
            "the checkpoint has diverged, choose an earlier one"
        )


def _provenance(comparison: Comparison, network: Network) -> dict[str, Any]:
    checkpoint, runtime = network.checkpoint, comparison.runtime
    known: dict[str, Any] = {}
    if checkpoint is not None:
        known["checkpoint"] = {"label": checkpoint.label, "sha256": checkpoint.sha256}
    return (
        known
        | {
            "recipe": network.recipe,
            "content_hash": comparison.samples.content_hash,
            "device": runtime.device.type,
            "precision": runtime.precision,
            "ralr_viz": __version__,
        }
        | comparison.seen()
    )


@dataclass(frozen=True)
class _Reader:
    """Where a network's features and maps are.

    Attributes:
        head: Of the closed form, or None.
        classifier: The linear layer whose input is the features; empty where there is none.
        layer: Else the module whose map is averaged.
        axes: Of that map.
    """

    head: CamHead | None
    classifier: str
    layer: str
    axes: MapAxes = FIRST

    @torch.no_grad()
    def read(self, model: nn.Module, runtime: Runtime, x: Tensor, target: Tensor) -> tuple[Tensor, ...]:
        """Logits, features, maps of the true and the predicted class of one batch; all float32."""
        names = {self.classifier or self.layer, *([self.head.layer] if self.head is not None else ())}
        with runtime.autocast(), capture(model, names) as calls:
            logits = find_logits(model(x)).float()
        if self.classifier:
            features = next(call.input for call in reversed(calls) if call.name == self.classifier)
        else:
            features = next(call.outputs[0] for call in reversed(calls) if call.name == self.layer)
            features = self.axes(features).mean((2, 3))
        if self.head is None:
            maps = [logits.new_zeros((len(x), 0, 0))] * 2
        else:
            predicted = logits.argmax(1)
            weight, _ = self.head.classifier(model)
            found = self.head.feature_map([call for call in calls if call.name == self.head.layer])
            classes = (torch.where(target < 0, predicted, target), predicted)
            maps = [closed_form_maps(found, weight, c) for c in classes]
        return logits, features.float(), *maps


def _find_reader(model: nn.Module, probe: Tensor) -> _Reader:
    head = find_cam_head(model, probe)
    classifier = head.linear if head is not None else find_classifier(model, probe)
    if classifier is not None:
        return _Reader(head, classifier, "")
    layer = find_gradient_layer(model, probe)
    if layer is None:
        raise InputError(
            f"`{type(model).__name__}` ends in no `nn.Linear` and has no feature map, so its features are not "
            "known: return the logits of an `nn.Linear`"
        )
    return _Reader(None, "", layer, check_layer(model, probe, layer))
