"""Decoding: colour modes, scaling, broken and hostile files."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ralr_viz.data import images as images_module
from ralr_viz.data import read_image_files
from ralr_viz.data.images import decode_stream
from ralr_viz.data.picture import UnreadableImage, decode_image
from ralr_viz.errors import DataError, InputError


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(height: int = 6, width: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header announces any size, with almost no data behind it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True})])
def test_decode_image_gives_the_exact_pixels(kind: str, options: dict[str, Any]) -> None:
    np.testing.assert_array_equal(decode_image(encode(Image.fromarray(noise()), kind, **options)), noise())


def test_decode_image_makes_grey_and_palette_rgb() -> None:
    grey = noise()[..., 0]
    decoded = decode_image(encode(Image.fromarray(grey), "JPEG", quality=100))
    assert decoded.shape == (6, 6, 3)
    assert (decoded == decoded[..., :1]).all()
    palette = Image.fromarray(noise()).quantize(8)
    np.testing.assert_array_equal(decode_image(encode(palette)), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize(("kind", "options"), [("TIFF", {}), ("PPM", {}), ("GIF", {})])
def test_decode_image_reads_what_pillow_reads_as_a_plain_picture(kind: str, options: dict[str, Any]) -> None:
    picture = Image.fromarray(noise()).quantize(8) if kind == "GIF" else Image.fromarray(noise())
    np.testing.assert_array_equal(decode_image(encode(picture, kind)), np.asarray(picture.convert("RGB")))


def test_decode_image_lays_transparency_on_white() -> None:
    """Black below full transparency is what many programs write; a half transparent red becomes pink."""
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[0, 0] = (255, 0, 0, 128)
    rgba[3] = (10, 20, 30, 255)
    decoded = decode_image(encode(Image.fromarray(rgba, "RGBA")))
    assert decoded[1, 1].tolist() == [255, 255, 255]
    np.testing.assert_allclose(decoded[0, 0], [255, 127, 127], atol=1)
    assert decoded[3, 2].tolist() == [10, 20, 30]
    grey = np.stack([np.full((4, 4), 9, np.uint8), np.zeros((4, 4), np.uint8)], axis=-1)
    assert (decode_image(encode(Image.fromarray(grey, "LA"))) == 255).all()
    palette = Image.fromarray(noise()).quantize(8)
    picture = decode_image(encode(palette, transparency=0))
    index = np.asarray(palette)
    assert (picture[index == 0] == 255).all()
    np.testing.assert_array_equal(picture[index != 0], np.asarray(palette.convert("RGB"))[index != 0])
    opaque = np.dstack([noise(), np.full((6, 6), 255, np.uint8)])
    np.testing.assert_array_equal(decode_image(encode(Image.fromarray(opaque, "RGBA"))), noise())


def test_transparent_pictures_are_said(tmp_path: Path) -> None:
    blob = encode(Image.fromarray(np.zeros((6, 6, 4), np.uint8), "RGBA"))
    notes: list[str] = []
    stream = [("a.png", blob), ("b.png", encode(Image.fromarray(noise()))), ("c.png", blob)]
    list(decode_stream(stream, notes=notes))
    assert notes == ["2 transparent images (a.png, c.png) are laid on white"]
    (tmp_path / "one.png").write_bytes(blob)
    with pytest.warns(UserWarning, match=r"1 transparent image .one.png. is laid on white"):
        assert (read_image_files([tmp_path / "one.png"], 6) == 255).all()


def test_decode_image_refuses_several_frames() -> None:
    frames = [Image.fromarray(noise(seed=s)) for s in range(3)]
    for kind in ("GIF", "TIFF"):
        with pytest.raises(UnreadableImage, match="3 frames, a picture has one"):
            decode_image(encode(frames[0], kind, save_all=True, append_images=frames[1:]))


def test_decode_image_shows_the_picture_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    decoded = decode_image(encode(Image.fromarray(noise(4, 6)), "PNG", exif=exif))
    np.testing.assert_array_equal(decoded, np.rot90(noise(4, 6), -1))


def test_decode_image_resizes_antialiased_and_crops_the_centre() -> None:
    board = np.indices((64, 96)).sum(axis=0) % 2 * np.uint8(255)  # a checkerboard averages to grey
    decoded = decode_image(encode(Image.fromarray(board.astype(np.uint8))), size=16)
    assert decoded.shape == (16, 16, 3)
    assert np.abs(decoded.astype(int) - 128)[2:-2, 2:-2].max() <= 8
    sides = np.zeros((8, 24), dtype=np.uint8)
    sides[:, 8:16] = 200  # only the centre third is bright
    assert (decode_image(encode(Image.fromarray(sides)), size=8) == 200).all()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not an image"),
        (b"GIF89a" + bytes(50), "not an image"),
        (encode(Image.fromarray(noise()))[:40], "."),
        (encode(Image.fromarray(noise(99, 99)))[:-200], "."),
        (encode(Image.fromarray(np.ones((4, 4), dtype=np.uint16) * 999)), "8 bits"),
        (png_of_size(9000, 9000), "9000×9000 pixels, at most 67,108,864"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_decode_image_says_why_not(content: bytes, words: str) -> None:
    with pytest.raises(UnreadableImage, match=words):
        decode_image(content)


def test_decode_image_refuses_a_bomb_before_decoding_it() -> None:
    with pytest.raises(UnreadableImage, match="bomb"):
        decode_image(png_of_size(2**30, 2**30))


def blobs(n: int, broken: tuple[int, ...] = ()) -> list[tuple[str, bytes]]:
    good = [encode(Image.fromarray(noise(seed=index))) for index in range(n)]
    return [(f"img{i}.png", good[i][: 30 if i in broken else None]) for i in range(n)]


@pytest.mark.parametrize("workers", [1, 3])
def test_decode_stream_keeps_the_order(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images_module, "_CHUNK_IMAGES", 2)
    decoded = np.concatenate(list(decode_stream(blobs(11), workers=workers)))
    np.testing.assert_array_equal(decoded, np.stack([noise(seed=index) for index in range(11)]))


def test_decode_stream_reads_only_a_little_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images_module, "_CHUNK_IMAGES", 2)
    taken = 0

    def counted() -> Any:
        nonlocal taken
        for blob in blobs(40):
            taken += 1
            yield blob

    next(decode_stream(counted(), workers=2))
    assert taken <= 2 * 2 * 2


def test_decode_stream_names_five_broken_images_and_counts_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images_module, "_CHUNK_IMAGES", 2)
    with pytest.raises(DataError) as caught:
        list(decode_stream(blobs(20, broken=(1, 3, 5, 7, 9, 11, 19)), workers=2))
    message = str(caught.value)
    assert message.startswith("7 images cannot be read: `img1.png` (")
    assert "`img9.png`" in message
    assert "`img11.png`" not in message
    assert "and 2 more" in message
    assert "\n" not in message


def test_decode_stream_names_the_first_image_of_another_size() -> None:
    odd = ("odd.png", encode(Image.fromarray(noise(6, 8))))
    with pytest.raises(DataError, match=r"`odd\.png` has 8×6 pixels, `img0\.png` has 6×6: .*--size"):
        list(decode_stream([*blobs(2), odd]))
    with pytest.raises(DataError, match=r"`odd\.png` has 8×6 pixels, images must be square: .*--size"):
        list(decode_stream([odd]))
    assert np.concatenate(list(decode_stream([*blobs(2), odd], size=5))).shape == (3, 5, 5, 3)


def test_decode_stream_refuses_no_workers() -> None:
    with pytest.raises(InputError, match="workers = 0"):
        list(decode_stream(blobs(1), workers=0))


def test_read_image_files_scales_to_the_network(tmp_path: Path, save_image: Callable[..., Path]) -> None:
    paths = [save_image(noise(6, 8), tmp_path / "a.png"), save_image(noise(9, 9), tmp_path / "b.webp")]
    read = read_image_files(paths, 6)
    assert (read.shape, read.dtype) == ((2, 6, 6, 3), np.uint8)
    np.testing.assert_array_equal(read[0], noise(6, 8)[:, 1:7])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "is a directory"),
        (lambda path: path.write_text("not a picture"), "not an image"),
        (lambda path: path.write_bytes(encode(Image.fromarray(noise(99, 99)))[:-500]), "cannot be read"),
    ],
)
def test_read_image_files_names_the_file(make: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    make(tmp_path / "photo.png")
    with pytest.raises(DataError, match=rf"photo\.png.*{words}"):
        read_image_files([tmp_path / "photo.png"], 32)
