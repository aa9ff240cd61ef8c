"""The Hessian's spectrum at several networks: signed extremes, trace, density."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ralr_viz.analysis.directions import filter_norms
from ralr_viz.analysis.objective import Objective, objective_of
from ralr_viz.analysis.spectrum.hessian import (
    EigenPair,
    HessianOperator,
    extreme_eigenpair,
    rademacher,
    run_lanczos,
)
from ralr_viz.comparison import Comparison, Progress
from ralr_viz.comparison.precision import in_its_precision
from ralr_viz.errors import InputError
from ralr_viz.nouns import check
from ralr_viz.nouns import spectrum as options
from ralr_viz.nouns.option import RESAMPLES, SEED
from ralr_viz.results.run import load_run
from ralr_viz.results.spectrum import SpectrumResult
from ralr_viz.tasks.exact import exact
from ralr_viz.train.checkpoint import Checkpoint


@in_its_precision
def compute_spectrum(
    comparison: Comparison,
    *,
    learning_rates: Sequence[float] | None = None,
    probes: int = options.PROBES.default,
    density_probes: int = options.DENSITY_PROBES.default,
    steps: int = options.STEPS.default,
    basis: int = options.BASIS.default,
    restarts: int = options.RESTARTS.default,
    seed: int = SEED.default,
    resamples: int = RESAMPLES.default,
    progress: Progress | None = None,
) -> SpectrumResult:
    r"""Eigenvalues, trace and density of the Hessian of the mean loss, from Hessian-vector products alone.

    The loss is the cross-entropy without weight decay, BatchNorm at its running statistics. Of each network:

    - stochastic Lanczos quadrature: the first ``density_probes`` Rademacher probes make ``steps`` steps;
    - Hutchinson's trace :math:`E[v^\top Hv]` over all ``probes``, with its standard error;
    - λ_max and λ_min, signed, by ``eigsh`` from Lanczos' Ritz vectors, with residuals: a Rayleigh quotient
      below 0 proves negative curvature, converged or not. The next update is taken to be the negative
      gradient of these images; its overlap with the eigenvectors says whether training goes that way;
    - the largest eigenvalue of DHD, D the norm of each parameter's filter (the size of a lone parameter):
      curvature per relative change, which no rescaling of a filter before BatchNorm can move;
    - λ_max once more with the statistics of each batch, as the steps of training see them: η·λ_max is of this one and of
      the scheduled η, which is not amplified.

    Args:
        comparison: Classifiers on labelled images that they see alike; below some thousand images the largest
            eigenvalue depends on which they are. The batch (128 where it says none) changes memory and
            rounding. In ``fp32``: autocast's rounding, or TF32's, would drown small eigenvalues, so ``bf16`` and ``tf32`` are refused.
        learning_rates: Scheduled at each, for η·λ_max, NaN where not known; left out, what the runs' records say.
        probes: T ≥ 1 of the trace.
        density_probes: 1 to ``probes`` of the density.
        steps: S ≥ 2 of Lanczos.
        basis: 3 or more Lanczos vectors of each search for an eigenvalue.
        restarts: Of each search, 0 or more, about as many products each.
        seed: Of probes and bootstrap.
        resamples: Of the bootstrap over the probes.
        progress: Called as ``progress(done, total, what)``; the total is an upper bound until the end.

    Raises:
        InputError: Images or labels that do not fit, or an option out of its range.

    References:
        Pearlmutter, Fast exact multiplication by the Hessian, Neural Comput. 1994.
        Hutchinson 1990 (trace). Ghorbani et al., An investigation into neural net optimization via Hessian
        eigenvalue density, ICML 2019 (density). Dinh et al., Sharp minima can generalize, ICML 2017.
    """
    rates = list(learning_rates or [_learning_rate(network.checkpoint) for network in comparison.networks])
    if len(rates) != len(comparison):
        raise InputError(
            f"`learning_rates` has {len(rates)} entries for {len(comparison)} networks: one for each"
        )
    check(
        options.SPEC.options,
        probes=probes,
        density_probes=density_probes,
        steps=steps,
        basis=basis,
        restarts=restarts,
        seed=seed,
    )
    if probes < density_probes:
        raise InputError(f"`probes` = {probes} must be at least the {density_probes} of the density")
    if comparison.runtime.precision != "fp32":
        raise InputError(
            f"`precision` = {comparison.runtime.precision} is too coarse for second derivatives: use fp32"
        )
    batch = comparison.batch_size(128, as_trained=True)
    # each search: its vectors, its restarts of at most as many, and the product of the residual
    each = density_probes * steps + (probes - density_probes) + 4 * (basis * (1 + restarts) + 1)
    total, found = each * len(comparison), []
    for i in range(len(comparison)):
        ticker = _Ticker(i * each, total, progress)
        found.append(
            _measure(
                objective_of(comparison, i, batch), ticker, probes=probes, density_probes=density_probes,
                steps=steps, basis=basis, restarts=restarts, seed=seed,
            )
        )  # fmt: skip
        ticker.finish((i + 1) * each)
    stacked: dict[str, Any] = {name: np.stack([f[name] for f in found]) for name in found[0]}
    described: dict[str, Any] = dict(comparison.samples.describe())
    del described["augmentation"]  # never any: the Hessian is of the images as they are
    return SpectrumResult(
        models=comparison.names,
        **stacked,
        learning_rate=np.array(rates, dtype=np.float64),
        num_images=len(comparison.samples),
        batch=min(batch, len(comparison.samples)),
        seed=seed,
        resamples=resamples,
        **described,
        device=comparison.runtime.device.type,
        precision=comparison.runtime.precision,
        provenance=comparison.facts(),
    )


class _Ticker:
    """Counts products; the searches may end early."""

    def __init__(self, done: int, total: int, progress: Progress | None) -> None:
        self.done, self.total, self.progress = done, total, progress

    def __call__(self, count: int = 1) -> None:
        self.finish(min(self.done + count, self.total - 1))

    def finish(self, done: int) -> None:
        self.done = done
        if self.progress is not None:
            self.progress(self.done, self.total, "Hessian-vector products")


def _measure(
    objective: Objective,
    tick: _Ticker,
    *,
    probes: int,
    density_probes: int,
    steps: int,
    basis: int,
    restarts: int,
    seed: int,
) -> dict[str, Any]:
    """The arrays of one network, by the names of `SpectrumResult`."""
    operator = HessianOperator(objective)
    n = operator.size
    vectors = operator.from_numpy(rademacher(n, probes, seed))
    lanczos = run_lanczos(operator, vectors[:, :density_probes], steps, tick)
    quadratic = list(n * lanczos.diagonal[:, 0])
    for j in range(density_probes, probes):  # one at a time, for progress
        v = vectors[:, j : j + 1]
        quadratic.append((exact(v) * exact(operator(v))).sum().item())
        tick()
    spread = [lanczos.ritz(k) for k in range(density_probes)]

    def multiply(v: Tensor) -> Tensor:
        tick()
        return operator(v)

    options = {"basis": basis, "restarts": restarts}
    top = extreme_eigenpair(multiply, lanczos.extreme(True), largest=True, **options)
    bottom = extreme_eigenpair(multiply, lanczos.extreme(False), largest=False, **options)
    norms = _sizes(objective)[:, None]
    scaled = extreme_eigenpair(
        lambda v: norms * multiply(norms * v), norms[:, 0] * top.vector, largest=True, **options
    )
    stepping = _with_batch_statistics(objective, top, tick, options)
    loss, parts = objective.gradient()
    gradient = exact(torch.cat([g.flatten() for g in parts]))
    length = gradient.norm().item()

    def overlap(vector: Tensor) -> float:
        return abs(float(gradient @ exact(vector))) / length if length > 0 else np.nan

    return {
        "num_parameters": np.int64(n),
        "loss": np.float64(loss),
        "gradient_norm": np.float64(length),
        "lambda_max": np.float64(top.value),
        "lambda_min": np.float64(bottom.value),
        "residual_max": np.float64(top.residual),
        "residual_min": np.float64(bottom.residual),
        "scaled_max": np.float64(scaled.value),
        "scaled_residual": np.float64(scaled.residual),
        "batch_lambda_max": np.float64(stepping.value),
        "batch_residual": np.float64(stepping.residual),
        "overlap_max": np.float64(overlap(top.vector)),
        "overlap_min": np.float64(overlap(bottom.vector)),
        "trace_samples": np.array(quadratic),
        "nodes": np.stack([values for values, _ in spread]),
        "weights": np.stack([vectors[0] ** 2 for _, vectors in spread]),
        "products": np.int64(operator.count),
    }


def _with_batch_statistics(
    objective: Objective, top: EigenPair, tick: _Ticker, options: dict[str, int]
) -> EigenPair:
    """The largest eigenvalue where each batch is normalised by its own statistics; that of the others where there are none."""
    if not objective.has_statistics:
        return top
    with objective.batch_statistics():
        operator = HessianOperator(objective)

        def multiply(v: Tensor) -> Tensor:
            tick()
            return operator(v)

        return extreme_eigenpair(multiply, top.vector, largest=True, **options)


def _sizes(objective: Objective) -> Tensor:
    """Norm of the filter of each parameter (n,); of a bias or of BatchNorm's, its own size."""
    start = objective.start
    norms = [
        norm.expand_as(w) if w.ndim > 1 else w.abs()
        for w, norm in zip(start, filter_norms(start), strict=True)
    ]
    return torch.cat([norm.flatten() for norm in norms])


def _learning_rate(checkpoint: Checkpoint | None) -> float:
    """Scheduled in the checkpoint's epoch, from its run's record; NaN where there is none."""
    if checkpoint is None:
        return float("nan")
    try:
        record = load_run(checkpoint.path.parent.parent)
    except (InputError, OSError):
        return float("nan")
    found = record.values("base_lr")[record.epoch == checkpoint.epoch]
    return float(found[0]) if len(found) else float("nan")
