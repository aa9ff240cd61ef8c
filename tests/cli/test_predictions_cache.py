"""The cache of predictions: computed once, never trusted, never in the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ralr_viz.analysis import predictions as analysis
from ralr_viz.cli.inputs import select_split
from ralr_viz.cli.predictions import cached_predictions
from ralr_viz.comparison.samples import open_dataset
from ralr_viz.train.checkpoint import load_checkpoint
from ralr_viz.train.runtime import resolve_runtime


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RALR_VIZ_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def predict(baseline: Path, squares_root: Path, monkeypatch: pytest.MonkeyPatch):
    """``predict(limit=…)`` and the list of its real computations."""
    computed: list[int] = []
    real = analysis.compute_predictions

    def counted(model, images, *arguments, **options):
        computed.append(len(images))
        return real(model, images, *arguments, **options)

    monkeypatch.setattr(analysis, "compute_predictions", counted)

    def run(limit: int | None = None, name: str = "mine", ckpt: str | None = None, precision: str = "fp32"):
        checkpoint = load_checkpoint(ckpt or str(baseline))
        store = open_dataset([checkpoint], squares_root)
        part = select_split(checkpoint, store, "test", limit)
        return cached_predictions(checkpoint, part, resolve_runtime("cpu", precision), name=name)

    return run, computed


def test_predictions_are_computed_once(cache: Path, predict) -> None:
    run, computed = predict
    first, second = run(), run(name="other")
    assert computed == [24]
    assert (first.model, second.model) == ("mine", "other")
    np.testing.assert_array_equal(first.logits, second.logits)
    assert len(list((cache / "predictions").iterdir())) == 1


def test_other_images_weights_or_precision_are_other_predictions(
    cache: Path, predict, baseline: Path
) -> None:
    run, computed = predict
    run(), run(limit=7), run(ckpt=f"{baseline}@prev"), run(precision="bf16")
    assert computed == [24, 7, 24, 24]
    assert len(list((cache / "predictions").iterdir())) == 4


@pytest.mark.parametrize("file", ["arrays.npz", "manifest.json"])
def test_a_damaged_entry_is_computed_again(cache: Path, predict, file: str) -> None:
    run, computed = predict
    first = run()
    (entry,) = (cache / "predictions").iterdir()
    (entry / file).write_bytes((entry / file).read_bytes()[:40])
    again = run()
    assert computed == [24, 24]
    np.testing.assert_array_equal(first.logits, again.logits)
    run()
    assert computed == [24, 24]  # and it is whole again


def test_a_cache_that_cannot_be_written_is_a_note(cache: Path, predict, capsys) -> None:
    run, _ = predict
    cache.write_text("a file where the folder belongs")
    assert len(run().labels) == 24
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "predictions are not kept for later commands" in error
    assert cache.read_text() == "a file where the folder belongs"


def test_a_flipped_bit_in_an_entry_is_named_and_computed_again(cache: Path, predict, capsys) -> None:
    run, computed = predict
    first = run()
    (entry,) = (cache / "predictions").iterdir()
    data = bytearray((entry / "arrays.npz").read_bytes())
    data[len(data) // 2] ^= 4
    (entry / "arrays.npz").write_bytes(data)
    again = run()
    np.testing.assert_array_equal(first.logits, again.logits)
    assert computed == [24, 24]
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith(
        f"predictions are computed again: result `{entry}` is damaged"
    )
