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
    "half": (make(2), {"column": "half"}),
    "three, half": (make(3), {"column": "half"}),
    "neurips": (make(3), {"name": "neurips"}),
    "neurips half": (make(2), {"name": "neurips", "column": "half"}),
    "20 long names": (make(2, 20, class_names=LONG * 4), {}),
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
def test_draw_embedding_overlaps_no_text_and_stays_on_the_page(
    result: EmbeddingResult, options: dict[str, str]
) -> None:
    figure = draw(result, **options)
    with style(**options):
        assert figure.get_figwidth() <= mpl.rcParams["figure.figsize"][0] + 1e-9
    shown, page = texts(figure), figure.bbox
    assert min(t.get_size() for t in shown) >= 6.5
    boxes = [t.get_window_extent() for t in shown]
    for text, box in zip(shown, boxes, strict=True):
        assert page.x0 <= box.x0 and box.x1 <= page.x1 + 0.5, text
        assert page.y0 <= box.y0 and box.y1 <= page.y1 + 0.5, text
        for axes in figure.axes:
            assert not box.padded(-1).overlaps(axes.get_window_extent().padded(-1)), (text, axes)
    for (a, box_a), (b, box_b) in itertools.combinations(zip(shown, boxes, strict=True), 2):
        assert not box_a.padded(-0.8).overlaps(box_b.padded(-0.8)), (a, b)
    for legend in figure.legends:
        box = legend.get_window_extent()
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1 + 0.5
        assert not any(box.overlaps(axes.get_window_extent()) for axes in figure.axes)
    for a, b in itertools.combinations(figure.axes, 2):
        assert not a.get_window_extent().overlaps(b.get_window_extent())


@pytest.mark.parametrize("flat", [1.0, 0.2])
def test_draw_embedding_gives_all_panels_the_same_scale_and_order(flat: float) -> None:
    result = make(3, flat=flat)
    figure = draw(result)
    assert len({(*axes.get_xlim(), *axes.get_ylim()) for axes in figure.axes}) == 1
    orders = []
    for i, axes in enumerate(figure.axes):
        box = axes.get_window_extent()
        unit = box.width / np.ptp(axes.get_xlim()), box.height / np.ptp(axes.get_ylim())
        assert unit[0] == pytest.approx(unit[1])  # a circle is a circle
        drawn, rows = points(axes).get_offsets().data, result.coordinates[i]
        order = [int(np.flatnonzero((rows == place).all(axis=1))[0]) for place in drawn.astype(np.float32)]
        assert sorted(order) == list(range(400))
        orders.append(order)
        low, high = np.array([axes.get_xlim(), axes.get_ylim()]).T
        assert (rows > low).all() and (rows < high).all()
        assert not len(axes.get_xticks()) and not len(axes.get_yticks())
        assert points(axes).get_rasterized()
    assert orders[0] == orders[1] == orders[2]
    # classes are mixed: the first half of the order holds about half of each class
    first = np.bincount(result.labels[orders[0][:200]], minlength=10) / np.bincount(result.labels)
    assert (first > 0.2).all() and (first < 0.8).all()


@pytest.mark.parametrize("classes", [2, 10, 11, 20])
def test_draw_embedding_tells_classes_apart_by_colour_and_mark(classes: int) -> None:
    result = make(classes=classes)
    figure = draw(result)
    (legend,) = figure.legends
    lines = legend.get_lines()
    names = [t.get_text() for t in legend.get_texts()]
    assert sorted(names) == sorted(result.class_names)
    looks = {name: (line.get_color(), line.get_marker()) for name, line in zip(names, lines, strict=True)}
    assert len({color for color, _ in looks.values()}) == classes
    assert len({marker for _, marker in looks.values()}) == min(classes, 9 if classes == 11 else 10)
    assert looks["class 0"][1] != looks[f"class {classes - 1}"][1]
    order = np.random.default_rng(0).permutation(400)
    drawn = points(figure.axes[0])
    for i in range(20):
        color, marker = looks[f"class {result.labels[order[i]]}"]
        np.testing.assert_allclose(drawn.get_facecolors()[i, :3], color)
        style_ = mpl.markers.MarkerStyle(marker)
        expected = style_.get_path().transformed(style_.get_transform())
        np.testing.assert_array_equal(drawn.get_paths()[i].vertices, expected.vertices)


def test_draw_embedding_of_many_classes_says_what_the_hue_means() -> None:
    figure = draw(make(classes=21))
    assert not figure.legends
    assert "21 classes, hue in the order of the labels from class 0 to class 20." in note(figure)
    assert len(np.unique(points(figure.axes[0]).get_facecolors(), axis=0)) == 21


def test_draw_embedding_writes_names_numbers_and_stars_below_each_panel() -> None:
    figure = draw(make(2))
    panels = [[t.get_text() for t in axes.texts] for axes in figure.axes]
    assert "(a) baseline" in panels[0] and "(b) RALR" in panels[1]
    titles = [t for axes in figure.axes for t in axes.texts if t.get_text().startswith("(")]
    assert all(t.get_weight() == "bold" for t in titles)
    for panel in panels:
        assert {"compactness ↑", "scatter ratio ↓", "kNN accuracy (%) ↑", "map recall@20"} <= set(panel)
        assert "0.834 [0.830, 0.838]" in panel and "85.2 [83.7, 86.6]" in panel
    assert "0.346 [−0.330, 0.357]" in panels[0]
    assert "0.346* [−0.330, 0.357]" in panels[1]  # its difference's interval excludes 0
    assert "neighbours kept" in panels[0] and "0.300 [0.300, 0.300]" not in panels[0]
    assert "0.300 [0.300, 0.300]" in panels[1]
    assert "neighbours kept" not in [t.get_text() for t in draw(make(1)).axes[0].texts]


def test_draw_embedding_notes_engine_images_alignment_and_what_intervals_cover() -> None:
    said = note(draw(make(2)))
    assert (
        "t-SNE of the penultimate features (openTSNE, perplexity 30), 400 cifar10 test images, seed 0."
        in said
    )
    assert "(b) starts from (a)'s map, which favours (a)'s arrangement: median displacement (b) 0.15" in said
    assert "0.04 for (a) made again" in said
    assert "not of the map; k = 20; 95 % intervals over the images, not over training seeds" in said
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
