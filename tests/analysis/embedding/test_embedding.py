"""Embeddings of saved predictions: what they hold, that they repeat, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.manifold import trustworthiness
from threadpoolctl import threadpool_info, threadpool_limits
from torch import nn

from ralr_viz.analysis.embedding import compute_embedding, layout
from ralr_viz.analysis.embedding.embedding import default_perplexity, map_recall
from ralr_viz.analysis.predictions import compute_predictions
from ralr_viz.analysis.separation import compute_separation
from ralr_viz.comparison import Comparison, compare
from ralr_viz.errors import InputError
from ralr_viz.results.bundle import load_result, save_result
from ralr_viz.results.embedding import METRICS
from ralr_viz.results.predictions import PredictionsResult

OPTIONS = {"perplexity": 10, "k": 5, "resamples": 50}


@pytest.fixture(autouse=True)
def few_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_ITERATIONS", (25, 25))


def make(name: str = "baseline", noise: float = 0.0, n: int = 120, **changes: object) -> PredictionsResult:
    scans, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(len(name))
    features = (scans[:n] + noise * rng.standard_normal((n, 64))).astype(np.float32)
    values: dict = {
        "model": name,
        "indices": np.arange(n) * 3,
        "labels": labels[:n].astype(np.int64),
        "logits": rng.standard_normal((n, 10)).astype(np.float32),
        "features": features,
        "feature_layer": "fc",
        "true_maps": np.zeros((n, 0, 0), np.float32),
        "predicted_maps": np.zeros((n, 0, 0), np.float32),
        "map_layer": "",
        "class_names": tuple("0123456789"),
        "dataset": "digits",
        "split": "test",
        "provenance": {"checkpoint": name},
    }
    return PredictionsResult(**(values | changes))


def test_compute_embedding_holds_the_numbers_of_the_features(tmp_path) -> None:
    runs = [make(), make("ralr", 2.0), make("other", 30.0, features=make(noise=1).features[:, :20])]
    found = compute_embedding(runs, **OPTIONS, seed=5)
    assert found.models == ("baseline", "ralr", "other")
    assert found.coordinates.shape == (3, 120, 2) and found.coordinates.dtype == np.float32
    np.testing.assert_array_equal(found.indices, runs[0].indices)
    np.testing.assert_array_equal(found.predicted[1], runs[1].predicted)
    features = [p.features.astype(float) for p in runs]
    recall = [map_recall(f, m, 5) for f, m in zip(features, found.coordinates, strict=True)]
    expected = compute_separation(features, found.labels, also=[np.array(recall)], k=5, resamples=50, seed=5)
    np.testing.assert_allclose(found.metrics, expected.metrics)
    np.testing.assert_allclose(found.differences, expected.differences, atol=1e-12)
    np.testing.assert_allclose(found.kept, expected.kept)
    np.testing.assert_allclose(found.metric("map_recall")[:, 0], np.mean(recall, axis=1))
    assert found.trustworthiness[1] == pytest.approx(
        trustworthiness(features[1], found.coordinates[1], n_neighbors=5)
    )
    assert found.displacement[0] == 0 and 0 < found.noise_floor < found.displacement[2]
    assert (found.align, found.perplexity, found.neighbours, found.k) == ("init", 10.0, None, 5)
    assert found.feature_widths == (64, 64, 20) and found.dataset == "digits"
    assert found.provenance["networks"][1] == {"name": "ralr", "checkpoint": "ralr"}
    assert found.provenance["packages"]["openTSNE"]
    assert load_result(save_result(found, tmp_path / "e")) == found


def small_networks() -> Comparison:
    torch.manual_seed(0)
    networks = {
        name: nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
        )
        for name in ("a", "b")
    }
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    return compare(
        networks, images=images, labels=np.arange(40) % 4, mean=(0.5,) * 3, std=(0.2,) * 3, device="cpu"
    )


def test_compute_embedding_of_a_comparison_is_that_of_its_predictions() -> None:
    compared = small_networks()
    found = compute_embedding(compared, **OPTIONS)
    assert found == compute_embedding(compute_predictions(compared), **OPTIONS)
    assert found.models == ("a", "b") and found.feature_widths == (8, 8)


def test_compute_embedding_refuses_options_before_the_forward_passes() -> None:
    compared = small_networks()
    with pytest.raises(InputError, match="`perplexity` = 20 must be"):
        compute_embedding(compared, perplexity=20)
    assert not compared.memory


def test_map_recall_is_one_where_the_map_is_the_features_and_chance_elsewhere() -> None:
    points = np.random.default_rng(0).standard_normal((400, 2))
    np.testing.assert_array_equal(map_recall(points, points, 8), 1)
    other = np.random.default_rng(1).standard_normal((400, 2))
    assert map_recall(points, other, 8).mean() == pytest.approx(8 / 399, abs=0.01)


def test_features_differ_by_rotation_and_length_only_and_so_do_no_numbers() -> None:
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((64, 64)))[0]
    first = make()
    second = make("turned", features=(2 * first.features @ turn).astype(np.float32))
    found = compute_embedding([first, second], **OPTIONS)
    np.testing.assert_allclose(found.differences[1, : METRICS.index("map_recall"), 0], 0, atol=1e-4)
    shares = [METRICS.index("knn_accuracy")]  # whose interval is not a point where no image changed
    rest = [q for q in range(METRICS.index("map_recall")) if q not in shares]
    np.testing.assert_allclose(found.differences[1, rest], 0, atol=1e-4)
    assert found.mean_kept[1, 0] > 0.99


def test_compute_embedding_is_the_same_to_the_bit_with_any_number_of_threads() -> None:
    runs = [make(), make("ralr", 2.0)]
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            assert torch.get_num_threads() == threads  # those that it takes
            found.append(compute_embedding(runs, **OPTIONS))
    assert found[0] == found[1]


def test_compute_embedding_runs_on_one_thread_and_restores_the_threads_also_when_it_fails() -> None:
    within: list[set[int]] = []

    def stop(done: int, total: int, what: str) -> None:
        within.append({pool["num_threads"] for pool in threadpool_info()})
        if what == "bootstrap":
            raise RuntimeError("stop")

    with threadpool_limits(2):
        before = [pool["num_threads"] for pool in threadpool_info()]
        with pytest.raises(RuntimeError, match="stop"):
            compute_embedding([make()], **OPTIONS, progress=stop)
        assert [pool["num_threads"] for pool in threadpool_info()] == before
    assert within and all(threads == {1} for threads in within)


def test_one_network_is_embedded_without_alignment() -> None:
    found = compute_embedding([make()], **OPTIONS)
    assert found.align == "none" and np.isnan(found.noise_floor)
    assert found.displacement.tolist() == [0]
    both = compute_embedding([make(), make("b", 1.0)], **OPTIONS, align="none")
    np.testing.assert_array_equal(found.coordinates[0], both.coordinates[0])
    assert np.isnan(both.noise_floor) and both.displacement[1] > 0


def test_notes_name_what_makes_numbers_doubtful() -> None:
    features = make().features.copy()
    features[4] = 0
    found = compute_embedding(
        [make(split="train", notes=("features are a mean",), features=features)], **(OPTIONS | {"k": 30})
    )
    assert found.notes[0] == "baseline: features are a mean"
    assert found.notes[1].startswith("training images: networks pull their classes together")
    assert "no more than the k = 30 nearest others: kNN accuracy is too low" in found.notes[2]
    assert found.notes[3] == "baseline: all features are zero on 1 images"
    assert compute_embedding([make()], **OPTIONS).notes == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"indices": np.arange(120)},
        {"labels": np.roll(make().labels, 1)},
        {"split": "val"},
        {"dataset": "other"},
        {"n": 119},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_other_images_are_refused_in_one_line(changes: dict) -> None:
    with pytest.raises(InputError) as error:
        compute_embedding([make(), make("ralr", **changes)], **OPTIONS)
    assert str(error.value).startswith(
        "`baseline` and `ralr` have predictions of other images or another order"
    )
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([], "`predictions` is empty"),
        ([make(labels=np.where(np.arange(120) == 7, -1, make().labels))], "images without label"),
        ([make(features=np.ones((120, 64), np.float32))], "do not vary in two dimensions"),
        ([make(features=make().features[:, 2:3])], "(1 an image) do not vary in two dimensions"),
        ([make(labels=np.zeros(120, np.int64))], "separation needs two classes"),
    ],
    ids=["none", "no label", "collapsed", "one feature", "one class"],
)
def test_what_cannot_be_embedded_is_refused(runs: list[PredictionsResult], message: str) -> None:
    begun: list[tuple] = []
    with pytest.raises(InputError) as error:
        compute_embedding(runs, **OPTIONS, progress=lambda *step: begun.append(step))
    assert message in str(error.value)
    assert not begun


def test_a_map_with_images_that_have_no_place_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def embed(self: layout.Engine, points: np.ndarray, *_: object) -> np.ndarray:
        return np.where(np.arange(len(points))[:, None] < 3, np.nan, points[:, :2])

    monkeypatch.setattr(layout.Engine, "embed", embed)
    with pytest.raises(InputError, match="3 of 120 images of `baseline` have no place in the map"):
        compute_embedding([make()], **OPTIONS)


@pytest.mark.parametrize(
    ("method", "align", "options", "message"),
    [
        ("tsn", "init", {}, "unknown embedding method `tsn`: did you mean `tsne`?"),
        ("tsne", "procrustes", {}, "unknown alignment `procrustes`"),
        ("tsne", "aligned-umap", {}, "alignment `aligned-umap` is of UMAP, not of `tsne`"),
        (
            "tsne",
            "init",
            {"perplexity": 40},
            "`perplexity` = 40 must be from 1 to a third of the other images, 33",
        ),
        ("tsne", "init", {"perplexity": 0.5}, "`perplexity` = 0.5 must be from 1"),
        ("tsne", "init", {"perplexity": float("nan")}, "`perplexity` = nan"),
        ("umap", "init", {"neighbours": 100}, "`neighbours` = 100 must be from 2 to 99"),
        ("umap", "init", {"neighbours": 1}, "`neighbours` = 1 must be"),
        ("tsne", "init", {"k": 0}, "`k` = 0 must be 1 or more"),
        ("tsne", "init", {"resamples": 0}, "`resamples` = 0 must be 1 or more"),
    ],
)
def test_compute_embedding_refuses_options(method: str, align: str, options: dict, message: str) -> None:
    with pytest.raises(InputError) as error:
        compute_embedding([make(n=100)], method=method, align=align, **options)
    assert message in str(error.value)


@pytest.mark.parametrize(("n", "expected"), [(10_000, 30), (91, 30), (25, 8), (4, 1)])
def test_default_perplexity_is_30_or_what_few_images_allow(n: int, expected: float) -> None:
    assert default_perplexity(n) == expected
