"""The digits: built offline, stratified, the same on every machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ralr_viz.data import doctor, import_dataset, load_dataset
from ralr_viz.errors import InputError, StorageError


@pytest.fixture(scope="module")
def digits_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("digits")
    load_dataset("digits", root)
    return root


def test_load_dataset_builds_digits_once(digits_root: Path) -> None:
    written = (digits_root / "digits" / "store.json").stat().st_mtime_ns
    dataset = load_dataset("digits", digits_root)
    assert (digits_root / "digits" / "store.json").stat().st_mtime_ns == written
    assert dataset.train.images.shape == (1352, 32, 32, 3)
    assert dataset.test.images.shape == (445, 32, 32, 3)
    assert dataset.class_names == tuple("0123456789")


def test_digits_split_is_stratified(digits_root: Path) -> None:
    dataset = load_dataset("digits", digits_root)
    train, test = np.bincount(dataset.train.labels), np.bincount(dataset.test.labels)
    np.testing.assert_array_equal(test, (train + test) // 4)


def test_digits_are_the_scans_of_scikit_learn(digits_root: Path) -> None:
    """Block means of the upsampled images give the scans back, each with its label."""
    from sklearn.datasets import load_digits

    scans, labels = load_digits(return_X_y=True)
    dataset = load_dataset("digits", digits_root)
    images = np.concatenate([dataset.train.images, dataset.test.images]).astype(float)
    assert (images == images[..., :1]).all()
    small = images[..., 0].reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4)).reshape(-1, 64)
    scans *= 255 / 16
    nearest = ((scans**2).sum(axis=1) - 2 * small @ scans.T).argmin(axis=1)
    assert len(set(nearest)) > 1790  # a few scans are nearly the same
    np.testing.assert_array_equal(
        labels[nearest], np.concatenate([dataset.train.labels, dataset.test.labels])
    )


def test_digits_pass_the_doctor(digits_root: Path) -> None:
    checks = doctor(digits_root, "digits")
    assert {check.check for check in checks} >= {
        "content",
        "mean and std",
        "official sizes",
        "official classes",
    }
    assert all(check.ok for check in checks)


def test_digits_in_an_unwritable_root_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*file.* --data"):
        load_dataset("digits", tmp_path / "file" / "root")


def test_digits_cannot_be_imported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is made at its first use"):
        import_dataset("digits", tmp_path, tmp_path / "root")
