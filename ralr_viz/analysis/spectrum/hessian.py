"""Products of the training loss's Hessian with vectors, and what follows from few of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ralr_viz.analysis.objective import Objective
from ralr_viz.tasks.batches import Batch
from ralr_viz.tasks.exact import exact

GRAPH_MEMORY = 4 << 30
"""Bytes of graphs that an operator may keep between products."""


class HessianOperator:
    r"""H v of the mean loss of an `Objective`, by two backward passes, batches weighted by their size.

    The graph of a batch's gradient is built once and kept, as far as ``graph_memory`` reaches; the batches
    beyond are run again for each product. Several vectors at once share one graph of each batch in any case.
    BatchNorm is that of the objective, frozen at its running statistics. Weight decay is not part of the loss.

    Attributes:
        objective: Whose loss, at its present weights.
        size: Number of parameters n.
        count: Products of all images with one vector so far.
    """

    def __init__(self, objective: Objective, *, graph_memory: int = GRAPH_MEMORY) -> None:
        self.objective = objective
        self.size = sum(p.numel() for p in objective.parameters)
        self.count = 0
        self._memory = graph_memory
        self._graphs: list[tuple[Tensor, ...]] = []

    def __call__(self, vectors: Tensor) -> Tensor:
        """H V for (n, k) vectors on the device, in the type of the parameters."""
        result = torch.zeros_like(vectors)
        parts = [self.split(v) for v in vectors.unbind(1)]
        for number, batch in enumerate(self.objective.batches()):
            gradient = self._graphs[number] if number < len(self._graphs) else self._build(batch)
            for k, part in enumerate(parts):
                result[:, k] += self._multiply(gradient, part)
        self.count += len(parts)
        return result

    def split(self, vector: Tensor) -> list[Tensor]:
        """(n,) as a tensor for each parameter."""
        parameters = self.objective.parameters
        pieces = vector.split([p.numel() for p in parameters])
        return [piece.reshape(p.shape) for piece, p in zip(pieces, parameters, strict=True)]

    def zeros(self, count: int) -> Tensor:
        """(n, count) on the device."""
        first = self.objective.parameters[0]
        return torch.zeros(self.size, count, dtype=first.dtype, device=first.device)

    def from_numpy(self, vectors: np.ndarray) -> Tensor:
        """(n, k) on the device."""
        first = self.objective.parameters[0]
        return torch.from_numpy(np.ascontiguousarray(vectors)).to(first.device, first.dtype)

    def _build(self, batch: Batch) -> tuple[Tensor, ...]:
        """Gradient of a batch's share of the mean loss, with its graph; kept where there is room."""
        stored: dict[int, int] = {}

        def count(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            stored[storage.data_ptr()] = storage.nbytes()
            return tensor

        # attention's fast kernels have no second derivative
        with (
            sdpa_kernel(SDPBackend.MATH),
            torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor),
        ):
            loss, _ = self.objective.loss_sum(batch)
            gradient = torch.autograd.grad(
                loss / self.objective.total_weight,
                self.objective.parameters,
                create_graph=True,
                materialize_grads=True,
            )
        used = sum(stored.values())
        if used <= self._memory:
            self._memory -= used
            self._graphs.append(gradient)
        else:
            self._memory = 0  # the batches after it are as large, and kept ones must be the first
        return gradient

    def _multiply(self, gradient: Sequence[Tensor], vector: Sequence[Tensor]) -> Tensor:
        # the gradient of a parameter that the loss depends on linearly, or not at all, has no graph
        pairs = [(g, v) for g, v in zip(gradient, vector, strict=True) if g.requires_grad]
        if not pairs:
            return torch.zeros_like(torch.cat([v.flatten() for v in vector]))
        outputs, given = zip(*pairs, strict=True)
        product = torch.autograd.grad(
            outputs, self.objective.parameters, given, retain_graph=True, materialize_grads=True
        )
        return torch.cat([p.flatten() for p in product])


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
