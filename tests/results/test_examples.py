"""The record of each example: what is written is read, whatever order, kill or damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ralr_viz.errors import InputError
from ralr_viz.results.examples import examples_path, read_examples, write_examples


def draw(n: int, epochs: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    losses = rng.exponential(size=(epochs, n)).astype(np.float16).astype(np.float32)
    losses[rng.random((epochs, n)) < 0.1] = np.nan
    return rng.random((epochs, n)) < 0.5, losses


@given(st.integers(1, 40), st.permutations(range(1, 6)))
def test_epochs_are_read_in_order_whatever_order_they_came_in(
    tmp_path_factory: pytest.TempPathFactory, n: int, order: list[int]
) -> None:
    path = examples_path(tmp_path_factory.mktemp("run"), "train")
    right, losses = draw(n, 6)
    places = np.arange(n) * 3
    for epoch in order[:3]:
        write_examples(path, epoch, right[epoch], losses[epoch], places, {"dataset": "x"})
    found, rows = read_examples(path), sorted(order[:3])
    assert found.epochs.tolist() == rows and found.places.tolist() == places.tolist()
    np.testing.assert_array_equal(found.right, right[rows])
    np.testing.assert_array_equal(found.losses, losses[rows])
    np.testing.assert_array_equal(found.seen, ~np.isnan(losses[rows]))
    assert (found.set, found.split, found.facts) == ("train", "train", {"dataset": "x"})


def test_file_is_as_small_as_it_says(tmp_path: Path) -> None:
    path = examples_path(tmp_path, "val")
    right, losses = draw(50_000, 2)
    for epoch in (0, 1):
        write_examples(path, epoch + 1, right[epoch], losses[epoch], np.arange(50_000))
    records = path.stat().st_size - 4 * 50_000
    assert records * 150 < 32.1e6  # of 300 epochs


def test_torn_record_and_one_that_was_not_saved_are_left_out(tmp_path: Path) -> None:
    path = examples_path(tmp_path, "val")
    right, losses = draw(20, 3)
    for epoch in range(3):
        write_examples(path, epoch + 1, right[epoch], losses[epoch], np.arange(20))
    assert read_examples(path, last=2).epochs.tolist() == [1, 2]
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert read_examples(path).epochs.tolist() == [1, 2]
    damaged = bytearray(whole)
    damaged[-30] ^= 1
    path.write_bytes(bytes(damaged))
    assert read_examples(path).epochs.tolist() == [1, 2]
    write_examples(path, 3, right[2], losses[2], np.arange(20))
    assert path.read_bytes() == whole


def test_large_and_infinite_losses_are_finite_numbers(tmp_path: Path) -> None:
    path = examples_path(tmp_path, "val")
    write_examples(path, 1, np.array([True, False]), np.array([1e9, np.inf]), np.arange(2))
    assert read_examples(path).losses.tolist() == [[65504.0, 65504.0]]


def test_other_examples_are_refused(tmp_path: Path) -> None:
    path = examples_path(tmp_path, "val")
    right, losses = draw(4, 1)
    write_examples(path, 1, right[0], losses[0], np.arange(4))
    with pytest.raises(InputError, match="is of 4 other examples"):
        write_examples(path, 2, right[0], losses[0], np.arange(4) + 1)
    with pytest.raises(InputError, match=r"must be \(n,\)"):
        write_examples(path, 2, right[0], losses[0][:3], np.arange(4))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}\n",
        b'{"version": 1, "set": "val", "n": 3, "facts": {}}\n123',
        b'{"version": 1, "set": "../x", "n": 1, "facts": {}}\n0123',
        b'{"version": 1, "set": "val", "n": 1, "facts": {}}\n\xff\xff\xff\xff',
        b'{"version": 2, "set": "val", "n": 1, "facts": {}}\n0123',
        b"x" * 10_000,
    ],
)
def test_what_is_no_such_file_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "val.bin"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is no record of examples") as found:
        read_examples(path)
    assert "\n" not in str(found.value)


def test_missing_file_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--set examples=val"):
        read_examples(examples_path(tmp_path, "val"))
