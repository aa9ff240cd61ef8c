"""Unbiased CKA: closed forms, a literal twin, and real networks."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from ralr_viz.analysis.similarity import compute_similarity, find_blocks, hsic, kernel
from ralr_viz.comparison import Comparison, compare
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.models import build_model

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
IMAGES = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    blocks = nn.Sequential(nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU()), nn.Conv2d(5, 4, 1))
    model = nn.Sequential(blocks, nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    return model.eval()


def seen(pairs, images=IMAGES):
    models = [model for pair in pairs for model in pair]
    return compare(models, images=images, mean=MEAN, std=STD, device="cpu")


def compute(pairs, images=IMAGES, **options):
    return compute_similarity(seen(pairs, images), **({"minibatch": 8} | options))


def cka(x: torch.Tensor, y: torch.Tensor) -> float:
    k, l = kernel(x)[None], kernel(y)[None]  # noqa: E741
    return (hsic(k, l) / (hsic(k, k) * hsic(l, l)).sqrt()).item()


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def test_hsic_is_its_definition_over_four_different_images():
    x, y = normal(7, 3), normal(7, 2, seed=1)
    k, l = x @ x.T, y @ y.T  # noqa: E741
    total, n = 0.0, 7
    # Song et al., theorem 2: means over ordered tuples of different images
    pairs = list(itertools.permutations(range(n), 2))
    triples = list(itertools.permutations(range(n), 3))
    fours = list(itertools.permutations(range(n), 4))
    total += np.mean([(k[i, j] * l[i, j]).item() for i, j in pairs])
    total += np.mean([(k[i, j] * l[q, r]).item() for i, j, q, r in fours])
    total -= 2 * np.mean([(k[i, j] * l[i, q]).item() for i, j, q in triples])
    assert hsic(kernel(x)[None], kernel(y)[None]).item() == pytest.approx(total, rel=1e-9)


def test_hsic_takes_every_two_of_two_stacks():
    first, second = (
        torch.stack([kernel(normal(6, 3, seed=s)) for s in seeds]) for seeds in ((1, 2), (3, 4, 5))
    )
    table = hsic(first, second)
    assert table.shape == (2, 3)
    one_by_one = [[hsic(a[None], b[None]).item() for b in second] for a in first]
    np.testing.assert_allclose(table, one_by_one)


def test_cka_does_not_see_rotation_scale_or_shift():
    x = normal(20, 6)
    rotation = torch.linalg.qr(normal(6, 6, seed=2)).Q
    assert cka(x, 3 * x @ rotation + 100) == pytest.approx(1, abs=1e-9)
    assert cka(x, x * torch.arange(1, 7) ** 2) < 0.99  # another scale of each axis is another representation


def test_cka_of_independent_noise_is_zero_where_the_biased_one_is_not():
    x, y = normal(64, 1024), normal(64, 1024, seed=1)
    assert abs(cka(x, y)) < 0.02
    centred = [v - v.mean(0) for v in (x, y)]
    k, l = (v @ v.T for v in centred)  # noqa: E741
    biased = (k * l).sum() / (k.norm() * l.norm())
    assert biased.item() == pytest.approx(0.94, abs=0.01)


def test_similarity_of_a_network_with_itself_is_one_on_the_diagonal():
    model = network()
    result = compute([(model, model), (model, copy.deepcopy(model))], layers=["0.0", "0.1"])
    np.testing.assert_allclose(result.diagonal, 1, atol=1e-12)
    assert result.cka[0, 0, 1] < 1
    np.testing.assert_allclose(result.cka[0], result.cka[0].T)
    cka_mean = result.measures()[0]
    assert (cka_mean.name, cka_mean.interval(0)) == ("cka", pytest.approx((1, 1, 1)))


def test_similarity_sums_over_minibatches_before_it_divides():
    first, second = network(0), network(1)
    result = compute([(first, second)], layers=["0.0", "0.1"])
    x = torch.from_numpy(IMAGES).float() / 255
    x = ((x - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2)
    sums = torch.zeros(3, 2, dtype=torch.float64)
    with torch.no_grad():
        for part in x.split(8):
            for j, layer in enumerate(("0.0", "0.1")):
                a = kernel(first[0][:1](part) if layer == "0.0" else first[0](part))[None]
                b = kernel(second[0][:1](part) if layer == "0.0" else second[0](part))[None]
                sums[:, j] += torch.tensor([hsic(a, b), hsic(a, a), hsic(b, b)])
    np.testing.assert_allclose(result.diagonal[0], sums[0] / (sums[1] * sums[2]).sqrt(), rtol=1e-6)
    turned = compute([(second, first)], layers=["0.0", "0.1"])
    np.testing.assert_allclose(turned.cka[0], result.cka[0].T, rtol=1e-9)


def test_similarity_leaves_out_what_is_beyond_the_last_minibatch():
    pair = [(network(0), network(1))]
    whole = compute(pair, IMAGES[:20])
    short = compute(pair, IMAGES[:16])
    assert (whole.num_batches, whole.num_images) == (2, 16)
    np.testing.assert_array_equal(whole.cka, short.cka)
    one = compute(pair, minibatch=500)
    assert (one.num_batches, one.minibatch) == (1, 24)
    assert np.isnan(one.measures()[0].interval(0)[1])  # one minibatch has no interval


def test_find_blocks_are_the_blocks_of_each_stage():
    names = find_blocks(build_model("resnet20", 10), torch.zeros(1, 3, 32, 32))
    assert names == [f"layer{i}.{j}" for i in (1, 2, 3) for j in range(3)]


def test_similarity_reports_progress_in_images():
    done: list[tuple[int, int, str]] = []
    compute([(network(), network(1))], progress=lambda *at: done.append(at))
    assert done == [(8, 24, "images"), (16, 24, "images"), (24, 24, "images")]


def test_similarity_builds_a_network_once_however_often_it_is_named(monkeypatch):
    built = []
    build = Comparison.build
    monkeypatch.setattr(Comparison, "build", lambda self, i: built.append(i) or build(self, i))
    first, second, third = (network(i) for i in range(3))
    result = compute([(first, second), (first, third)])
    assert built == [0, 1, 3]
    alone = compute([(first, third)])
    np.testing.assert_array_equal(result.cka[1], alone.cka[0])


def test_similarity_names_the_null_pairs_at_the_end():
    networks = {name: network(i) for i, name in enumerate(("SGD", "RALR", "SGD, 0", "SGD, 1"))}
    compared = compare(networks, images=IMAGES, mean=MEAN, std=STD, device="cpu")
    result = compute_similarity(compared, minibatch=8, null_pairs=1)
    assert (result.models, result.null) == (("SGD → RALR", "null: SGD, 0 → SGD, 1"), (False, True))
    assert result.notes == ()
    assert "no --null pair" in compute_similarity(compared, minibatch=8).notes[0]
    with pytest.raises(InputError, match="`null_pairs` = 2 of 2 pairs must leave one that is studied"):
        compute_similarity(compared, minibatch=8, null_pairs=2)


def test_similarity_leaves_the_networks_alone_also_after_an_error(monkeypatch):
    first, second = network(0).train(), network(1)
    before = [copy.deepcopy(m.state_dict()) for m in (first, second)]

    def check():
        for model, state in zip((first, second), before, strict=True):
            assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
            assert all(p.grad is None and p.requires_grad for p in model.parameters())
            assert not any(m._forward_hooks for m in model.modules())
        assert first.training and not second.training

    compute([(first, second)])
    check()
    monkeypatch.setattr("ralr_viz.analysis.similarity.hsic", lambda a, b: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        compute([(first, second)])
    check()


def test_similarity_refuses_what_it_cannot_compare():
    model = network()
    with pytest.raises(InputError, match="every pair takes two"):
        compute([(model, model), (model,)])
    with pytest.raises(InputError, match="`minibatch` = 3 must be 4 or more"):
        compute([(model, model)], minibatch=3)
    with pytest.raises(InputError, match="3 images are too few: the unbiased HSIC needs at least 4"):
        compute([(model, model)], IMAGES[:3])
    with pytest.raises(UnknownNameError, match="module"):
        compute([(model, model)], layers=["layer9"])
    other = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    with pytest.raises(InputError, match="one architecture|module"):
        compute([(model, other)])
    broken = network()
    with torch.no_grad():
        broken[0][1].weight.fill_(torch.nan)
    with pytest.raises(InputError, match="not finite"):
        compute([(model, broken)])
