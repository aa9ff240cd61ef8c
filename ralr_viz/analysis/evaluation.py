"""Loss and accuracy of the networks of a comparison, ours or other people's."""

from __future__ import annotations

import math

import torch

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


def _evaluate(comparison: Comparison, i: int) -> Evaluation:
    runtime, network, samples = comparison.runtime, comparison.networks[i], comparison.samples
    mean, std = (
        torch.tensor(values, dtype=torch.float32, device=runtime.device)
        for values in (network.mean, network.std)
    )
    model, batch = runtime.place(comparison.build(i)), comparison.batch_size()
    found = evaluate(model, samples.images, samples.labels, mean, std, runtime, batch=batch)
    if not math.isfinite(found.loss):
        raise InputError(
            "the network's outputs are not finite: the checkpoint has diverged, choose an earlier one"
        )
    return found
