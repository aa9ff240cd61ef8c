"""How well the class activation maps of several networks point at the object, and what the maps are worth."""

from __future__ import annotations

import numpy as np

from ralr_viz.analysis.localisation.faithfulness import measure_faithfulness
from ralr_viz.analysis.localisation.sanity import randomise_cascade
from ralr_viz.analysis.localisation.scores import check_maps, find_proper_boxes, score_maps
from ralr_viz.analysis.localisation.true_maps import with_true_maps
from ralr_viz.analysis.predictions import compute_predictions
from ralr_viz.comparison import Comparison, Progress, Samples
from ralr_viz.comparison.precision import in_its_precision
from ralr_viz.errors import InputError
from ralr_viz.nouns import check
from ralr_viz.nouns import localisation as options
from ralr_viz.nouns.option import RESAMPLES, SEED
from ralr_viz.results.localisation import LocalisationResult
from ralr_viz.results.mask_metrics import mask_boxes


@in_its_precision
def compute_localisation(
    comparison: Comparison,
    *,
    sanity: int = options.SANITY.default,
    faithfulness: int = options.FAITHFULNESS.default,
    resamples: int = RESAMPLES.default,
    seed: int = SEED.default,
    progress: Progress | None = None,
) -> LocalisationResult:
    """Rank accuracy, energy in the box, box accuracy and pointing game; `LocalisationResult` defines each.

    Every image counts, with the map of its true class, whatever the network predicts: a network that
    classifies better must not localise better for that alone. Thresholds of the map boxes are chosen on the
    images with an even place in canonical order, which is by hash, and used on the others. The bootstrap
    draws images with replacement, the same for all networks.

    Beside them stand two checks of the maps themselves: `randomise_cascade` and `measure_faithfulness`.

    Where the images have masks, as those of `planted`, these stand in the place of the boxes in all but box accuracy
    and top-1 localisation. A network that is surer of the class may have better maps for that alone, so rank accuracy is
    also given within strata of the probability of the true class, and with these in the same proportion for all networks.

    Args:
        comparison: Networks on labelled images with boxes or masks. Maps are the closed form; of a network that has none
            Grad-CAM's, some three passes an image, whose units are the same.
        sanity: Images, evenly spread, of the first check; 0 for none.
        faithfulness: Of the second one, of some 90 forward passes an image and network; 0 for none.
        resamples: Of the bootstrap, 2 or more.
        seed: Of the bootstrap and of what is random in the checks.
        progress: Called as ``progress(done, total, what)``.

    Raises:
        InputError: No boxes, no labels, fewer than two images with a proper box, a network without maps, or an
            option out of its range.

    Example:
        >>> pair = compare(["runs/R/baseline/seed0", "runs/R/ralr/seed0"])  # doctest: +SKIP
        >>> compute_localisation(pair).measure("rank", "small").interval(1)  # doctest: +SKIP
    """
    check(options.SPEC.options, sanity=sanity, faithfulness=faithfulness, resamples=resamples, seed=seed)
    boxes, masks = _regions(comparison.labelled())
    size = (comparison.samples.images.shape[1], comparison.samples.images.shape[2])
    find_proper_boxes(boxes, size)  # refuse before the work
    predictions = tuple(
        with_true_maps(comparison, i, found, progress)
        for i, found in enumerate(compute_predictions(comparison, progress))
    )
    check_maps(predictions, boxes)
    networks = range(len(comparison))
    cascades, gains = [], []
    if sanity:
        part = comparison.take(_spread(len(boxes), sanity))
        cascades = [randomise_cascade(part, i, seed=seed, progress=progress) for i in networks]
    if faithfulness:
        rows = _spread(len(boxes), faithfulness)
        part = comparison.take(rows)
        gains = [
            measure_faithfulness(part, i, predictions[i].true_maps[rows], seed=seed, progress=progress)
            for i in networks
        ]
    return score_maps(
        predictions,
        boxes,
        size,
        masks=masks,
        sanity=cascades,
        faithfulness=gains,
        resamples=resamples,
        seed=seed,
        progress=progress,
    )


def _regions(samples: Samples) -> tuple[np.ndarray, np.ndarray | None]:
    """Boxes, around the masks where there are only these, and the masks."""
    masks = None if samples.masks is None else np.asarray(samples.masks)
    if samples.boxes is not None:
        return np.asarray(samples.boxes), masks
    if masks is not None:
        return mask_boxes(masks), masks
    if samples.dataset is None:
        raise InputError("the images have no bounding boxes: pass `boxes` to `compare`")
    raise InputError(
        f"`{samples.dataset}` has no bounding boxes: localisation needs data such as Tiny-ImageNet or `planted`"
    )


def _spread(total: int, count: int) -> np.ndarray:
    """Rows of ``count`` of the images, evenly spread; all where there are fewer."""
    count = min(total, count)
    return total * np.arange(count) // count
