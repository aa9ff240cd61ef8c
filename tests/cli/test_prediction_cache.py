"""The cache of predictions: computed once, never trusted, never in the way."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from ralr_viz.analysis import predictions as analysis
from ralr_viz.comparison import compare


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RALR_VIZ_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def predict(baseline: Path, squares_root: Path, monkeypatch: pytest.MonkeyPatch):
    """``predict(limit=…)`` and the list of its real computations."""
    computed: list[int] = []
    real = analysis._predict

    def counted(comparison, network, progress):
        computed.append(len(comparison.samples))
        return real(comparison, network, progress)

    monkeypatch.setattr(analysis, "_predict", counted)

    def run(limit: int | None = None, name: str = "mine", ckpt: str | None = None, precision: str = "fp32"):
        compared = compare(
            {name: ckpt or str(baseline)}, root=squares_root, limit=limit, precision=precision, device="cpu"
        )
        return analysis.compute_predictions(compared)[0]

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
    with pytest.warns(UserWarning, match="^predictions are computed again"):
        again = run()
    assert computed == [24, 24]
    np.testing.assert_array_equal(first.logits, again.logits)
    run()
    assert computed == [24, 24]  # and it is whole again


def test_a_cache_that_cannot_be_written_is_a_warning(cache: Path, predict) -> None:
    run, _ = predict
    cache.write_text("a file where the folder belongs")
    with pytest.warns(UserWarning, match="^predictions are not kept for later commands"):
        assert len(run().labels) == 24
    assert cache.read_text() == "a file where the folder belongs"


def test_a_flipped_bit_in_an_entry_is_named_and_computed_again(cache: Path, predict) -> None:
    run, computed = predict
    first = run()
    (entry,) = (cache / "predictions").iterdir()
    data = bytearray((entry / "arrays.npz").read_bytes())
    data[len(data) // 2] ^= 4
    (entry / "arrays.npz").write_bytes(data)
    named = re.escape(f"predictions are computed again: result `{entry}` is damaged")
    with pytest.warns(UserWarning, match=named):
        again = run()
    np.testing.assert_array_equal(first.logits, again.logits)
    assert computed == [24, 24]
