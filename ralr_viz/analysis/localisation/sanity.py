"""Whether class activation maps depend on the weights: the cascading randomisation test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn

from ralr_viz.analysis.cam.network_maps import explain
from ralr_viz.analysis.capture import capture
from ralr_viz.analysis.head import CamHead, closed_form_maps, find_cam_head
from ralr_viz.analysis.map_layer import find_gradient_layer
from ralr_viz.analysis.network import classifying
from ralr_viz.analysis.pictures import Pictures, check_images, check_targets
from ralr_viz.comparison import Comparison, Progress
from ralr_viz.results.uncertainty import student_interval
from ralr_viz.runtime.device import Runtime

_FEWEST_STAGES = 3


@dataclass(frozen=True, eq=False)
class Cascade:
    """How alike a network's maps stay while its weights become random, from the head to the stem.

    Attributes:
        stages: K modules in the order in which they became random and stayed so.
        spearman: (K, n) float64 rank correlation of each image's signed map with the network's own after each
            stage; 0 where a map is constant.
    """

    stages: tuple[str, ...]
    spearman: np.ndarray

    def summarise(self) -> np.ndarray:
        """Mean over images and its 95 % t interval after each stage, (K, 3)."""
        mean = self.spearman.mean(axis=1)
        if self.spearman.shape[1] < 2:
            return np.stack([mean, *np.full((2, len(mean)), np.nan)], axis=1)
        return np.stack([mean, *student_interval(self.spearman)], axis=1)


@torch.no_grad()
def randomise_cascade(
    comparison: Comparison, i: int, *, seed: int = 0, progress: Progress | None = None
) -> Cascade:
    """Correlation of the true class's map with itself while stage after stage is initialised anew.

    A map that explains the network must change when the network's weights are lost; one that stays would be
    drawn by the image's edges alone. Stages are the network's children that have weights, from the last to
    the first; where there are fewer than three, their children.

    Args:
        comparison: Its images, of n classes whose maps are compared.
        i: The network; a private copy is changed. Its maps are the closed form, else Grad-CAM at one layer.
        seed: Of the random weights.
        progress: Called as ``progress(done, total, what)`` with the number of stages.

    Raises:
        InputError: Images or labels of another shape or range, or a network without any map.

    References:
        Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018, section 3.1.
    """
    network, samples, runtime = comparison.networks[i], comparison.samples, comparison.runtime
    batch = comparison.batch_size()
    check_images(samples.images, batch)
    model = runtime.place(network.build())
    targets = check_targets(samples.labels, len(samples))
    pictures = Pictures.on_device(samples.images, targets, network.mean, network.std, runtime)
    probe = pictures.probe()
    with classifying(model, probe, targets, len(samples.class_names) or None):
        head = find_cam_head(model, probe)
        layer = None if head is not None else _find_layer(model, probe)

        def maps() -> np.ndarray:
            if head is not None:
                return _maps(model, head, pictures, runtime, batch)
            with torch.enable_grad():
                return explain(
                    model, samples.images, mean=network.mean, std=network.std, targets=targets, layer=layer,
                    method="gradcam", batch=comparison.batch, device=str(runtime.device),
                ).raw  # fmt: skip

        original = maps()
        stages = find_stages(model)
        found = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for done, name in enumerate(stages, 1):
                randomise(model.get_submodule(name))
                found.append(map_correlation(original, maps()))
                if progress is not None:
                    progress(done, len(stages), f"random weights of {network.name}")
    return Cascade(tuple(stages), np.stack(found))


def find_stages(model: nn.Module) -> list[str]:
    """Children with weights from the last to the first; of fewer than three, their children instead."""
    stages = [""]
    while True:
        finer: list[str] = []
        for name in stages:
            module = model.get_submodule(name)
            children = [
                f"{name}.{child}" if name else child
                for child, part in module.named_children()
                if any(True for _ in part.parameters())
            ]
            finer += children or [name]
        if finer == stages or len(finer) >= _FEWEST_STAGES:
            return finer[::-1]
        stages = finer


def randomise(module: nn.Module) -> None:
    """Initialise all weights anew: by each part's own rule, else by a shuffle of the values it has."""
    for part in module.modules():
        own = list(part.parameters(recurse=False))
        if not own:
            continue
        if callable(reset := getattr(part, "reset_parameters", None)):
            device = own[0].device
            part.cpu()  # the one generator that `fork_rng` protects
            reset()
            part.to(device)
        else:
            for parameter in own:
                order = torch.randperm(parameter.numel()).to(parameter.device)
                parameter.data = parameter.data.flatten()[order].view_as(parameter)


def map_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation (n,) of the values of maps (n, h, w); 0 where one is constant."""
    ranks = [rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (a, b)]
    x, y = (r - r.mean(axis=1, keepdims=True) for r in ranks)
    size = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    return np.divide((x * y).sum(axis=1), size, out=np.zeros(len(a)), where=size > 0)


@torch.enable_grad()
def _find_layer(model: nn.Module, probe: Tensor) -> str | None:
    return find_gradient_layer(model, probe)


def _maps(model: nn.Module, head: CamHead, pictures: Pictures, runtime: Runtime, batch: int) -> np.ndarray:
    weight, _ = head.classifier(model)

    def step(x: Tensor, target: Tensor) -> tuple[Tensor, ...]:
        with runtime.autocast(), capture(model, [head.layer]) as calls:
            model(x)
        return (closed_form_maps(head.feature_map(calls), weight, target),)

    return pictures.run(step, batch, None)[0]
