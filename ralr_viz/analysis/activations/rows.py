"""How the activations of a network move between two states of it (paper section 2 and Figure 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from ralr_viz.analysis.activations.histogram import HALF, align
from ralr_viz.analysis.activations.statistics import LayerStatistics, PairPass
from ralr_viz.analysis.maps import Shape
from ralr_viz.analysis.pictures import Pictures, check_images, check_targets
from ralr_viz.analysis.sentences import Sentences, default_layers, open_sentences
from ralr_viz.analysis.stages import common_stages, find_stage_axes
from ralr_viz.comparison import Comparison, Progress, Samples
from ralr_viz.comparison.pairs import describe_pairs, pair_networks
from ralr_viz.comparison.precision import in_its_precision
from ralr_viz.errors import InputError
from ralr_viz.nouns import activations as options
from ralr_viz.nouns import check
from ralr_viz.results.activations import ActivationsResult, wasserstein_distance

GROUPS = 20
"""Groups of images for the jackknife."""


@in_its_precision
def compute_activations(
    comparison: Comparison,
    *,
    layers: Sequence[str] | None = options.LAYERS.default,
    image: int | None = options.IMAGE.default,
    progress: Progress | None = None,
) -> ActivationsResult:
    """Histograms of each layer's activations in an earlier and a later network, and how far units moved.

    One pass over the images for each pair. Memory depends on the networks and the batch, not on how many
    images there are: histograms, sums and largest values are all that is kept.

    Args:
        comparison: Every two networks are a row of the figure, of one architecture, the earlier one first; rows may
            differ in theirs, and each network in its normalisation. Of networks that translate, inner units are looked
            at by their means over the pieces of a sentence. Batches have 256 images where it says none, and
            fewer where a network's maps are very large. Statistics are float32 values summed in float64, whatever
            the precision of the forward pass.
        layers: Modules to look at, in every network; when left out, those of `find_stages`.
        image: Only this one of all images of the split, from 0.
        progress: Called as ``progress(done, total, what)``, after each batch.

    Raises:
        InputError: An odd number of networks, networks that cannot be compared, without any map, or with
            activations that are not finite, images of another shape or type, or no such image.
        UnknownNameError: No module of a name in ``layers``.

    Example:
        >>> pair = compare(["runs/R/ralr/seed0@200", "runs/R/ralr/seed0@300"])  # doctest: +SKIP
        >>> compute_activations(pair).measure("relative_change").value  # (1, layers)  # doctest: +SKIP
    """
    check(options.SPEC.options, layers=layers, image=image)
    pairs, runtime, batch = pair_networks(comparison), comparison.runtime, comparison.batch_size(256)
    sentences = open_sentences(comparison)
    if sentences is None:
        images, selection = _choose_images(comparison.labelled(), image)
        check_images(images, batch)
    else:
        images, selection = _choose_sentences(sentences, image)
        sentences = replace(sentences, images=images)
    n = len(images)
    targets, groups = check_targets(None, n), min(GROUPS, n)
    ends = [(pair.first, pair.second) for pair in pairs]
    views: list[list[Pictures | Sentences]] = [
        [
            sentences or Pictures.on_device(images, targets, network.mean, network.std, runtime)
            for network in (comparison.networks[i] for i in two)
        ]
        for two in ends
    ]
    networks: list[list[nn.Module]] = [
        [sentences.build(comparison, i) if sentences else comparison.build(i).to(runtime.device) for i in two]
        for two in ends
    ]
    layers = default_layers(networks[0], layers, "inner")
    # before any pass over the images, which takes longer
    found = [
        common_stages(pair.name, two, [picture.probe() for picture in view], layers)
        for pair, two, view in zip(pairs, networks, views, strict=True)
    ]
    rows = tuple(pair.name for pair in pairs)
    _check_columns(rows, found)
    passes = [
        PairPass(stages, find_stage_axes(two[0], view[0].probe(), stages), groups, runtime)
        for stages, two, view in zip(found, networks, views, strict=True)
    ]
    for i, (one, two, view) in enumerate(zip(passes, networks, views, strict=True)):
        report = None if progress is None else partial(_report, progress, i * n, len(pairs) * n)
        one.run(two, view, batch, report)
        one.check_finite([f"{rows[i]}, {state}" for state in pairs[i].states])
    result = ActivationsResult(
        rows=rows,
        checkpoints=tuple(pair.states for pair in pairs),
        layers=tuple(tuple(stages) for stages in found),
        shapes=tuple(tuple(stages.values()) for stages in found),
        **_collect(passes, np.bincount(np.arange(n) % groups)),
        selection=selection,
        dataset=comparison.samples.dataset,
        split=comparison.samples.split,
        image=image,
        samples_name="images" if sentences is None else "sentences",
    )
    described = [
        {"row": entry.pop("pair"), "name": entry.pop("state")} | entry
        for entry in describe_pairs(comparison, pairs)
    ]
    provenance = {
        "checkpoints": described,
        "recipe": comparison.networks[0].recipe,
        "device": runtime.device.type,
        "precision": runtime.precision,
        "summary": result.summary(),
    }
    return replace(result, provenance=provenance)


def _choose_images(samples: Samples, image: int | None) -> tuple[np.ndarray, str]:
    """The images (n, H, W, 3), and which they are in words."""
    if image is None:
        return samples.images, samples.selection
    n = len(samples)
    if samples.limit is not None:
        raise InputError(
            f"`--image {image}` is one image and `--limit {samples.limit}` several: give one of the two"
        )
    if image >= n:
        raise InputError(f"`--image {image}` is not there: the {samples.called} are 0 to {n - 1}")
    return samples.images[image : image + 1], f"image {image} of the {n:,} {samples.called}"


def _choose_sentences(sentences: Sentences, image: int | None) -> tuple[np.ndarray, str]:
    """Places (n,) in the split, and which they are in words."""
    rows = sentences.images
    if image is None:
        return rows, f"{len(rows):,} {sentences.split} sentences, means over their pieces"
    if image >= len(rows):
        raise InputError(f"`--image {image}` is not there: the sentences are 0 to {len(rows) - 1}")
    return rows[image : image + 1], f"sentence {image} of {len(rows):,}, means over its pieces"


def _collect(passes: Sequence[PairPass], sizes: np.ndarray) -> dict[str, Any]:
    """The arrays of an `ActivationsResult` from all pairs and the images of each group (G,)."""
    rows = [list(one.statistics.values()) for one in passes]
    units = np.array([list(one.units.values()) for one in passes])
    layers = [
        _collect_layer(column, units[:, i, None, None] * sizes)
        for i, column in enumerate(zip(*rows, strict=True))
    ]
    return {
        "bin_widths": np.array([layer["width"] for layer in layers]),
        "bin_starts": np.array([layer["start"] for layer in layers], dtype=np.int64),
        "bin_numbers": tuple(layer["counts"].shape[-1] for layer in layers),
        "counts": np.concatenate([layer["counts"].ravel() for layer in layers]),
        "zeros": np.stack([layer["zeros"] for layer in layers], axis=-1),
        "floors": np.stack([layer["floors"] for layer in layers], axis=-1),
        "distances_without": np.stack([layer["without"] for layer in layers], axis=1),
        "group_images": sizes.astype(np.int64),
        "shifts": np.array([[float(layer.shift or 0) for layer in row] for row in rows]),
        "sums": np.array([[layer.sums.T.cpu().numpy() for layer in row] for row in rows]),
        "dead_channels": np.moveaxis(
            np.array([[(layer.peaks <= 0).sum(1).cpu().numpy() for layer in row] for row in rows]), -1, 1
        ),
    }


def _collect_layer(column: Sequence[LayerStatistics], totals: np.ndarray) -> dict[str, Any]:
    """Counts of one layer on common edges, of which only the used ones are kept, and their distances.

    Args:
        column: R rows.
        totals: (R, 1, G) units of each group's images.
    """
    histograms = [histogram for statistics in column for histogram in statistics.histograms]
    align(histograms)
    groups = np.stack([histogram.counts.cpu().numpy() for histogram in histograms])
    groups = groups.reshape(len(column), 2, *groups.shape[1:])  # (R, 2, G, bins)
    zeros = totals - groups.sum(axis=-1)
    used = np.flatnonzero(groups.any(axis=(0, 1, 2)))
    first, end = (used[0], used[-1] + 1) if used.size else (HALF, HALF + 1)
    groups = groups[..., first:end]
    counts = groups.sum(axis=2)
    distance = partial(wasserstein_distance, start=int(first) - HALF, width=histograms[0].width)
    without = np.full((len(column), groups.shape[2]), np.nan)
    floors = np.full(counts.shape[:2], np.nan)
    if groups.shape[2] > 1:
        rest, rest_zeros = counts[:, :, None] - groups, zeros.sum(axis=2, keepdims=True) - zeros
        without = distance(np.swapaxes(rest, 1, 2), np.swapaxes(rest_zeros, 1, 2))
        halves = [(groups[:, :, i::2].sum(axis=2), zeros[:, :, i::2].sum(axis=2)) for i in range(2)]
        floors = distance(*(np.stack(part, axis=2) for part in zip(*halves, strict=True)))
    return {
        "width": histograms[0].width,
        "start": int(first) - HALF,
        "counts": counts,
        "zeros": zeros.sum(axis=2),
        "without": without,
        "floors": floors,
    }


def _check_columns(rows: Sequence[str], found: Sequence[dict[str, Shape]]) -> None:
    for row, stages in zip(rows, found, strict=True):
        if len(stages) != len(found[0]):
            raise InputError(
                f"`{row}` has {len(stages)} layers ({', '.join(stages)}) and `{rows[0]}` has "
                f"{len(found[0])} ({', '.join(found[0])}): draw them one by one, or name as many with --layer"
            )


def _report(progress: Progress, before: int, total: int, done: int) -> None:
    progress(before + done, total, "activations")
