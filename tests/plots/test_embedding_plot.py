"""Embeddings drawn: artists, text and places, not pixels."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from ralr_viz.plots.embedding import draw_embedding, embedding_table
from ralr_viz.plots.letters import LiteralFigure
from ralr_viz.plots.style import save_figure, style
from ralr_viz.results.embedding import METRICS, EmbeddingResult

LONG = (
    "American_Staffordshire_terrier, Staffordshire",
    "potter's wheel",
    "x",
    "Donaudampfschifffahrt",
    "$a$",
)
VALUES = [
    (0.834, 0.83, 0.838),
    (0.5, 0.49, 0.51),
    (0.7, 0.65, 0.72),
    (0.346, -0.33, 0.357),
    (85.15, 83.7, 86.6),
]


def make(
    m: int = 2, classes: int = 10, n: int = 400, flat: float = 1.0, **changes: object
) -> EmbeddingResult:
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    middle = 20 * rng.standard_normal((classes, 2))[labels]
    differences = np.zeros((m, len(METRICS), 3))
    differences[1:, METRICS.index("silhouette")] = (0.01, 0.005, 0.015)
    values: dict = {
        "models": ("baseline", "RALR", "scaled", "fourth", "fifth")[:m],
        "indices": np.arange(n) * 2,
        "labels": labels,
        "predicted": rng.integers(0, classes, (m, n)),
        "coordinates": ((middle + rng.standard_normal((m, n, 2))) * [1, flat]).astype(np.float32),
        "silhouette": rng.random((m, n), np.float32),
        "knn_label": rng.integers(0, classes, (m, n)),
        "kept": rng.random((m, n), np.float32),
        "recall": rng.random((m, n), np.float32),
        "metrics": np.array([[*VALUES, (0.46, 0.45, 0.47)]] * m),
        "differences": differences,
        "mean_kept": np.full((m, 3), 0.3),
        "trustworthiness": np.full(m, 0.98),
        "displacement": np.array([0, 0.15, 0.2, 0.3, 0.1])[:m],
        "noise_floor": 0.04,
        "method": "tsne",
        "align": "init" if m > 1 else "none",
        "perplexity": 30.0,
        "neighbours": None,
        "k": 20,
        "seed": 0,
        "resamples": 2000,
        "trust_images": n,
        "feature_widths": (64,) * m,
        "class_names": tuple(f"class {i}" for i in range(classes)),
        "dataset": "cifar10",
        "split": "test",
    }
    return EmbeddingResult(**(values | changes))


def draw(result: EmbeddingResult, name: str = "icml", **options: str) -> Figure:
    with style(name, **options), warnings.catch_warnings():
        warnings.simplefilter("error")  # a missing glyph is a warning
        figure = draw_embedding(result)
        FigureCanvasAgg(figure).draw()
    return figure


def texts(figure: Figure) -> list[Text]:
    return [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]


def note(figure: Figure) -> str:
    assert isinstance(figure, LiteralFigure)
    return figure.caption


def points(axes: Axes) -> PathCollection:
    return next(c for c in axes.collections if c.get_gid() == "points")


CASES = {
    "two": (make(), {}),
    "one": (make(1), {}),
    "three": (make(3), {}),
    "four": (make(4), {}),
    "five, flat": (make(5, flat=0.2), {}),
    "three, half": (make(3), {"column": "half"}),
    "neurips half": (make(2), {"name": "neurips", "column": "half"}),
    "20 long names, half": (make(3, 20, class_names=LONG * 4), {"name": "ieee", "column": "half"}),
    "100 classes": (make(2, 100, class_names=LONG * 20), {}),
    "long models": (
        make(models=("vgg_without_any_pooling-and-a-very-long-name, seed 0, epoch 300", "$, seed 0$")),
        {},
    ),
    "independent": (make(3, align="none", noise_floor=float("nan")), {}),
    "together": (make(method="umap", align="aligned-umap", perplexity=None, neighbours=15), {}),
    "nameless": (make(class_names=(), dataset=None, split=None), {}),
    "infinite": (
        make(metrics=np.full((2, 6, 3), np.inf), differences=np.full((2, 6, 3), np.nan)),
        {"column": "half"},
    ),
}


@pytest.mark.parametrize(("result", "options"), CASES.values(), ids=CASES)
def test_draw_embedding_keeps_to_the_page(
    result: EmbeddingResult, options: dict[str, str], check_layout
) -> None:
    figure = check_layout(draw_embedding, result, **options)
    assert len(figure.axes) == len(result.models) + 3 and not figure.legends


def test_draw_embedding_fills_each_frame_without_stretching() -> None:
    result = make(3, flat=0.7)
    result = replace(result, coordinates=result.coordinates * np.array([1, 2, 5], np.float32)[:, None, None])
    figure = draw(result)
    orders = []
    for rows, axes in zip(result.coordinates, figure.axes, strict=False):
        box = axes.get_window_extent()
        limits = np.array([axes.get_xlim(), axes.get_ylim()])
        unit = np.array([box.width, box.height]) / np.ptp(limits, axis=1)
        assert unit[0] == pytest.approx(unit[1])  # a circle is a circle
        drawn = points(axes).get_offsets().data
        order = [int(np.flatnonzero((rows == place).all(axis=1))[0]) for place in drawn.astype(np.float32)]
        assert sorted(order) == list(range(400))
        orders.append(order)
        assert (np.ptp(rows, axis=0) / np.ptp(limits, axis=1)).max() > 0.9
        assert points(axes).get_rasterized()
    assert orders[0] == orders[1] == orders[2]


def test_draw_embedding_names_the_clusters(find) -> None:
    result = make(2, 6)
    figure = draw(result)
    for rows, axes in zip(result.coordinates, figure.axes, strict=False):
        names = {int(t.get_gid()[6:]): t for t in find(axes, "class:*", Text)}
        assert [names[label].get_text() for label in sorted(names)] == list(result.class_names)
        for label, text in names.items():
            away = np.abs(np.array(text.get_position()) - np.median(rows[result.labels == label], axis=0))
            assert (away < 0.35 * np.ptp(rows, axis=0)).all()


def test_draw_embedding_of_many_classes_names_the_tightest_and_greys_the_rest(find) -> None:
    result = make(2, 21)
    tight = np.where(result.labels % 2 == 1, 0.5, 0.1)  # the ten odd classes
    result = replace(result, silhouette=np.stack([tight, tight]))
    figure = draw(result)
    colors = np.unique(points(figure.axes[0]).get_facecolors(), axis=0)
    assert len(colors) == 11
    named = {int(t.get_gid()[6:]) for t in find(figure, "class:*", Text)}
    assert named and all(label % 2 for label in named)
    assert "the 10 tightest of 21 classes" in note(figure)


def test_draw_embedding_draws_three_numbers_with_their_intervals(find) -> None:
    result = make(2)
    figure = draw(result)
    for name in ("compactness", "separability", "silhouette"):
        for i, model in enumerate(result.models):
            (dot,) = find(figure, f"value:{name}:{model}")
            assert dot.get_xdata() == [result.metric(name)[i, 0]]
            difference = result.difference(name)[i]
            assert (dot.get_markerfacecolor() != "white") == (not i or difference[1] > 0 or difference[2] < 0)
    assert "kNN accuracy (%) 85.2 [83.7, 86.6]" in note(figure)


def test_draw_embedding_notes_engine_images_alignment_and_what_intervals_cover() -> None:
    said = note(draw(make(2)))
    assert (
        "t-SNE of the penultimate features (openTSNE, perplexity 30), 400 cifar10 test images, seed 0."
        in said
    )
    assert "(b) starts from (a)'s map, which favours (a)'s arrangement: median displacement (b) 0.15" in said
    assert "0.04 for (a) made again" in said
    assert "not of the map; 95 % intervals over the images, not over training seeds" in said
    assert "(b)–(c) start from (a)'s map" in note(draw(make(3)))
    assert "Maps are independent: places and distances in them cannot be compared" in note(
        draw(CASES["independent"][0])
    )
    said = note(draw(CASES["together"][0]))
    assert "UMAP of the penultimate features (AlignedUMAP, 15 neighbours)" in said
    assert "Maps are laid out together" in said
    assert "(a)'s" not in note(draw(make(1)))


def test_draw_embedding_touches_no_global_state_and_not_the_result() -> None:
    result = make(2)
    with style("icml"):
        before = dict(mpl.rcParams)
        draw_embedding(result)
        assert dict(mpl.rcParams) == before
    assert result == make(2)


def test_draw_embedding_is_saved_the_same_twice(tmp_path: Path) -> None:
    result = make(2)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        with style("icml"):
            stem = tmp_path / name / "embedding"
            paths = save_figure(draw_embedding(result), stem, embedding_table(result), result.provenance)
    for path in paths:
        assert path.read_bytes() == (tmp_path / "a" / path.name).read_bytes()


def test_embedding_table_has_a_row_for_each_network_and_image() -> None:
    result = replace(make(2, 5, 30), class_names=("cat", "dog"))
    rows = embedding_table(result)
    assert [(row["model"], row["image"]) for row in rows] == list(
        itertools.product(result.models, result.indices)
    )
    for k, row in enumerate(rows):
        i, j = divmod(k, 30)
        assert (row["x"], row["y"]) == tuple(result.coordinates[i, j].tolist())
        assert row["label"] == result.class_name(result.labels[j])
        assert row["predicted"] == result.class_name(result.predicted[i, j])
        assert row["correct"] == (result.predicted[i, j] == result.labels[j])
        assert row["knn_label"] == result.class_name(result.knn_label[i, j])
        assert row["silhouette"] == result.silhouette[i, j]
        assert row["map_recall"] == result.recall[i, j] and row["neighbours_kept"] == result.kept[i, j]
