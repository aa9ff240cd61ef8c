"""Loading a store: what comes out, and every damage that must be noticed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ralr_viz.data import Dataset, data_root, import_dataset, load_dataset
from ralr_viz.errors import DataError, InputError


@pytest.fixture
def store(root: Path, tmp_path: Path, make_tree: Callable[..., Path]) -> Path:
    import_dataset("pets", make_tree(tmp_path / "tree"), root)
    return root / "pets"


def edit_manifest(store: Path, **changes: Any) -> None:
    manifest = json.loads((store / "store.json").read_text())
    manifest.update(changes)
    (store / "store.json").write_text(json.dumps(manifest))


def test_load_dataset_gives_read_only_maps(store: Path) -> None:
    dataset = load_dataset("pets", store.parent)
    assert isinstance(dataset.train.images, np.memmap)
    assert (dataset.train.images.dtype, dataset.train.images.shape) == (np.uint8, (8, 32, 32, 3))
    assert (dataset.test.labels.dtype, dataset.test.labels.tolist().count(0)) == (np.int64, 2)
    assert dataset.train.boxes is None
    assert (dataset.image_size, dataset.num_classes, dataset.class_ids) == (32, 2, ("cat", "dog"))
    for array in (dataset.train.images, dataset.train.labels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_load_dataset_mean_and_std_are_those_of_the_train_images(store: Path) -> None:
    dataset = load_dataset("pets", store.parent)
    np.testing.assert_allclose(dataset.mean, (dataset.train.images / 255).mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(dataset.std, (dataset.train.images / 255).std(axis=(0, 1, 2)), rtol=1e-12)


def test_store_holds_no_absolute_path(store: Path, tmp_path: Path) -> None:
    assert str(tmp_path) not in (store / "store.json").read_text()


def truncate_images(store: Path) -> None:
    file = store / "train_images.npy"
    file.write_bytes(file.read_bytes()[:-1])


def wrong_dtype(store: Path) -> None:
    np.save(store / "test_images.npy", np.load(store / "test_images.npy").astype(np.int16))


def label_out_of_range(store: Path) -> None:
    labels = np.load(store / "train_labels.npy")
    labels[3] = 2
    np.save(store / "train_labels.npy", labels)


def pickled_labels(store: Path) -> None:
    np.save(store / "train_labels.npy", np.array([{}] * 8, dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (truncate_images, "train_images.npy"),
        (wrong_dtype, r"test_images.npy` is int16"),
        (label_out_of_range, r"labels of `train` are not all in \[0, 2\)"),
        (pickled_labels, "train_labels.npy` cannot be read"),
        (lambda store: (store / "test_labels.npy").unlink(), "test_labels.npy"),
        (lambda store: (store / "store.json").write_text("{"), "store.json` cannot be read"),
        (lambda store: (store / "store.json").write_text("[]"), "no schema"),
        (lambda store: edit_manifest(store, n={"train": 7, "test": 4}), r"not uint8 \(7, 32, 32, 3\)"),
        (lambda store: edit_manifest(store, mean=[0.5]), "incomplete"),
        (lambda store: edit_manifest(store, class_ids=["cat", "cat"]), "class ids"),
        (lambda store: edit_manifest(store, boxes=True), "train_boxes.npy"),
        (lambda store: edit_manifest(store, schema=99), "schema 99"),
    ],
)
def test_load_dataset_names_the_damage(store: Path, damage: Callable[[Path], Any], words: str) -> None:
    damage(store)
    with pytest.raises(DataError, match=words) as caught:
        load_dataset("pets", store.parent)
    assert "--force" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_data_root_refuses_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "root").touch()
    with pytest.raises(InputError, match="`--data` is the file `.*root`: give the folder"):
        data_root(tmp_path / "root")
    monkeypatch.setenv("RALR_VIZ_DATA", str(tmp_path / "root"))
    with pytest.raises(InputError, match=r"`\$RALR_VIZ_DATA` is the file"):
        data_root()


def test_data_root_prefers_option_then_variable_then_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RALR_VIZ_DATA", "~/from-variable")
    assert data_root(Path("given")) == Path("given")
    assert data_root() == Path.home() / "from-variable"
    monkeypatch.delenv("RALR_VIZ_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert data_root().parts[-2:] == ("ralr-viz", "data")


def test_dataset_is_exported_with_its_type(store: Path) -> None:
    assert isinstance(load_dataset("pets", store.parent), Dataset)
