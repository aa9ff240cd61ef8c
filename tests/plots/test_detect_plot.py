"""Detections drawn: artists and text, not pixels."""

from __future__ import annotations

import dataclasses

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex

from ralr_viz.errors import InputError
from ralr_viz.plots.detect import FALSE, MISSED, TRUE, TRUTH, detect_table, draw_detect
from ralr_viz.plots.style import style
from ralr_viz.results.bundle import load_result, save_result
from ralr_viz.results.detect import DetectResult

SHAPES = ((30, 40), (40, 30), (36, 36))
BOXES = np.array([(0.1, 0.1, 0.4, 0.5), (0.5, 0.5, 0.9, 0.9)])


def make(
    models: tuple[str, ...] = ("baseline", "RALR"), *, maps: bool = True, **changes: object
) -> DetectResult:
    """Two objects an image, the last one difficult; the first network finds the first and is wrong once, the second
    finds both. The map of the first image is all inside its box.
    """
    rng, n, m = np.random.default_rng(0), len(SHAPES), len(models)
    found = [(0, image, 0, BOXES[0], 0.9 - 0.1 * image, True, 2 * image) for image in range(n)] + [
        (0, 0, 1, (0.6, 0.0, 1.1, 0.3), 0.4, False, -1)
    ]
    for model in range(1, m):
        found += [
            (model, image, k, BOXES[k], 0.8 - 0.1 * k, True, 2 * image + k) for image in range(n) for k in (0, 1)
            if (image, k) != (n - 1, 1)
        ]  # fmt: skip
    model, image, label, box, score, true, of = (np.array(column) for column in zip(*found, strict=True))
    values: dict = {
        "pixels": rng.integers(0, 256, 3 * sum(h * w for h, w in SHAPES), dtype=np.uint8),
        "shapes": np.array(SHAPES),
        "indices": np.array([4, 7, 9]),
        "models": models,
        "class_names": ("$a_1$, alias", "dog"),
        "thresholds": (0.35,) * m,
        "f1": (0.5,) * m,
        "judged": "val",
        "truth_image": np.repeat(np.arange(n), 2),
        "truth_label": np.tile([0, 1], n),
        "truth_box": np.tile(BOXES, (n, 1)),
        "truth_difficult": np.array([False] * (2 * n - 1) + [True]),
        "found_model": model, "found_image": image, "found_label": label, "found_box": box.astype(float),
        "found_score": score, "found_true": true, "found_object": of,
        "selection": "3 of 10 blobs test images, random, seed 0", "dataset": "blobs", "split": "test", "size": 20, "total": 10,
        "changes": np.array([(0, 0), *[(7, 2)] * (m - 1)]),
    }  # fmt: skip
    result = DetectResult(**(values | changes))
    if not maps:
        return result
    made = np.zeros((m, n, 10, 10), np.float32)
    made[:, 0, 2:4, 2:3] = 1
    return dataclasses.replace(
        result,
        mapped=result.choose_mapped(),
        layers=("stages.0",) * m,
        map_sizes=((10, 10),) * m,
        maps=made.ravel(),
    )


def pens(axes) -> list[tuple[str, object]]:
    return [(to_hex(patch.get_edgecolor()).upper(), patch.get_linestyle()) for patch in axes.patches]


def test_detect_tells_true_false_and_missed_apart_by_line_and_colour():
    kinds = (TRUE, FALSE, MISSED)
    assert len({pen.color for pen in kinds}) == len({str(pen.dashes) for pen in kinds}) == 3
    result = make(maps=False)
    with style():
        figure = draw_detect(result)
    truth, first, second = figure.axes[0], figure.axes[3], figure.axes[6]
    assert [color for color, _ in pens(truth)] == [TRUTH.color] * 2
    assert sorted(color for color, _ in pens(first)) == sorted([MISSED.color, TRUE.color, FALSE.color])
    assert len({str(line) for _, line in pens(first)}) == 3
    assert [color for color, _ in pens(second)] == [TRUE.color] * 2
    texts = [text.get_text() for text in first.texts]
    assert "1 found, 1 missed, 1 false" in texts
    # of the last image the second object is difficult: that it is not found is no miss
    assert "1 found, 0 missed, 0 false" in [text.get_text() for text in figure.axes[5].texts]


def test_detect_draws_rows_of_maps_with_what_is_in_their_box():
    with style():
        figure = draw_detect(make())
    assert len(figure.axes) == 3 * 5
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    # bilinear interpolation spreads a map by half a position
    assert any("0.90: 100 % in box" in text for text in texts)
    assert any(text == "map" for text in texts)


def test_detect_keeps_the_shape_of_each_image_and_boxes_on_it():
    with style():
        figure = draw_detect(make(maps=False))
        figure.draw_without_rendering()
    for axes, (height, width) in zip(figure.axes[:3], SHAPES, strict=True):
        box = axes.get_window_extent()
        assert box.height / box.width == pytest.approx(height / width, rel=0.02)
        assert axes.get_xlim() == (0, 1) and axes.get_ylim() == (1, 0)


def test_detect_writes_no_classes_where_none_could_be_read():
    many = 12
    result = make(maps=False)
    crowded = dataclasses.replace(
        result,
        truth_image=np.zeros(many, int), truth_label=np.zeros(many, int), truth_box=np.tile(BOXES[:1], (many, 1)),
        truth_difficult=np.zeros(many, bool), found_object=np.where(result.found_true, 0, -1),
    )  # fmt: skip
    with style():
        figure = draw_detect(crowded)
    assert "dog" not in [text.get_text() for text in figure.axes[0].texts]
    assert "12 objects" in [text.get_text() for text in figure.axes[0].texts]


def test_detect_continues_images_in_further_blocks_within_the_page():
    with style("cvpr", column="half"):
        figure = draw_detect(make(maps=False))
        assert figure.get_figwidth() <= mpl.rcParams["figure.figsize"][0]
    tops = {round(axes.get_position().y1, 3) for axes in figure.axes}
    assert len(tops) > 3


def test_detect_refuses_more_pictures_than_a_figure_holds(monkeypatch):
    monkeypatch.setattr("ralr_viz.plots.detect._MOST_PICTURES", 8)
    with pytest.raises(InputError, match="3 images in 3 rows are 9 pictures"), style():
        draw_detect(make(maps=False))


def test_detect_table_has_all_objects_detections_misses_and_maps():
    rows = detect_table(make())
    count = {what: sum(row["what"] == what for row in rows) for what in {row["what"] for row in rows}}
    assert count == {"object": 6, "true": 3 + 5, "false": 1, "missed": 2, "map": 6}
    assert len({tuple(row) for row in rows}) == 1
    (wrong,) = [row for row in rows if row["what"] == "false"]
    assert wrong["class"] == "dog" and wrong["image"] == 4 and wrong["object"] is None and wrong["x1"] == 1.1


def test_detect_result_is_saved_and_loaded(tmp_path):
    for maps in (True, False):
        save_result(make(maps=maps), tmp_path / str(maps))
        assert load_result(tmp_path / str(maps)) == make(maps=maps)


def test_detect_result_counts_and_maps_what_all_networks_find():
    result = make()
    assert [len(result.missed(model)) for model in (0, 1)] == [2, 0]
    # the first object of each image, which both find; in the second network it is not its surest detection alone
    assert result.mapped is not None
    assert result.found_object[result.mapped].tolist() == [[0, 2, 4], [0, 2, 4]]
    lone = dataclasses.replace(
        result,
        found_true=result.found_model == 1,
        found_object=np.where(result.found_model == 1, result.found_object, -1),
    )
    assert lone.found_score[lone.choose_mapped()[0]].tolist() == pytest.approx([0.9, 0.8, 0.7])
    empty = dataclasses.replace(
        make(maps=False), **{f"found_{name}": getattr(result, f"found_{name}")[:0] for name in
                  ("model", "image", "label", "box", "score", "true", "object")},
    )  # fmt: skip
    assert (empty.choose_mapped() == -1).all()
    assert "baseline: 0 of 5 objects found, 0 false detections" in empty.describe()[0]
    assert (
        "RALR: finds 7 objects that baseline misses, and misses 2 that it finds, in all 10 images"
        in empty.describe()
    )


def test_detect_result_refuses_pixels_and_maps_of_another_size():
    with pytest.raises(ValueError, match="`pixels` has 3 bytes"):
        make(maps=False, pixels=np.zeros(3, np.uint8))
    with pytest.raises(ValueError, match="`maps` has 7 positions"):
        dataclasses.replace(make(), maps=np.zeros(7, np.float32))
