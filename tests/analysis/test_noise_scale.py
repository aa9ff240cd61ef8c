"""The gradient noise scale against closed forms and per-image gradients; the caller's networks stay as they were."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ralr_viz.analysis.noise_scale import compute_noise_scale, draw_places, measure_squares
from ralr_viz.comparison import compare
from ralr_viz.data.augment import normalise_batch
from ralr_viz.errors import InputError
from ralr_viz.results.noise_scale import NoiseScaleResult

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
N = 40


def network(*, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)
    ).double()  # fmt: skip
    nn.init.uniform_(model[1].running_mean, -0.5, 0.5)
    nn.init.uniform_(model[1].running_var, 0.5, 1.5)
    return model.eval()


def images(n: int = N) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8), rng.integers(0, 3, n)


def compute(*models: nn.Module, n: int = N, **options) -> NoiseScaleResult:
    x, y = images(n)
    networks = compare(list(models), images=x, labels=y, mean=MEAN, std=STD, device="cpu")
    return compute_noise_scale(networks, **({"small": 2, "big": 8} | options))


def image_gradients(model: nn.Module) -> np.ndarray:
    """Gradient of each image's loss (n, p), one image at a time: a literal twin."""
    x, y = images()
    x = normalise_batch(torch.from_numpy(x), torch.tensor(MEAN), torch.tensor(STD)).double()
    rows = []
    for image, label in zip(x, torch.from_numpy(y), strict=True):
        loss = nn.functional.cross_entropy(model(image[None]), label[None])
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))]))
    return torch.stack(rows).numpy()


class Quadratic:
    """½(w·x − y)² with x ~ N(0, I) and y = w*·x + σε, as `measure_squares` looks at an objective.

    With δ = w − w*, G = δ and tr Σ = (p + 1)|δ|² + σ²p.
    """

    def __init__(self, count: int, batch: int, *, size: int = 4, sigma: float = 0.7) -> None:
        generator = torch.Generator().manual_seed(0)
        self.delta = torch.linspace(0.2, 0.6, size, dtype=torch.float64)
        self.x = torch.randn(count, size, generator=generator, dtype=torch.float64)
        self.y = sigma * torch.randn(count, generator=generator, dtype=torch.float64)  # w* = 0
        self.parameters = [self.delta.clone().requires_grad_(True)]
        self.batch = batch
        self.square = self.delta.square().sum().item()
        self.trace = (size + 1) * self.square + sigma**2 * size

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(self.x.split(self.batch), self.y.split(self.batch), strict=True)

    def loss_sum(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, int]:
        x, y = batch
        return 0.5 * (x @ self.parameters[0] - y).square().sum(), len(y)


def test_noise_scale_of_least_squares_is_the_closed_form():
    small, big, count = 4, 16, 1500
    problem = Quadratic(count * big, small)
    squares = measure_squares(problem, big // small)  # type: ignore[arg-type]
    result = NoiseScaleResult(
        models=("w",), small_squares=squares.small[None], big_squares=squares.big[None],
        loss=np.array([squares.loss]), small=small, big=big, recipe_batch=(None,), num_images=count * big,
        seed=0, resamples=1000,
    )  # fmt: skip
    for found, true in ((result.squares[0], problem.square), (result.traces[0], problem.trace)):
        error = found.std(ddof=1) / count**0.5
        assert found.mean() == pytest.approx(true, abs=4 * error) and error < 0.05 * true
    value, low, high = result.measures()[0].interval(0)
    assert value == pytest.approx(problem.trace / problem.square, rel=0.1)
    assert low < problem.trace / problem.square < high
    # |g_b|² alone is far off: it is |G|² + tr Σ / b
    biased = problem.square + problem.trace / small
    assert squares.small.mean() == pytest.approx(biased, rel=0.05) and biased > 2 * problem.square


def test_noise_scale_is_that_of_gradients_of_single_images():
    model = network()
    gradients = image_gradients(model)
    result = compute(model, draws=4)
    at = draw_places(N, 32, 0).reshape(4, 4, 2)
    batches = gradients[at].mean(axis=2)
    assert result.small_squares[0] == pytest.approx((batches**2).sum(axis=2).mean(axis=1), rel=1e-10)
    assert result.big_squares[0] == pytest.approx((batches.mean(axis=1) ** 2).sum(axis=1), rel=1e-10)
    # of the draw's 8 images alone: their pairs in different batches, and the spread of its batches
    pairs = np.einsum("dbp,dcp->dbc", batches, batches)
    apart = pairs[:, ~np.eye(4, dtype=bool)].mean(axis=1)
    assert result.squares[0] == pytest.approx(apart, rel=1e-8)
    assert result.traces[0] == pytest.approx(2 * batches.var(axis=1, ddof=1).sum(axis=1), rel=1e-8)
    assert result.loss[0] == pytest.approx(
        compute(model, draws=4, small=4, big=8).loss[0], rel=1e-12
    )  # of the same images, however they are batched


def test_noise_scale_is_unbiased_over_shuffles():
    model = network()
    gradients = image_gradients(model)
    trace = gradients.var(axis=0, ddof=1).sum()
    square = (gradients.mean(axis=0) ** 2).sum() - trace / N
    found = [compute(model, seed=seed, small=1, big=4) for seed in range(10)]
    for name, true in (("traces", trace), ("squares", square)):
        means = np.array([getattr(result, name).mean() for result in found])
        assert means.mean() == pytest.approx(true, abs=3.5 * means.std(ddof=1) / 10**0.5)


def test_draws_share_no_image_and_depend_on_the_seed_only():
    places = draw_places(100, 96, 3)
    assert len(set(places)) == 96 and set(places) <= set(range(100))
    assert np.array_equal(places[:40], draw_places(100, 40, 3))
    assert not np.array_equal(places, draw_places(100, 96, 4))
    a, b = network(), network(seed=1)
    both, alone = compute(a, b), compute(b)
    assert both.draws == 5 and np.array_equal(both.big_squares[1], alone.big_squares[0])
    assert not np.array_equal(compute(b, seed=1).big_squares, alone.big_squares)


def test_noise_scale_of_equal_images_has_no_noise():
    x, y = images()
    pair = compare([network()], images=x[:1].repeat(16, 0), labels=y[:1].repeat(16), mean=MEAN, std=STD, device="cpu")  # fmt: skip
    result = compute_noise_scale(pair, small=2, big=4)
    assert result.traces[0] == pytest.approx(0, abs=1e-12 * result.squares.mean())
    assert result.squares[0] == pytest.approx(result.big_squares[0]) and result.squares.min() > 0


@pytest.mark.parametrize("fails", [False, True])
def test_noise_scale_leaves_the_network_alone(fails):
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


def test_noise_scale_counts_its_progress():
    seen: list[tuple[int, int, str]] = []
    compute(network(), network(), progress=lambda *at: seen.append(at))
    assert seen == [(i, 40, "gradients of small batches") for i in range(1, 41)]


def test_noise_scale_keeps_the_batch_of_the_recipe_and_the_facts():
    result = compute(network())
    assert result.recipe_batch == (None,) and result.provenance["checkpoints"][0]["name"] == "network 1"
    assert (result.small, result.big, result.num_images, result.draws) == (2, 8, N, 5)


def test_noise_scale_refuses_a_network_that_has_diverged():
    model = network()
    nn.init.constant_(model[5].weight, float("nan"))
    with pytest.raises(InputError, match="the gradient of `network 1` is not finite"):
        compute(model)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"small": 0}, "`small` = 0 must be 1 or more"),
        ({"big": 9}, "`big` = 9 must be two or more times `small` = 2"),
        ({"big": 2}, "`big` = 2 must be two or more times `small` = 2"),
        ({"draws": 1}, "`draws` = 1 must be 2 or more"),
        ({"resamples": 0}, "`resamples` = 0 must be 2 or more"),
        (
            {"big": 32},
            "`big` = 32 in 2 draws that share no image needs 64 images, there are 40: .* at most 20",
        ),
        (
            {"draws": 6},
            "`big` = 8 in 6 draws that share no image needs 48 images, there are 40: .* at most 6",
        ),
    ],
)
def test_noise_scale_refuses_options_out_of_range(options, match):
    with pytest.raises(InputError, match=match):
        compute(network(), **options)
