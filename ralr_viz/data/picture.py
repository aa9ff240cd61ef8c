"""One picture file: what it is made into, and why it is refused."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from ralr_viz.foreign import one_line

EXTENSIONS = (
    ".png",
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".webp",
    ".bmp",
    ".tif",
    ".tiff",
    ".gif",
    ".ppm",
    ".pgm",
)
MAX_PIXELS = 2**26
CAP = 640
"""Longest side that photographs are stored with: the shorter one of a 4:3 picture stays above 448 pixels."""
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")


class UnreadableImage(Exception):
    """Why one image cannot be used; the caller knows its name."""


def is_image_name(name: str) -> bool:
    """Whether the name ends like one of the image formats that are read."""
    return name.lower().endswith(EXTENSIONS)


@dataclass(frozen=True)
class Look:
    """What is made of a picture beside its pixels.

    Attributes:
        size: Scale the shorter side to this many pixels (bicubic, antialiased) and crop the centre; None to keep it.
        cap: Scale the longer side down to this many pixels where it is longer; None for no end.
        turned: Whether EXIF orientation is applied. Boxes of the official data sets are in unturned pixels.
    """

    size: int | None = None
    cap: int | None = None
    turned: bool = True

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of what is made of a picture of this shape."""
        if self.size is not None:
            return self.size, self.size
        longer = max(height, width)
        if self.cap is None or longer <= self.cap:
            return height, width
        return max(1, round(height * self.cap / longer)), max(1, round(width * self.cap / longer))


def decode_image(content: bytes, size: int | None = None) -> np.ndarray:
    """Decode one image file as it is meant to be seen: EXIF orientation applied, transparency laid on white.

    Args:
        content: PNG, JPEG, WebP, BMP, TIFF, GIF or PPM file.
        size: See `Look`.

    Returns:
        ``(H, W, 3)`` uint8 RGB.

    Raises:
        UnreadableImage: Damaged, not an image, several frames, more than 8 bits a channel, or too large to be
            decoded safely.
    """
    return decode_picture(content, Look(size))[0]


def read_shape(content: bytes) -> tuple[int, int]:
    """Height and width in pixels as they are stored, from the header alone; errors as `decode_picture`."""
    with _unreadable():
        image = _open(content)
        return image.height, image.width


def decode_picture(content: bytes, look: Look) -> tuple[np.ndarray, bool]:
    """As `decode_image`, and whether anything was laid on white."""
    with _unreadable():
        image = _open(content)
        if look.turned:
            ImageOps.exif_transpose(image, in_place=True)
        image, on_white = _lay_on_white(image)
        if look.size is not None:
            image = ImageOps.fit(image, (look.size, look.size), Image.Resampling.BICUBIC)
        height, width = look.shape(image.height, image.width)
        if (width, height) != image.size:
            image = image.resize((width, height), Image.Resampling.BICUBIC)
        return np.asarray(image), on_white


def _open(content: bytes) -> Image.Image:
    image: Image.Image = Image.open(io.BytesIO(content), formats=_FORMATS)
    # The size stands in the header: a decompression bomb is refused before a pixel is decoded.
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableImage(f"{image.width}×{image.height} pixels, at most {MAX_PIXELS:,} are decoded")
    if (frames := getattr(image, "n_frames", 1)) > 1:
        raise UnreadableImage(f"{frames} frames, a picture has one")
    if image.mode[0] in "IF":
        raise UnreadableImage("more than 8 bits a channel, convert it to 8-bit RGB")
    return image


@contextlib.contextmanager
def _unreadable() -> Iterator[None]:
    try:
        yield
    except UnreadableImage:
        raise
    except Exception as error:  # Pillow raises nearly any exception on a damaged file
        raise UnreadableImage(_reason(error)) from error


def _lay_on_white(image: Image.Image) -> tuple[Image.Image, bool]:
    """RGB, and whether a pixel was transparent: dropping alpha would show whatever colour lies below, often black."""
    if "A" not in image.mode.upper() and "transparency" not in image.info:
        return image.convert("RGB"), False
    layered = image.convert("RGBA")
    if layered.getchannel("A").getextrema()[0] == 255:
        return image.convert("RGB"), False
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, layered).convert("RGB"), True


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image"
    return one_line(error) or type(error).__name__
