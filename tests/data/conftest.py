"""Small copies of every format, all from the same seeded pixels."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

CIFAR10_NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@pytest.fixture(autouse=True)
def no_data_root_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test reads or writes the machine's own data root."""
    monkeypatch.setenv("RALR_VIZ_DATA", str(tmp_path / "default-root"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def make_images() -> Callable[..., np.ndarray]:
    """``make_images(n, size=32, seed=0)``: seeded noise, ``(n, size, size, 3)`` uint8."""

    def make(n: int, size: int = 32, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8)

    return make


@pytest.fixture
def save_image() -> Callable[..., Path]:
    """``save_image(array, path)``; lossless unless ``path`` is a JPEG."""

    def save(array: np.ndarray, path: Path, **options: Any) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        lossless = {"lossless": True} if path.suffix == ".webp" else {}
        Image.fromarray(array).save(path, **lossless, **options)
        return path

    return save


@pytest.fixture
def make_tree(make_images: Callable[..., np.ndarray], save_image: Callable[..., Path]) -> Callable[..., Path]:
    """``make_tree(folder)``: a class-folder tree of ``cat`` and ``dog``, 4 + 2 images each."""

    def make(
        folder: Path,
        classes: tuple[str, ...] = ("cat", "dog"),
        *,
        n_train: int = 4,
        n_test: int = 2,
        size: int = 32,
        seed: int = 0,
        extension: str = "png",
        test_folder: str = "test",
    ) -> Path:
        images = iter(make_images(len(classes) * (n_train + n_test), size, seed))
        for split, n in (("train", n_train), (test_folder, n_test)):
            for name in classes:
                for index in range(n):
                    save_image(next(images), folder / split / name / f"{index}.{extension}")
        return folder

    return make


@pytest.fixture
def zip_folder() -> Callable[..., Path]:
    """``zip_folder(folder, path, inside="")``: the files of ``folder`` as a zip, below ``inside``."""

    def pack(folder: Path, path: Path, inside: str = "") -> Path:
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(folder.rglob("*")):
                if file.is_file():
                    archive.write(file, inside + file.relative_to(folder).as_posix())
        return path

    return pack


def python2_pickle(value: Any) -> bytes:
    """``value`` pickled as Python 2 did for the official files: protocol 2, byte strings, old NumPy names."""

    class Pickler(pickle._Pickler):  # type: ignore[name-defined,misc]
        dispatch: ClassVar = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

        def save_bytes(self, obj: bytes) -> None:
            self.write(pickle.BINSTRING + len(obj).to_bytes(4, "little") + obj)

        dispatch[bytes] = save_bytes

    buffer = io.BytesIO()
    Pickler(buffer, protocol=2).dump(value)
    return buffer.getvalue().replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n")


@pytest.fixture
def make_cifar10() -> Callable[..., Path]:
    """``make_cifar10(folder, train, train_labels, test, test_labels)``: the batches as published."""

    def make(
        folder: Path,
        train: np.ndarray,
        train_labels: list[int],
        test: np.ndarray,
        test_labels: list[int],
        dump: Callable[[Any], bytes] = python2_pickle,
    ) -> Path:
        batches = folder / "cifar-10-batches-py"
        batches.mkdir(parents=True)
        fifths = np.array_split(np.arange(len(train)), 5)
        parts = {f"data_batch_{i + 1}": (train, train_labels, fifth) for i, fifth in enumerate(fifths)}
        parts["test_batch"] = (test, test_labels, np.arange(len(test)))
        for name, (images, labels, index) in parts.items():
            rows = np.ascontiguousarray(images[index].transpose(0, 3, 1, 2)).reshape(len(index), -1)
            batch = {
                b"batch_label": name.encode(),
                b"labels": [labels[i] for i in index],
                b"data": rows,
                b"filenames": [b"x.png"] * len(index),
            }
            (batches / name).write_bytes(dump(batch))
        meta = {
            b"num_cases_per_batch": 10,
            b"label_names": [n.encode() for n in CIFAR10_NAMES],
            b"num_vis": 3072,
        }
        (batches / "batches.meta").write_bytes(dump(meta))
        (batches / "readme.html").write_text("<html>")
        return folder

    return make


@pytest.fixture
def make_tiny_imagenet(
    make_images: Callable[..., np.ndarray], save_image: Callable[..., Path]
) -> Callable[..., Path]:
    """``make_tiny_imagenet(folder, wnids)``: official layout; train image ``i`` has box ``i i 9 20+i``."""

    def make(
        folder: Path, wnids: list[str], n_train: int = 2, size: int = 64, extension: str = "JPEG"
    ) -> Path:
        images = iter(make_images(len(wnids) * (n_train + 1), size, 5))
        (folder / "val").mkdir(parents=True)
        (folder / "wnids.txt").write_text("\n".join(wnids) + "\n")
        (folder / "words.txt").write_text(
            "n99999999\tother\n" + "".join(f"{w}\tthe {w}, alias\n" for w in wnids)
        )
        annotations = []
        for position, wnid in enumerate(wnids):
            lines = []
            for index in range(n_train):
                save_image(next(images), folder / "train" / wnid / "images" / f"{wnid}_{index}.{extension}")
                lines.append(f"{wnid}_{index}.{extension}\t{index}\t{index}\t9\t{20 + index}\n")
            (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text("".join(lines))
            save_image(next(images), folder / "val" / "images" / f"val_{position}.{extension}")
            annotations.append(f"val_{position}.{extension}\t{wnid}\t3\t4\t3\t60\n")
        (folder / "val" / "val_annotations.txt").write_text("".join(reversed(annotations)))
        save_image(make_images(1, size, 6)[0], folder / "test" / "images" / f"test_0.{extension}")
        return folder

    return make
