"""Order, hash and statistics against literal twins."""

from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ralr_viz.data.canonical import ChannelStatistics, ContentHash, canonical_order, compute_digests


def random_images(seed: int, n: int, size: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 7), min_size=1, max_size=5))
def test_channel_statistics_equal_numpy_for_any_chunking(seed: int, chunks: list[int]) -> None:
    images = random_images(seed, sum(chunks))
    statistics = ChannelStatistics()
    for part in np.split(images, np.cumsum(chunks)[:-1]):
        statistics.add(part)
    mean, std = statistics.mean_std()
    np.testing.assert_allclose(mean, (images / 255).mean(axis=(0, 1, 2)), rtol=1e-13)
    np.testing.assert_allclose(std, (images / 255).std(axis=(0, 1, 2)), rtol=1e-13)


def test_channel_statistics_of_constant_images_have_zero_std() -> None:
    statistics = ChannelStatistics()
    statistics.add(np.full((3, 4, 4, 3), 255, dtype=np.uint8))
    assert statistics.mean_std() == ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0))


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.booleans())
def test_canonical_order_sorts_by_digest_then_label_then_box(seed: int, with_boxes: bool) -> None:
    generator = np.random.default_rng(seed)
    images = random_images(seed, 3)[generator.integers(0, 3, 12)]  # many equal images
    labels = generator.integers(0, 2, 12)
    boxes = generator.integers(-1, 3, (12, 4)).astype(np.int16) if with_boxes else None
    digests = compute_digests(images)
    order = canonical_order(digests, labels, boxes)

    keys = []
    for i in range(12):
        box = () if boxes is None else tuple(int(v) for v in boxes[i])
        keys.append((hashlib.sha256(images[i].tobytes()).digest(), int(labels[i]), box))
    assert [keys[i] for i in order] == sorted(keys)
    assert sorted(order) == list(range(12))


def test_compute_digests_reads_pixels_whatever_the_memory_order() -> None:
    images = random_images(0, 2)
    assert compute_digests(images) == compute_digests(np.asfortranarray(images))


def content_hash(
    images: np.ndarray, labels: np.ndarray, boxes: np.ndarray | None, ids: tuple[str, ...]
) -> str:
    content = ContentHash()
    content.add_split("train", compute_digests(images), labels, boxes)
    return content.hexdigest(ids)


def test_content_hash_is_the_documented_one() -> None:
    images, labels = random_images(1, 2), np.array([1, 0])
    boxes = np.array([[1, 2, 3, 4], [-1, -1, -1, -1]], dtype=np.int16)
    literal = b"train 2\n"
    for image, label, box in zip(images, labels, boxes, strict=True):
        literal += hashlib.sha256(image.tobytes()).digest()
        literal += int(label).to_bytes(8, "little")
        literal += b"".join(int(v).to_bytes(2, "little", signed=True) for v in box)
    literal += b"a\nb"
    assert content_hash(images, labels, boxes, ("a", "b")) == hashlib.sha256(literal).hexdigest()


def test_content_hash_notices_every_part() -> None:
    images, labels = random_images(1, 2), np.array([1, 0])
    boxes = np.zeros((2, 4), dtype=np.int16)
    changed = images.copy()
    changed[1, 0, 0, 0] ^= 1
    hashes = {
        content_hash(images, labels, boxes, ("a", "b")),
        content_hash(changed, labels, boxes, ("a", "b")),
        content_hash(images, labels[::-1], boxes, ("a", "b")),
        content_hash(images, labels, boxes + np.int16(1), ("a", "b")),
        content_hash(images, labels, None, ("a", "b")),
        content_hash(images, labels, boxes, ("a", "c")),
    }
    assert len(hashes) == 6
