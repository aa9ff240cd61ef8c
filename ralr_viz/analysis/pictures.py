"""Checked images and targets of an analysis, normalised on the device batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ralr_viz.comparison.network import check_scale
from ralr_viz.data.augment import normalise_batch
from ralr_viz.data.mixing import send
from ralr_viz.errors import InputError
from ralr_viz.runtime.device import Runtime

Step = Callable[[Tensor, Tensor], tuple[Tensor, ...]]
"""Normalised images (b, 3, H, W) and targets (b,) to columns of b rows each."""

RESIDENT_BYTES = 1 << 30
"""Images that may stay on a device as uint8: CIFAR's take 0.2 GB."""

_PROBE_IMAGES, _PROBE_PIXELS = 8, 8 * 96**2
"""Images on which the structure of a network is found out, with the graph of all its layers: two of them if they are large."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Checked images and targets on the host, read in batches.

    Attributes:
        images: (n, H, W, 3) uint8.
        targets: (n,) int64 classes, −1 where none is given.
        mean, std: (3,) float32 on the device, in units of [0, 1].
        runtime: Where the batches go.
        resident: All images on the device, where they were to stay there.
    """

    images: np.ndarray
    targets: np.ndarray
    mean: Tensor
    std: Tensor
    runtime: Runtime
    resident: Tensor | None = None

    @classmethod
    def on_device(
        cls,
        images: np.ndarray,
        targets: np.ndarray,
        mean: Sequence[float],
        std: Sequence[float],
        runtime: Runtime,
        *,
        passes: int = 1,
    ) -> Pictures:
        """Images and targets that were checked, with ``mean`` and ``std`` checked and moved.

        Args:
            images, targets, mean, std, runtime: See `Pictures`.
            passes: How often all images will be gone through: for more than one they stay on the device, where it is
                not the host and they are at most RESIDENT_BYTES.

        Raises:
            InputError: ``mean`` or ``std`` is not three numbers, or a std is not positive.
        """
        means, stds = (
            torch.tensor(values, dtype=torch.float32, device=runtime.device)
            for values in check_scale(mean, std)
        )
        stay = passes > 1 and runtime.device.type != "cpu" and images.nbytes <= RESIDENT_BYTES
        return cls(images, targets, means, stds, runtime, _upload(images, runtime.device) if stay else None)

    def load(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Normalised images (b, 3, H, W) and targets (b,) on the device."""
        device, resident = self.runtime.device, self.resident
        x = _upload(self.images[start:stop], device) if resident is None else resident[start:stop]
        target = _upload(self.targets[start:stop], device)
        x = normalise_batch(x, self.mean, self.std)
        return x.contiguous(memory_format=self.runtime.memory_format), target

    def probe(self) -> Tensor:
        """A few normalised images (b, 3, H, W), on which the structure of a network is found out."""
        _, height, width, _ = self.images.shape
        return self.load(0, min(_PROBE_IMAGES, max(2, _PROBE_PIXELS // (height * width))))[0]

    def run(self, step: Step, batch: int, progress: Callable[[int], object] | None) -> list[np.ndarray]:
        """The columns of all batches, joined on the host."""
        rows = []
        for start in range(0, len(self.images), batch):
            rows.append(step(*self.load(start, start + batch)))
            if progress is not None:
                progress(min(start + batch, len(self.images)))
        # the one place that waits for the device
        return [torch.cat(column).cpu().numpy() for column in zip(*rows, strict=True)]


def _upload(values: np.ndarray, device: torch.device) -> Tensor:
    # a copy of the batch: a read-only memory map cannot become a tensor
    return send(torch.from_numpy(np.array(values)), device)


def check_images(images: np.ndarray, batch: int) -> None:
    """Refuse anything but uint8 RGB images and a batch of at least one.

    Raises:
        InputError: Another type or shape, no image, or ``batch`` < 1.
    """
    if not isinstance(images, np.ndarray):
        raise InputError(
            f"`images` is a {type(images).__name__}: takes one array of uint8 RGB images (n, height, width, 3), "
            "such as `np.stack([np.asarray(image.convert('RGB')) for image in images])`"
        )
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise InputError(
            f"`images` is {images.dtype} {images.shape}: takes uint8 RGB images (n, height, width, 3)"
        )
    if len(images) == 0:
        raise InputError("there are no images to look at: choose another --split or a larger --limit")
    if batch < 1:
        raise InputError(f"`batch` = {batch} must be at least 1")


def check_targets(targets: np.ndarray | None, n: int) -> np.ndarray:
    """Targets as int64, −1 for each image where none are given.

    Raises:
        InputError: Not one integer for each image.
    """
    if targets is None:
        return np.full(n, -1, dtype=np.int64)
    targets = np.asarray(targets)
    if targets.shape != (n,) or not np.issubdtype(targets.dtype, np.integer):
        raise InputError(
            f"`targets` is {targets.dtype} {targets.shape}: one integer for each of the {n} images"
        )
    return targets.astype(np.int64)
