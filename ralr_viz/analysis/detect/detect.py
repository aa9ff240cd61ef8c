"""Detections of several networks in the same images, chosen by a rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ralr_viz.analysis.detect.instance_map import Wanted, make_instance_map, map_layer_of
from ralr_viz.analysis.objects import Objects, Operating, open_objects
from ralr_viz.analysis.selection import select_images
from ralr_viz.comparison import Comparison, Progress
from ralr_viz.comparison.precision import in_its_precision
from ralr_viz.errors import InputError
from ralr_viz.nouns import check
from ralr_viz.nouns import detect as options
from ralr_viz.results.average_precision import FoundBoxes, Matches, match_boxes
from ralr_viz.results.detect import DetectResult
from ralr_viz.results.names import method_name
from ralr_viz.tasks.detection.pictures import shrink_picture

_LONGEST = 320
"""Pixels of a picture's longer side, as it is kept for drawing."""


@in_its_precision
def compute_detect(
    comparison: Comparison,
    *,
    rows: str = options.ROWS.default,
    count: int = options.COUNT.default,
    seed: int = options.SEED.default,
    score: float | None = options.SCORE.default,
    maps: bool = options.MAPS.default,
    progress: Progress | None = None,
) -> DetectResult:
    """What detectors find in a few images, beside the objects that there are.

    A detection counts from a score on: that of the network's highest F1, all classes together, on what was held out in
    training, else on the training images. It is true where it is the surest of its class that overlaps an object by
    half or more, see `match_boxes`; those of difficult objects are left out.

    Args:
        comparison: One detector or more, and how many images of a split to choose from.
        rows: ``random``; or ``gain`` or ``loss``, where the second network finds more objects than the first, or fewer,
            the most.
        count: Images to choose; fewer where the networks differ that way on fewer.
        seed: Of a random choice.
        score: Of all networks, instead of each one's own.
        maps: Also map what one detection an image rests on, see `make_instance_map`: of the object that all networks
            find and are the surest of, else of each network's surest detection.
        progress: Called as ``progress(done, total, what)``.

    Raises:
        InputError: The networks are no detectors, ``rows`` compares and there is one, or no image is as it asks for.
        UnknownNameError: No such rule.
    """
    check(options.SPEC.options, rows=rows, count=count, seed=seed, score=score)
    if rows != "random" and len(comparison) < 2:
        raise InputError(
            f"`--rows {rows}` compares the first two checkpoints, got {len(comparison)}: pass --ckpt twice"
        )
    objects = open_objects(comparison)
    tell = progress or (lambda done, total, what: None)
    operating, every = list[Operating](), list[FoundBoxes]()
    for i in range(len(comparison)):
        operating.append(Operating(score, float("nan")) if score is not None else objects.judge(i))
        every.append(objects.measure(i).found)
        tell(i + 1, len(comparison), "detections")
    shown = [_keep(found, found.score >= least.score) for found, least in zip(every, operating, strict=True)]
    matches = [match_boxes(objects.truth, found) for found in shown]
    picked, words = _choose(objects, matches, rows, count, seed)
    return _collect(objects, operating, shown, matches, picked, words, maps)


def _keep(found: FoundBoxes, kept: np.ndarray) -> FoundBoxes:
    return FoundBoxes(found.image[kept], found.label[kept], found.box[kept], found.score[kept])


def _choose(
    objects: Objects, matches: Sequence[Matches], rule: str, count: int, seed: int
) -> tuple[np.ndarray, str]:
    """Places among the images, and the rule in words."""
    n, split = len(objects.places), f"{objects.task.dataset.name} {objects.split}"
    if rule == "random":
        return select_images(n, count, seed, split=split)
    hits = [
        np.bincount(objects.truth.image[match.object[match.state == 1]], minlength=n) for match in matches[:2]
    ]
    sign, verb = (1, "more") if rule == "gain" else (-1, "fewer")
    gain = sign * (hits[1] - hits[0])
    order = np.argsort(-gain, kind="stable")
    chosen = order[gain[order] > 0][:count]
    first, second = (method_name(name) for name in objects.comparison.names[:2])
    if not len(chosen):
        raise InputError(
            f"in none of the {n:,} {split} images does {second} find {verb} objects than {first}: choose by `random`"
        )
    return chosen, (
        f"{len(chosen):,} of {n:,} {split} images where {second} finds {verb} objects than {first}, the most first: "
        "chosen by outcome, not typical"
    )


def _collect(
    objects: Objects,
    operating: Sequence[Operating],
    shown: Sequence[FoundBoxes],
    matches: Sequence[Matches],
    picked: np.ndarray,
    words: str,
    maps: bool,
) -> DetectResult:
    truth, places, comparison = objects.truth, objects.places[picked], objects.comparison
    kept = [np.flatnonzero(truth.image == image) for image in picked]
    hits = np.stack([np.isin(np.arange(len(truth.image)), m.object[m.state == 1]) for m in matches])
    chosen = np.concatenate(kept)
    place_of = np.full(len(truth.image) + 1, -1)  # the last is «none»
    place_of[chosen] = np.arange(len(chosen))
    found: dict[str, list[Any]] = {}
    for model, (boxes, match) in enumerate(zip(shown, matches, strict=True)):
        for at, image in enumerate(picked):
            rows = np.flatnonzero((boxes.image == image) & (match.state != 0))
            for name, values in {
                "model": np.full(len(rows), model),
                "image": np.full(len(rows), at),
                "label": boxes.label[rows],
                "box": boxes.box[rows],
                "score": boxes.score[rows],
                "true": match.state[rows] == 1,
                "object": np.where(match.state[rows] == 1, place_of[match.object[rows]], -1),
            }.items():
                found.setdefault(name, []).append(values)
    pictures = [shrink_picture(objects.store.images[int(place)], _LONGEST) for place in places]
    result = DetectResult(
        pixels=np.concatenate([picture.ravel() for picture in pictures]),
        shapes=np.array([picture.shape[:2] for picture in pictures], dtype=np.int64),
        indices=places.astype(np.int64),
        models=comparison.names,
        class_names=tuple(objects.task.dataset.class_names),
        thresholds=tuple(least.score for least in operating),
        f1=tuple(least.f1 for least in operating),
        judged=objects.judged,
        truth_image=np.repeat(np.arange(len(picked)), [len(rows) for rows in kept]),
        truth_label=truth.label[chosen],
        truth_box=truth.box[chosen],
        truth_difficult=truth.difficult[chosen],
        **_join(found),
        selection=words,
        dataset=objects.task.dataset.name,
        split=objects.split,
        size=objects.task.recipe.input_size,
        total=len(objects.places),
        changes=np.stack([(hits & ~hits[0]).sum(1), (~hits & hits[0]).sum(1)], axis=1),
        provenance=comparison.facts() | {"device": comparison.runtime.device.type, "precision": "fp32"},
    )
    return _add_maps(objects, result) if maps else result


def _join(found: dict[str, list[Any]]) -> dict[str, Any]:
    """The columns of all networks and images."""
    return {f"found_{name}": np.concatenate(values) for name, values in found.items()}


def _add_maps(objects: Objects, result: DetectResult) -> DetectResult:
    """The same with a map of one detection of each network in each image."""
    task, runtime = objects.task, objects.comparison.runtime
    of = "test" if objects.split == "test" else "train"
    priors, mapped = task.priors_on(runtime.device), result.choose_mapped()
    layers, made = list[str](), list[list[np.ndarray]]()
    for model in range(len(result.models)):
        network = runtime.place(objects.comparison.build(model)).eval()
        layers.append(map_layer_of(network))
        made.append([])
        for place, row in zip(result.indices, mapped[model].tolist(), strict=True):
            pictures = task.painter.make(of, np.array([place]))
            batch = task.prepare_batch(pictures, runtime.device, runtime.memory_format)
            wanted = None if row < 0 else Wanted(*result.detection(row))
            made[-1].append(make_instance_map(network, batch.images, priors, wanted))
    return replace(
        result,
        mapped=mapped,
        layers=tuple(layers),
        map_sizes=tuple((int(maps[0].shape[0]), int(maps[0].shape[1])) for maps in made),
        maps=np.concatenate([one.ravel() for maps in made for one in maps]),
    )
