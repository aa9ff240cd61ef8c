"""How far two networks are apart: in their weights, in what they predict, and in which errors they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import log_softmax

from ralr_viz.analysis.angle import angle_between
from ralr_viz.analysis.comparison import check_same_images_and_classes
from ralr_viz.analysis.predictions import predictions_of
from ralr_viz.comparison import Comparison, Progress
from ralr_viz.comparison.network import plain_network
from ralr_viz.comparison.pairs import describe_pairs, pair_networks
from ralr_viz.errors import InputError
from ralr_viz.nouns import check
from ralr_viz.nouns import distance as options
from ralr_viz.nouns.option import NULL_PAIRS, SEED
from ralr_viz.results.distance import DistanceResult, jensen_shannon
from ralr_viz.results.predictions import PredictionsResult

Weights = Mapping[str, np.ndarray]
"""Parameters of a network by name, float64."""


def compute_distance(
    comparison: Comparison,
    *,
    null_pairs: int = NULL_PAIRS.default,
    seed: int = SEED.default,
    progress: Progress | None = None,
) -> DistanceResult:
    """Distance of the parameters, disagreement and divergence of the predictions, agreement of the errors.

    `DistanceResult` defines each number. Networks predict in eval mode, with BatchNorm's own running statistics, which are no
    part of the distance. A network that is in several pairs is run once.

    Args:
        comparison: Every two networks are a pair, all of one architecture, on labelled images.
        null_pairs: So many pairs at the end show what differs without the change that is studied, such as two seeds.
        seed: Of the bootstrap over images.
        progress: Called as ``progress(done, total, what)``.

    Raises:
        InputError: An odd number of networks, networks of different architectures, no labels, outputs that are not
            finite, or an option out of its range.
    """
    check(options.SPEC.options, null_pairs=null_pairs, seed=seed)
    pairs = pair_networks(comparison, null_pairs)
    samples = comparison.labelled()
    shapes = _shapes(_parameters(comparison, 0))
    layers = [name for name, shape in shapes.items() if len(shape) > 1]
    apart = []
    for pair in pairs:
        first, second = (_parameters(comparison, i) for i in (pair.first, pair.second))
        _check_same(shapes, first, pair.name)
        _check_same(shapes, second, pair.name)
        apart.append(_between(first, second, layers))
    predictions = predictions_of(comparison, progress)
    check_same_images_and_classes(predictions)
    both = [(predictions[pair.first], predictions[pair.second]) for pair in pairs]
    return DistanceResult(
        models=tuple(pair.name for pair in pairs),
        states=tuple(pair.states for pair in pairs),
        null=tuple(i >= len(pairs) - null_pairs for i in range(len(pairs))),
        layers=tuple(name.removesuffix(".weight") for name in layers),
        **{name: np.array([one[name] for one in apart]) for name in apart[0]},
        indices=predictions[0].indices,
        labels=predictions[0].labels,
        predicted=np.stack([[one.predicted for one in two] for two in both]),
        divergence=np.stack([_divergence(*two) for two in both]),
        dataset=samples.dataset,
        split=samples.split,
        device=str(comparison.runtime.device),
        precision=comparison.runtime.precision,
        seed=seed,
        provenance={"checkpoints": describe_pairs(comparison, pairs)},
    )


def _parameters(comparison: Comparison, i: int) -> Weights:
    network = plain_network(comparison.build(i))
    return {name: value.detach().cpu().double().numpy() for name, value in network.named_parameters()}


def _shapes(weights: Weights) -> dict[str, tuple[int, ...]]:
    return {name: value.shape for name, value in weights.items()}


def _check_same(shapes: Mapping[str, tuple[int, ...]], weights: Weights, pair: str) -> None:
    if _shapes(weights) != shapes:
        raise InputError(
            f"`{pair}` has other weights than the first network: compare networks of one architecture"
        )


def _between(first: Weights, second: Weights, layers: Sequence[str]) -> dict[str, Any]:
    """Norms, distance and angle of all parameters and of each layer."""
    whole = [np.concatenate([value.ravel() for value in one.values()]) for one in (first, second)]
    each = [(first[name].ravel(), second[name].ravel()) for name in layers]
    return {
        "norms": [np.linalg.norm(one) for one in whole],
        "distances": np.linalg.norm(whole[1] - whole[0]),
        "angles": angle_between(*whole),
        "layer_norms": [[np.linalg.norm(two[k]) for two in each] for k in (0, 1)],
        "layer_distances": [np.linalg.norm(b - a) for a, b in each],
        "layer_angles": [float(angle_between(a, b)) for a, b in each],
    }


def _divergence(first: PredictionsResult, second: PredictionsResult) -> np.ndarray:
    a, b = (log_softmax(one.logits.astype(np.float64), axis=1) for one in (first, second))
    return jensen_shannon(a, b)
