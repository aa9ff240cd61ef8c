"""Whether a network's maps name the pixels it uses: deletion, insertion and ROAD, as gains over blind maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ralr_viz.analysis.localisation.imputation import Imputer
from ralr_viz.analysis.network import classifying
from ralr_viz.analysis.pictures import Pictures, check_images, check_targets
from ralr_viz.comparison import Comparison, Progress
from ralr_viz.errors import InputError
from ralr_viz.models.outputs import find_logits
from ralr_viz.results.interpolation import interpolate_maps
from ralr_viz.results.localisation import CONTROLS
from ralr_viz.runtime.device import Runtime

Score = Callable[[np.ndarray], np.ndarray]
"""Normalised images (b, 3, H, W) float32 to a number of each, (b,)."""

ROAD_SHARES = (0.2, 0.4, 0.6, 0.8)
"""Of the pixels that are taken away."""
_STREAM = 0x46414954
"""Second word of the seed ("FAIT")."""


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """What a network's own maps gain over maps that know nothing.

    Attributes:
        gains: (3, 2, n) float64: by deletion, insertion and ROAD, over a random and a centre map, of each image;
            in probability of the true class, positive where the own map is better.
    """

    gains: np.ndarray


def measure_faithfulness(
    comparison: Comparison,
    i: int,
    maps: np.ndarray,
    *,
    steps: int = 10,
    seed: int = 0,
    progress: Progress | None = None,
) -> Faithfulness:
    """Gains of a network's maps over a random and a centre map of the same coarseness.

    Scores of two networks differ by their confidence and robustness alone; the gain of a network's own map
    over a blind map, by the same network on the same image, does not measure these.

    Args:
        comparison: Its n images, of the classes whose probability is followed.
        i: The network, any classifier.
        maps: (n, h, w) signed maps of these classes.
        steps: Of the deletion and insertion curves, 1 or more.
        seed: Of random maps, ties and noise.
        progress: Called as ``progress(done, total, what)`` with the number of images.

    Raises:
        InputError: Images, labels or maps of another shape or range, or ``steps`` < 1.

    References:
        Petsiuk et al., RISE, BMVC 2018 (deletion, insertion). Rong et al., A consistent and efficient
        evaluation strategy for attribution methods, ICML 2022 (ROAD).
    """
    network, samples, runtime = comparison.networks[i], comparison.samples, comparison.runtime
    images, batch = samples.images, comparison.batch_size()
    check_images(images, batch)
    if maps.ndim != 3 or len(maps) != len(images) or steps < 1:
        raise InputError(
            f"`maps` is {maps.shape}, `steps` = {steps}: one map for each of {len(images)} images, and 1 or more"
        )
    model = runtime.place(network.build())
    targets = check_targets(samples.labels, len(images))
    pictures = Pictures.on_device(images, targets, network.mean, network.std, runtime)
    probe = pictures.probe()
    rng = np.random.default_rng([seed, _STREAM])
    size, imputer = images.shape[1:3], Imputer(images.shape[1:3])
    gains = np.empty((3, len(CONTROLS), len(images)))
    with classifying(model, probe, targets, len(samples.class_names) or None), torch.no_grad():
        for n in range(len(images)):
            x, target = pictures.load(n, n + 1)
            score = _scorer(model, int(target), runtime, batch)
            kinds = (maps[n], rng.standard_normal(maps[n].shape), _centre(size))
            noise = rng.standard_normal((3, *size))
            picture, found = x[0].float().cpu().numpy(), []
            for kind in kinds:
                order = pixel_order(interpolate_maps(kind, size), rng)
                road = road_score(picture, order, score, imputer, noise)
                found.append(
                    (-deletion(picture, order, score, steps), insertion(picture, order, score, steps), road)
                )
            own, *blind = np.array(found)
            gains[:, :, n] = np.stack([own - other for other in blind], axis=1)
            if progress is not None:
                progress(n + 1, len(images), f"faithfulness of {network.name}")
    return Faithfulness(gains)


def pixel_order(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Flat positions of a map's pixels (H, W), the highest first; equal ones in an order at random."""
    return np.lexsort((rng.random(pixels.size), -pixels.ravel()))


def deletion(picture: np.ndarray, order: np.ndarray, score: Score, steps: int) -> float:
    """Area under the score while the pixels become the mean colour (0), the first of the order first.

    Args:
        picture: (C, H, W) normalised.
        order: (H·W,) flat positions.
        score: Of images.
        steps: In which as many pixels, to one, are taken away.
    """
    return _area(picture, np.zeros_like(picture), order, score, steps)


def insertion(picture: np.ndarray, order: np.ndarray, score: Score, steps: int) -> float:
    """Area under the score while the pixels come back to a picture of the mean colour (0)."""
    return _area(np.zeros_like(picture), picture, order, score, steps)


def road_score(
    picture: np.ndarray, order: np.ndarray, score: Score, imputer: Imputer, noise: np.ndarray
) -> float:
    """Half the mean of the score without the least relevant pixels minus that without the most relevant ones.

    Exactly as many pixels are taken away by rank as `ROAD_SHARES` say, so that ties cost none or all of them.
    """
    counts = [round(share * len(order)) for share in ROAD_SHARES]
    removed = [gone for count in counts for gone in (order[len(order) - count :], order[:count])]
    versions = [imputer.fill(picture, gone, noise) for gone in removed]
    scores = score(np.stack(versions)).reshape(-1, 2)
    return float((scores[:, 0] - scores[:, 1]).mean() / 2)


def _area(start: np.ndarray, end: np.ndarray, order: np.ndarray, score: Score, steps: int) -> float:
    counts = np.rint(np.linspace(0, len(order), steps + 1)).astype(int)
    versions = np.repeat(start[None], steps + 1, axis=0).reshape(steps + 1, len(start), -1)
    goal = end.reshape(len(end), -1)
    for version, count in zip(versions, counts, strict=True):
        version[:, order[:count]] = goal[:, order[:count]]
    scores = score(versions.reshape(steps + 1, *start.shape))
    return float(np.trapezoid(scores, counts / len(order)))


def _scorer(model: nn.Module, target: int, runtime: Runtime, batch: int) -> Score:
    """Probability of a class."""

    def score(pictures: np.ndarray) -> np.ndarray:
        found: list[Tensor] = []
        for start in range(0, len(pictures), batch):
            x = torch.from_numpy(pictures[start : start + batch]).to(runtime.device)
            with runtime.autocast():
                logits = find_logits(model(x.contiguous(memory_format=runtime.memory_format)))
            found.append(logits.float().softmax(1)[:, target])
        return torch.cat(found).cpu().numpy().astype(np.float64)

    return score


def _centre(size: tuple[int, int]) -> np.ndarray:
    """Minus the squared distance from the centre in units of the sides, at the pixels."""
    y, x = (((np.arange(n) - (n - 1) / 2) / n) ** 2 for n in size)
    return -(y[:, None] + x)
