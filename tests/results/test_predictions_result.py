"""The numbers that follow from saved predictions."""

from __future__ import annotations

import numpy as np

from ralr_viz.results.bundle import load_result, save_result
from ralr_viz.results.predictions import PredictionsResult


def make(**changes: object) -> PredictionsResult:
    values: dict = {
        "model": "mine",
        "indices": np.array([4, 7, 9]),
        "labels": np.array([0, 1, -1]),
        "logits": np.log(np.array([[0.2, 0.8], [0.25, 0.75], [0.5, 0.5]], dtype=np.float32)),
        "features": np.zeros((3, 4), np.float32),
        "feature_layer": "fc",
        "true_maps": np.zeros((3, 2, 2), np.float32),
        "predicted_maps": np.ones((3, 2, 2), np.float32),
        "map_layer": "layer3",
    }
    return PredictionsResult(**(values | changes))


def test_probabilities_losses_and_accuracy_follow_from_the_logits() -> None:
    found = make()
    np.testing.assert_allclose(found.probabilities, [[0.2, 0.8], [0.25, 0.75], [0.5, 0.5]], rtol=1e-6)
    np.testing.assert_allclose(found.true_probability, [0.2, 0.75, np.nan], rtol=1e-6)
    np.testing.assert_allclose(found.loss, [-np.log(0.2), -np.log(0.75), np.nan], rtol=1e-6)
    assert found.predicted[:2].tolist() == [1, 1]
    assert found.accuracy == 50
    assert np.isnan(make(labels=np.full(3, -1)).accuracy)
    assert found.has_maps


def test_predictions_are_saved_and_loaded(tmp_path) -> None:
    found = make()
    assert load_result(save_result(found, tmp_path / "p")) == found
