"""Loss and accuracy of the networks of a comparison, ours or other people's."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ralr_viz.comparison import Comparison
from ralr_viz.comparison.precision import in_its_precision
from ralr_viz.errors import InputError
from ralr_viz.tasks.classification.evaluate import Evaluation, evaluate


@in_its_precision
def evaluate_networks(comparison: Comparison) -> tuple[Evaluation, ...]:
    """Loss (nats), top-1 and top-5 accuracy (per cent) of each network.

    Args:
        comparison: Classifiers on labelled images. Batches have 500 images where it says none.

    Raises:
        InputError: No images, a label outside a network's classes, or outputs that are not finite.
    """
    return tuple(_evaluate(comparison, i) for i in range(len(comparison)))


@in_its_precision
def score_networks(comparison: Comparison) -> tuple[dict[str, float | None], ...]:
    """Losses and scores of each network on all that its task's epochs are measured on, as a record has them.

    Args:
        comparison: Of runs of a task that is no classification, such as ``val_loss`` and ``test_map50`` of a detector.

    Raises:
        InputError: The networks are compared on images, or a network's loss is not finite.
    """
    runtime = comparison.runtime
    make = getattr(comparison.task, "evaluator", None)  # which an objective of the caller's own has not
    if make is None:
        raise InputError("networks on images of one class each are scored by `evaluate_networks`")
    evaluator, found = make(runtime), []
    for i in range(len(comparison)):
        record = evaluator(runtime.place(comparison.build(i)))
        if not all(value is None or math.isfinite(value) for value in record.values()):
            raise InputError(
                "the network's outputs are not finite: the checkpoint has diverged, choose an earlier one"
            )
        found.append(record)
    return tuple(found)


@in_its_precision
def evaluate_one(
    comparison: Comparison, i: int, *, model: nn.Module | None = None, each: list[Tensor] | None = None
) -> Evaluation:
    """Loss and accuracy of network i, or of ``model`` in its place, which has its normalisation.

    Args:
        comparison, i: Classifiers on labelled images, and which of them.
        model: Other weights of the network.
        each: Takes each image's loss and correctness, see `evaluate`.

    Raises:
        InputError: As `evaluate_networks`, but for outputs that are not finite.
    """
    runtime, samples = comparison.runtime, comparison.labelled()
    placed = runtime.place(comparison.build(i) if model is None else model)
    scale, batch = scale_on(comparison, i), comparison.batch_size()
    return evaluate(placed, samples.images, samples.labels, *scale, runtime, batch=batch, each=each)


def scale_on(comparison: Comparison, i: int) -> tuple[Tensor, Tensor]:
    """Mean and std (3,) by which network i's images are normalised, on the device."""
    network, device = comparison.networks[i], comparison.runtime.device
    mean, std = (
        torch.tensor(values, dtype=torch.float32, device=device) for values in (network.mean, network.std)
    )
    return mean, std


def _evaluate(comparison: Comparison, i: int) -> Evaluation:
    found = evaluate_one(comparison, i)
    if not math.isfinite(found.loss):
        raise InputError(
            "the network's outputs are not finite: the checkpoint has diverged, choose an earlier one"
        )
    return found
