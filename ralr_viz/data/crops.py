"""Random-resized crops of photographs: drawn from a plan, cut and resized by threads, fed as uint8.

What is shown of a sample in an epoch is a pure function of (seed, epoch, sample), so that it is the same for any number
of threads, in any batch, after a stop in mid-epoch, in any rank's part and in both arms of a pair.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ralr_viz.data.augment import draw_order
from ralr_viz.data.counter import draw_uniforms
from ralr_viz.data.images import worker_count
from ralr_viz.data.ragged import RaggedImages
from ralr_viz.errors import InputError

SCALE = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)
_ATTEMPTS = 10
_ROWS = 8
"""Images a thread makes before it looks for more work."""


@dataclass(frozen=True, eq=False)
class CropPlan:
    """Order and augmentation of one epoch; row i belongs to the i-th image that is shown.

    Attributes:
        order: ``(n,)`` int64 places in the split.
        crops: ``(n, 4)`` int32 top, left, height and width in pixels of the stored image.
        flip: ``(n,)`` bool, mirror horizontally after the resize.
    """

    order: np.ndarray
    crops: np.ndarray
    flip: np.ndarray

    def __len__(self) -> int:
        return len(self.order)


def plan_crops(
    seed: int,
    epoch: int,
    samples: np.ndarray,
    shapes: np.ndarray,
    *,
    scale: tuple[float, float] = SCALE,
    ratio: tuple[float, float] = RATIO,
    flip: bool = True,
    shuffled: bool = True,
) -> CropPlan:
    """Draw an epoch.

    Args:
        seed: Training seed.
        epoch: 0-based index of the epoch.
        samples: ``(n,)`` places in the split of what is trained on.
        shapes: ``(N, 2)`` height and width of all images of the split.
        scale, ratio: See `draw_crops`.
        flip: Whether half of the images are mirrored.
        shuffled: Whether the order is random, as of `plan_epoch`; else that of ``samples``.
    """
    order = samples[draw_order(seed, epoch, len(samples)).numpy()] if shuffled else samples
    crops = draw_crops(seed, epoch, order, shapes[order], scale=scale, ratio=ratio)
    mirrored = draw_uniforms(seed, epoch, "flip", order)[:, 0] < 0.5
    return CropPlan(order.astype(np.int64), crops, mirrored & flip)


def draw_crops(
    seed: int,
    epoch: int,
    samples: np.ndarray,
    shapes: np.ndarray,
    *,
    scale: tuple[float, float] = SCALE,
    ratio: tuple[float, float] = RATIO,
) -> np.ndarray:
    """Random-resized crops as torchvision draws them: of an area and an aspect ratio, ten attempts, else the centre.

    Args:
        seed: Training seed.
        epoch: 0-based index of the epoch.
        samples: ``(n,)`` places in the split; the crop of a sample depends on no other.
        shapes: ``(n, 2)`` their heights and widths in pixels.
        scale: Smallest and largest share of the image's area.
        ratio: Smallest and largest width over height, between which its logarithm is uniform.

    Returns:
        ``(n, 4)`` int32 top, left, height and width.

    Raises:
        InputError: A range that is none.
    """
    for name, (low, high), most in (("scale", scale, 1.0), ("ratio", ratio, np.inf)):
        if not 0 < low <= high <= most:
            raise InputError(f"`{name}` = {low:g} to {high:g} must rise within 0 to {most:g}")
    crops = _fall_back(shapes, ratio)
    # torchvision's logarithms are float32
    bounds = [float(np.float32(np.log(np.float64(np.float32(end))))) for end in ratio]
    open_ = np.arange(len(samples))
    for attempt in range(_ATTEMPTS):
        if not len(open_):
            break
        area, aspect, down, right = draw_uniforms(seed, epoch, "crop", samples[open_], attempt).T
        height, width = shapes[open_].astype(np.int64).T
        target = height * width * (scale[0] + (scale[1] - scale[0]) * area)
        stretch = np.exp(bounds[0] + (bounds[1] - bounds[0]) * aspect)
        wide = np.round(np.sqrt(target * stretch)).astype(np.int64)
        high = np.round(np.sqrt(target / stretch)).astype(np.int64)
        fits = (wide > 0) & (wide <= width) & (high > 0) & (high <= height)
        top, left = np.floor(down * (height - high + 1)), np.floor(right * (width - wide + 1))
        crops[open_[fits]] = np.stack([top, left, high, wide], axis=1)[fits]
        open_ = open_[~fits]
    return crops


def _fall_back(shapes: np.ndarray, ratio: tuple[float, float]) -> np.ndarray:
    """The largest crop in the middle whose aspect ratio is in the range."""
    height, width = shapes.astype(np.int64).T
    aspect = width / height
    high = np.where(aspect < ratio[0], np.round(width / ratio[0]), height).astype(np.int64)
    wide = np.where(aspect > ratio[1], np.round(height * ratio[1]), width).astype(np.int64)
    return np.stack([(height - high) // 2, (width - wide) // 2, high, wide], axis=1).astype(np.int32)


class CropFeeder:
    """Makes the batches of a plan with threads, ahead of who takes them.

    Args:
        images: Of the split, by their place in it.
        labels: ``(N,)`` int64.
        size: Side in pixels of what is fed.
        threads: That cut and resize; None for one per available core. The bytes do not depend on it.
        depth: Batches that are made ahead.
        pinned: Whether they lie in page-locked memory, from which a GPU takes them while it computes.
    """

    def __init__(
        self,
        images: RaggedImages | np.ndarray,
        labels: np.ndarray,
        size: int,
        *,
        threads: int | None = None,
        depth: int = 4,
        pinned: bool = False,
    ) -> None:
        from torchvision.transforms.v2.functional import resize_image  # heavy

        if depth < 1:
            raise InputError(f"depth = {depth}: at least 1 batch is made ahead")
        self._resize, self._images = resize_image, images
        self._labels = torch.from_numpy(np.array(labels, dtype=np.int64))
        self.size, self.threads, self._depth, self._pinned = size, worker_count(threads), depth, pinned

    @property
    def kernel(self) -> str:
        """What resizes; on another processor its bytes may differ by one."""
        from importlib import metadata

        return (
            f"torchvision {metadata.version('torchvision')} bilinear uint8, antialiased, "
            f"torch {metadata.version('torch')} {torch.backends.cpu.get_cpu_capability()}"
        )

    def load(self, plan: CropPlan, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Images ``start:stop`` of the epoch, made by the caller's thread.

        Returns:
            images: ``(stop − start, size, size, 3)`` uint8.
            labels: ``(stop − start,)`` int64.
        """
        batch = self._empty(stop - start)
        self._fill(batch.numpy(), plan, start, 0, stop - start)
        return batch, self._labels[plan.order[start:stop]]

    def feed(self, plan: CropPlan, parts: Iterable[tuple[int, int]]) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of an epoch, one after the other, as `load` makes them.

        Args:
            plan: Of the epoch.
            parts: ``(start, stop)`` of each batch, or of a rank's part of it; the first may be in mid-epoch.
        """
        pending: deque[tuple[Tensor, Tensor, list[Future[None]]]] = deque()
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="crops")
        try:
            for start, stop in parts:
                pending.append(self._submit(pool, plan, start, stop))
                if len(pending) > self._depth:
                    yield self._finish(pending.popleft())
            while pending:
                yield self._finish(pending.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _submit(
        self, pool: ThreadPoolExecutor, plan: CropPlan, start: int, stop: int
    ) -> tuple[Tensor, Tensor, list[Future[None]]]:
        batch = self._empty(stop - start)
        rows = batch.numpy()
        work = [
            pool.submit(self._fill, rows, plan, start, low, min(low + _ROWS, len(rows)))
            for low in range(0, len(rows), _ROWS)
        ]
        return batch, self._labels[plan.order[start:stop]], work

    @staticmethod
    def _finish(made: tuple[Tensor, Tensor, list[Future[None]]]) -> tuple[Tensor, Tensor]:
        batch, labels, work = made
        for each in work:
            each.result()
        return batch, labels

    def _fill(self, batch: np.ndarray, plan: CropPlan, start: int, low: int, high: int) -> None:
        for row in range(low, high):
            i = start + row
            made = self._make(self._images[int(plan.order[i])], plan.crops[i])
            batch[row] = made[:, ::-1] if plan.flip[i] else made

    def _make(self, image: np.ndarray, crop: np.ndarray) -> np.ndarray:
        top, left, height, width = crop.tolist()
        # a copy in memory of its own: the kernel is for pixels without gaps, and the map is read-only
        cut = torch.from_numpy(image[top : top + height, left : left + width].copy())
        made: Tensor = self._resize(cut.permute(2, 0, 1), [self.size, self.size], antialias=True)
        return made.permute(1, 2, 0).numpy()

    def _empty(self, count: int) -> Tensor:
        return torch.empty((count, self.size, self.size, 3), dtype=torch.uint8, pin_memory=self._pinned)
