"""The saved result of neural collapse: shapes, measures and the way to disk and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ralr_viz.results.bundle import load_result, save_result
from ralr_viz.results.collapse import METRICS, SPLITS, CollapseResult


def make(m: int = 2, resamples: int = 50, **changes: object) -> CollapseResult:
    rng = np.random.default_rng(0)
    values = rng.random((m, len(SPLITS), len(METRICS)))
    arguments: dict = {
        "models": ("baseline", "RALR", "scaled")[:m],
        "values": values,
        "draws": values[..., None] + 0.01 * rng.standard_normal((*values.shape, resamples)),
        "draw_ratio": np.ones_like(values),
        "images": (100, 200),
        "subset": (100, 150),
        "classes": np.arange(10),
        "feature_widths": (64,) * m,
        "k": 20,
        "seed": 0,
        "dataset": "cifar10",
    }
    return CollapseResult(**(arguments | changes))


def test_collapse_result_comes_back_from_disk(tmp_path):
    result = make()
    assert load_result(save_result(result, tmp_path / "collapse")) == result


def test_collapse_measures_are_all_numbers_headline_first():
    result = make()
    measures = result.measures()
    assert measures[0].name == "nc1_test" and measures[0].resampled == "images"
    assert len({m.name for m in measures}) == len(measures) == len(SPLITS) * len(METRICS)
    by_name = {m.name: m for m in measures}
    assert by_name["nc4_train"].unit == by_name["knn_accuracy_test"].unit == "%"
    np.testing.assert_array_equal(by_name["nc3_train"].values, result.values[:, 1, 3])
    np.testing.assert_array_equal(by_name["nc3_train"].draws, result.draws[:, 1, 3])


def test_collapse_says_what_a_difference_is_at_unequal_training_loss():
    result = make()
    assert np.isnan(result.loss_ratio) and not any("Training losses" in line for line in result.describe())
    alike = replace(result, train_loss=np.array([0.5, 0.54]))
    assert alike.measures()[-1].name == "collapse_train_loss"
    assert not any("differ by more than a tenth" in line for line in alike.describe())
    unequal = replace(result, train_loss=np.array([0.5, 0.9]))
    assert unequal.loss_ratio == pytest.approx(1.8)
    (line,) = (line for line in unequal.describe() if "differ by more than a tenth" in line)
    assert line.startswith("Training losses (baseline 0.5, RALR 0.9 nats)")
