"""Crops are torchvision's on the same uniforms, and the same bytes whoever makes them."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import transforms
from torchvision.transforms.v2 import functional

from ralr_viz.data.augment import plan_epoch
from ralr_viz.data.counter import draw_uniforms, philox
from ralr_viz.data.crops import CropFeeder, CropPlan, draw_crops, plan_crops
from ralr_viz.data.ragged import RaggedImages
from ralr_viz.data.spool import offsets_of
from ralr_viz.errors import InputError

SIZE = 24


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_published_words(counter: Any, key: Any, words: Any) -> None:
    """Known answers of the authors' Random123."""
    assert philox(np.array(counter, dtype=np.uint64)[:, None], key)[:, 0].tolist() == list(words)


def test_uniforms_are_uniform_and_of_each_sample_alone() -> None:
    many = draw_uniforms(3, 5, "crop", np.arange(20_000))
    assert many.min() >= 0 and many.max() < 1
    assert np.abs(many.mean(0) - 0.5).max() < 0.01 and np.abs(np.corrcoef(many.T) - np.eye(4)).max() < 0.03
    np.testing.assert_array_equal(draw_uniforms(3, 5, "crop", np.array([7, 19_999])), many[[7, 19_999]])
    others = [
        draw_uniforms(*where, np.arange(5)) for where in ((4, 5, "crop"), (3, 6, "crop"), (3, 5, "flip"))
    ]
    others.append(draw_uniforms(3, 5, "crop", np.arange(5), block=1))
    others.append(draw_uniforms(3, 5, "crop", np.arange(5) + 2**32))
    assert len({other.tobytes() for other in [*others, many[:5]]}) == 6


class Uniforms:
    """In torchvision's place of `torch`: the same calls, with numbers that are given."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows, self.turn = rows, -1

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def empty(self, n: int) -> Any:
        self.turn += 1
        u = float(self.rows[self.turn // 2, self.turn % 2])
        return SimpleNamespace(
            uniform_=lambda a, b: torch.tensor([float(a) + (float(b) - float(a)) * u], dtype=torch.float64)
        )

    def randint(self, low: int, high: int, size: tuple[int]) -> torch.Tensor:
        column = 2 if not hasattr(self, "down") else 3
        self.down = True
        return torch.tensor([int(self.rows[self.turn // 2, column] * high)])


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 1000),
    st.lists(st.tuples(st.integers(1, 700), st.integers(1, 700)), min_size=1, max_size=40),
    st.sampled_from([((0.08, 1.0), (3 / 4, 4 / 3)), ((0.3, 0.5), (1.0, 1.0)), ((0.9, 1.0), (0.5, 2.0))]),
)
def test_draw_crops_is_torchvisions_on_the_same_uniforms(
    seed: int, shapes: list[tuple[int, int]], ranges: Any
) -> None:
    scale, ratio = ranges
    samples = np.arange(len(shapes)) * 7
    found = draw_crops(seed, 2, samples, np.array(shapes, np.int32), scale=scale, ratio=ratio)
    blocks = np.stack([draw_uniforms(seed, 2, "crop", samples, block) for block in range(10)], axis=1)
    with pytest.MonkeyPatch.context() as patch:
        for crop, rows, (height, width) in zip(found, blocks, shapes, strict=True):
            patch.setattr(transforms, "torch", Uniforms(rows))
            image = torch.empty(3, height, width)
            expected = transforms.RandomResizedCrop.get_params(image, list(scale), list(ratio))
            assert tuple(crop.tolist()) == expected


def test_draw_crops_covers_the_image_as_torchvision_does() -> None:
    crops = draw_crops(0, 0, np.arange(4000), np.tile([300, 400], (4000, 1)))
    assert crops.dtype == np.int32
    top, left, height, width = crops.T
    assert (top >= 0).all() and (top + height <= 300).all() and (left + width <= 400).all()
    torch.manual_seed(0)
    image = torch.empty(3, 300, 400)
    theirs = np.array(
        [transforms.RandomResizedCrop.get_params(image, [0.08, 1], [3 / 4, 4 / 3]) for _ in range(4000)]
    )
    np.testing.assert_allclose(crops.mean(0), theirs.mean(0), atol=6)  # three standard errors


@pytest.mark.parametrize(
    "ranges", [{"scale": (0.5, 0.2)}, {"scale": (0, 1)}, {"scale": (0.5, 1.5)}, {"ratio": (2, 1)}]
)
def test_draw_crops_refuses_a_range_that_is_none(ranges: Any) -> None:
    with pytest.raises(InputError, match="must rise within 0 to"):
        draw_crops(0, 0, np.arange(2), np.array([[8, 8], [9, 9]]), **ranges)


@pytest.fixture(scope="module")
def images() -> RaggedImages:
    rng = np.random.default_rng(0)
    shapes = rng.integers(20, 70, (50, 2)).astype(np.int32)
    offsets = offsets_of(shapes)
    pixels = rng.integers(0, 256, int(offsets[-1]), dtype=np.uint8)
    pixels.flags.writeable = False
    return RaggedImages(pixels, offsets, shapes)


def make_plan(images: RaggedImages, epoch: int = 3, **options: Any) -> CropPlan:
    return plan_crops(1, epoch, np.arange(2, 50), images.shapes, **options)


def feeder(images: RaggedImages, **options: Any) -> CropFeeder:
    return CropFeeder(images, np.arange(50) % 7, SIZE, **options)


def parts(n: int, batch: int, start: int = 0) -> list[tuple[int, int]]:
    return [(a, min(a + batch, n)) for a in range(start, n, batch)]


def collect(batches: Any) -> tuple[np.ndarray, np.ndarray]:
    made = list(batches)
    return np.concatenate([x.numpy() for x, _ in made]), np.concatenate([y.numpy() for _, y in made])


def test_feeder_makes_torchvisions_crops(images: RaggedImages) -> None:
    plan = make_plan(images)
    x, y = collect(feeder(images).feed(plan, parts(48, 48)))
    assert x.shape == (48, SIZE, SIZE, 3) and x.dtype == np.uint8
    assert plan.flip.any() and not plan.flip.all()
    for i, sample in enumerate(plan.order):
        chw = torch.from_numpy(images[sample].copy()).permute(2, 0, 1)
        expected = functional.resized_crop(chw, *plan.crops[i].tolist(), [SIZE, SIZE], antialias=True)
        expected = functional.horizontal_flip(expected) if plan.flip[i] else expected
        np.testing.assert_array_equal(x[i], expected.permute(1, 2, 0).numpy())
    np.testing.assert_array_equal(y, plan.order % 7)


@pytest.mark.parametrize("threads", [1, 2, 16])
@pytest.mark.parametrize("batch", [1, 7, 48])
def test_feeder_gives_one_epoch_for_all_threads_and_batches(
    threads: int, batch: int, images: RaggedImages
) -> None:
    plan = make_plan(images)
    whole, labels = feeder(images).load(plan, 0, 48)
    x, y = collect(feeder(images, threads=threads, depth=2).feed(plan, parts(48, batch)))
    np.testing.assert_array_equal(x, whole.numpy())
    np.testing.assert_array_equal(y, labels.numpy())


def test_feeder_goes_on_in_mid_epoch_and_feeds_a_part_of_a_rank(images: RaggedImages) -> None:
    plan = make_plan(images)
    whole, _ = feeder(images).load(plan, 0, 48)
    x, _ = collect(feeder(images, threads=2).feed(plan, parts(48, 10, start=20)))
    np.testing.assert_array_equal(x, whole[20:].numpy())
    second = [(start + 5, stop) for start, stop in parts(48, 10) if stop > start + 5]
    x, _ = collect(feeder(images, threads=2).feed(plan, second))
    rows = np.concatenate([np.arange(*part) for part in second])
    np.testing.assert_array_equal(x, whole.numpy()[rows])


def test_plan_is_of_each_sample_alone(images: RaggedImages) -> None:
    """A smaller training set, as of a validation split, has other places and orders but the same crops."""
    whole, some = make_plan(images), plan_crops(1, 3, np.arange(10, 30), images.shapes)
    of_sample = {s: (c.tolist(), f) for s, c, f in zip(whole.order, whole.crops, whole.flip, strict=True)}
    assert all(
        of_sample[s] == (c.tolist(), f) for s, c, f in zip(some.order, some.crops, some.flip, strict=True)
    )
    assert (make_plan(images, epoch=4).crops != whole.crops).any()
    assert sorted(whole.order) == list(range(2, 50))
    assert not make_plan(images, flip=False).flip.any()
    assert make_plan(images, shuffled=False).order.tolist() == list(range(2, 50))


def test_plan_has_the_order_of_padded_crops(images: RaggedImages) -> None:
    """Another augmentation is another sight of the same images in the same order."""
    order = plan_epoch(1, 3, 48, padding=4, flip=True).order.numpy()
    np.testing.assert_array_equal(make_plan(images).order, np.arange(2, 50)[order])


def test_plan_is_pinned() -> None:
    shapes = np.tile(np.array([[300, 400]], np.int32), (3, 1))
    plan = plan_crops(0, 0, np.arange(3), shapes, shuffled=False)
    assert (plan.crops.tolist(), plan.flip.tolist()) == (
        [[28, 157, 167, 202], [75, 11, 219, 252], [33, 155, 221, 201]],
        [True, False, True],
    )


def test_feeder_works_ahead_and_no_further_than_depth(images: RaggedImages) -> None:
    asked = []

    def watched() -> Any:
        for part in parts(48, 4):
            asked.append(part)
            yield part

    batches = feeder(images, threads=2, depth=3).feed(make_plan(images), watched())
    next(batches)
    assert len(asked) == 4
    before = threading.active_count()
    batches.close()
    assert threading.active_count() <= before - 1  # its threads are gone, though the epoch is not over


def test_feeder_says_what_a_thread_could_not_make(images: RaggedImages) -> None:
    plan = make_plan(images)
    broken = CropPlan(plan.order + 1000, plan.crops, plan.flip)
    made = feeder(images)
    made._labels = torch.zeros(2000, dtype=torch.int64)
    with pytest.raises(IndexError):
        list(made.feed(broken, parts(48, 10)))


def test_feeder_takes_squares_and_names_its_kernel() -> None:
    squares = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    made = CropFeeder(squares, np.arange(6), SIZE, threads=1)
    x, _ = made.load(plan_crops(0, 0, np.arange(6), np.full((6, 2), 32)), 0, 6)
    assert x.shape == (6, SIZE, SIZE, 3)
    assert torch.backends.cpu.get_cpu_capability() in made.kernel and "torchvision" in made.kernel
    with pytest.raises(InputError, match="depth = 0"):
        CropFeeder(squares, np.arange(6), SIZE, depth=0)
