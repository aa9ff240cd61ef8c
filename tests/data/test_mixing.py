"""Mixup, CutMix and Cutout: against loops over single pixels, and against the laws that they should follow."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch._subclasses.fake_tensor import FakeTensorMode

from ralr_viz.data.augment import BatchLoader, pad_images, plan_epoch
from ralr_viz.data.mixing import cut_out, draw_holes, draw_mixing, mix_labels

N, CLASSES, SIZE, PADDING = 45, 6, (12, 10), 2
OPTIONS = {
    "plain": {},
    "cutout": {"cutout": 5},
    "mixup": {"mixup": 0.7},
    "cutmix": {"cutmix": 0.6, "cutmix_alpha": 0.8},
    "cutout and mixup": {"cutout": 4, "mixup": 1.0},
    "cutout and cutmix": {"cutout": 4, "cutmix": 1.0},
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def make_loader(images=None, padding=PADDING, mean=(0.1, 0.5, 0.9), std=(0.2, 0.3, 0.4)):
    draws = np.random.default_rng(3)
    if images is None:
        images = torch.from_numpy(draws.integers(0, 256, (N, *SIZE, 3), dtype=np.uint8))
    labels = torch.from_numpy(draws.integers(0, CLASSES, len(images)))
    scale = torch.tensor(mean), torch.tensor(std)
    return BatchLoader(pad_images(images, padding), labels, *scale, CLASSES, padding)


def make_plan(seed=0, epoch=2, batch=16, flip=True, padding=PADDING, size=SIZE, n=N, **options):
    return plan_epoch(seed, epoch, n, padding=padding, flip=flip, size=size, batch=batch, **options)


def load_literally(loader, plan, start, stop):
    """One image, one pixel and one class at a time."""
    mean, std = loader.mean.double().numpy(), loader.std.double().numpy()

    def augment(position):
        index, flip = int(plan.order[position]), bool(plan.flip[position])
        picture = np.zeros((3, *SIZE))
        for i in range(SIZE[0]):
            for j in range(SIZE[1]):
                column = SIZE[1] - 1 - j if flip else j
                pixel = loader.padded[index, int(plan.top[position]) + i, int(plan.left[position]) + column]
                picture[:, i, j] = (pixel.double().numpy() / 255 - mean) / std
                if plan.hole is not None:
                    top, left, bottom, right = plan.hole[position].tolist()
                    if top <= i < bottom and left <= j < right:
                        picture[:, i, j] = 0
        return picture, int(loader.labels[index])

    shown, targets = [], []
    for position in range(start, stop):
        picture, label = augment(position)
        target = np.zeros(CLASSES)
        if plan.mixing is None:
            target[label] = 1
        else:
            share = float(plan.mixing.share[position])
            other, its_label = augment(int(plan.mixing.partner[position]))
            target[label] += share
            target[its_label] += 1 - share
            if plan.mixing.box is None:
                picture = share * picture + (1 - share) * other
            else:
                top, left, bottom, right = plan.mixing.box[position].tolist()
                for i in range(top, bottom):
                    for j in range(left, right):
                        picture[:, i, j] = other[:, i, j]
        shown.append(picture)
        targets.append(target)
    return np.stack(shown), np.stack(targets)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("at", [(0, 16), (32, 45)])  # the last batch is the smaller one
def test_load_equals_loops_over_images_and_pixels(options, at):
    loader, plan = make_loader(), make_plan(**options)
    x, y, target = loader.load(plan, *at)
    expected, targets = load_literally(loader, plan, *at)
    np.testing.assert_allclose(x.numpy(), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(y, loader.labels[plan.order[slice(*at)]])
    assert (target is None) == (plan.mixing is None)
    if target is not None:
        np.testing.assert_allclose(target.numpy(), targets, atol=1e-6)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_load_of_parts_equals_the_whole_batch(options):
    loader, plan = make_loader(), make_plan(**options)
    whole = loader.load(plan, 16, 32)
    for cut in (17, 24, 31):
        parts = loader.load(plan, 16, cut), loader.load(plan, cut, 32)
        for all_rows, *rows in zip(whole, *parts, strict=True):
            if all_rows is not None:
                assert torch.equal(torch.cat(rows), all_rows)


def test_plain_load_is_what_it_was_before_there_was_mixing():
    from ralr_viz.data.augment import crop_batch, normalise_batch

    loader, plan = make_loader(), make_plan()
    x, y, target = loader.load(plan, 3, 19)
    cropped = crop_batch(loader.padded, plan, 3, 19, PADDING)
    assert torch.equal(x, normalise_batch(cropped, loader.mean, loader.std))
    assert torch.equal(y, loader.labels[plan.order[3:19]])
    assert target is None


@pytest.mark.parametrize("options", list(OPTIONS.values())[1:], ids=list(OPTIONS)[1:])
def test_each_draw_has_a_stream_of_its_own(options):
    plain, plan = make_plan(), make_plan(**options)
    for name in ("order", "top", "left", "flip"):
        assert torch.equal(getattr(plan, name), getattr(plain, name)), name
    if plan.hole is not None:
        alone = make_plan(cutout=options["cutout"])
        assert torch.equal(plan.hole, alone.hole)
    if plan.mixing is not None:
        alone = make_plan(**{k: v for k, v in options.items() if k != "cutout"})
        assert torch.equal(plan.mixing.partner, alone.mixing.partner)
        assert torch.equal(plan.mixing.share, alone.mixing.share)


def test_draws_of_seed_0_are_pinned():
    # Published runs depend on these: if this fails, the change breaks them.
    cut, mixed = (
        make_plan(n=6, batch=4, **options) for options in ({"cutout": 4, "cutmix": 1.0}, {"mixup": 0.5})
    )
    assert cut.hole.tolist() == HOLES
    assert cut.mixing.box.tolist() == BOXES
    assert cut.mixing.partner.tolist() == mixed.mixing.partner.tolist() == PARTNERS
    np.testing.assert_allclose(mixed.mixing.share, SHARES, rtol=1e-6)


@pytest.mark.parametrize("options", list(OPTIONS.values())[4:], ids=list(OPTIONS)[4:])
def test_draws_are_a_function_of_seed_and_epoch_alone(options):
    first = make_plan(seed=4, epoch=6, **options)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again, other, next_epoch = (make_plan(seed=s, epoch=e, **options) for s, e in ((4, 6), (5, 6), (4, 7)))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.hole, again.hole)
    assert torch.equal(first.mixing.share, again.mixing.share)
    assert torch.equal(first.mixing.partner, again.mixing.partner)
    for plan in (other, next_epoch):
        assert not torch.equal(first.hole, plan.hole)
        assert not torch.equal(first.mixing.share, plan.mixing.share)


@pytest.mark.parametrize("options", [{"mixup": 1.0}, {"cutmix": 1.0}])
def test_partners_are_a_permutation_of_each_batch(options):
    mixing = draw_mixing(generator(), 45, 16, (32, 32), **options)
    moved = 0
    for start in range(0, 45, 16):
        stop = min(start + 16, 45)
        partner, share = mixing.partner[start:stop], mixing.share[start:stop]
        assert sorted(partner.tolist()) == list(range(start, stop))
        assert len(set(share.tolist())) == 1  # one λ a batch
        moved += int((partner != torch.arange(start, stop)).sum())
    assert moved > 30


def test_partners_are_uniform_over_the_batch():
    partner = draw_mixing(generator(1), 40_000, 4, (8, 8), mixup=1.0).partner % 4
    counts = np.array([np.bincount(partner[torch.arange(40_000) % 4 == k], minlength=4) for k in range(4)])
    assert np.abs(counts - 2500).max() < 5 * math.sqrt(10_000 * 0.25 * 0.75)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixup_shares_follow_beta(alpha):
    share = draw_mixing(generator(2), 8000, 2, (8, 8), mixup=alpha).share[::2].double().numpy()
    law = stats.beta(alpha, alpha)
    assert abs(share.mean() - 0.5) < 4 * law.std() / math.sqrt(len(share))
    assert share.var() == pytest.approx(law.var(), rel=0.1)
    assert stats.kstest(share, law.cdf).pvalue > 0.01


@given(alpha=st.floats(1e-6, 1000), seed=st.integers(0, 2**40))
@settings(max_examples=50)
def test_shares_stay_between_nothing_and_all(alpha, seed):
    for options in ({"mixup": alpha}, {"cutmix": 1.0, "cutmix_alpha": alpha}):
        share = draw_mixing(generator(seed), 60, 3, (7, 9), **options).share
        assert ((share >= 0) & (share <= 1)).all()


def clipped_area(u, row, column, size):
    """Pixels of a CutMix box for λ = 1 − u around a pixel, as the paper's published code has them."""
    sides = []
    for length, centre in zip(size, (row, column), strict=True):
        cut = int(length * math.sqrt(u))
        low, high = max(centre - cut // 2, 0), min(centre + cut // 2, length)
        sides.append(high - low)
    return sides[0] * sides[1]


def test_cutmix_areas_follow_the_clipped_boxes():
    """λ by numerical integration over a fine grid, the centre by enumeration; α = 1 makes λ uniform."""
    size, batches = (12, 8), 20_000
    grid = (np.arange(3000) + 0.5) / 3000
    areas = [clipped_area(u, i, j, size) for u in grid for i in range(size[0]) for j in range(size[1])]
    law = np.bincount(areas, minlength=97) / len(areas)
    share = draw_mixing(generator(3), batches, 1, size, cutmix=1.0).share.double().numpy()
    found = np.bincount(np.rint((1 - share) * 96).astype(int), minlength=97) / batches
    mean = np.dot(law, np.arange(97))
    deviation = math.sqrt(np.dot(law, (np.arange(97) - mean) ** 2))
    assert abs(np.dot(found, np.arange(97)) - mean) < 4 * deviation / math.sqrt(batches)
    assert np.abs(np.cumsum(found) - np.cumsum(law)).max() < 1.63 / math.sqrt(batches)  # Kolmogorov, 1 %
    assert mean < 0.75 * 48  # the border takes more than a quarter of E[1 − λ] · 96


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_cutmix_cuts_the_given_share_of_batches(probability):
    mixing = draw_mixing(generator(4), 10_000, 1, (64, 64), cutmix=probability)
    cut = int((mixing.share < 1).sum())
    # a box of less than two pixels is none: 32 √(1 − λ) < 1 in one of 1024 draws
    expected = probability * (1 - 1 / 1024) * 10_000
    assert abs(cut - expected) < 5 * math.sqrt(10_000 * max(probability * (1 - probability), 1e-3))
    area = (mixing.box[:, 2] - mixing.box[:, 0]) * (mixing.box[:, 3] - mixing.box[:, 1])
    assert torch.equal(area == 0, mixing.share == 1)


def test_cutmix_label_mass_is_the_share_of_pixels_taken():
    """Images painted with their index: counting pixels says from which image each comes."""
    images = torch.arange(N, dtype=torch.uint8)[:, None, None, None].expand(N, *SIZE, 3).contiguous()
    loader = make_loader(images, padding=0, mean=(0.0,) * 3, std=(1 / 255,) * 3)
    seen = 0
    for epoch in range(6):
        plan = make_plan(epoch=epoch, padding=0, cutmix=0.8)
        for start in range(0, N, 16):
            stop = min(start + 16, N)
            x, _, target = loader.load(plan, start, stop)
            assert torch.allclose(target.sum(1), torch.ones(stop - start))
            for row, position in enumerate(range(start, stop)):
                own = int(plan.order[position])
                partner = int(plan.order[plan.mixing.partner[position]])
                painted = np.rint(x[row, 0].numpy()).astype(int)
                assert set(np.unique(painted)) <= {own, partner}
                taken = (painted != own).mean()
                expected = np.zeros(CLASSES)
                expected[int(loader.labels[own])] += 1 - taken
                expected[int(loader.labels[partner])] += taken
                np.testing.assert_allclose(target[row].numpy(), expected, atol=1e-6)
                seen += taken > 0
    assert seen > 100


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.floats(0, 1, width=32)), min_size=1))
def test_mix_labels_have_the_share_on_each_class(rows):
    own, others, share = (torch.tensor(column) for column in zip(*rows, strict=True))
    target = mix_labels(own, others, share.float(), 5).double().numpy()
    np.testing.assert_allclose(target.sum(1), 1, atol=1e-6)
    for row, (a, b, weight) in zip(target, rows, strict=True):
        expected = np.zeros(5)
        expected[a] += weight
        expected[b] += 1 - weight
        np.testing.assert_allclose(row, expected, atol=1e-6)


@pytest.mark.parametrize("side", [1, 4, 5, 8])
def test_cutout_covers_each_pixel_as_often_as_its_border_allows(side):
    """Closed form: the centres from which a square reaches a pixel, counted along each axis."""
    height, width, n = 11, 8, 20_000
    hole = draw_holes(generator(side), n, (height, width), side)
    covered = (cut_out(torch.ones(n, 1, height, width), hole) == 0)[:, 0].double().numpy()

    def reach(length):
        half = side // 2
        first = np.arange(length) + half - side + 1
        return (np.minimum(np.arange(length) + half, length - 1) - np.maximum(first, 0) + 1) / length

    expected = np.outer(reach(height), reach(width))
    error = np.sqrt(expected * (1 - expected) / n)
    assert (np.abs(covered.mean(0) - expected) <= 5 * error + 1e-12).all()
    area = covered.sum((1, 2))
    assert area.max() == min(side, height) * min(side, width)
    assert abs(area.mean() - expected.sum()) < 5 * area.std() / math.sqrt(n) + 1e-9


@pytest.mark.parametrize("side", [8, 16, 64])
def test_cutout_hole_is_a_square_of_the_mean_colour(side):
    loader, plan = make_loader(), make_plan(cutout=side)
    plain, (x, y, _) = loader.load(make_plan(), 0, N)[0], loader.load(plan, 0, N)
    for row in range(N):
        top, left, bottom, right = plan.hole[row].tolist()
        assert (bottom - top, right - left) == (side, side)
        assert 0 <= top + side // 2 < SIZE[0]
        assert 0 <= left + side // 2 < SIZE[1]
        inside = torch.zeros(SIZE, dtype=torch.bool)
        inside[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
        assert (x[row][:, inside] == 0).all()  # the mean colour, after normalisation
        assert torch.equal(x[row][:, ~inside], plain[row][:, ~inside])
    assert torch.equal(y, loader.labels[plan.order])


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_load_stays_on_a_cuda_device(options, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)  # which fake tensors have not
    with FakeTensorMode(allow_non_fake_inputs=True):
        images = torch.zeros(N, 12, 10, 3, dtype=torch.uint8, device="cuda")
        labels = torch.zeros(N, dtype=torch.int64, device="cuda")
        scale = torch.zeros(3, device="cuda"), torch.ones(3, device="cuda")
        loader = BatchLoader(pad_images(images, 2), labels, *scale, CLASSES, 2)
    plan = make_plan(**options)
    with FakeTensorMode(allow_non_fake_inputs=True):
        x, y, target = loader.load(plan.to(torch.device("cuda")), 0, 16)
    assert x.shape == (16, 3, 12, 10)
    assert {t.device.type for t in (x, y, target) if t is not None} == {"cuda"}


HOLES = [[3, -1, 7, 3], [-2, 1, 2, 5], [6, 2, 10, 6], [0, 1, 4, 5], [2, 0, 6, 4], [5, 4, 9, 8]]
BOXES = [[3, 3, 9, 9], [3, 3, 9, 9], [3, 3, 9, 9], [3, 3, 9, 9], [0, 5, 9, 10], [0, 5, 9, 10]]
PARTNERS = [0, 3, 1, 2, 5, 4]
SHARES = [
    0.6973931193351746,
    0.6973931193351746,
    0.6973931193351746,
    0.6973931193351746,
    0.0023518300149589777,
    0.0023518300149589777,
]
