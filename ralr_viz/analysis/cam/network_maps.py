"""Class activation maps of one network (paper section 4.1 and Figure 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from ralr_viz.analysis.cam.methods import METHODS
from ralr_viz.analysis.cam.package import package_step
from ralr_viz.analysis.capture import capture
from ralr_viz.analysis.head import CamHead, channel_terms, classify, find_cam_head, rounding_tolerance
from ralr_viz.analysis.map_layer import check_layer, find_gradient_layer
from ralr_viz.analysis.network import classifying
from ralr_viz.analysis.pictures import Pictures, check_images, check_targets
from ralr_viz.comparison.network import plain_network
from ralr_viz.errors import InputError
from ralr_viz.models.outputs import find_logits
from ralr_viz.nouns.cam import METHOD
from ralr_viz.runtime.arithmetic import fp32_products
from ralr_viz.runtime.device import Runtime, resolve_runtime
from ralr_viz.tasks.classification.evaluate import fitting_batch

_BATCH = 256
_SMALL_MAP = 7
"""Maps of fewer positions a side are mostly interpolation when drawn; ImageNet networks have 7×7."""


@dataclass(frozen=True, eq=False)
class Cam:
    """Class activation maps of one network on n images.

    Attributes:
        raw: (n, h, w) float32 at the resolution of the layer's map. ``cam`` and ``gradcam``: signed, in units
            of the target's logit; for the closed form the mean over h, w plus the class's bias is that logit.
            All others: h·w times the map of the `grad-cam` package before its ReLU and scaling, as Grad-CAM's
            is. That is the logit again for ``hirescam`` and ``xgradcam``, which are the closed form where there
            is one, for ``layercam`` (without what speaks against the class) and ``gradcam++`` (times its own
            weights); for ``scorecam`` (a weighted mean of the channels), ``ablationcam`` (their sum, each by its
            share of the logit) and ``eigencam`` (their first component, sign arbitrary) units of the layer's
            activation.
        target: (n,) int64 class that the map explains.
        target_probability: (n,) float32 softmax probability of the target.
        prediction: (n,) int64 most probable class.
        prediction_probability: (n,) float32 its probability.
        method: What was used: ``cam`` is the closed form, ``gradcam`` may have replaced it.
        layer: Module that the map is taken from.
        notes: What a reader should know of these maps.
    """

    raw: np.ndarray
    target: np.ndarray
    target_probability: np.ndarray
    prediction: np.ndarray
    prediction_probability: np.ndarray
    method: str
    layer: str
    notes: tuple[str, ...] = ()


def explain(
    model: nn.Module,
    images: np.ndarray,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    targets: np.ndarray | None = None,
    method: str = "cam",
    layer: str | None = None,
    batch: int | None = None,
    device: str = "cpu",
    precision: str = "fp32",
    progress: Callable[[int], object] | None = None,
) -> Cam:
    r"""Class activation maps, one class an image.

    Where the logits are ``mean(A)·Wᵀ + b`` of a feature map A, the map of class c is the closed form

    .. math:: M_c(i, j) = \sum_k W_{ck} A_k(i, j),

    one batched forward pass without gradient. Grad-CAM at A is :math:`\mathrm{ReLU}(M_c)/(hw)`, since
    :math:`\partial z_c/\partial A_k(i, j) = W_{ck}/(hw)`. For other networks ``cam`` is Grad-CAM, with
    :math:`\sum_{ij} \partial z_c/\partial A_k(i, j)` for :math:`W_{ck}`, so that the units are the same; a
    note says why. This and all other methods go through the `grad-cam` package.

    Args:
        model: Any classifier of (b, 3, H, W) images. Moved to ``device``; its mode, gradients and hooks are
            left as they were.
        images: (n, H, W, 3) uint8, n ≥ 1; a memory map is read batch by batch.
        mean, std: Per channel, in units of [0, 1], as in training.
        targets: (n,) integer classes to explain; None or −1 means the network's prediction.
        method: ``cam``, ``gradcam``, ``gradcam++``, ``layercam``, ``hirescam``, ``xgradcam``, ``eigencam`` (which
            ignores the target), ``scorecam`` or ``ablationcam`` (a forward pass of each image for each channel of
            the layer).
        layer: Module that the maps are taken from; the last one with a map when left out. ``cam`` is Grad-CAM
            where this is another than the closed form's.
        batch: Images per forward pass; the package gets at most 32, Score-CAM and Ablation-CAM as many changed
            copies of one. Left out, 256, and of large images as many as fit into a gigabyte or two.
        device: As ``--device``.
        precision: As ``--precision``, of the closed form's forward pass; the map itself is always summed in
            float32, and the package runs in float32.
        progress: Called with the number of images done, after each batch.

    Raises:
        UnknownNameError: No such method or layer.
        InputError: Images, targets or normalisation of another shape or range; a network without logits,
            without any map, or with non-finite outputs; a layer that returns no map; ``ablationcam`` where the
            target's logit is 0.

    Example:
        >>> checkpoint = load_checkpoint("runs/R/ralr/seed0")
        >>> cam = explain(checkpoint.build(), images, mean=checkpoint.mean, std=checkpoint.std)
        >>> normalise_cam(cam.raw, images.shape[1:3])  # (n, H, W) in [0, 1]

    References:
        Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016, equation 2.
        Selvaraju et al., Grad-CAM, ICCV 2017, section 3. Chattopadhyay et al., Grad-CAM++, WACV 2018.
        Jiang et al., LayerCAM, IEEE TIP 2021. Muhammad & Yeasin, Eigen-CAM, IJCNN 2020.
        Wang et al., Score-CAM, CVPR workshops 2020. Draelos & Carin, HiResCAM, arXiv 2011.08891, 2020.
        Fu et al., Axiom-based Grad-CAM (XGrad-CAM), BMVC 2020. Desai & Ramaswamy, Ablation-CAM, WACV 2020.
    """
    METHOD.check(method)
    check_images(images, 1 if batch is None else batch)
    at_once, with_graph = batch_sizes(images, batch)
    runtime = resolve_runtime(device, precision)
    model = plain_network(model).to(runtime.device)
    pictures = Pictures.on_device(images, check_targets(targets, len(images)), mean, std, runtime)
    probe = pictures.probe()
    with runtime.arithmetic(), classifying(model, probe, pictures.targets):
        reason = ""
        if method == "cam":
            found = _closed_form(model, probe, pictures, layer, at_once, progress)
            if isinstance(found, Cam):
                return found
            method, reason = "gradcam", found
        layer = layer or find_gradient_layer(model, probe)
        if layer is None:
            raise InputError(
                f"`{type(model).__name__}` has no module that returns a map of more than one position, or tokens "
                "whose places are known, from which its logits follow: class activation maps need a convolutional "
                "network and large enough images, or name a `layer`"
            )
        axes = check_layer(model, probe, layer)
        by = METHODS[method]
        step = partial(package_step, model, layer, by, masked=at_once, axes=axes)
        with fp32_products(runtime.device):
            *columns, logits = pictures.run(step, by.batch(with_graph), progress)
    notes = [f"{by.name} at layer `{layer}`: {reason}"] if reason else []
    notes += by.notes(logits)
    if runtime.precision != "fp32":
        notes.append(f"{by.name} ran in fp32: it has no {runtime.precision} path")
    return _collect(columns, method, layer, notes)


def batch_sizes(images: np.ndarray, batch: int | None) -> tuple[int, int]:
    """Images of a forward pass, and of one whose graph is kept: the given number, else what fits."""
    pixels = images.shape[1] * images.shape[2]
    # a graph keeps some four times what a forward pass holds at once
    return batch or fitting_batch(pixels, _BATCH), batch or fitting_batch(4 * pixels, _BATCH)


def closed_form_step(
    model: nn.Module, head: CamHead, runtime: Runtime, x: Tensor, target: Tensor
) -> tuple[Tensor, ...]:
    """Maps of one batch by the closed form; nothing in it waits for the device.

    Args:
        model: In eval mode.
        head: From `find_cam_head`.
        runtime: Where and in which precision the forward pass runs.
        x: (b, 3, H, W) normalised images.
        target: (b,) int64 classes, −1 for the prediction.

    Returns:
        ``raw`` (b, h, w), ``target``, ``target_probability``, ``prediction``, ``prediction_probability`` and
        the relative error of ``mean(raw) + bias = logit``, each (b,); floats are float32.
    """
    weight, bias = head.classifier(model)
    with torch.no_grad():
        with runtime.autocast(), capture(model, [head.layer]) as calls:
            logits = find_logits(model(x)).float()
        features = head.feature_map(calls)
        classes = classify(logits, target)
        terms = channel_terms(features, weight, classes[0])
        raw = terms.sum(1)
        logit = logits.gather(1, classes[0][:, None]).squeeze(1)
        error = (raw.mean((1, 2)) + bias[classes[0]] - logit).abs()
        size = terms.abs().sum(1).mean((1, 2)) + bias[classes[0]].abs()
        return raw, *classes, error / size.clamp_min(torch.finfo(torch.float32).tiny)


def _closed_form(
    model: nn.Module,
    probe: Tensor,
    pictures: Pictures,
    layer: str | None,
    batch: int,
    progress: Callable[[int], object] | None,
) -> Cam | str:
    """The maps in closed form, or why there are none."""
    head = find_cam_head(model, probe)
    if head is not None and layer not in (None, str(head)):
        return f"the closed form is at `{head}`"
    if head is not None:
        step = partial(closed_form_step, model, head, pictures.runtime)
        *columns, error = pictures.run(step, batch, progress)
        # the head was found on the probe; this is the same check on every image
        if error.max() <= _identity_tolerance(pictures.runtime):
            return _collect(columns, "cam", str(head), [])
    return "the logits are no linear function of a globally averaged map"


def _identity_tolerance(runtime: Runtime) -> float:
    dtype = torch.bfloat16 if runtime.precision == "bf16" else torch.float32
    return rounding_tolerance(dtype, runtime.device, product=True)


def _collect(columns: Sequence[np.ndarray], method: str, layer: str, notes: list[str]) -> Cam:
    raw, target, target_probability, prediction, probability = columns
    broken = int((~np.isfinite(raw).all(axis=(1, 2)) | ~np.isfinite(probability)).sum())
    if broken:
        raise InputError(
            f"the network's outputs are not finite on {broken} of {len(raw)} images: "
            "the checkpoint has diverged, choose an earlier one"
        )
    height, width = raw.shape[1:]
    if min(height, width) < _SMALL_MAP:
        notes.append(
            f"the map has {height}×{width} positions: below {_SMALL_MAP}×{_SMALL_MAP} the picture is mostly "
            "interpolation"
        )
    if zeros := int((raw <= 0).all(axis=(1, 2)).sum()):
        tells = method == "cam" or METHODS[method].empty_tells
        why = ": nothing in the image speaks for the target class" if tells else ""
        notes.append(f"{zeros} of {len(raw)} maps are all zero{why}")
    return Cam(raw, target, target_probability, prediction, probability, method, layer, tuple(notes))
