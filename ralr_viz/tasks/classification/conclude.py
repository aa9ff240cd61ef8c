"""What is looked at once, when a training is over: its last state, on images that nothing has seen before."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from ralr_viz.data import Split
from ralr_viz.data.split import unused_train
from ralr_viz.recipe import Recipe
from ralr_viz.runtime.device import Runtime
from ralr_viz.tasks.classification.evaluate import evaluate

FinalSets = Mapping[str, tuple[Split, np.ndarray]]


def final_sets(
    recipe: Recipe, trained: Split, tested: Split, train: np.ndarray, held: np.ndarray
) -> FinalSets:
    """What the recipe leaves for the end: ``test``, ``unused``, both or neither.

    Args:
        recipe: Says so by ``evaluate_test`` and ``evaluate_unused``.
        trained, tested: The parts of the data set, as the network looks at them.
        train, held: Indices into the training images that are trained on and watched.

    Returns:
        A part of the data set and indices into it, by name.
    """
    sets = {}
    if recipe.evaluate_test == "end":
        sets["test"] = tested, np.arange(len(tested))
    if recipe.evaluate_unused == "end":
        sets["unused"] = trained, unused_train(len(trained), train, held)
    return sets


def score_final(
    model: nn.Module,
    build: Callable[[], nn.Module],
    sets: FinalSets,
    mean: Tensor,
    std: Tensor,
    runtime: Runtime,
) -> dict[str, Any]:
    """Score a trained network on each of the sets, in fp32 whatever it was trained in.

    Args:
        model: On the runtime's device; left as it is.
        build: Makes another of its architecture.
        sets: From `final_sets`.
        mean, std: (3,) float32 on the device, in units of [0, 1].
        runtime: Of the training.

    Returns:
        ``precision``, and for each set ``loss`` (nats), ``acc`` (per cent) and the number of images ``n``. Empty
        where there is none.
    """
    if not sets:
        return {}
    # a network of its own: a compiled one would be compiled again for fp32
    network = runtime.place(build())
    network.load_state_dict(model.state_dict())
    plain = dataclasses.replace(runtime, precision="fp32", compile=False)
    scores: dict[str, Any] = {"precision": plain.precision}
    for name, (split, indices) in sets.items():
        images, labels = split.images[indices], split.labels[indices].astype(np.int64)
        found = evaluate(network, images, labels, mean, std, plain)
        scores[name] = {"loss": found.loss, "acc": found.top1, "n": found.n}
    return scores
