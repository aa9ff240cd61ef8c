"""Regression of an outcome k epochs later on a dose now, and the same with the doses drawn again."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ralr_viz.analysis.effect.flips import Flips

_SMALLEST_DF = 5
"""Rows must exceed parameters by this many: below, a Student t of the redraws has no useful quantile."""
_RANK = 1e-10  # relative size of a singular value that counts as zero
_CHUNK = 4_000_000  # numbers of the redrawn designs that are held at a time


class Projection(NamedTuple):
    """The regression at one lag; everything in it but the doses stays as recorded when doses are redrawn.

    Attributes:
        response: Outcome at e + k, (n,).
        controls: Orthonormal basis of all regressors but the doses, (n, c).
        run, epochs: Where the doses of each row are in ``Flips.dose``: (n,) and (n, m), the draw at e first,
            then those in between.
    """

    response: np.ndarray
    controls: np.ndarray
    run: np.ndarray
    epochs: np.ndarray

    @property
    def num_rows(self) -> int:
        return len(self.response)

    @property
    def num_parameters(self) -> int:
        return self.controls.shape[1] + self.epochs.shape[1]

    @property
    def degrees_of_freedom(self) -> int:
        return self.num_rows - self.num_parameters

    def doses(self, dose: np.ndarray) -> np.ndarray:
        """(..., S, E) doses of the epochs as regressors (..., n, m)."""
        return dose[..., self.run[:, None], self.epochs]


class Fit(NamedTuple):
    """Estimates of R sets of doses: all coefficients (R, m), and the first one's standard error (R,)."""

    coefficients: np.ndarray
    error: np.ndarray

    @property
    def t(self) -> np.ndarray:
        """|t| of the first coefficient, (R,); 0 where the doses do not identify it."""
        defined = np.isfinite(self.error) & (self.error > 0)
        return np.divide(
            np.abs(self.coefficients[:, 0]), self.error, out=np.zeros(len(defined)), where=defined
        )


def find_rows(outcome: np.ndarray, flips: Flips, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the effect at a lag can be seen.

    A row is a draw that begins at e ≥ 2, with e − 1, e and e + lag in one phase and both outcomes measured.

    Args:
        outcome: (S, E), NaN where not measured.
        flips: The draws.
        lag: >= 0.

    Returns:
        Index of the run and of the epoch e (from 0) of each row, int64 (n,) each.
    """
    num_epochs = outcome.shape[1]
    epoch = np.arange(1, max(num_epochs - lag, 1))
    epoch = epoch[flips.starts[epoch] & (flips.phase[epoch - 1] == flips.phase[epoch + lag])]
    run, epoch = (grid.ravel() for grid in np.meshgrid(np.arange(len(outcome)), epoch, indexing="ij"))
    measured = np.isfinite(outcome[run, epoch - 1]) & np.isfinite(outcome[run, epoch + lag])
    for later in range(0, lag + 1, flips.interval):
        measured &= np.isfinite(flips.dose[run, epoch + later])
    return run[measured], epoch[measured]


def build_projection(outcome: np.ndarray, flips: Flips, lag: int) -> Projection | None:
    """The regression of the outcome at e + lag on the dose at e; None where there are too few rows for it.

    Besides the doses of the draws at e and in between: level and slope of each phase, the outcome at e − 1
    and, where the base LR changes all the time, the base LR at e.

    Args:
        outcome: (S, E), NaN where not measured.
        flips: The draws.
        lag: >= 0.
    """
    run, epoch = find_rows(outcome, flips, lag)
    if not len(run):
        return None
    columns = [outcome[run, epoch - 1]]
    for number in np.unique(flips.phase[epoch]):
        inside = flips.phase[epoch] == number
        columns += [inside * 1.0, np.where(inside, epoch - epoch[inside].mean(), 0.0)]
    if flips.smooth:
        columns.append(flips.base_lr[epoch])
    offsets = np.arange(0, lag + 1, flips.interval)
    projection = Projection(outcome[run, epoch + lag], _basis(columns), run, epoch[:, None] + offsets)
    return projection if projection.degrees_of_freedom >= _SMALLEST_DF else None


def fit(projection: Projection, doses: np.ndarray, response: np.ndarray | None = None) -> Fit:
    """Least squares of the response on controls and doses, for R sets of doses at once.

    The standard error is White's with the residuals divided by √(1 − leverage) (HC2): right also where effects
    or noise differ between draws.

    Args:
        projection: The regression.
        doses: (R, S, E).
        response: (n,); that of the projection when left out.

    Returns:
        The fit; its error is NaN where the doses of a row, those in between and the controls are collinear.

    References:
        MacKinnon & White, Journal of Econometrics 29 (1985), 305–325.
    """
    y = projection.response if response is None else response
    step = max(_CHUNK // projection.epochs.size, 1)
    parts = [_fit(projection, doses[i : i + step], y) for i in range(0, len(doses), step)]
    return Fit(np.concatenate([p.coefficients for p in parts]), np.concatenate([p.error for p in parts]))


def _fit(projection: Projection, doses: np.ndarray, response: np.ndarray) -> Fit:
    basis = projection.controls
    x = projection.doses(doses)
    x = x - basis @ (basis.T @ x)
    y = response - basis @ (basis.T @ response)
    if np.linalg.norm(y) <= _RANK * np.linalg.norm(response):
        y = np.zeros_like(y)  # the controls explain it all: what is left is rounding, not evidence
    inverse = np.linalg.pinv(x.transpose(0, 2, 1) @ x, rcond=_RANK, hermitian=True)
    weights = x @ inverse  # (R, n, m): coefficient j is Σ_i weights_ij y_i
    coefficients = np.einsum("rnm,n->rm", weights, y)
    residual = y - np.einsum("rnm,rm->rn", x, coefficients)
    leverage = (basis**2).sum(1) + np.einsum("rnm,rnm->rn", weights, x)
    free = 1 - leverage > _RANK  # a row with a parameter of its own has no residual
    scaled = np.divide(residual**2, 1 - leverage, out=np.zeros_like(residual), where=free)
    error = np.sqrt((weights[:, :, 0] ** 2 * scaled).sum(1))
    identified = np.isclose((weights[:, :, 0] * x[:, :, 0]).sum(1), 1, atol=1e-6)
    return Fit(coefficients, np.where(identified, error, np.nan))


def _basis(columns: list[np.ndarray]) -> np.ndarray:
    matrix = np.stack(columns, axis=1)
    length = np.linalg.norm(matrix, axis=0)
    matrix = matrix / np.where(length > 0, length, 1)
    left, singular, _ = np.linalg.svd(matrix, full_matrices=False)
    return left[:, singular > _RANK * singular[0]]
