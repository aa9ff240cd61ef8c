"""Curvature of the training loss at several networks: eigenvalues, trace and density of the Hessian."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ralr_viz.results.fields import MOST_DRAWS, Array, Axis, Within
from ralr_viz.results.measure import Measure, list_measures
from ralr_viz.results.of_loss import LossResult
from ralr_viz.results.uncertainty import bootstrap_places

CONVERGED = 0.1
"""Largest residual, over the eigenvalue, of one that is called converged."""


@dataclass(frozen=True, eq=False)
class SpectrumResult(LossResult):
    """Of m networks, the Hessian of the mean cross-entropy without weight decay, in eval mode.

    Raw eigenvalues change when a filter before BatchNorm is rescaled, although the function does not: only
    ``scaled_max`` is safe from that. Eigenvalues are Rayleigh quotients: the true largest is never below
    ``lambda_max``, the true smallest never above ``lambda_min``.

    Attributes:
        models: m names.
        num_parameters: (m,) int64, n.
        loss, gradient_norm: (m,) float64, nats and nats per unit of weight.
        lambda_max, lambda_min: (m,) float64, signed, in nats.
        residual_max, residual_min: (m,) ‖Hv − λv‖ of the unit vectors v.
        scaled_max, scaled_residual: (m,) likewise of DHD, with D the norm of each parameter's filter.
        overlap_max, overlap_min: (m,) |cosine| in [0, 1] of the negative gradient with v of λ_max and of λ_min.
        learning_rate: (m,) scheduled in the checkpoint's epoch, without amplification; NaN where not known.
        trace_samples: (m, T) float64, vᵀHv of Rademacher probes v, common to the networks.
        nodes, weights: (m, P, S) float64: Gauss quadrature of the density, of the first P probes; the weights
            of a probe sum to 1.
        products: (m,) int64, Hessian-vector products that it took.
        num_images: On which the loss is.
        batch: Images a pass; without effect but for rounding.
        seed: Of probes and bootstrap.
        resamples: Of the bootstrap over the probes.
        dataset, split: Names, or None.
        device, precision: Of the passes.
        batch_lambda_max, batch_residual: (m,) as ``lambda_max`` and its residual, BatchNorm normalising each batch by its
            own statistics, as in the steps of training, which η·λ_max is about; None in results from before it was measured.
    """

    kind: ClassVar[str] = "spectrum"
    schema: ClassVar[int] = 1

    models: Annotated[tuple[str, ...], Axis(("models",), fewest=1, unique=True)]
    num_parameters: Annotated[np.ndarray, Array("integer", ("models",)), Within(1)]
    loss: Annotated[np.ndarray, Array("float", ("models",), unit="nats")]
    gradient_norm: Annotated[np.ndarray, Array("float", ("models",))]
    lambda_max: Annotated[np.ndarray, Array("float", ("models",), unit="nats")]
    lambda_min: Annotated[np.ndarray, Array("float", ("models",), unit="nats")]
    residual_max: Annotated[np.ndarray, Array("float", ("models",))]
    residual_min: Annotated[np.ndarray, Array("float", ("models",))]
    scaled_max: Annotated[np.ndarray, Array("float", ("models",))]
    scaled_residual: Annotated[np.ndarray, Array("float", ("models",))]
    overlap_max: Annotated[np.ndarray, Array("float", ("models",)), Within(0)]
    overlap_min: Annotated[np.ndarray, Array("float", ("models",)), Within(0)]
    learning_rate: Annotated[np.ndarray, Array("float", ("models",))]
    trace_samples: Annotated[np.ndarray, Array("float", ("models", "trace_probes"), fewest=1)]
    nodes: Annotated[np.ndarray, Array("float", ("models", "probes", "steps"), fewest=1, finite=True)]
    weights: Annotated[np.ndarray, Array("float", ("models", "probes", "steps"))]
    products: Annotated[np.ndarray, Array("integer", ("models",))]
    num_images: Annotated[int, Within(1)]
    batch: Annotated[int, Within(1)]
    seed: Annotated[int, Within(0)]
    resamples: Annotated[int, Within(1, MOST_DRAWS)]
    dataset: str | None = None
    split: str | None = None
    device: str = "cpu"
    precision: str = "fp32"
    batch_lambda_max: Annotated[np.ndarray | None, Array("float", ("models",), unit="nats")] = None
    batch_residual: Annotated[np.ndarray | None, Array("float", ("models",))] = None

    @property
    def trace(self) -> np.ndarray:
        """Mean (m,) over the probes."""
        return self.trace_samples.mean(axis=1)

    @property
    def trace_error(self) -> np.ndarray:
        """Standard error (m,) of the trace; NaN for one probe."""
        count = self.trace_samples.shape[1]
        if count < 2:
            return np.full(len(self.models), np.nan)
        return self.trace_samples.std(axis=1, ddof=1) / np.sqrt(count)

    @property
    def converged(self) -> np.ndarray:
        """Whether λ_max, λ_min and the scaled λ_max (m, 3) have residuals below a tenth of their size."""
        values = np.stack([self.lambda_max, self.lambda_min, self.scaled_max], axis=1)
        residuals = np.stack([self.residual_max, self.residual_min, self.scaled_residual], axis=1)
        return residuals <= CONVERGED * np.abs(values)

    def density(self, grid: np.ndarray, width: float) -> np.ndarray:
        """Density (m, g) of eigenvalues at ``grid`` (g,), each node a Gaussian of standard deviation ``width``.

        It integrates to 1, and its mean is that of the eigenvalues as the probes see it: their trace over n.
        """
        distance = (grid - self.nodes[..., None]) / width
        bells = np.exp(-0.5 * distance**2) / (width * np.sqrt(2 * np.pi))
        return (self.weights[..., None] * bells).sum(axis=2).mean(axis=1)

    def describe(self) -> list[str]:
        """Standard errors, residuals and what the numbers are of."""
        lines = []
        for i, name in enumerate(self.models):
            words = ["converged" if done else "not converged, a bound" for done in self.converged[i]]
            lines.append(
                f"{name}: residuals λ_max {self.residual_max[i]:.2g} ({words[0]}), λ_min {self.residual_min[i]:.2g} "
                f"({words[1]}), scaled {self.scaled_residual[i]:.2g} ({words[2]}); trace {self.trace[i]:.4g} ± "
                f"{self.trace_error[i]:.2g}; {self.products[i]} Hessian-vector products"
            )
        return [
            *list_measures(self.models, self.measures()),
            *lines,
            f"of {self.num_images:,} {self.samples_name}, without weight decay, BatchNorm frozen; the interval of the trace: 95 % "
            f"t over {self.trace_samples.shape[1]} probes; of these checkpoints, not of training seeds",
        ]

    def _measure_stability(self) -> Measure:
        if self.batch_lambda_max is None:
            return Measure("eta_lambda_max", "η·λ_max", "", self.learning_rate * self.lambda_max)
        label = "η·λ_max, scheduled η, batch statistics"
        return Measure("eta_lambda_max", label, "", self.learning_rate * self.batch_lambda_max)

    def measures(self) -> tuple[Measure, ...]:
        """First the number that a rescaling before BatchNorm cannot move; the trace is a mean over probes."""
        count = self.trace_samples.shape[1]
        (picks,) = bootstrap_places(count, self.resamples, (self.seed, count))
        draws = self.trace_samples[:, picks].mean(axis=2) if count > 1 else np.zeros((0, 0))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.abs(self.lambda_min) / self.lambda_max
        return (
            Measure(
                "scaled_lambda_max", "largest eigenvalue, filter-scaled", self.loss_unit, self.scaled_max
            ),
            Measure("lambda_max", "largest eigenvalue (raw)", "", self.lambda_max),
            Measure("lambda_min", "smallest eigenvalue (raw)", "", self.lambda_min),
            Measure("lambda_ratio", "|λ_min| / λ_max", "", ratio),
            Measure(
                "hessian_trace",
                "trace (raw)",
                "",
                self.trace,
                draws,
                "probes" if count > 1 else "",
                count,
                self.trace_samples,
            ),
            Measure("gradient_norm", "norm of the gradient", "", self.gradient_norm),
            Measure("overlap_min", "|cosine| of −gradient and v_min", "", self.overlap_min),
            Measure("overlap_max", "|cosine| of −gradient and v_max", "", self.overlap_max),
            self._measure_stability(),
            Measure("spectrum_loss", "loss", self.loss_unit, self.loss),
        )
