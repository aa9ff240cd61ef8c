"""Hessian-vector products, eigenvalues, trace and Lanczos against the dense Hessian and against curvlinops."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from ralr_viz.analysis.objective import classification_objective
from ralr_viz.analysis.spectrum import compute_spectrum
from ralr_viz.analysis.spectrum.hessian import HessianOperator, extreme_eigenpair, rademacher, run_lanczos
from ralr_viz.comparison import compare
from ralr_viz.data.augment import normalise_batch
from ralr_viz.errors import InputError
from ralr_viz.runtime.device import resolve_runtime

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 3, 3),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(12, 3),
    ).double()
    nn.init.uniform_(model[1].weight, 0.5, 1.5)
    nn.init.uniform_(model[1].running_var, 0.5, 1.5)
    return model.eval()


def images(n: int = 70) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (n, 6, 6, 3), dtype=np.uint8), rng.integers(0, 3, n)


def inputs(n: int = 70) -> tuple[torch.Tensor, torch.Tensor]:
    x = normalise_batch(torch.from_numpy(images(n)[0]), torch.tensor(MEAN), torch.tensor(STD))
    return x.double(), torch.from_numpy(images(n)[1])


def operator(
    model: nn.Module, *, batch: int = 32, n: int = 70, device: str = "cpu", **options
) -> HessianOperator:
    runtime = resolve_runtime(device, "fp32")
    objective = classification_objective(model, *images(n), mean=MEAN, std=STD, runtime=runtime, batch=batch)
    return HessianOperator(objective, **options)


def dense(model: nn.Module, n: int = 70) -> torch.Tensor:
    """The Hessian of the mean loss on all images at once, entry by entry: a literal twin."""
    twin, (x, y) = copy.deepcopy(model), inputs(n)
    names, shapes = zip(*((name, p.shape) for name, p in twin.named_parameters()), strict=True)

    def loss(vector: torch.Tensor) -> torch.Tensor:
        parts = vector.split([s.numel() for s in shapes])
        values = {k: p.reshape(s) for k, p, s in zip(names, parts, shapes, strict=True)}
        return nn.functional.cross_entropy(torch.func.functional_call(twin, values, (x,)), y)

    start = nn.utils.parameters_to_vector(twin.parameters()).detach()
    return torch.autograd.functional.hessian(loss, start)


@pytest.mark.parametrize("forward_mode", [True, False])
def test_product_is_of_the_dense_hessian_with_batches_of_32_32_6(device, forward_mode):
    model = network()
    apply = operator(model, forward_mode=forward_mode, device=device)
    vectors = torch.randn(apply.size, 3, dtype=torch.float64)
    expected, given = dense(model) @ vectors, vectors.to(device)
    assert torch.allclose(apply(given).cpu(), expected, atol=1e-12)
    assert torch.allclose(apply(given[:, :1]).cpu(), expected[:, :1], atol=1e-12)
    assert (apply.count, apply.forward_mode) == (4, forward_mode)


class Square(torch.autograd.Function):
    """Without a forward-mode derivative."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


class Squared(nn.Module):
    def forward(self, x):
        return Square.apply(x)


def test_product_where_an_operation_has_no_forward_mode_is_the_same():
    class Own(nn.Module):
        def forward(self, x):
            return x * x

    model, twin = network(), network()
    model[2], twin[2] = Squared(), Own()
    apply = operator(model)
    v = torch.randn(apply.size, 2, dtype=torch.float64)
    assert torch.allclose(apply(v), dense(twin) @ v, atol=1e-12)
    assert not apply.forward_mode


def test_network_with_an_operation_without_second_derivative_is_refused():
    model = network()
    model[2] = nn.Hardsigmoid()
    with pytest.raises(InputError, match="none of `hardsigmoid_backward`.*leave `spectrum` out"):
        operator(model)(torch.ones(sum(p.numel() for p in model.parameters()), 1, dtype=torch.float64))


def test_product_is_that_of_curvlinops():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated uses of torch that its imports warn of
        from curvlinops import HessianLinearOperator
    model, (x, y) = network(), inputs()
    twin = copy.deepcopy(model)
    data = [(x[i : i + 32], y[i : i + 32]) for i in range(0, 70, 32)]
    theirs = HessianLinearOperator(twin, nn.CrossEntropyLoss(), list(twin.parameters()), data)
    apply = operator(model)
    v = torch.randn(apply.size, dtype=torch.float64)
    assert torch.allclose(apply(v[:, None])[:, 0], theirs @ v, atol=1e-12)


def test_product_without_curvature_is_zero():
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2, 2))
            self.unused = nn.Parameter(torch.ones(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1)[:, :3] + 0 * self.weight.sum()

    apply = operator(Constant().eval())
    assert not apply(torch.ones(apply.size, 2)).any()


def test_extreme_eigenvalues_are_signed_and_those_of_the_dense_hessian():
    model = network()
    apply, values = operator(model), torch.linalg.eigvalsh(dense(model))
    assert values[0] < -1e-3 and values[-1] > 0.1  # else the sign is not tested
    start = torch.randn(apply.size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    options = {"basis": 20, "restarts": 30, "tolerance": 1e-10}
    top = extreme_eigenpair(apply, start, largest=True, **options)
    bottom = extreme_eigenpair(apply, start, largest=False, **options)
    assert top.value == pytest.approx(values[-1].item(), rel=1e-8) and top.residual < 1e-6
    assert bottom.value == pytest.approx(values[0].item(), rel=1e-8) and bottom.residual < 1e-6
    assert top.vector.norm().item() == pytest.approx(1)


def test_extreme_eigenvalue_that_does_not_converge_is_the_start_with_its_residual():
    matrix = torch.diag(torch.linspace(-1, 1, 300, dtype=torch.float64))
    start = torch.ones(300, dtype=torch.float64)
    found = extreme_eigenpair(
        lambda v: matrix @ v, start, largest=False, basis=3, restarts=0, tolerance=1e-12
    )
    assert found.value == pytest.approx(0, abs=1e-12) and found.value >= -1
    assert found.residual == pytest.approx((matrix @ start).norm().item() / 300**0.5)


def test_lanczos_of_all_steps_has_the_spectrum_and_its_basis_is_orthonormal():
    model = network()
    apply, hessian = operator(model), dense(model)
    probe = torch.randn(apply.size, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = run_lanczos(apply, probe, 25)
    for k in range(2):
        q = found.basis[k]
        assert torch.allclose(q @ q.T, torch.eye(25, dtype=torch.float64), atol=1e-10)
        inside = (q @ hessian @ q.T).numpy()
        off = np.diag(found.off_diagonal[k], 1)
        assert np.allclose(inside, np.diag(found.diagonal[k]) + off + off.T, atol=1e-10)
    values = torch.linalg.eigvalsh(hessian)
    vector = found.extreme(True)
    assert (vector @ hessian @ vector / vector.norm() ** 2).item() == pytest.approx(
        values[-1].item(), rel=1e-3
    )


def test_lanczos_stops_where_the_krylov_space_ends():
    matrix = torch.diag(torch.tensor([1.0, 1.0, 5.0, 5.0], dtype=torch.float64))
    found = run_lanczos(lambda v: matrix @ v, torch.ones(4, 1, dtype=torch.float64), 4)
    values, vectors = found.ritz(0)
    weights = vectors[0] ** 2
    assert weights.sum() == pytest.approx(1)
    assert values[weights > 1e-8] == pytest.approx([1, 5]) and weights[weights > 1e-8] == pytest.approx(
        [0.5, 0.5]
    )


def test_rademacher_probes_do_not_depend_on_their_number():
    few, many = rademacher(50, 2, 3), rademacher(50, 5, 3)
    assert np.array_equal(few, many[:, :2]) and set(np.unique(many)) == {-1, 1}
    assert not np.array_equal(many[:, 0], many[:, 1])


def compute(*models: nn.Module, n: int = 70, **options):
    x, y = images(n)
    where = {"device": "cpu", "batch": 32, "precision": options.pop("precision", "fp32")}
    networks = compare(list(models), images=x, labels=y, mean=MEAN, std=STD, **where)
    return compute_spectrum(networks, **({"basis": 12, "restarts": 8} | options))


def test_spectrum_is_that_of_the_dense_hessian():
    model, hessian = network(), dense(network())
    values = torch.linalg.eigvalsh(hessian)
    result = compute(model, probes=100, density_probes=100, steps=6)
    assert result.lambda_max[0] == pytest.approx(values[-1].item(), rel=0.01)
    assert result.lambda_min[0] == pytest.approx(values[0].item(), rel=0.05)
    assert values[0] - 1e-9 <= result.lambda_min[0] and result.lambda_max[0] <= values[-1] + 1e-9
    assert result.converged.all()
    trace, n = hessian.trace().item(), len(hessian)
    assert result.trace[0] == pytest.approx(trace, abs=4 * result.trace_error[0])
    assert 0 < result.trace_error[0] < abs(trace) / 4
    # Rademacher: Var(vᵀHv) = 2 Σ_{i≠j} H_ij²
    spread = (2 * (hessian**2).sum() - 2 * (hessian.diagonal() ** 2).sum()).sqrt().item()
    assert result.trace_error[0] == pytest.approx(spread / 100**0.5, rel=0.3)
    assert (result.weights.sum(axis=2) == pytest.approx(1)) and result.num_parameters[0] == n
    grid = np.linspace(-3, 8, 20001)
    density = result.density(grid, 0.02)[0]
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=1e-6)
    assert np.trapezoid(density * grid, grid) == pytest.approx(result.trace[0] / n, rel=1e-6)
    # the second moment of the quadrature is that of the eigenvalues, which the mean alone would miss
    second = (result.weights * result.nodes**2).sum(axis=2).mean()
    assert second == pytest.approx((values**2).mean().item(), rel=0.2)


def test_spectrum_of_two_networks_shares_the_probes_and_the_gradient_is_right():
    a, b = network(), network(1)
    both = compute(a, b, learning_rates=[0.1, np.nan])
    one = compute(b)
    for name in ("trace_samples", "lambda_max", "nodes", "scaled_max", "loss"):
        assert np.array_equal(getattr(both, name)[1], getattr(one, name)[0]), name
    x, y = inputs()
    gradient = torch.autograd.grad(nn.functional.cross_entropy(a(x), y), list(a.parameters()))
    flat = torch.cat([g.flatten() for g in gradient])
    assert both.gradient_norm[0] == pytest.approx(flat.norm().item())
    vectors = torch.linalg.eigh(dense(a))[1]
    cosine = (flat @ vectors).abs() / flat.norm()
    assert both.overlap_max[0] == pytest.approx(cosine[-1].item(), abs=0.02)
    assert both.overlap_min[0] == pytest.approx(cosine[0].item(), abs=0.05)
    eta = next(m for m in both.measures() if m.name == "eta_lambda_max")
    assert eta.values[0] == pytest.approx(0.1 * both.batch_lambda_max[0]) and np.isnan(eta.values[1])


def test_eta_lambda_max_is_of_batch_statistics_as_the_steps_of_training_see_them():
    model = network()
    result = compute(model, n=32, basis=20)  # one batch
    twin = copy.deepcopy(model).train()
    x, y = inputs(32)
    names, shapes = zip(*((n, p.shape) for n, p in twin.named_parameters()), strict=True)

    def loss(vector: torch.Tensor) -> torch.Tensor:
        parts = vector.split([s.numel() for s in shapes])
        values = {n: p.reshape(s) for n, p, s in zip(names, parts, shapes, strict=True)}
        values |= {n: b.clone() for n, b in twin.named_buffers()}
        return nn.functional.cross_entropy(torch.func.functional_call(twin, values, (x,)), y)

    start = nn.utils.parameters_to_vector(twin.parameters()).detach()
    largest = torch.linalg.eigvalsh(torch.func.hessian(loss)(start))[-1].item()
    assert result.batch_lambda_max[0] == pytest.approx(largest, rel=1e-3)
    assert abs(result.lambda_max[0] / largest - 1) > 0.01  # of the frozen statistics it is another
    bare = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 3)).double()
    without = compute(bare)
    assert without.batch_lambda_max[0] == without.lambda_max[0]


def test_spectrum_raw_moves_and_scaled_does_not_under_a_rescaling_that_leaves_the_function():
    model = network()
    model[
        1
    ].eps = 1e-12  # so small that the rescaling leaves the function; torch takes no 0 with batch statistics
    other = copy.deepcopy(model)
    with torch.no_grad():
        for tensor, factor in (
            (other[0].weight, 0.1), (other[0].bias, 0.1), (other[1].running_mean, 0.1), (other[1].running_var, 0.01),
        ):  # fmt: skip
            tensor.mul_(factor)
        assert torch.allclose(model(inputs()[0]), other(inputs()[0]), atol=1e-12)
    result = compute(model, other, probes=20)
    assert result.loss[1] == pytest.approx(result.loss[0], abs=1e-12)
    assert result.lambda_max[1] > 5 * result.lambda_max[0]
    assert result.trace[1] > 5 * result.trace[0]
    assert result.scaled_max[1] == pytest.approx(result.scaled_max[0], rel=1e-3)


@pytest.mark.parametrize("fails", [False, True])
def test_spectrum_leaves_the_network_alone(fails):
    model = network().train()
    model[0].weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())

    def progress(done: int, total: int, what: str) -> None:
        if fails and done > 20:
            raise RuntimeError("stop")

    if fails:
        with pytest.raises(RuntimeError, match="stop"):
            compute(model, progress=progress)
    else:
        compute(model, progress=progress)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(p.grad is None for p in model.parameters()) and not model[0].weight.requires_grad
    assert not any(m._forward_hooks or m._backward_hooks for m in model.modules())


def test_spectrum_progress_grows_to_its_total():
    seen: list[tuple[int, int, str]] = []
    compute(network(), network(1), progress=lambda *at: seen.append(at))
    done = [d for d, _, _ in seen]
    assert done == sorted(done) and seen[-1][0] == seen[-1][1] and len({t for _, t, _ in seen}) == 1


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"probes": 1}, "`probes` = 1 must be at least the 2"),
        ({"steps": 1}, "`steps` = 1 must be 2 or more"),
        ({"basis": 2}, "`basis` = 2 must be 3"),
        ({"precision": "bf16"}, "too coarse"),
    ],
)
def test_spectrum_refuses_options_out_of_range(options, match):
    with pytest.raises(InputError, match=match):
        compute(network(), **options)
