"""Neural collapse (NC1–NC4) and class separation of penultimate features, on training and test images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import nn

from ralr_viz.analysis.collapse.neural_collapse import class_means, spread_over_classes
from ralr_viz.analysis.collapse.split_features import SplitFeatures
from ralr_viz.analysis.comparison import check_same_images_and_classes, describe_networks, describe_runtime
from ralr_viz.analysis.predictions import predictions_of
from ralr_viz.analysis.separation import group_by_class
from ralr_viz.comparison import Comparison, Progress
from ralr_viz.errors import InputError
from ralr_viz.nouns import check
from ralr_viz.nouns import collapse as options
from ralr_viz.nouns.option import RESAMPLES, SEED
from ralr_viz.results.collapse import METRICS, SPLITS, CollapseResult
from ralr_viz.results.predictions import PredictionsResult

_SUBSET = 5000
"""Images of the silhouette and the nearest neighbours, whose cost grows with the square of their number."""


def compute_collapse(
    compared: Comparison | Sequence[PredictionsResult],
    train: Comparison | Sequence[PredictionsResult] | None = None,
    *,
    classifiers: Sequence[np.ndarray | None] | None = None,
    k: int = options.NEAREST.default,
    resamples: int = RESAMPLES.default,
    seed: int = SEED.default,
    progress: Progress | None = None,
) -> CollapseResult:
    """NC1–NC4, silhouette, Davies–Bouldin index and kNN accuracy; `CollapseResult` defines each.

    The bootstrap draws images with replacement, the same for all networks. NC1, NC2 and NC3 are computed anew
    from draws within each class, and Davies–Bouldin to first order in the shift of the means. The others, the
    silhouette by its influence function, and NC4 (the training means stay) and kNN accuracy by the images' own
    values, are averaged anew over draws from all images. The draws of what
    rests on class means are divided by ``draw_ratio``: a resample's means carry their noise twice.

    Silhouette and kNN accuracy are of at most 5,000 images, evenly spread within each class.

    Args:
        compared: Networks on labelled held-out images, or their predictions.
        train: The same networks in the same order on training images of the same classes, whose means NC4 takes for
            both splits; left out, as many images of the training split of the data set (`Comparison.on`).
        classifiers: Weight (classes, width) of the linear layer that gives each network's logits, or None;
            for NC3. Left out, they are read from the networks of a comparison.
        k: Nearest others that vote; fewer where there are fewer images.
        resamples: Of the bootstrap, 2 or more.
        seed: Of the bootstrap.
        progress: Called as ``progress(done, total, what)``.

    Raises:
        InputError: No networks, no training images or only these, other networks on them, other images for one
            than for another, no labels, a class of one image, one class only, other classes in the two splits, a classifier
            of another shape, or an option out of its range.

    Example:
        >>> pair = compare(["runs/R/baseline/seed0", "runs/R/ralr/seed0"], limit=10_000)  # doctest: +SKIP
        >>> compute_collapse(pair).measure("nc1", "test").interval(1)  # doctest: +SKIP
    """
    check(options.SPEC.options, k=k, resamples=resamples, seed=seed)
    if train is None:
        train = _on_training_images(compared)
    test, trained = (
        predictions_of(images, _of_split(progress, split))
        for split, images in zip(SPLITS, (compared, train), strict=True)
    )
    weights = _find_classifiers(compared, test) if classifiers is None else list(classifiers)
    _check(test, trained, weights)
    total, done = len(SPLITS) * len(test) * 2, 0

    def step() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total, "collapse")

    trained_means = [class_means(p.features, p.labels) for p in trained]
    shape = (len(test), len(SPLITS), len(METRICS))
    values, ratio = np.empty(shape), np.ones(shape)
    draws = np.empty((*shape, resamples))
    subsets = []
    for s, predictions in enumerate((test, trained)):
        order, bounds = group_by_class(predictions[0].labels)
        subset = spread_over_classes(bounds, _SUBSET)
        subsets.append(len(subset))
        for m, p in enumerate(predictions):
            split = SplitFeatures(p, order, bounds, subset, trained_means[m], weights[m], k)
            step()
            values[m, s], draws[m, s], ratio[m, s] = split.bootstrap(resamples, seed + s)
            step()
    device, precision = describe_runtime([*test, *trained])
    return CollapseResult(
        models=tuple(p.model for p in test),
        values=values,
        draws=draws,
        draw_ratio=ratio,
        images=(len(test[0].labels), len(trained[0].labels)),
        subset=(subsets[0], subsets[1]),
        classes=np.unique(test[0].labels),
        feature_widths=tuple(p.features.shape[1] for p in test),
        k=min(k, min(subsets) - 1),
        seed=seed,
        dataset=test[0].dataset,
        device=device,
        precision=precision,
        notes=tuple(_notes(test, weights, ratio)),
        train_loss=np.array([p.loss.mean() for p in trained]),
        provenance=describe_networks(test),
    )


def _on_training_images(compared: Comparison | Sequence[PredictionsResult]) -> Comparison:
    if isinstance(compared, Comparison):
        if compared.samples.split == "train":
            raise InputError("the networks are compared on training images: compare them on `test` or `val`")
        return compared.on("train")
    raise InputError("`train` is missing: give the predictions on training images, too")


def _of_split(progress: Progress | None, split: str) -> Progress | None:
    """Progress that says which split it is of."""
    if progress is None:
        return None
    return lambda done, total, what: progress(done, total, f"{what}, {split}")


def _find_classifiers(
    compared: Comparison | Sequence[PredictionsResult], predictions: Sequence[PredictionsResult]
) -> list[np.ndarray | None]:
    """Of a comparison's networks; predictions alone do not hold them."""
    if isinstance(compared, Comparison):
        return [read_classifier(compared.build(i), p) for i, p in enumerate(predictions)]
    return [None] * len(predictions)


def read_classifier(model: nn.Module, predictions: PredictionsResult) -> np.ndarray | None:
    """Weight (classes, width) float32 of the linear layer that gives a network's logits from its features.

    Args:
        model: The network of the predictions.
        predictions: Which name that layer.

    Returns:
        None where no linear layer gives the logits.
    """
    layer = dict(model.named_modules()).get(predictions.feature_layer)
    shape = (predictions.logits.shape[1], predictions.features.shape[1])
    if not isinstance(layer, nn.Linear) or tuple(layer.weight.shape) != shape:
        return None
    return layer.weight.detach().float().cpu().numpy().copy()


def _check(
    test: Sequence[PredictionsResult],
    train: Sequence[PredictionsResult],
    weights: Sequence[np.ndarray | None],
) -> None:
    check_same_images_and_classes(test)
    check_same_images_and_classes(train)
    if [p.model for p in test] != [p.model for p in train] or len(weights) != len(test):
        raise InputError(
            f"`test` has {len(test)} networks, `train` {len(train)} and `classifiers` {len(weights)}: give the same "
            "networks in the same order"
        )
    classes = np.unique(test[0].labels)
    if not np.array_equal(classes, np.unique(train[0].labels)):
        raise InputError(
            f"the {len(classes)} classes of the test images are not the {len(np.unique(train[0].labels))} of the "
            "training images: take more images of each split"
        )
    for p, other, weight in zip(test, train, weights, strict=True):
        shape = (p.logits.shape[1], p.features.shape[1])
        if weight is not None and weight.shape != shape:
            raise InputError(f"the classifier of `{p.model}` is {weight.shape}, its features need {shape}")
        if other.features.shape[1] != shape[1]:
            raise InputError(
                f"`{p.model}` has {shape[1]} features on test and {other.features.shape[1]} on training images: "
                "compute both of one network"
            )
        if not np.ptp(p.features, axis=0).any() or not np.ptp(other.features, axis=0).any():
            raise InputError(f"the features of `{p.model}` do not vary: there is nothing to separate")


def _notes(
    predictions: Sequence[PredictionsResult], weights: Sequence[np.ndarray | None], ratio: np.ndarray
) -> list[str]:
    notes = [f"{p.model}: {note}" for p in predictions for note in p.notes]
    notes += [
        f"{p.model}: no linear layer gives the logits, so there is no NC3"
        for p, weight in zip(predictions, weights, strict=True)
        if weight is None
    ]
    if len(np.unique(predictions[0].labels)) == 2:
        notes.append(
            "NC2 is not defined for two classes: their centred means are always opposite and equally long"
        )
    nc1 = ratio[:, 0, list(METRICS).index("nc1")]
    low, high = f"{nc1.min():.3f}", f"{nc1.max():.3f}"
    notes.append(
        f"NC1 of a resample of the test images was {low if low == high else f'{low} to {high}'} times the sample's on "
        "average, as its class means are noisier; the intervals are around the sample's, whose own means are noisy "
        "too: of fewer images NC1 is lower"
    )
    return notes
