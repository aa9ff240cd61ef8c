"""How alike two networks' representations are: unbiased minibatch CKA of every two layers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ralr_viz.analysis.capture import capture
from ralr_viz.analysis.pictures import PROBE_IMAGES, Pictures, check_images, check_targets
from ralr_viz.analysis.stages import common_stages, find_stages
from ralr_viz.comparison.network import plain_network
from ralr_viz.errors import InputError
from ralr_viz.results.similarity import SimilarityResult
from ralr_viz.train.evaluate import eval_mode
from ralr_viz.train.runtime import Runtime, resolve_runtime

MINIBATCH = 100
"""Images whose kernel matrix is held at a time."""
SMALLEST = 4
"""Images that the unbiased HSIC needs."""


def compute_similarity(
    pairs: Sequence[tuple[nn.Module, nn.Module]],
    images: np.ndarray,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    layers: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    states: Sequence[tuple[str, str]] | None = None,
    null: Sequence[bool] | None = None,
    minibatch: int = MINIBATCH,
    indices: np.ndarray | None = None,
    dataset: str | None = None,
    split: str | None = None,
    device: str = "cpu",
    precision: str = "fp32",
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
    provenance: dict[str, Any] | None = None,
) -> SimilarityResult:
    """Unbiased minibatch CKA between the layers of two networks, for several pairs on the same images.

    A network that is in several pairs is run once.

    Args:
        pairs: Networks, all of one architecture; they are left as they were.
        images: (n, H, W, 3) uint8; what is left over beyond the last whole minibatch is not used.
        mean, std: Per channel, in units of [0, 1], as in training; of all networks.
        layers: Modules, in the order in which they are drawn; when left out, each block of each stage.
        names: Of the pairs, unique; ``pair 1`` and so on when left out.
        states: What the two networks of each pair are.
        null: Whether a pair shows what differs without the change that is studied; none when left out.
        minibatch: Images of a kernel matrix and of a forward pass, at least 4. It is part of the estimate:
            that is unbiased at any size, with less spread at larger ones.
        indices: Positions of the images in the split; 0 … n − 1 when left out.
        dataset, split: As in `SimilarityResult`.
        device, precision: As ``--device``, ``--precision``; kernels are computed in float64.
        seed: Of the bootstrap over minibatches.
        progress: Called as ``progress(done, total)`` with the number of images.
        provenance: As in `Result`.

    Raises:
        InputError: No pair, networks of different architectures, too few images, or activations that are not
            finite.
        UnknownNameError: No module of a name in ``layers``.

    References:
        Kornblith et al., Similarity of neural network representations revisited, ICML 2019.
        Nguyen, Raghu, Kornblith, ICLR 2021, equations 2 and 3. Song et al., Feature selection via dependence
        maximization, JMLR 2012, equation 4.
    """
    if not pairs:
        raise InputError("no pair of networks was given: name two checkpoints")
    check_images(images, minibatch)
    minibatch = min(minibatch, len(images))
    if minibatch < SMALLEST:
        raise InputError(f"`minibatch` = {minibatch} images: the unbiased HSIC needs at least {SMALLEST}")
    runtime = resolve_runtime(device, precision)
    rows = tuple(names) if names is not None else tuple(f"pair {i}" for i in range(1, len(pairs) + 1))
    pictures = Pictures.on_device(images, check_targets(None, len(images)), mean, std, runtime)
    networks = {id(n): runtime.place(copy.deepcopy(plain_network(n))) for pair in pairs for n in pair}
    probe = pictures.load(0, PROBE_IMAGES)[0]
    chosen = _choose_layers(", ".join(rows), list(networks.values()), probe, layers)
    count = len(images) // minibatch
    kernels: dict[int, Tensor] = {}
    cross: list[Tensor] = []
    selves: dict[int, list[Tensor]] = {key: [] for key in networks}
    for b in range(count):
        x = pictures.load(b * minibatch, (b + 1) * minibatch)[0]
        for key, network in networks.items():
            kernels[key] = layer_kernels(network, x, chosen, runtime)
            selves[key].append(hsic(kernels[key], kernels[key]).diagonal())
        cross.append(torch.stack([hsic(kernels[id(one)], kernels[id(other)]) for one, other in pairs]))
        if progress is not None:
            progress((b + 1) * minibatch, count * minibatch)
    own = {key: torch.stack(values).cpu().numpy() for key, values in selves.items()}
    result = SimilarityResult(
        models=rows,
        states=tuple(states or [("first", "second")] * len(rows)),
        null=tuple(null) if null is not None else (False,) * len(rows),
        layers=tuple(chosen),
        cross=torch.stack(cross, dim=1).cpu().numpy(),
        first_self=np.stack([own[id(first)] for first, _ in pairs]),
        second_self=np.stack([own[id(second)] for _, second in pairs]),
        minibatch=minibatch,
        indices=(np.arange(len(images)) if indices is None else indices)[: count * minibatch],
        dataset=dataset,
        split=split,
        device=str(runtime.device),
        precision=runtime.precision,
        seed=seed,
        provenance=provenance or {},
    )
    _check_finite(result)
    return result


def hsic(first: Tensor, second: Tensor) -> Tensor:
    r"""Unbiased HSIC of every two of two stacks of kernel matrices.

    .. math:: \frac{1}{n(n-3)}\Big[\mathrm{tr}\,\tilde K\tilde L
        + \frac{1^\top\tilde K1\;1^\top\tilde L1}{(n-1)(n-2)} - \frac{2}{n-2}1^\top\tilde K\tilde L1\Big],

    where the tilde marks a diagonal of zeros. Adding a constant to all features changes nothing.

    Args:
        first: (L, n, n) symmetric, n ≥ 4, with zeros on the diagonals.
        second: (M, n, n) the same.

    Returns:
        (L, M).

    References:
        Song et al. 2012, equation 4.
    """
    n = first.shape[-1]
    rows = [kernels.sum(-1) for kernels in (first, second)]
    sums = [row.sum(-1) for row in rows]
    trace = first.flatten(1) @ second.flatten(1).T
    whole = torch.outer(*sums) / ((n - 1) * (n - 2))
    mixed = 2 / (n - 2) * rows[0] @ rows[1].T
    return (trace + whole - mixed) / (n * (n - 3))


def kernel(features: Tensor) -> Tensor:
    """Linear kernel (n, n) float64 of features (n, ...), zeros on the diagonal.

    The mean is taken off first, which HSIC does not see and which keeps digits.
    """
    flat = features.flatten(1)
    flat = flat.double() if flat.device.type != "mps" else flat.float()
    flat = flat - flat.mean(0)
    return (flat @ flat.T).fill_diagonal_(0)


@torch.no_grad()
def layer_kernels(network: nn.Module, x: Tensor, layers: Sequence[str], runtime: Runtime) -> Tensor:
    """Kernels (L, n, n) of what the layers return for normalised images (n, 3, H, W)."""
    with eval_mode(network), runtime.autocast(), capture(network, layers, keep=kernel) as calls:
        network(x)
    found = {call.name: call.outputs[0] for call in calls}
    return torch.stack([found[name] for name in layers])


def find_blocks(network: nn.Module, probe: Tensor) -> list[str]:
    """The blocks of each stage where a stage is a sequence of modules, else the stage itself, in order."""
    names: list[str] = []
    for stage in find_stages(network, probe):
        module = network.get_submodule(stage)
        inside = [name for name, _ in module.named_children()] if isinstance(module, nn.Sequential) else []
        names += [f"{stage}.{name}" for name in inside] or [stage]
    return names


def _choose_layers(
    called: str, networks: Sequence[nn.Module], probe: Tensor, layers: Sequence[str] | None
) -> list[str]:
    """Layers that all networks have, each of which runs once and returns activations."""
    probes = [probe] * len(networks)
    if layers is not None:
        return list(common_stages(called, networks, probes, layers))
    try:
        return list(common_stages(called, networks, probes, find_blocks(networks[0], probe)))
    except InputError:  # a block that runs twice or returns something else: whole stages
        return list(common_stages(called, networks, probes))


def _check_finite(result: SimilarityResult) -> None:
    broken = ~np.isfinite(result.first_self + result.second_self).all(axis=(1, 2))
    if broken.any():
        name = result.models[int(broken.argmax())]
        raise InputError(
            f"activations of `{name}` are not finite: a checkpoint has diverged, choose an earlier one"
        )
