"""One pass of a network over a split: logits, penultimate features and class activation maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ralr_viz.analysis.cam import closed_form_maps
from ralr_viz.analysis.capture import capture
from ralr_viz.analysis.gradcam import check_layer, find_gradient_layer
from ralr_viz.analysis.head import CamHead, find_cam_head, find_classifier
from ralr_viz.analysis.maps import FIRST, MapAxes
from ralr_viz.analysis.network import classifying
from ralr_viz.analysis.pictures import PROBE_IMAGES, Pictures, check_images, check_targets
from ralr_viz.comparison.network import plain_network
from ralr_viz.errors import InputError
from ralr_viz.models.outputs import find_logits
from ralr_viz.results.predictions import PredictionsResult
from ralr_viz.train.runtime import Runtime, resolve_runtime

_LARGEST_FEATURE = 1e15
"""Distances and covariances square features and sum them over units and images."""


def compute_predictions(
    model: nn.Module,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    name: str = "",
    indices: np.ndarray | None = None,
    class_names: Sequence[str] = (),
    dataset: str | None = None,
    split: str | None = None,
    batch: int = 500,
    device: str = "cpu",
    precision: str = "fp32",
    progress: Callable[[int], object] | None = None,
    provenance: dict[str, Any] | None = None,
) -> PredictionsResult:
    """Everything that the analyses need of a network on these images, in one forward pass.

    The features are the input of the linear layer that gives the logits; of a network without one, the mean
    over the positions of its last map. Maps are the closed form of `compute_cam`, where there is one.

    Args:
        model: Any classifier of (b, 3, H, W) images. Moved to ``device``; its mode, gradients and hooks are
            left as they were.
        images: (n, H, W, 3) uint8, n ≥ 1; a memory map is read batch by batch.
        labels: (n,) integer ground truth; None or −1 where unknown.
        mean, std: Per channel, in units of [0, 1], as in training.
        name: Of the network, for figures.
        indices: (n,) positions in the split; 0 … n − 1 when left out.
        class_names, dataset, split, provenance: Kept with the result.
        batch: Images per forward pass.
        device: As ``--device``.
        precision: As ``--precision``, of the forward pass; what is kept is float32.
        progress: Called with the number of images done, after each batch.

    Raises:
        InputError: Images, labels or normalisation of another shape or range; no logits, no features, or
            outputs that are not finite or features above 1e15.

    Example:
        >>> found = compute_predictions(model, images, labels, mean=mean, std=std)
        >>> found.accuracy, found.features.shape
    """
    check_images(images, batch)
    runtime = resolve_runtime(device, precision)
    model = runtime.place(plain_network(model))
    pictures = Pictures.on_device(images, check_targets(labels, len(images)), mean, std, runtime)
    probe, _ = pictures.load(0, PROBE_IMAGES)
    with classifying(model, probe, pictures.targets, len(class_names) or None):
        reader = _find_reader(model, probe)
        columns = pictures.run(lambda x, target: reader.read(model, runtime, x, target), batch, progress)
    logits, features, true_maps, predicted_maps = columns
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
    return PredictionsResult(
        model=name or type(model).__name__,
        indices=np.arange(len(images)) if indices is None else np.asarray(indices, dtype=np.int64),
        labels=pictures.targets,
        logits=logits,
        features=features,
        feature_layer=reader.classifier or reader.layer,
        true_maps=true_maps,
        predicted_maps=predicted_maps,
        map_layer=str(reader.head) if reader.head is not None else "",
        class_names=tuple(class_names),
        dataset=dataset,
        split=split,
        notes=() if reader.classifier else (f"features are the mean of the map of `{reader.layer}`",),
        provenance=provenance or {},
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
