"""The gradient noise scale: how many images a batch needs until its gradient is more signal than noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ralr_viz.analysis.objective import Objective, objective_of
from ralr_viz.comparison import Comparison, Progress
from ralr_viz.comparison.precision import in_its_precision
from ralr_viz.errors import InputError
from ralr_viz.nouns import check
from ralr_viz.nouns import noise_scale as options
from ralr_viz.nouns.option import RESAMPLES, SEED
from ralr_viz.results.noise_scale import NoiseScaleResult
from ralr_viz.tasks.exact import exact


class Squares(NamedTuple):
    """Of each of K draws |g|² (K,), float64, of its small batches in the mean and of all its images; the mean loss."""

    small: np.ndarray
    big: np.ndarray
    loss: float


@in_its_precision
def compute_noise_scale(
    comparison: Comparison,
    *,
    small: int = options.SMALL.default,
    big: int = options.BIG.default,
    draws: int | None = options.DRAWS.default,
    seed: int = SEED.default,
    resamples: int = RESAMPLES.default,
    progress: Progress | None = None,
) -> NoiseScaleResult:
    r"""Gradient noise scale :math:`B_\text{simple} = \operatorname{tr}\Sigma / |G|^2` of the loss at several networks.

    The images are shuffled once, the same for all networks, and the first K × ``big`` of them dealt into K draws,
    so that no image is in two draws or twice in one. A draw is ``big / small`` batches, a pass each; their mean
    gradient is the draw's own. With b and B for the sizes and g for mean gradients,

    .. math:: |G|^2 \approx \frac{B|g_B|^2 - b|g_b|^2}{B - b}, \qquad
        \operatorname{tr}\Sigma \approx \frac{|g_b|^2 - |g_B|^2}{1/b - 1/B},

    :math:`|g_b|^2` in the mean over the draw's batches. Each is averaged over the draws, and only then they are
    divided: of a draw alone the denominator may be near 0 or negative.

    What they are unbiased for: images drawn without replacement from n give
    :math:`E|g_B|^2 = |G_n|^2 + (1/B - 1/n)\operatorname{tr}\Sigma_n`, with G_n the mean over these n and Σ_n their
    covariance with the divisor n − 1. So the second estimate is exactly tr Σ_n, and the first
    :math:`|G_n|^2 - \operatorname{tr}\Sigma_n / n`: what n independent images of a distribution say of *its* G
    and Σ, without bias and whatever n is. Where the n images are all that training has, |G|² is
    larger by tr Σ / n, and the noise scale 1 / (1/B_simple + 1/n), below n (`NoiseScaleResult.of_these_images`).

    The loss is the cross-entropy without weight decay, label smoothing or mixed images, BatchNorm at its running
    statistics: with a batch's own no image would have a gradient of its own. For the loss of training give its images
    with its augmentation (`Comparison.augmented`). Lengths are of the raw weights: a rescaling of a filter
    before BatchNorm, which leaves the function, weighs the filters otherwise and moves the noise scale.

    Args:
        comparison: Classifiers on labelled images that they see alike. Its batch is not used: a pass is ``small``
            images.
        small: b ≥ 1.
        big: B, two or more times ``small``. The error of |G|² falls with ``big × √draws``: a ``big`` well below
            the noise scale needs many draws.
        draws: K ≥ 2; left out, as many as there are images for. Below 8 intervals are wide.
        seed: Of draws and bootstrap.
        resamples: Of the bootstrap over the draws.
        progress: Called as ``progress(done, total, what)``.

    Raises:
        InputError: Images or labels that do not fit, too few of them, an option out of its range, or a network
            whose gradient is not finite.

    References:
        McCandlish, Kaplan, Amodei et al., An empirical model of large-batch training, 2018, appendix A.1.
        Cochran, Sampling techniques, 1977, chapter 2 (draws without replacement).
    """
    check(
        (*options.SPEC.options, RESAMPLES), small=small, big=big, draws=draws, seed=seed, resamples=resamples
    )
    count = _count_draws(len(comparison.samples), small, big, draws)
    places = draw_places(len(comparison.samples), count * big, seed)
    dealt = comparison.take(places)
    total, found = len(comparison) * count * (big // small), []
    for i, network in enumerate(comparison.networks):
        before = i * count * (big // small)

        def advance(done: int, before: int = before) -> None:
            if progress is not None:
                progress(before + done, total, "gradients of small batches")

        squares = measure_squares(objective_of(dealt, i, small), big // small, advance)
        if not (np.isfinite(squares.small).all() and np.isfinite(squares.big).all()):
            raise InputError(
                f"the gradient of `{network.name}` is not finite: compare networks that have not diverged"
            )
        found.append(squares)
    return NoiseScaleResult(
        models=comparison.names,
        small_squares=np.stack([f.small for f in found]),
        big_squares=np.stack([f.big for f in found]),
        loss=np.array([f.loss for f in found]),
        small=small,
        big=big,
        recipe_batch=tuple(network.recipe_batch for network in comparison.networks),
        num_images=len(comparison.samples),
        seed=seed,
        resamples=resamples,
        **comparison.samples.describe(),
        device=comparison.runtime.device.type,
        precision=comparison.runtime.precision,
        provenance=comparison.facts(),
    )


def draw_places(n: int, count: int, seed: int) -> np.ndarray:
    """Places int64 (count,) of n images, none twice, in random order: draw after draw, batch after batch."""
    return np.random.default_rng((seed, n)).permutation(n)[:count]


def measure_squares(
    objective: Objective, per_draw: int, advance: Callable[[int], None] | None = None
) -> Squares:
    """Squared lengths of the gradients of the objective's batches, and of the means of ``per_draw`` of them in a row.

    Args:
        objective: Whose batches are all of one size, a multiple of ``per_draw`` of them.
        per_draw: 2 or more.
        advance: Called with the number of batches so far.
    """
    small: list[float] = []
    big: list[float] = []
    loss = 0.0
    whole: list[Tensor] = []
    for number, batch in enumerate(objective.batches(), 1):
        summed, weight = objective.loss_sum(batch)
        value = summed / weight
        parts = torch.autograd.grad(value, objective.parameters, materialize_grads=True)
        loss += value.item()
        small.append(_square(parts))
        whole = [a + b for a, b in zip(whole, parts, strict=True)] if whole else list(parts)
        if number % per_draw == 0:
            big.append(_square(whole) / per_draw**2)
            whole = []
        if advance is not None:
            advance(number)
    return Squares(np.array(small).reshape(len(big), per_draw).mean(axis=1), np.array(big), loss / len(small))


def _square(parts: Sequence[Tensor]) -> float:
    """Σ g² over all parameters, summed in float64: the estimates are small differences of such sums."""
    return float(torch.stack([exact(part).square().sum() for part in parts]).sum())


def _count_draws(n: int, small: int, big: int, draws: int | None) -> int:
    if big % small or big == small:
        raise InputError(f"`big` = {big} must be two or more times `small` = {small}")
    wanted = 2 if draws is None else draws
    if n < wanted * big:
        most = n // wanted // small * small
        remedy = f" or a `big` of at most {most:,}" if most > small else ", or a smaller `small`"
        raise InputError(
            f"`big` = {big} in {wanted} draws that share no image needs {wanted * big:,} images, there are {n:,}: "
            f"take more images{remedy}"
        )
    return n // big if draws is None else draws
