"""Maps of several networks against bounding boxes: every number of the localisation, with its resamples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ralr_viz.analysis.comparison import (
    check_same_images_and_classes,
    describe_networks,
    describe_runtime,
)
from ralr_viz.analysis.localisation.faithfulness import Faithfulness
from ralr_viz.analysis.localisation.sanity import Cascade
from ralr_viz.analysis.localisation.strata import stratum_means, target_strata
from ralr_viz.comparison import Progress
from ralr_viz.errors import InputError
from ralr_viz.nouns.option import RESAMPLES, SEED
from ralr_viz.results.box_metrics import (
    box_area,
    centre_box_overlap,
    centre_energy_in_box,
    centre_pointing_accuracy,
    centre_rank_accuracy,
    energy_in_box,
    map_box_overlap,
    pointing_accuracy,
    rank_accuracy,
)
from ralr_viz.results.localisation import (
    BASELINES,
    CONTROLS,
    FAITHFULNESS,
    METRICS,
    SMALL_AREA,
    STRATA,
    SURE,
    LocalisationResult,
)
from ralr_viz.results.mask_metrics import (
    centre_in_mask,
    energy_in_mask,
    mask_area,
    pointing_in_mask,
    rank_in_mask,
)
from ralr_viz.results.predictions import PredictionsResult
from ralr_viz.results.uncertainty import bootstrap_weights

OVERLAPS = (0.3, 0.5, 0.7)
"""Of box accuracy, those of MaxBoxAccV2; how the box of a map is found is not (`LocalisationResult`)."""
_THRESHOLDS = np.round(np.arange(0.05, 1, 0.05), 2)
_RESAMPLES_AT_ONCE = 64


def score_maps(
    predictions: Sequence[PredictionsResult],
    boxes: np.ndarray,
    image_size: tuple[int, int],
    *,
    masks: np.ndarray | None = None,
    sanity: Sequence[Cascade] = (),
    faithfulness: Sequence[Faithfulness] = (),
    resamples: int = RESAMPLES.default,
    seed: int = SEED.default,
    progress: Progress | None = None,
) -> LocalisationResult:
    """What `compute_localisation` gives, of predictions with maps, boxes and what the checks found.

    Args:
        predictions: Of one network or more with maps, on the same labelled images in the same order.
        boxes: (n, 4) integer ``x0 y0 x1 y1`` of these images, inclusive pixel indices, −1 where there is none.
        image_size: (H, W) in pixels, of the images and boxes.
        masks: (n, H, W) bool, the pixels of each object; left out, the boxes are all that is known.
        sanity: What `randomise_cascade` found for each network; or nothing.
        faithfulness: What `measure_faithfulness` found for each network on the same images; or nothing.
        resamples: Of the bootstrap, 2 or more.
        seed: Of the bootstrap.
        progress: Called as ``progress(done, total, what)``.

    Raises:
        InputError: No networks, other images in one than in another, no labels, no maps, no boxes, fewer than
            two images with a proper box, or checks of another number of networks.
    """
    check_maps(predictions, boxes)
    for name, checked in (("sanity", sanity), ("faithfulness", faithfulness)):
        if len(checked) not in (0, len(predictions)):
            raise InputError(
                f"`{name}` has {len(checked)} entries for {len(predictions)} networks: give one for each"
            )
    kept, area = find_proper_boxes(boxes, image_size)
    if masks is not None:
        masks = masks[kept]
        area = mask_area(masks)
        if np.isnan(area).any():
            raise InputError(
                f"{int(np.isnan(area).sum())} images with a box have an empty mask: give a mask to each, or none at all"
            )
    dropped = len(boxes) - len(kept)
    labels, boxes = predictions[0].labels[kept], boxes[kept]
    total = len(predictions) + 1
    tuned = np.arange(len(kept)) % 2 == 0
    scored = []
    for done, p in enumerate(predictions, 1):
        scored.append(_score(p, kept, boxes, masks, image_size, tuned))
        if progress is not None:
            progress(done, total, "boxes")
    correct = np.stack([(p.predicted == p.labels)[kept] for p in predictions])
    strata = np.stack([area < SMALL_AREA, np.ones(len(kept), dtype=bool), correct.all(axis=0)])
    each = np.stack([_quantities(s, right, tuned) for s, right in zip(scored, correct, strict=True)])
    counts = (strata[:, None] & ~np.isnan(each[0])).sum(axis=2)
    side, blind = _blind_quantities(boxes, masks, image_size, area, tuned)

    draws = np.empty((len(predictions), len(STRATA), len(METRICS), resamples))
    target = np.stack([p.true_probability[kept] for p in predictions])
    rank = np.stack([s.each["rank"] for s in scored])
    sure = target_strata(target)
    sure_draws = np.empty((len(predictions), len(SURE), resamples))
    at = 0
    for weights in bootstrap_weights([(0, len(kept))], resamples, _RESAMPLES_AT_ONCE, seed):
        draws[..., at : at + len(weights)] = _means(each, strata, weights)
        sure_draws[..., at : at + len(weights)] = stratum_means(rank, sure, weights)
        at += len(weights)
    if progress is not None:
        progress(total, total, "boxes")
    once = np.ones((1, len(kept)))
    device, precision = describe_runtime(predictions)
    first = predictions[0]
    zero = np.array([(p.true_maps[kept].max(axis=(1, 2)) <= 0).sum() for p in predictions])
    return LocalisationResult(
        models=tuple(p.model for p in predictions),
        indices=first.indices[kept],
        labels=labels,
        boxes=boxes.astype(np.int16),
        area=area,
        correct=correct,
        rank=rank,
        energy=np.stack([s.each["energy"] for s in scored]),
        pointing=np.stack([s.each["pointing"] for s in scored]),
        overlap=np.stack([s.overlap for s in scored]),
        values=_means(each, strata, once)[..., 0],
        baselines=_means(blind, strata, once)[..., 0],
        counts=counts,
        draws=draws,
        thresholds=np.array([s.threshold for s in scored]),
        centre_side=side,
        zero_maps=zero,
        dropped=dropped,
        image_size=image_size,
        map_sizes=tuple((int(p.true_maps.shape[1]), int(p.true_maps.shape[2])) for p in predictions),
        **_join_sanity(sanity, len(predictions)),
        **_join_faithfulness(faithfulness, len(predictions), resamples, seed),
        region="box" if masks is None else "mask",
        target=target,
        sure_values=stratum_means(rank, sure, once)[..., 0],
        sure_counts=sure.sum(axis=2),
        sure_draws=sure_draws,
        class_names=first.class_names,
        seed=seed,
        dataset=first.dataset,
        split=first.split,
        device=device,
        precision=precision,
        notes=tuple(_notes(predictions, zero, dropped)),
        provenance=describe_networks(predictions),
    )


def check_maps(predictions: Sequence[PredictionsResult], boxes: np.ndarray) -> None:
    """Refuse what maps cannot be held against boxes of.

    Raises:
        InputError: No networks, other images in one than in another, no labels, no maps, or not a box an image.
    """
    check_same_images_and_classes(predictions)
    if boxes.shape != (len(predictions[0].labels), 4):
        raise InputError(
            f"`boxes` is {boxes.shape}: one x0 y0 x1 y1 for each of {len(predictions[0].labels)} images"
        )
    for p in predictions:
        if not p.has_maps:
            raise InputError(
                f"`{p.model}` has no class activation maps in closed form, as its logits are no linear function of "
                "a pooled map: compare it with `ralr-viz cam`"
            )


def find_proper_boxes(boxes: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the boxes (n, 4) that lie in an image of that size, and their share of it.

    Raises:
        InputError: Fewer than two.
    """
    area = box_area(boxes, size)
    kept = np.flatnonzero(~np.isnan(area))
    if len(kept) < 2:
        raise InputError(
            f"{len(kept)} of {len(area)} images have a proper box: localisation needs two or more, take more images"
        )
    return kept, area[kept]


@dataclass(frozen=True, eq=False)
class _Scored:
    """One network's numbers of each image, its threshold and the overlap of its boxes (NaN where tuned)."""

    each: Mapping[str, np.ndarray]
    threshold: float
    overlap: np.ndarray


def _score(
    p: PredictionsResult,
    kept: np.ndarray,
    boxes: np.ndarray,
    masks: np.ndarray | None,
    size: tuple[int, int],
    tuned: np.ndarray,
) -> _Scored:
    maps = p.true_maps[kept]
    if masks is None:
        in_box = {"rank": rank_accuracy, "energy": energy_in_box, "pointing": pointing_accuracy}
        each = {name: number(maps, boxes, size) for name, number in in_box.items()}
    else:
        in_mask = {"rank": rank_in_mask, "energy": energy_in_mask, "pointing": pointing_in_mask}
        each = {name: number(maps, masks) for name, number in in_mask.items()}
    reached = box_accuracy(map_box_overlap(maps[tuned], boxes[tuned], size, _THRESHOLDS)).mean(axis=0)
    threshold = float(_THRESHOLDS[reached.argmax()])
    overlap = np.full(len(maps), np.nan)
    overlap[~tuned] = map_box_overlap(maps[~tuned], boxes[~tuned], size, np.array([threshold]))[:, 0]
    return _Scored(each, threshold, overlap)


def box_accuracy(overlap: np.ndarray) -> np.ndarray:
    """Share of `OVERLAPS` that each overlap reaches; NaN stays."""
    reached = (overlap[..., None] >= np.array(OVERLAPS)).mean(axis=-1)
    return np.where(np.isnan(overlap), np.nan, reached)


def _quantities(scored: _Scored, correct: np.ndarray, tuned: np.ndarray) -> np.ndarray:
    """The numbers (quantities, n) of each image in the order of `METRICS`."""
    top1 = np.where(tuned, np.nan, correct & (scored.overlap >= 0.5))
    found = {**scored.each, "box": box_accuracy(scored.overlap), "top1": top1}
    return np.stack([found[name] for name in METRICS])


def _blind_quantities(
    boxes: np.ndarray, masks: np.ndarray | None, size: tuple[int, int], area: np.ndarray, tuned: np.ndarray
) -> tuple[float, np.ndarray]:
    """Side of the best centred box on the tuned images, and the numbers (2, quantities, n) of `BASELINES`."""
    overlap = centre_box_overlap(boxes, size, _THRESHOLDS)
    best = int(box_accuracy(overlap[tuned]).mean(axis=0).argmax())
    nothing = np.full(len(area), np.nan)
    whole = box_accuracy(np.where(tuned, np.nan, box_area(boxes, size)))
    uniform = {"rank": area, "energy": area, "pointing": area, "box": whole}
    if masks is None:
        centre = {
            "rank": centre_rank_accuracy(boxes, size),
            "energy": centre_energy_in_box(boxes, size),
            "pointing": centre_pointing_accuracy(boxes, size),
        }
    else:
        centre = centre_in_mask(masks)
    centre["box"] = box_accuracy(np.where(tuned, np.nan, overlap[:, best]))
    found = dict(zip(BASELINES, (uniform, centre), strict=True))
    rows = [[found[blind].get(name, nothing) for name in METRICS] for blind in BASELINES]
    return float(_THRESHOLDS[best]), np.array(rows)


def _means(each: np.ndarray, strata: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted means (m, strata, quantities, b) of the images' numbers (m, quantities, n) that are not NaN."""
    known = ~np.isnan(each)
    used = strata[:, None] & known[:, None]  # (m, strata, quantities, n)
    total = np.where(used, np.nan_to_num(each)[:, None], 0) @ weights.T
    count = used.astype(np.float64) @ weights.T
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _join_sanity(found: Sequence[Cascade], count: int) -> dict[str, Any]:
    most = max((len(c.stages) for c in found), default=0)
    numbers = np.full((count, most, 3), np.nan)
    for i, cascade in enumerate(found):
        numbers[i, : len(cascade.stages)] = cascade.summarise()
    return {
        "sanity": numbers,
        "sanity_stages": tuple(c.stages for c in found) or ((),) * count,
        "sanity_images": found[0].spearman.shape[1] if found else 0,
    }


def _join_faithfulness(
    found: Sequence[Faithfulness], count: int, resamples: int, seed: int
) -> dict[str, Any]:
    shape = (count, len(FAITHFULNESS), len(CONTROLS))
    if not found:
        return {
            "faithfulness": np.full(shape, np.nan),
            "faithfulness_draws": np.zeros((*shape, 0)),
            "faithfulness_images": 0,
        }
    gains = np.stack([f.gains for f in found])  # (m, 3, 2, n)
    n = gains.shape[-1]
    weights = np.concatenate(list(bootstrap_weights([(0, n)], resamples, _RESAMPLES_AT_ONCE, seed)))
    return {
        "faithfulness": gains.mean(axis=-1),
        "faithfulness_draws": gains @ weights.T / n,
        "faithfulness_images": n,
    }


def _notes(predictions: Sequence[PredictionsResult], zero: np.ndarray, dropped: int) -> Iterator[str]:
    for p, count in zip(predictions, zero.tolist(), strict=True):
        yield from (f"{p.model}: {note}" for note in p.notes)
        if count:
            yield f"{p.model}: {count:,} maps have no positive value; their energy is that of a uniform map"
    if dropped:
        yield f"{dropped:,} images have no proper box (none, no width or no height) and are left out"
    if predictions[0].split == "train":
        yield "training images: networks know them, so compare on held-out ones"
