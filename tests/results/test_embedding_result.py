"""What an embedding's result keeps, refuses and derives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ralr_viz.results.bundle import save_result
from ralr_viz.results.embedding import METRICS, EmbeddingResult, interval_text


def make(m: int = 2, n: int = 6, **changes: object) -> EmbeddingResult:
    rng = np.random.default_rng(0)
    values: dict = {
        "models": ("baseline", "RALR", "scaled")[:m],
        "indices": np.arange(n),
        "labels": np.arange(n) % 3,
        "predicted": rng.integers(0, 3, (m, n)),
        "coordinates": rng.random((m, n, 2), np.float32),
        "silhouette": rng.random((m, n), np.float32),
        "knn_label": rng.integers(0, 3, (m, n)),
        "kept": rng.random((m, n), np.float32),
        "recall": rng.random((m, n), np.float32),
        "metrics": rng.random((m, len(METRICS), 3)),
        "differences": rng.random((m, len(METRICS), 3)),
        "mean_kept": rng.random((m, 3)),
        "trustworthiness": rng.random(m),
        "displacement": rng.random(m),
        "noise_floor": np.nan,
        "method": "tsne",
        "align": "none",
        "perplexity": 30.0,
        "neighbours": None,
        "k": 2,
        "seed": 0,
        "resamples": 100,
        "trust_images": n,
        "feature_widths": (64,) * m,
        "class_names": ("cat", "dog"),
    }
    return EmbeddingResult(**(values | changes))


def test_embedding_result_of_two_networks_on_10000_images_is_below_3_megabytes(tmp_path: Path) -> None:
    folder = save_result(make(n=10_000), tmp_path / "e")
    assert sum(file.stat().st_size for file in folder.iterdir()) < 3e6


def test_embedding_result_names_classes_and_metrics() -> None:
    found = make()
    assert found.classes.tolist() == [0, 1, 2]
    assert [found.class_name(c) for c in (0, 1, 2, -1)] == ["cat", "dog", "2", "-1"]
    np.testing.assert_array_equal(found.metric("silhouette"), found.metrics[:, 3])
    np.testing.assert_array_equal(found.difference("map_recall"), found.differences[:, 5])


def test_chance_kept_is_the_overlap_of_random_sets() -> None:
    n, k, rng = 200, 20, np.random.default_rng(1)
    found = make(n=n, k=k)
    sets = [(set(rng.choice(n - 1, k, False)), set(rng.choice(n - 1, k, False))) for _ in range(4000)]
    overlap = np.mean([len(a & b) / len(a | b) for a, b in sets])
    assert found.chance_kept == pytest.approx(overlap, rel=0.05)


def test_interval_text_has_digits_for_its_quantity() -> None:
    numbers = np.array([-0.0042, -0.0061, 0.0024])
    assert interval_text("compactness", numbers) == "−0.004 [−0.006, 0.002]"
    assert interval_text("compactness", numbers, signed=True) == "−0.004 [−0.006, +0.002]"
    assert interval_text("knn_accuracy", np.array([86.75, 85.3, 88.1])) == "86.8 [85.3, 88.1]"
    assert interval_text("compactness", np.array([0.232, 0.233, 0.242])) == "0.232"
    assert interval_text("compactness", np.array([0.232, np.nan, np.nan])) == "0.232"
    assert interval_text("scatter_ratio", np.array([np.inf, np.nan, np.nan])) == "not defined"
