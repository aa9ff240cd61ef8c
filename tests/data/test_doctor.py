"""The full check finds what loading cannot see."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ralr_viz.data import Check, doctor, import_dataset
from ralr_viz.data.known import KNOWN
from ralr_viz.errors import DataError, UnknownNameError


@pytest.fixture
def store(root: Path, tmp_path: Path, make_tiny_imagenet: Callable[..., Path]) -> Path:
    import_dataset("mini", make_tiny_imagenet(tmp_path / "tiny", ["n1", "n2"]), root)
    return root / "mini"


def findings(store: Path) -> dict[str, Check]:
    return {check.check: check for check in doctor(store.parent, store.name)}


def failed(store: Path) -> set[str]:
    return {name for name, check in findings(store).items() if not check.ok}


def rewrite(store: Path, file: str, change: Callable[[np.ndarray], None]) -> None:
    array = np.load(store / file)
    change(array)
    np.save(store / file, array)


def test_doctor_finds_a_sound_store_sound(store: Path) -> None:
    assert failed(store) == set()
    assert findings(store)["labels of train"].detail == "2 images a class"


def flip_a_bit(images: np.ndarray) -> None:
    images[1, 3, 5, 2] ^= 1


def swap_two(array: np.ndarray) -> None:
    array[[0, 1]] = array[[1, 0]]


def shift(boxes: np.ndarray) -> None:
    boxes[0] += 1


@pytest.mark.parametrize(
    ("file", "change", "expected"),
    [
        ("train_images.npy", flip_a_bit, {"content", "mean and std"}),
        ("test_images.npy", flip_a_bit, {"content"}),
        ("train_images.npy", swap_two, {"content"}),
        ("test_boxes.npy", shift, {"content"}),
        ("test_labels.npy", lambda labels: labels.__setitem__(0, 1 - labels[0]), {"content"}),
        ("train_labels.npy", lambda labels: labels.fill(0), {"content", "labels of train"}),
        ("train_boxes.npy", lambda boxes: boxes.__setitem__((0, 2), 64), {"content", "boxes of train"}),
    ],
)
def test_doctor_finds_what_was_changed(
    file: str, change: Callable[[np.ndarray], None], expected: set[str], store: Path
) -> None:
    rewrite(store, file, change)
    assert failed(store) == expected


def test_doctor_recomputes_mean_and_std(store: Path) -> None:
    manifest = json.loads((store / "store.json").read_text())
    manifest["std"][1] += 1e-9
    (store / "store.json").write_text(json.dumps(manifest))
    assert failed(store) == {"mean and std"}


def test_doctor_counts_degenerate_boxes_and_samples_without_one(store: Path) -> None:
    assert "3 of 3" not in findings(store)["boxes of test"].detail
    assert findings(store)["boxes of test"].detail.startswith(
        "2 of 2 images have one; 2 of zero width or height"
    )
    rewrite(store, "train_boxes.npy", lambda boxes: boxes[0].fill(-1))
    assert findings(store)["boxes of train"].detail.startswith("3 of 4 images have one; 0 of zero")
    assert findings(store)["boxes of train"].ok


def test_doctor_counts_images_in_both_splits(
    root: Path, tmp_path: Path, make_tree: Callable[..., Path]
) -> None:
    tree = make_tree(tmp_path / "tree")
    for index in range(2):
        (tree / "test" / "cat" / f"{index}.png").write_bytes(
            (tree / "train" / "dog" / f"{index}.png").read_bytes()
        )
    import_dataset("pets", tree, root)
    assert findings(root / "pets")["overlap"].detail.startswith("2 different images")


def test_doctor_compares_with_the_literature(
    root: Path, tmp_path: Path, make_tree: Callable[..., Path]
) -> None:
    import_dataset("cifar10", make_tree(tmp_path / "tree", KNOWN["cifar10"].class_ids or (), n_train=1), root)
    assert failed(root / "cifar10") == {"official sizes", "official mean and std"}  # noise is not CIFAR-10


def test_doctor_checks_every_store_and_reports_a_damaged_one(
    store: Path, tmp_path: Path, make_tree: Callable[..., Path]
) -> None:
    import_dataset("pets", make_tree(tmp_path / "tree"), store.parent)
    (store / "train_images.npy").write_bytes(b"")
    calls: list[tuple[int, int, str]] = []
    checks = doctor(store.parent, progress=lambda *call: calls.append(call))
    assert [(check.dataset, check.ok) for check in checks if check.check == "store"] == [
        ("mini", False),
        ("pets", True),
    ]
    assert calls[-1] == (12, 12, "checking pets")


def test_doctor_of_what_is_not_there(root: Path) -> None:
    assert doctor(root) == []
    with pytest.raises(DataError, match="data download cifar10"):
        doctor(root, "cifar10")
    with pytest.raises(UnknownNameError):
        doctor(root, "cifra10")
