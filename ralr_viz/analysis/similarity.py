"""How alike two networks' representations are: unbiased minibatch CKA of every two layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ralr_viz.analysis.capture import capture
from ralr_viz.analysis.pictures import Pictures, check_images, check_targets
from ralr_viz.analysis.sentences import Sentences, default_layers, open_sentences
from ralr_viz.analysis.stages import common_stages, find_stages
from ralr_viz.comparison import Comparison, Progress
from ralr_viz.comparison.pairs import describe_pairs, pair_networks
from ralr_viz.comparison.precision import in_its_precision
from ralr_viz.errors import InputError
from ralr_viz.nouns import check
from ralr_viz.nouns import similarity as options
from ralr_viz.nouns.option import NULL_PAIRS, SEED
from ralr_viz.results.similarity import SimilarityResult
from ralr_viz.runtime.device import Runtime
from ralr_viz.tasks.eval_mode import eval_mode
from ralr_viz.tasks.exact import exact

Key = str | int
"""Tells networks apart, however often one is named."""


@in_its_precision
def compute_similarity(
    comparison: Comparison,
    *,
    layers: Sequence[str] | None = options.LAYERS.default,
    minibatch: int = options.MINIBATCH.default,
    null_pairs: int = NULL_PAIRS.default,
    seed: int = SEED.default,
    progress: Progress | None = None,
) -> SimilarityResult:
    """Unbiased minibatch CKA between the layers of two networks, for several pairs on the same images.

    A network that is in several pairs is built and run once.

    Args:
        comparison: Every two networks are a pair, all of one architecture and normalisation; of networks that
            translate, layers are looked at by their means over the pieces of a sentence and its reference. Images that are left
            over beyond the last whole minibatch are not used; its ``batch`` is not either.
        layers: Modules, in the order in which they are drawn; when left out, each block of each stage.
        minibatch: Images of a kernel matrix and of a forward pass, at least 4. It is part of the estimate:
            that is unbiased at any size, with less spread at larger ones. Kernels are computed in float64.
        null_pairs: So many pairs at the end show what differs without the change that is studied, such as two seeds.
        seed: Of the bootstrap over minibatches.
        progress: Called as ``progress(done, total, what)``, of images.

    Raises:
        InputError: An odd number of networks, networks of different architectures or normalisation, too few images,
            activations that are not finite, or an option out of its range.
        UnknownNameError: No module of a name in ``layers``.

    References:
        Kornblith et al., Similarity of neural network representations revisited, ICML 2019.
        Nguyen, Raghu, Kornblith, ICLR 2021, equations 2 and 3. Song et al., Feature selection via dependence
        maximization, JMLR 2012, equation 4.
    """
    check(options.SPEC.options, minibatch=minibatch, null_pairs=null_pairs, seed=seed)
    pairs, samples, runtime = pair_networks(comparison, null_pairs), comparison.samples, comparison.runtime
    sentences = open_sentences(comparison)
    indices = samples.indices if sentences is None else sentences.images
    if sentences is None:
        check_images(samples.images, minibatch)
    what = "images" if sentences is None else "sentences"
    if len(indices) < options.SMALLEST:
        raise InputError(
            f"{len(indices)} {what} are too few: the unbiased HSIC needs at least {options.SMALLEST}, take a larger --limit"
        )
    minibatch = min(minibatch, len(indices))
    pictures: Pictures | Sentences = sentences or Pictures.on_device(
        samples.images, check_targets(None, len(indices)), *comparison.common_scale(), runtime
    )
    keys = [network.identity for network in comparison.networks]
    networks: dict[Key, nn.Module] = {
        key: sentences.build(comparison, keys.index(key))
        if sentences
        else runtime.place(comparison.build(keys.index(key)))
        for key in dict.fromkeys(keys)
    }
    layers = default_layers(list(networks.values()), layers, "states")
    rows = tuple(pair.name for pair in pairs)
    probe = pictures.probe()
    chosen = _choose_layers(", ".join(rows), list(networks.values()), probe, layers)
    ends = [(keys[pair.first], keys[pair.second]) for pair in pairs]
    cross, own = _pass_over(pictures, networks, ends, chosen, minibatch, progress)
    result = SimilarityResult(
        models=rows,
        states=tuple(pair.states for pair in pairs),
        null=tuple(i >= len(pairs) - null_pairs for i in range(len(pairs))),
        layers=tuple(chosen),
        cross=cross,
        first_self=np.stack([own[first] for first, _ in ends]),
        second_self=np.stack([own[second] for _, second in ends]),
        minibatch=minibatch,
        indices=indices[: cross.shape[1] * minibatch],
        dataset=samples.dataset,
        split=samples.split,
        samples_name=what,
        device=str(runtime.device),
        precision=runtime.precision,
        seed=seed,
        provenance={"checkpoints": describe_pairs(comparison, pairs)},
    )
    _check_finite(result)
    return result


def _pass_over(
    pictures: Pictures | Sentences,
    networks: Mapping[Key, nn.Module],
    ends: Sequence[tuple[Key, Key]],
    layers: Sequence[str],
    minibatch: int,
    progress: Progress | None,
) -> tuple[np.ndarray, dict[Key, np.ndarray]]:
    """HSIC between the layers of the networks of each pair (m, B, L, L), and of each network's with itself (B, L)."""
    count = len(pictures.images) // minibatch
    kernels: dict[Key, Tensor] = {}
    cross: list[Tensor] = []
    selves: dict[Key, list[Tensor]] = {key: [] for key in networks}
    for b in range(count):
        x = pictures.load(b * minibatch, (b + 1) * minibatch)[0]
        for key, network in networks.items():
            kernels[key] = layer_kernels(network, x, layers, pictures.runtime)
            selves[key].append(hsic(kernels[key], kernels[key]).diagonal())
        cross.append(torch.stack([hsic(kernels[one], kernels[other]) for one, other in ends]))
        if progress is not None:
            progress((b + 1) * minibatch, count * minibatch, "images")
    own = {key: torch.stack(values).cpu().numpy() for key, values in selves.items()}
    return torch.stack(cross, dim=1).cpu().numpy(), own


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
    flat = exact(features.flatten(1))
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
