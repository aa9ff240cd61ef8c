"""Sharpness against the dense Hessian and under rescaling; the caller's networks stay as they were."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from ralr_viz.analysis.directions import filter_norms, normalise_filters, random_direction
from ralr_viz.analysis.objective import classification_objective
from ralr_viz.analysis.sharpness import compute_sharpness, even_batch
from ralr_viz.comparison import compare
from ralr_viz.data.augment import augment_once, normalise_batch
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.runtime.device import resolve_runtime
from ralr_viz.tasks.classification.loss import BothScales, Classification, NormalisedLogits

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
N = 24


def network(*, eps: float = 1e-5, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4, eps=eps),
        nn.Tanh(),  # smooth, so that a Hessian says what happens nearby
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 3),
    ).double()
    nn.init.uniform_(model[1].weight, 0.5, 1.5)
    nn.init.uniform_(model[1].running_mean, -0.5, 0.5)
    nn.init.uniform_(model[1].running_var, 0.5, 1.5)
    return model.eval()


def images() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (N, 8, 8, 3), dtype=np.uint8), rng.integers(0, 3, N)


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    x = normalise_batch(torch.from_numpy(images()[0]), torch.tensor(MEAN), torch.tensor(STD))
    return x.double(), torch.from_numpy(images()[1])


def compute(*models: nn.Module, batch: int = N, **options):
    x, y = images()
    networks = compare(list(models), images=x, labels=y, mean=MEAN, std=STD, device="cpu", batch=batch)
    return compute_sharpness(networks, **({"directions": 6} | options))


def flat_loss(model: nn.Module, *, train: bool):
    """The loss as a function of one vector, and the vector where it stands: a literal twin."""
    twin, (x, y) = copy.deepcopy(model).train(train), inputs()
    names = [name for name, _ in twin.named_parameters()]
    shapes = [p.shape for p in twin.parameters()]

    def loss(vector: torch.Tensor) -> torch.Tensor:
        parts = vector.split([s.numel() for s in shapes])
        values = {n: p.reshape(s) for n, p, s in zip(names, parts, shapes, strict=True)}
        values |= {n: b.clone() for n, b in twin.named_buffers()}
        return nn.functional.cross_entropy(torch.func.functional_call(twin, values, (x,)), y)

    return loss, nn.utils.parameters_to_vector(twin.parameters()).detach()


def flat_direction(model: nn.Module, index: int) -> torch.Tensor:
    return nn.utils.parameters_to_vector(random_direction([p.detach() for p in model.parameters()], 0, index))


@pytest.mark.parametrize("batchnorm", ["batch", "frozen"])
def test_sharpness_of_small_radii_is_half_of_the_quadratic_form_of_the_dense_hessian(batchnorm):
    model, radius = network(), 1e-3
    result = compute(model, radii=[radius], worst_radii=[], batchnorm=batchnorm)
    loss, start = flat_loss(model, train=batchnorm == "batch")
    assert result.centre_loss[0] == pytest.approx(loss(start).item(), abs=1e-12)
    gradient, hessian = torch.func.grad(loss)(start), torch.autograd.functional.hessian(loss, start)
    for k in range(6):
        d = flat_direction(model, k)
        second = 0.5 * radius**2 * (d @ hessian @ d).item()
        assert result.rises[0, 0, k] == pytest.approx(second, rel=1e-3, abs=1e-10)
        slope = (result.losses[0, 0, k, 0] - result.losses[0, 0, k, 1]) / (2 * radius)
        assert slope == pytest.approx((gradient @ d).item(), rel=1e-3, abs=1e-6)


def test_sharpness_averages_to_the_trace_over_filters():
    model, radius = network(), 1e-3
    result = compute(model, radii=[radius], worst_radii=[], batchnorm="frozen", directions=300)
    loss, start = flat_loss(model, train=False)
    hessian = torch.autograd.functional.hessian(loss, start)
    expected, at = 0.0, 0
    for p in model.parameters():
        filters = p.detach().flatten(1) if p.ndim > 1 else p.detach()[:, None] * 0
        size = p.numel() // len(p)
        for norm in filters.norm(dim=1):  # uniform on a sphere: E[d dᵀ] = ‖w_f‖² I / size
            expected += (norm**2 * hessian.diagonal()[at : at + size].sum() / size).item()
            at += size
    second = result.rises[0, 0] / (0.5 * radius**2)
    assert second.mean() == pytest.approx(expected, abs=4 * second.std() / 300**0.5)
    assert abs(expected) > 8 * second.std() / 300**0.5  # else anything would agree


def rescaled(model: nn.Module) -> nn.Module:
    """The same function: a convolution before BatchNorm times 0.1, with its running statistics."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for tensor, factor in (
            (other[0].weight, 0.1), (other[0].bias, 0.1), (other[1].running_mean, 0.1), (other[1].running_var, 0.01),
        ):  # fmt: skip
            tensor.mul_(factor)
    return other


@pytest.mark.parametrize("batchnorm", ["batch", "frozen"])
def test_sharpness_does_not_move_under_a_rescaling_that_leaves_the_function(batchnorm):
    model = network(eps=1e-14)
    other = rescaled(model)
    with torch.no_grad():
        assert torch.allclose(model(inputs()[0]), other(inputs()[0]), atol=1e-12)
    result = compute(model, other, radii=[0.1, 0.3], worst_radii=[0.01], batchnorm=batchnorm)
    assert result.losses[1] == pytest.approx(result.losses[0], abs=1e-10)
    assert result.worst_losses[1] == pytest.approx(result.worst_losses[0], abs=1e-10)
    assert abs(result.rises[0, 1].mean()) > 1e-3
    largest = []
    for net in (model, other):
        loss, start = flat_loss(net, train=False)
        largest.append(torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, start))[-1].item())
    assert largest[1] > 3 * largest[0]


def test_worst_case_is_above_the_average_and_inside_the_ball():
    model, radius = network(), 0.02
    result = compute(model, radii=[radius], worst_radii=[radius], worst_starts=3, worst_steps=5)
    assert result.worst_losses.shape == (1, 1, 3)
    assert result.worst_rises[0, 0] > 2 * result.rises[0, 0].max() > 0
    # to first order: the sum over filters of ‖w_f‖‖g_f‖, which no point of a small ball exceeds by much
    loss, start = flat_loss(model, train=True)
    gradient = torch.func.grad(loss)(start).split([p.numel() for p in model.parameters()])
    parts = [
        (p.detach().flatten(1).norm(dim=1) * g.reshape(p.shape).flatten(1).norm(dim=1)).sum().item()
        for p, g in zip(model.parameters(), gradient, strict=True)
        if p.ndim > 1
    ]
    tiny = compute(model, radii=[radius], worst_radii=[1e-4], worst_starts=1, worst_steps=1)
    assert tiny.worst_rises[0, 0] == pytest.approx(1e-4 * sum(parts), rel=0.01)


def test_sharpness_shares_directions_and_depends_on_the_seed_only():
    a, b = network(), network(seed=1)
    both, one = compute(a, b), compute(b)
    assert np.array_equal(both.losses[1], one.losses[0]) and both.common
    assert not np.array_equal(compute(b, seed=1).losses, one.losses)
    frozen = [compute(a, batchnorm="frozen", batch=size) for size in (5, N)]
    assert frozen[0].losses == pytest.approx(frozen[1].losses, abs=1e-12)


@pytest.mark.parametrize("fails", [False, True])
def test_sharpness_leaves_the_network_alone(fails):
    model = network().train()
    model[0].weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())

    def progress(done: int, total: int, what: str) -> None:
        if fails and done == 5:
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


def test_sharpness_counts_its_progress():
    seen: list[tuple[int, int, str]] = []
    compute(network(), network(), progress=lambda *at: seen.append(at))
    total = 2 * (1 + 3 * 6 * 2 + 2 * 4 + 1)  # normalised logits are of the same passes
    assert seen == [(i, total, "losses at moved weights") for i in range(1, total + 1)]


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"radii": []}, InputError, r"`radii` = \(\) must be positive"),
        ({"radii": [0.1, -1]}, InputError, "`radii` = -1 must be positive"),
        ({"worst_radii": [float("nan")]}, InputError, "`worst_radii` = nan"),
        ({"directions": 1}, InputError, "`directions` = 1 must be 2 or more"),
        ({"worst_steps": 0}, InputError, "`worst_steps` = 0 must be 1"),
        ({"batchnorm": "train"}, UnknownNameError, "BatchNorm mode"),
        ({"batch": 0}, InputError, "`batch` = 0"),
    ],
)
def test_sharpness_refuses_options_out_of_range(options, error, match):
    with pytest.raises(error, match=match):
        compute(network(), **options)


def test_even_batch_leaves_no_small_rest():
    assert [even_batch(n, 500) for n in (1000, 1024, 10, 501)] == [500, 342, 10, 251]


def test_random_direction_has_the_norm_of_each_filter_and_leaves_vectors():
    weights = [p.detach() for p in network().parameters()]
    direction = random_direction(weights, 3, 7)
    for w, d in zip(weights, direction, strict=True):
        if w.ndim == 1:
            assert not d.any()
        else:
            for one, other in zip(w, d, strict=True):
                assert other.norm() == pytest.approx(one.norm().item(), rel=1e-6)
    again, other = random_direction(weights, 3, 7), random_direction(weights, 3, 8)
    assert all(torch.equal(a, b) for a, b in zip(direction, again, strict=True))
    assert not torch.equal(direction[0], other[0])
    cosine = (direction[4] * other[4]).sum() / (direction[4].norm() * other[4].norm())
    assert abs(cosine) < 0.6


def test_normalise_filters_keeps_zeros():
    weights = [torch.zeros(2, 3), torch.ones(2, 3)]
    scaled = normalise_filters([torch.ones(2, 3), torch.zeros(2, 3)], filter_norms(weights))
    assert not scaled[0].any() and not scaled[1].any()


def test_objective_gradient_is_of_the_loss_it_evaluates():
    model = network()
    objective = classification_objective(
        model, *images(), mean=MEAN, std=STD, runtime=resolve_runtime("cpu", "fp32"), batch=7
    )
    loss, start = flat_loss(model, train=False)
    value, gradient = objective.gradient()
    assert value == pytest.approx(loss(start).item(), abs=1e-12) == objective.evaluate()[0]
    flat = torch.cat([g.flatten() for g in gradient])
    assert torch.allclose(flat, torch.func.grad(loss)(start), atol=1e-12)


def test_batch_statistics_are_those_of_training_and_leave_the_running_ones():
    model = network()
    objective = classification_objective(
        model, *images(), mean=MEAN, std=STD, runtime=resolve_runtime("cpu", "fp32"), batch=N
    )
    before = objective.evaluate()
    with objective.batch_statistics():
        inside = objective.evaluate()[0]
    loss, start = flat_loss(model, train=True)
    assert inside == pytest.approx(loss(start).item(), abs=1e-12)
    assert objective.evaluate() == before and abs(inside - before[0]) > 1e-3


def test_augment_once_crops_and_mirrors_each_image_in_place():
    given = images()[0]
    found = augment_once(given, padding=2, flip=True)
    assert found.shape == given.shape and found.dtype == np.uint8
    padded = np.pad(given, ((0, 0), (2, 2), (2, 2), (0, 0)))
    moved = 0
    for i, image in enumerate(found):
        crops = [padded[i, t : t + 8, left : left + 8] for t in range(5) for left in range(5)]
        assert any(np.array_equal(image, c) or np.array_equal(image, c[:, ::-1]) for c in crops)
        moved += not np.array_equal(image, given[i])
    assert moved > N / 2
    assert np.array_equal(augment_once(given, padding=0, flip=False), given)
    assert np.array_equal(found, augment_once(given, padding=2, flip=True))


@pytest.mark.parametrize("batchnorm", ["batch", "frozen"])
def test_sharpness_of_normalised_logits_does_not_see_their_scale(batchnorm):
    """The raw rise does: a last layer that is three times as large moves three times as far."""
    model = network()
    larger = copy.deepcopy(model)
    with torch.no_grad():
        larger[-1].weight *= 3
        larger[-1].bias *= 3
    result = compute(model, larger, radii=[0.05, 0.2, 0.4], worst_radii=[], batchnorm=batchnorm)
    rises = result.normalised_rises
    np.testing.assert_allclose(rises[1], rises[0], rtol=1e-9)
    assert result.normalised_centre[1] == pytest.approx(result.normalised_centre[0], rel=1e-12)
    assert abs(result.rises[1, 1].mean() / result.rises[0, 1].mean() - 1) > 0.5
    measures = {m.name: m for m in result.measures()}
    assert measures["sharpness_normalised"].values == pytest.approx(rises.mean(axis=1))
    assert measures["sharpness_normalised"].label.endswith("ρ = 0.2")


def test_normalised_logits_have_one_scale_and_equal_ones_are_zero():
    x, y = inputs()
    task = NormalisedLogits(y.numpy())
    logits = network()(x).detach()
    found = task.logits(logits)
    scale = ((logits - logits.mean(1, keepdim=True)) ** 2).mean(1, keepdim=True).sqrt()
    torch.testing.assert_close(found, (logits - logits.mean(1, keepdim=True)) / scale)
    assert not task.logits(torch.ones(2, 3)).any()
    expected = nn.functional.cross_entropy(
        logits / scale, y, reduction="sum"
    )  # a shift of all logits is no matter
    torch.testing.assert_close(task.evaluate(network(), (x, y)).loss, expected)


def test_both_scales_are_of_one_forward_pass_and_those_of_each_alone():
    passes, y = [], torch.randint(4, (6,))
    network = torch.nn.Linear(3, 4)
    network.register_forward_hook(lambda *_: passes.append(1))
    both, batch = BothScales(y.numpy()), (torch.randn(6, 3), y)
    found = [both.evaluate(network, batch) for _ in range(2)]
    assert len(passes) == 2
    plain, scaled = (kind(y.numpy()).evaluate(network, batch) for kind in (Classification, NormalisedLogits))
    assert found == [plain, plain] and both.normalised == 2 * scaled.loss
