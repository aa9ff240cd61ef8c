"""The official python version of CIFAR: same content as a class-folder copy, and never any code run."""

from __future__ import annotations

import os
import pickle
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ralr_viz.data import import_dataset
from ralr_viz.data.known import KNOWN
from ralr_viz.errors import DataError

NAMES = KNOWN["cifar10"].class_ids or ()


def protocol_2(value: Any) -> bytes:
    return pickle.dumps(value, protocol=2)


def protocol_5(value: Any) -> bytes:
    return pickle.dumps(value, protocol=5)


@pytest.fixture
def small_cifar(
    make_images: Callable[..., np.ndarray],
) -> tuple[np.ndarray, list[int], np.ndarray, list[int]]:
    return make_images(23), [i % 10 for i in range(23)], make_images(11, seed=1), [i % 10 for i in range(11)]


@pytest.fixture
def batches(tmp_path: Path, make_cifar10: Callable[..., Path], small_cifar: Any) -> Path:
    return make_cifar10(tmp_path / "official", *small_cifar) / "cifar-10-batches-py"


def test_import_cifar10_equals_a_class_folder_copy(
    tmp_path: Path,
    root: Path,
    batches: Path,
    small_cifar: Any,
    save_image: Callable[..., Path],
    zip_folder: Callable[..., Path],
) -> None:
    train, train_labels, test, test_labels = small_cifar
    for split, images, labels in (("train", train, train_labels), ("test", test, test_labels)):
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            save_image(image, tmp_path / "copy" / split / NAMES[label] / f"{index:03}.png")
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(batches, "cifar-10-batches-py")
    sources = {
        "extracted": batches,
        "parent": batches.parent,
        "official": tmp_path / "cifar-10-python.tar.gz",
        "copy": zip_folder(tmp_path / "copy", tmp_path / "copy.zip"),
    }
    datasets = [import_dataset("cifar10", source, root / key) for key, source in sources.items()]
    assert len({dataset.content_hash for dataset in datasets}) == 1
    for dataset in datasets:
        assert dataset.class_ids == NAMES
        np.testing.assert_array_equal(dataset.train.images, datasets[0].train.images)
        np.testing.assert_array_equal(dataset.train.labels, datasets[0].train.labels)


@pytest.mark.parametrize("dump", [protocol_2, protocol_5])
def test_import_cifar10_reads_batches_pickled_by_python_3(
    dump: Callable[[Any], bytes],
    tmp_path: Path,
    root: Path,
    batches: Path,
    make_cifar10: Callable[..., Path],
    small_cifar: Any,
) -> None:
    other = make_cifar10(tmp_path / "python3", *small_cifar, dump=dump)
    expected = import_dataset("cifar10", batches, root)
    assert import_dataset("cifar10", other, root / "3").content_hash == expected.content_hash


def test_import_cifar100_takes_the_fine_labels(
    tmp_path: Path, root: Path, make_images: Callable[..., np.ndarray]
) -> None:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    names = KNOWN["cifar100"].class_ids or ()
    for split, n in (("train", 100), ("test", 5)):
        images = make_images(n, seed=n)
        batch = {
            "data": np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(n, -1),
            "fine_labels": list(range(n)),
            "coarse_labels": [0] * n,
        }
        (folder / split).write_bytes(protocol_2(batch))
    (folder / "meta").write_bytes(protocol_2({"fine_label_names": list(names), "coarse_label_names": ["x"]}))
    dataset = import_dataset("cifar100", folder, root)
    assert dataset.class_ids == names
    images = make_images(5, seed=5)
    for image, label in zip(dataset.test.images, dataset.test.labels, strict=True):
        np.testing.assert_array_equal(image, images[label])


class Evil:
    """What a malicious pickle does when it is loaded by ``pickle.load``."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.marker}'",)


class EvilNumpy(Evil):
    """The same through a function of NumPy."""

    def __reduce__(self) -> tuple[Any, ...]:
        return np.save, (str(self.marker), [1])


@pytest.mark.parametrize("evil", [Evil, EvilNumpy])
@pytest.mark.parametrize("file", ["data_batch_3", "batches.meta"])
def test_import_refuses_a_malicious_pickle_without_running_it(
    evil: type[Evil], file: str, tmp_path: Path, root: Path, batches: Path
) -> None:
    marker = tmp_path / "marker.npy"
    content = pickle.dumps({"labels": [1], "data": evil(marker)})
    (batches / file).write_bytes(content)
    with pytest.raises(DataError, match=rf"`cifar-10-batches-py/{file}` is refused: it wants to run"):
        import_dataset("cifar10", batches, root)
    assert not marker.exists()
    assert not root.exists()
    pickle.loads(content)
    assert marker.exists(), "the pickle must have been a working attack"


def array_batch(data: Any, labels: Any = None) -> bytes:
    return protocol_2({"data": data, "labels": [0] * len(data) if labels is None else labels})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is damaged"),
        (protocol_2({"data": np.zeros((2, 3072), np.uint8)})[:-50], "is damaged"),
        (protocol_2([1, 2]), "is not a dictionary"),
        (protocol_2({"labels": [1]}), "lacks `data`"),
        (array_batch(np.zeros((2, 3072), np.uint8), labels=[0, 10]), r"outside \[0, 10\)"),
        (array_batch(np.zeros((2, 3072), np.uint8), labels=[0, -1]), r"outside \[0, 10\)"),
        (array_batch(np.zeros((2, 3072), np.uint8), labels=[0]), r"\(2, 3072\) bytes for 1 labels"),
        (array_batch(np.zeros((2, 3072), np.float32)), "no plain table of bytes"),
        (array_batch(np.asfortranarray(np.zeros((2, 3072), np.uint8))), "no plain table of bytes"),
        (array_batch(np.zeros((2, 1024), np.uint8)), r"\(2, 1024\) bytes"),
        (array_batch(np.array([{}, {}], dtype=object)), "no plain table of bytes"),
    ],
)
def test_import_names_a_damaged_batch(content: bytes, words: str, root: Path, batches: Path) -> None:
    (batches / "data_batch_2").write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        import_dataset("cifar10", batches, root)
    assert "data_batch_2" in str(caught.value)


def test_import_names_a_missing_batch(root: Path, batches: Path) -> None:
    (batches / "data_batch_4").unlink()
    with pytest.raises(DataError, match="lacks the file `data_batch_4`"):
        import_dataset("cifar10", batches, root)


def test_import_cifar10_under_another_known_name_is_refused(root: Path, batches: Path) -> None:
    with pytest.raises(
        DataError, match=r"has 10 classes, `cifar100` has 100: import it under a name of your own"
    ):
        import_dataset("cifar100", batches, root)
    shutil.copytree(batches, batches.parent / "copy")
    assert import_dataset("my-cifar", batches.parent / "copy", root).num_classes == 10
