"""Intervals of what is measured of weights: barriers, sharpness, the Hessian's trace and the noise scale."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np

from ralr_viz.results.barrier import BarrierResult
from ralr_viz.results.measure import Measure
from ralr_viz.results.noise_scale import NoiseScaleMeasure, NoiseScaleResult
from ralr_viz.results.sharpness import SharpnessResult
from ralr_viz.results.spectrum import SpectrumResult
from tests.coverage.case import REPLICATES, Case, Row, cover_measures, holds

_ALPHAS = np.arange(11) / 10
_FLAT = "cover about 90 %"
_STEEP = "88 % where one eigenvalue is most of the trace"


def _make_barrier(n: int, height: float, rng: np.random.Generator, m: int, seed: int) -> BarrierResult:
    """Skewed losses at both ends, correlated; each image's own hill between them, of mean ``height``."""
    common = np.repeat(rng.exponential(0.4, (m // 2, 1, n)), 2, axis=0)
    ends = common + rng.exponential(0.3, (m, 2, n))
    shape = (4 * _ALPHAS * (1 - _ALPHAS))[None, :, None]
    hill = shape * (height * rng.exponential(1.0, (m, 1, n)) + 0.1 * rng.standard_normal((m, 1, n)))
    losses = (1 - _ALPHAS[:, None]) * ends[:, :1] + _ALPHAS[:, None] * ends[:, 1:] + hill
    return BarrierResult(
        models=tuple(map(str, range(m))), states=(("a", "b"),) * m, alphas=_ALPHAS, losses=losses.astype(np.float32),
        correct=losses < 0.7, distances=np.ones(m), statistics="", indices=np.arange(n), seed=seed,
    )  # fmt: skip


def _barrier_measures(
    n: int, height: float, rng: np.random.Generator, m: int, seed: int
) -> Iterable[Measure]:
    return _make_barrier(n, height, rng, m, seed).measures()


_BARRIER = ("barrier", "middle_rise", "rise_over_ends", "accuracy_barrier", "first_loss", "second_loss")


def _simulate_barrier(n: int, height: float) -> dict[str, np.ndarray]:
    # so many images at once that no maximum is one of noise
    many = _make_barrier(400_000, height, np.random.default_rng(9), 2, 0)
    gap = many.gap.mean(axis=0)
    ends = many.loss[:, [0, -1]].max()
    below = -(many.accuracy - (many.accuracy[:, :1] * (1 - _ALPHAS) + many.accuracy[:, -1:] * _ALPHAS))
    truth = {
        "barrier": height,
        "middle_rise": height,
        "rise_over_ends": max(many.loss.mean(axis=0).max() - ends, 0.0) if height else 0.0,
        "accuracy_barrier": below.mean(axis=0).max(),
        "first_loss": 0.7,
        "second_loss": 0.7,
    }
    assert abs(gap.max() - height) < 0.01
    make = partial(_barrier_measures, n, height)
    found = cover_measures(make, truth, differences=dict.fromkeys(_BARRIER, 0.0))
    held = []
    for block in range(10):
        low, high = _make_barrier(n, height, np.random.default_rng([6, block]), 400, block).gap_interval()
        held.append(holds(low[::2, 3], high[::2, 3], 4 * 0.3 * 0.7 * height))
    return found | {"gap at α = .3, drawn band": np.concatenate(held)}


def _barrier(n: int, height: float, *rows: Row) -> Case:
    names = [*_BARRIER, *(f"{name} difference" for name in _BARRIER), "gap at α = .3, drawn band"]
    given = {row.interval: row for row in rows}
    return Case(
        f"barrier-{n}-{height:g}",
        "`barrier`",
        f"skewed losses, hills of {height:g} nats that differ between images",
        f"{n:,} images",
        tuple(given.get(name, Row(name)) for name in names),
        partial(_simulate_barrier, n, height),
    )


def _barrier_text() -> str:
    return " ".join((BarrierResult.measures.__doc__ or "").split())


def _make_sharpness(k: int, power: float, rng: np.random.Generator, m: int, seed: int) -> SharpnessResult:
    """Rises dᵀHd along random directions, of a hundred eigenvalues that fall as a power of their place."""
    eigenvalues = np.arange(1.0, 101.0) ** -power
    along = rng.standard_normal((m // 2, k, len(eigenvalues)))
    rises = np.repeat((along**2 @ eigenvalues) / eigenvalues.sum(), 2, axis=0)
    rises[1::2] *= 1 + 0.1 * rng.standard_normal((m // 2, k))  # the other network, along the same directions
    return SharpnessResult(
        models=tuple(map(str, range(m))), radii=np.array([0.1]), losses=np.repeat(rises[:, None, :, None], 2, axis=3),
        accuracies=100 - 10 * np.repeat(rises[:, None, :, None], 2, axis=3), centre_loss=np.zeros(m),
        centre_accuracy=np.full(m, 100.0), given_loss=np.zeros(m), worst_radii=np.zeros(0),
        worst_losses=np.zeros((m, 0, 1)), worst_accuracies=np.zeros((m, 0)), worst_steps=1, batchnorm="none",
        common=True, num_images=1000, batch=500, seed=seed, resamples=100,
        normalised_losses=np.repeat(rises[:, :, None], 2, axis=2), normalised_centre=np.zeros(m),
    )  # fmt: skip


def _steep_text() -> str:
    return " ".join((SharpnessResult.rise_intervals.__doc__ or "").split())


def _simulate_sharpness(k: int, power: float) -> dict[str, np.ndarray]:
    truth = {"sharpness": 1.0, "sharpness_accuracy_drop": 10.0, "sharpness_normalised": 1.0}
    found = cover_measures(
        lambda rng, m, seed: _make_sharpness(k, power, rng, m, seed).measures(),
        truth,
        differences=dict.fromkeys(truth, 0.0),
    )
    low, high = _make_sharpness(k, power, np.random.default_rng(8), 2 * REPLICATES, 0).rise_intervals
    return found | {"mean rise, drawn": holds(low[::2, 0], high[::2, 0], 1.0)}


def _sharpness(k: int, power: float, *rows: Row) -> Case:
    names = ["sharpness", "sharpness_accuracy_drop", "sharpness_normalised"]
    names += [*(f"{name} difference" for name in names), "mean rise, drawn"]
    return Case(
        f"sharpness-{k}{'-steep' if power == 1.5 else ''}",
        "`sharpness`",
        f"dᵀHd along random directions, the i-th eigenvalue 1/i^{power:g}",
        f"{k} directions",
        rows or tuple(Row(name) for name in names),
        partial(_simulate_sharpness, k, power),
    )


def _make_spectrum(t: int, rng: np.random.Generator, m: int, seed: int) -> Iterable[Measure]:
    """Hutchinson's probes of a dense matrix, the same for two networks."""
    factor = np.random.default_rng(0).standard_normal((100, 200)) * (np.arange(1, 101.0) ** -0.35)[:, None]
    hessian = factor.T @ factor
    probes = np.repeat(rng.choice([-1.0, 1.0], (m // 2, t, 200)), 2, axis=0)
    samples = np.einsum("mti,ij,mtj->mt", probes, hessian, probes, optimize=True) / np.trace(hessian)
    samples[1::2] *= 1 + 0.1 * rng.standard_normal((m // 2, t))
    flat = np.ones(m)
    return SpectrumResult(
        models=tuple(map(str, range(m))), num_parameters=np.full(m, 200), loss=flat, gradient_norm=flat, lambda_max=flat,
        lambda_min=-flat, residual_max=flat, residual_min=flat, scaled_max=flat, scaled_residual=flat, overlap_max=flat,
        overlap_min=flat, learning_rate=flat, trace_samples=samples, nodes=np.ones((m, 1, 1)),
        weights=np.ones((m, 1, 1)), products=np.ones(m, np.int64), num_images=100, batch=100, seed=seed, resamples=100,
    ).measures()  # fmt: skip


def _simulate_spectrum(t: int) -> dict[str, np.ndarray]:
    return cover_measures(
        partial(_make_spectrum, t), {"hessian_trace": 1.0}, differences={"hessian_trace": 0.0}
    )


def _spectrum(t: int) -> Case:
    rows = (Row("hessian_trace"), Row("hessian_trace difference"))
    law = "Rademacher probes of a dense matrix, the i-th eigenvalue about 1/i^0.7"
    return Case(f"spectrum-{t}", "`spectrum`", law, f"{t} probes", rows, partial(_simulate_spectrum, t))


_SMALL, _BIG, _SQUARE, _TRACE = 32, 2048, 0.15, 270.0


def _make_noise_scale(k: int, square: float, replicate: int) -> NoiseScaleResult:
    """Gradients of normal noise in forty directions of unequal size; two networks see the same images."""
    rng = np.random.default_rng([7, replicate])
    sizes = 1 / np.arange(1, 41)
    sizes = np.sqrt(_TRACE * sizes / sizes.sum() / _SMALL)
    common, *own = rng.standard_normal((3, k, _BIG // _SMALL, len(sizes)))
    g = np.sqrt(square / len(sizes)) + sizes * np.stack([0.8 * common + 0.6 * one for one in own])
    return NoiseScaleResult(
        models=("a", "b"), small_squares=np.square(g).sum(axis=3).mean(axis=2),
        big_squares=np.square(g.mean(axis=2)).sum(axis=2), loss=np.ones(2), small=_SMALL, big=_BIG,
        recipe_batch=(128, 128), num_images=k * _BIG, seed=replicate, resamples=100,
    )  # fmt: skip


def _simulate_noise_scale(k: int, square: float) -> dict[str, np.ndarray]:
    truth = {"gradient_square": square, "gradient_trace": _TRACE, "gradient_signal": square / _TRACE}
    held: dict[str, list[np.ndarray]] = {}
    for replicate in range(REPLICATES):
        result = _make_noise_scale(k, square, replicate)
        scale, *parts, _ = result.measures()
        for part in parts:
            held.setdefault(part.name, []).append(holds(*part.interval(0)[1:], truth[part.name]))
            held.setdefault(f"{part.name} difference", []).append(holds(*part.difference(0, 1)[1:], 0.0))
        _, low, high = scale.interval(0)  # an open end holds
        held.setdefault("noise_scale", []).append(holds(low, min(high, 1e300), _TRACE / square))
        held.setdefault("noise_scale difference", []).append(holds(*scale.difference(0, 1)[1:], 0.0))
        held.setdefault("noise_scale over another", []).append(holds(*result.ratio(0, 1)[1:], 1.0))
    return {name: np.array(parts) for name, parts in held.items()}


def _selection_text() -> str:
    return " ".join((NoiseScaleMeasure.__doc__ or "").split())


def _noise_scale(k: int, square: float, *rows: Row) -> Case:
    parts = ("gradient_square", "gradient_trace", "gradient_signal")
    names = [
        "noise_scale", "noise_scale difference", "noise_scale over another", *parts, *(f"{part} difference" for part in parts)
    ]  # fmt: skip
    given = {row.interval: row for row in rows}
    return Case(
        f"noise-scale-{k}{'-weak' if square < _SQUARE else ''}",
        "`noise-scale`",
        f"normal gradients of square {square:g}, tr Σ {_TRACE:g}",
        f"{k} draws of {_BIG:,} images",
        tuple(given.get(name, Row(name)) for name in names),
        partial(_simulate_noise_scale, k, square),
    )


_SELECTED = tuple(
    Row(name, 0.7, 1.0, "are a selection and cover 80 to 99 %", _selection_text)
    for name in ("noise_scale difference", "noise_scale over another")
)

CASES = (
    _barrier(50, 0.5),
    _barrier(300, 0.5),
    _barrier(300, 0.05, Row("rise_over_ends", 0.87, 0.93, _FLAT, _barrier_text)),
    _barrier(
        300,
        0.0,
        *(Row(name, 0.87, 0.93, _FLAT, _barrier_text) for name in ("rise_over_ends", "accuracy_barrier")),
        *(
            Row(f"{name} difference", 0.9, 0.999, "differences of maxima 92 to 99 %", _barrier_text)
            for name in ("barrier", "rise_over_ends", "accuracy_barrier")
        ),
    ),
    _sharpness(8, 0.7),
    _sharpness(2, 0.7),
    _sharpness(8, 1.5, Row("mean rise, drawn", 0.84, 0.93, _STEEP, _steep_text)),
    *(_spectrum(t) for t in (2, 6)),
    _noise_scale(10, _SQUARE),
    _noise_scale(4, _SQUARE),
    _noise_scale(2, _SQUARE, *_SELECTED),
    _noise_scale(10, 0.03, *_SELECTED),
)
