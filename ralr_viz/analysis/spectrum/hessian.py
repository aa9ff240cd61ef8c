"""Products of the training loss's Hessian with vectors, and what follows from few of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from ralr_viz.analysis.objective import BatchLoss, Box, Objective
from ralr_viz.analysis.spectrum.folding import Pair, find_pairs, folded
from ralr_viz.errors import InputError
from ralr_viz.tasks.batches import Batch
from ralr_viz.tasks.exact import exact


class HessianOperator:
    r"""H v of the mean loss of an `Objective`, the derivative of its gradient along v, batches weighted by their size.

    Forward mode over reverse mode: a forward and a backward pass carry the derivative along, and nothing is kept between
    products. A network with an operation that has no forward-mode derivative is differentiated twice backward instead,
    several vectors at once sharing the graph of each batch. BatchNorm is that of the objective, frozen at its running
    statistics, and is folded into the convolution before it where that is the only one to feed it: a third of the time
    went into its second derivatives. Weight decay is not part of the loss.

    Attributes:
        objective: Whose loss, at its present weights.
        size: Number of parameters n.
        count: Products of all images with one vector so far.
        forward_mode: Whether the network has been found to allow it.
    """

    def __init__(self, objective: Objective, *, forward_mode: bool = True) -> None:
        self.objective, self.forward_mode = objective, forward_mode
        self.size = sum(p.numel() for p in objective.parameters)
        self.count = 0
        self._loss = BatchLoss(objective.model, objective.task)
        self._pairs: list[Pair] | None = None

    def __call__(self, vectors: Tensor) -> Tensor:
        """H V for (n, k) vectors on the device, in the type of the parameters.

        Raises:
            InputError: An operation of the network has no second derivative in torch.
        """
        result = torch.zeros_like(vectors)
        parts = [self.split(v) for v in vectors.unbind(1)]
        for batch in self.objective.batches():
            if self._pairs is None:
                self._pairs = find_pairs(self.objective.model, partial(self._loss, Box(batch)))
            # attention's fast kernels have no second derivative
            with folded(self._pairs), sdpa_kernel(SDPBackend.MATH):
                for k, product in enumerate(self._multiply(batch, parts)):
                    result[:, k] += torch.cat([p.flatten() for p in product])
        self.count += len(parts)
        return result / self.objective.total_weight

    def split(self, vector: Tensor) -> list[Tensor]:
        """(n,) as a tensor for each parameter."""
        parameters = self.objective.parameters
        pieces = vector.split([p.numel() for p in parameters])
        return [piece.reshape(p.shape) for piece, p in zip(pieces, parameters, strict=True)]

    def from_numpy(self, vectors: np.ndarray) -> Tensor:
        """(n, k) on the device."""
        first = self.objective.parameters[0]
        return torch.from_numpy(np.ascontiguousarray(vectors)).to(first.device, first.dtype)

    def _multiply(self, batch: Batch, vectors: Sequence[Sequence[Tensor]]) -> Iterable[Sequence[Tensor]]:
        """Of a batch's summed loss, the product with each vector."""
        if self.forward_mode:
            try:
                return [self._forward_over_reverse(batch, vector) for vector in vectors]
            except (NotImplementedError, RuntimeError) as error:
                if not _NO_FORWARD_MODE.search(str(error)):
                    raise
                self.forward_mode = False
        return self._reverse_over_reverse(batch, vectors)

    def _forward_over_reverse(self, batch: Batch, vector: Sequence[Tensor]) -> Sequence[Tensor]:
        with forward_ad.dual_level():
            weights = [
                forward_ad.make_dual(p, v) for p, v in zip(self.objective.parameters, vector, strict=True)
            ]
            named = {
                f"model.{name}": weight for name, weight in zip(self.objective.names, weights, strict=True)
            }
            loss = torch.func.functional_call(self._loss, named, (Box(batch),))
            gradient = torch.autograd.grad(loss, weights, materialize_grads=True)
            tangents = [forward_ad.unpack_dual(g).tangent for g in gradient]
        # the gradient of a parameter that the loss depends on linearly, or not at all, does not move
        return [torch.zeros_like(v) if t is None else t for t, v in zip(tangents, vector, strict=True)]

    def _reverse_over_reverse(
        self, batch: Batch, vectors: Sequence[Sequence[Tensor]]
    ) -> Iterator[Sequence[Tensor]]:
        parameters = self.objective.parameters
        gradient = torch.autograd.grad(
            self._loss(Box(batch)), parameters, create_graph=True, materialize_grads=True
        )
        for vector in vectors:
            pairs = [(g, v) for g, v in zip(gradient, vector, strict=True) if g.requires_grad]
            if not pairs:
                yield [torch.zeros_like(v) for v in vector]
                continue
            outputs, given = zip(*pairs, strict=True)
            try:
                yield torch.autograd.grad(
                    outputs, parameters, given, retain_graph=True, materialize_grads=True
                )
            except RuntimeError as error:
                if (lacking := _NO_SECOND.search(str(error))) is None:
                    raise
                raise InputError(
                    f"the Hessian needs second derivatives, and torch has none of `{lacking[1]}`, which the network uses: "
                    "replace that layer (nn.Hardsigmoid by a clamp, say), or leave `spectrum` out"
                ) from error


_NO_FORWARD_MODE = re.compile("forward (mode )?AD|jvp")
_NO_SECOND = re.compile(r"derivative for (?:aten::)?(\w+) is not implemented")


Apply = Callable[[Tensor], Tensor]


class Lanczos(NamedTuple):
    """Tridiagonal matrices of k probes after s steps.

    Attributes:
        diagonal: (k, s) float64; its first column is vᵀHv of the unit probe.
        off_diagonal: (k, s − 1) float64.
        basis: (k, s, n) orthonormal rows.
    """

    diagonal: np.ndarray
    off_diagonal: np.ndarray
    basis: Tensor

    def ritz(self, probe: int) -> tuple[np.ndarray, np.ndarray]:
        """Ritz values (s,), growing, and the eigenvectors (s, s) of the tridiagonal matrix, in columns."""
        return eigh_tridiagonal(self.diagonal[probe], self.off_diagonal[probe])

    def extreme(self, largest: bool) -> Tensor:
        """The Ritz vector (n,) of the largest or smallest Ritz value of all probes."""
        values = [self.ritz(k) for k in range(len(self.diagonal))]
        at = -1 if largest else 0
        pick = (np.argmax if largest else np.argmin)([v[at] for v, _ in values])
        weights = torch.from_numpy(values[pick][1][:, at]).to(self.basis)
        return weights @ self.basis[pick]


def run_lanczos(
    apply: Apply, probes: Tensor, steps: int, progress: Callable[[int], None] | None = None
) -> Lanczos:
    """Lanczos with full reorthogonalisation, twice, of several probes in step.

    A Krylov space that is exhausted ends in zeros: its further Ritz values have no weight.

    Args:
        apply: (n, k) ↦ H times it, symmetric.
        probes: (n, k).
        steps: s ≥ 1, at most n.
        progress: Called with the number of products of each step.

    References:
        Golub and Meurant, Matrices, moments and quadrature, 2010, section 4.1.
    """
    n, k = probes.shape
    steps = min(steps, n)
    basis = torch.zeros(k, steps, n, dtype=probes.dtype, device=probes.device)
    diagonal, off = np.zeros((k, steps)), np.zeros((k, max(steps - 1, 0)))
    current = probes / probes.norm(dim=0)
    scale = 0.0
    for i in range(steps):
        basis[:, i] = current.T
        product = apply(current)
        if progress is not None:
            progress(k)
        diagonal[:, i] = (current * product).sum(0).double().cpu().numpy()
        scale = max(scale, float(np.abs(diagonal).max()), float(off.max(initial=0)))
        if i == steps - 1:
            break
        rest = product.T[:, :, None]
        for _ in range(2):
            rest = rest - basis[:, : i + 1].transpose(1, 2) @ (basis[:, : i + 1] @ rest)
        norms = rest.norm(dim=1)
        alive = norms > scale * n * torch.finfo(probes.dtype).eps
        current = torch.where(alive, rest[:, :, 0] / torch.where(alive, norms, 1), 0).T
        off[:, i] = torch.where(alive, norms, 0)[:, 0].double().cpu().numpy()
    return Lanczos(diagonal, off, basis)


class EigenPair(NamedTuple):
    """An approximate eigenvalue λ, its unit vector (n,) and ‖Hv − λv‖."""

    value: float
    vector: Tensor
    residual: float


def extreme_eigenpair(
    apply: Apply,
    start: Tensor,
    *,
    largest: bool,
    basis: int = 10,
    restarts: int = 1,
    tolerance: float = 1e-2,
) -> EigenPair:
    """The largest or smallest eigenvalue, signed, by scipy's `eigsh` (ARPACK) from a given vector.

    The value is the Rayleigh quotient of the vector, which is never above the true largest eigenvalue nor
    below the true smallest one, converged or not: a negative one proves a direction of negative curvature.
    Where ARPACK does not get further, the pair of the start is returned, with its residual.

    Args:
        apply: (n, 1) ↦ H times it, symmetric.
        start: (n,) non-zero.
        largest: Else the smallest.
        basis: Lanczos vectors of ARPACK, which cost a product each.
        restarts: Further rounds of about as many products.
        tolerance: Relative, of ARPACK.
    """
    n = len(start)

    def multiply(v: np.ndarray) -> np.ndarray:
        vector = torch.from_numpy(np.asarray(v, dtype=np.float64).reshape(-1)).to(start.dtype).to(start)
        return exact(apply(vector[:, None])[:, 0]).cpu().numpy()

    found = start / start.norm()
    if n > 2:
        try:
            _, vectors = eigsh(
                LinearOperator((n, n), matvec=multiply, dtype=np.float64),
                k=1,
                which="LA" if largest else "SA",
                v0=exact(found).cpu().numpy(),
                ncv=min(max(basis, 3), n),
                maxiter=1 + restarts,
                tol=tolerance,
            )
            found = torch.from_numpy(vectors[:, 0]).to(start.dtype).to(start)
        except (ArpackNoConvergence, ArpackError):
            pass
    found = found / found.norm()
    product = apply(found[:, None])[:, 0]
    value = (exact(found) @ exact(product)).item()
    return EigenPair(value, found, exact(product - value * found).norm().item())


def rademacher(size: int, count: int, seed: int) -> np.ndarray:
    """±1, (size, count) float32; column j depends on size, seed and j alone."""
    columns = [np.random.default_rng([seed, j]).integers(0, 2, size, dtype=np.int8) for j in range(count)]
    return (2.0 * np.stack(columns, axis=1) - 1).astype(np.float32)
