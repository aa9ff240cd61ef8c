"""The pixels of a window: cut, resized, of changed colours, on the mean colour."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ralr_viz.data.counter import draw_uniforms
from ralr_viz.tasks.detection.windows import Window

_STRENGTH = 0.5
_HUE = 18 / 255
_GREY = (0.299, 0.587, 0.114)


class Colours:
    """Brightness, contrast, saturation and hue of a sample in an epoch, each changed or not, in an order of their own.

    Args:
        seed, epoch, sample: As of `draw_window`.
    """

    def __init__(self, seed: int, epoch: int, sample: int) -> None:
        changed, amount, order = draw_uniforms(seed, epoch, "colour", np.full(3, sample), np.arange(3))
        self.order = [int(at) for at in np.argsort(order) if changed[at] < 0.5]
        self.amount = [float(2 * u - 1) for u in amount]  # in [−1, 1)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Change (h, w, 3) uint8."""
        if not self.order:
            return image
        x = image.astype(np.float32) / np.float32(255)
        for at in self.order:
            x = (_brighten, _contrast, _saturate, _turn_hue)[at](x, self.amount[at])
        return np.rint(x * np.float32(255)).astype(np.uint8)


def render_window(
    image: np.ndarray, window: Window, size: int, fill: np.ndarray, colours: Colours | None = None
) -> np.ndarray:
    """Show a window.

    Args:
        image: (H, W, 3) uint8.
        window: Of it.
        size: Side in pixels of what is shown.
        fill: (3,) uint8, where there is no image.
        colours: Change those of the image; None to leave them.

    Returns:
        (size, size, 3) uint8.
    """
    height, width = image.shape[:2]
    left, top, right, bottom = window[:4]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    shown = np.empty((size, size, 3), np.uint8)
    shown[:] = fill
    if x1 > x0 and y1 > y0:
        (a, b), (c, d) = (
            _span(x0 - left, x1 - left, right - left, size),
            _span(y0 - top, y1 - top, bottom - top, size),
        )
        part = _resize(image[y0:y1, x0:x1], d - c, b - a)
        shown[c:d, a:b] = part if colours is None else colours(part)
    return shown[:, ::-1] if window.mirrored else shown


def shrink_picture(image: np.ndarray, longest: int) -> np.ndarray:
    """An image (H, W, 3) uint8 with at most so many pixels on its longer side, in its own shape."""
    height, width = image.shape[:2]
    scale = min(1.0, longest / max(height, width))
    if scale == 1:
        return np.array(image)
    return _resize(image, max(round(height * scale), 1), max(round(width * scale), 1))


def _span(first: int, last: int, extent: int, size: int) -> tuple[int, int]:
    """Where pixels ``first:last`` of ``extent`` are among ``size``: at least one."""
    start = min(round(first * size / extent), size - 1)
    return start, max(round(last * size / extent), start + 1)


def _resize(part: np.ndarray, height: int, width: int) -> np.ndarray:
    from torchvision.transforms.v2.functional import resize_image  # heavy

    # a copy in memory of its own: the kernel is for pixels without gaps, and the map is read-only
    whole = torch.from_numpy(np.array(part)).permute(2, 0, 1)
    made: Tensor = resize_image(whole, [height, width], antialias=True)
    return made.permute(1, 2, 0).numpy()


def _brighten(x: np.ndarray, amount: float) -> np.ndarray:
    return np.clip(x * np.float32(1 + _STRENGTH * amount), 0, 1)


def _contrast(x: np.ndarray, amount: float) -> np.ndarray:
    # NumPy's sum is one thread's, so its last bit is the same for any number of them
    return _blend(x, np.float32(_grey(x).mean(dtype=np.float64)), amount)


def _saturate(x: np.ndarray, amount: float) -> np.ndarray:
    return _blend(x, _grey(x)[..., None], amount)


def _turn_hue(x: np.ndarray, amount: float) -> np.ndarray:
    from torchvision.transforms.v2.functional import adjust_hue_image  # heavy

    planes = torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1)))
    turned: np.ndarray = adjust_hue_image(planes, _HUE * amount).numpy().transpose(1, 2, 0)
    return np.clip(turned, 0, 1)


def _grey(x: np.ndarray) -> np.ndarray:
    red, green, blue = (np.float32(share) for share in _GREY)
    grey: np.ndarray = x[..., 0] * red + x[..., 1] * green + x[..., 2] * blue
    return grey


def _blend(x: np.ndarray, other: np.ndarray | np.float32, amount: float) -> np.ndarray:
    return np.clip(other + (x - other) * np.float32(1 + _STRENGTH * amount), 0, 1)
