"""Class activation maps drawn: artists, text and places, not pixels."""

from __future__ import annotations

import itertools
import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from ralr_viz.errors import InputError
from ralr_viz.plots.cam import HEAT, cam_table, draw_cam
from ralr_viz.plots.cam_layout import check_pictures
from ralr_viz.plots.style import save_figure, style
from ralr_viz.results.cam import CamResult

NAMES = (
    "Labrador retriever, dog",
    "potter's wheel",
    "American_Staffordshire_terrier",
    "x",
    "Donaudampfschifffahrt",
)


OUTCOME = (
    "8 of 10,000 tiny-imagenet-50 test images where RALR's probability of the true class falls short of "
    "baseline's the most: chosen by outcome, not typical"
)


def make_result(n: int = 8, models: int = 2, size: tuple[int, int] = (16, 16), seed: int = 0) -> CamResult:
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 6, (n, 2))
    labels = rng.integers(0, 5, n)
    return CamResult(
        images=rng.integers(0, 256, (n, *size, 3), dtype=np.uint8),
        indices=rng.integers(0, 10_000, n),
        labels=labels,
        boxes=np.hstack([corner, corner + rng.integers(2, 9, (n, 2))]).astype(np.int16),
        class_names=NAMES,
        models=tuple(f"{m}, seed 0, epoch 20" for m in ("baseline", "ralr", "scaled", "other")[:models]),
        methods=("cam",) * models,
        layers=("layer3",) * models,
        map_sizes=((8, 8),) * models,
        maps=rng.standard_normal(models * n * 64).astype(np.float32),
        targets=np.broadcast_to(labels, (models, n)),
        target_probabilities=rng.random((models, n), np.float32),
        predictions=rng.integers(0, 5, (models, n)),
        prediction_probabilities=rng.random((models, n), np.float32),
        selection=f"{n} of 10,000 tiny-imagenet-50 test images, random, seed 0",
        dataset="tiny-imagenet-50",
        split="test",
        provenance={"seed": 0},
    )


def draw(result: CamResult, name: str = "icml", **options: str) -> Figure:
    with style(name, **options), warnings.catch_warnings():
        warnings.simplefilter("error")  # a missing glyph is a warning
        figure = draw_cam(result)
        FigureCanvasAgg(figure).draw()
    return figure


def picture_axes(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.images[0].get_array().shape[0] > 1]


def bar_axes(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.images[0].get_array().shape[0] == 1]


def texts(figure: Figure) -> list[Text]:
    return [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]


CASES = [
    (make_result(8), {}),
    (make_result(1, 1), {}),
    (make_result(2, 4), {}),
    (make_result(9, 3), {}),
    (make_result(16, 2), {}),
    (make_result(4, 2), {"column": "half"}),
    (make_result(5, 2, size=(12, 24)), {}),
    (make_result(5, 2, size=(24, 12)), {}),
    (
        replace(make_result(8), methods=("cam", "gradcam"), models=("vgg_without_any_pooling-epoch90", "b")),
        {},
    ),
    (
        replace(
            make_result(6), labels=np.full(6, -1), boxes=None, image_names=("holiday_2024_0815.jpeg",) * 6
        ),
        {},
    ),
    (replace(make_result(8), class_names=("a very long class name with many words",) * 5), {}),
    (replace(make_result(8, 3), difference=True), {}),
    (replace(make_result(1, 2), difference=True, boxes=None), {}),
    (replace(make_result(8, 2), difference=True, selection=OUTCOME), {"name": "neurips"}),
    (replace(make_result(16, 2), difference=True, selection=OUTCOME), {"name": "ieee"}),
    (replace(make_result(3, 2), difference=True, selection=OUTCOME), {"name": "neurips", "column": "half"}),
    (replace(make_result(3, 2), difference=True, maps=np.ones(2 * 3 * 64, np.float32)), {"name": "ieee"}),
    (
        replace(
            make_result(8, 3),
            difference=True,
            methods=("gradcam++", "eigencam", "scorecam"),
            models=("cifar10-resnet20-short_baseline", "cifar10-resnet20-short_ralr", "x, seed 1, epoch 20"),
        ),
        {"name": "neurips"},
    ),
]


class Drawn(NamedTuple):
    result: CamResult
    options: dict[str, str]
    figure: Figure


@pytest.fixture(scope="module", params=CASES)
def drawn(request: pytest.FixtureRequest) -> Drawn:
    result, options = request.param
    return Drawn(result, options, draw(result, **options))


def test_draw_cam_overlaps_no_text_and_stays_on_the_page(drawn: Drawn) -> None:
    result, _, figure = drawn
    page = figure.bbox
    shown = texts(figure)
    assert min(t.get_size() for t in shown) >= 6.5
    boxes = [t.get_window_extent() for t in shown]
    for text, box in zip(shown, boxes, strict=True):
        assert page.x0 <= box.x0 and box.x1 <= page.x1, text
        assert page.y0 <= box.y0 and box.y1 <= page.y1, text
    for (a, box_a), (b, box_b) in itertools.combinations(zip(shown, boxes, strict=True), 2):
        assert not box_a.padded(-0.5).overlaps(box_b.padded(-0.5)), (a, b)
    for text, box in zip(shown, boxes, strict=True):
        for axes in figure.axes:
            assert not box.padded(-1).overlaps(axes.get_window_extent().padded(-1)), (text, axes)
    pictures = [axes.get_window_extent() for axes in picture_axes(figure)]
    rows = 1 + len(result.models) + (len(result.models) - 1) * result.difference
    assert len(pictures) == len(result.images) * rows
    for a, b in itertools.combinations(pictures, 2):
        assert not a.overlaps(b)


def test_draw_cam_keeps_the_shape_of_the_images_and_the_width_of_the_page(drawn: Drawn) -> None:
    result, options, figure = drawn
    with style(**{"name": "icml", **options}):
        assert figure.get_figwidth() <= mpl.rcParams["figure.figsize"][0] + 1e-9
    for axes in picture_axes(figure):
        box = axes.get_window_extent()
        assert box.height / box.width == pytest.approx(result.image_size[0] / result.image_size[1])
        assert box.width / figure.dpi >= 0.59


def test_draw_cam_of_eight_images_fills_one_row_of_the_page() -> None:
    figure = draw(make_result(8))
    assert figure.get_figwidth() == pytest.approx(6.75)
    rows = {round(axes.get_position().y0, 6) for axes in picture_axes(figure)}
    assert len(rows) == 3
    assert len({round(axes.get_position().y0, 6) for axes in picture_axes(draw(make_result(16)))}) == 6


@pytest.mark.parametrize("name", ["icml", "neurips", "ieee"])
def test_draw_cam_of_eight_images_is_one_block_in_every_style(name: str) -> None:
    figure = draw(replace(make_result(8, 2), difference=True), name)
    assert len({round(axes.get_position().y0, 6) for axes in picture_axes(figure)}) == 4


def test_draw_cam_draws_the_image_and_the_map_over_grey() -> None:
    result = make_result(3, 2)
    figure = draw(result)
    axes = picture_axes(figure)
    assert all(a.images[0].get_interpolation() == "nearest" for a in axes)
    np.testing.assert_array_equal(axes[1].images[0].get_array(), result.images[1])
    grey = result.images[2] @ [0.299, 0.587, 0.114] / 255
    expected = (
        HEAT * mpl.colormaps["inferno"](result.display_maps(1)[2])[..., :3] + (1 - HEAT) * grey[..., None]
    )
    np.testing.assert_allclose(axes[8].images[0].get_array(), expected)


def test_draw_cam_outlines_the_part_of_a_box_that_is_in_the_image() -> None:
    result = make_result(1, 1)
    width = result.image_size[1]
    boxes = np.array([[-3, 2, width + 4, 5]], np.int16)
    (axes, *_) = picture_axes(draw(replace(result, boxes=boxes)))
    (box,) = axes.findobj(lambda a: isinstance(a, Rectangle) and not a.get_fill())
    assert (box.get_xy(), box.get_width(), box.get_height()) == ((-0.5, 1.5), width, 4)
    assert [cam_table(replace(result, boxes=boxes))[0][c] for c in ("x0", "x1")] == [
        -3,
        width + 4,
    ]  # as given


def test_draw_cam_outlines_the_inclusive_box_on_every_row() -> None:
    result = make_result(3, 2)
    boxes = result.boxes.copy()
    boxes[1], boxes[2] = (-1, -1, -1, -1), (-9, 4, -2, 9)  # none, and one beside the image
    figure = draw(replace(result, boxes=boxes))
    drawn = [
        axes.findobj(lambda a: isinstance(a, Rectangle) and not a.get_fill()) for axes in picture_axes(figure)
    ]
    assert [len(d) for d in drawn] == [1, 0, 0] * 3
    x0, y0, x1, y1 = boxes[0].tolist()
    for (box,) in drawn[::3]:
        assert box.get_xy() == (x0 - 0.5, y0 - 0.5)
        assert (box.get_width(), box.get_height()) == (x1 - x0 + 1, y1 - y0 + 1)


def test_draw_cam_marks_right_and_wrong_predictions() -> None:
    result = replace(
        make_result(3, 1),
        labels=np.array([0, 1, -1]),
        predictions=np.array([[0, 2, 3]]),
        prediction_probabilities=np.array([[0.914, 0.5, 0.07]], np.float32),
    )
    written = [t.get_text() for t in texts(draw(result))]
    assert "Labrador retriever\n✓ 0.91" in written
    assert any(t.endswith("\n✗ 0.50") for t in written)
    assert "x\n0.07" in written  # the truth is not known
    assert {"Labrador retriever", "potter's wheel", f"#{result.indices[2]}"} <= set(written)


def test_draw_cam_names_rows_rule_and_scale() -> None:
    written = {t.get_text() for t in texts(draw(make_result(8)))}
    assert {"image", "baseline", "RALR", "seed 0, epoch 20", "0", "1"} <= written
    assert "class activation (per-image min–max)" in written
    assert "8 of 10,000 tiny-imagenet-50 test images, random, seed 0" in written
    assert "Grad-CAM" not in written


def test_draw_cam_names_the_method_where_it_is_not_cam() -> None:
    written = [t.get_text() for t in texts(draw(replace(make_result(8), methods=("cam", "gradcam"))))]
    assert written.count("CAM") == written.count("Grad-CAM") == 1


def test_draw_cam_touches_no_global_state_and_not_the_result() -> None:
    result = make_result(2)
    with style("icml"):
        before = dict(mpl.rcParams)
        draw_cam(result)
        assert dict(mpl.rcParams) == before
    assert result == make_result(2)


def test_draw_cam_is_saved_the_same_twice(tmp_path: Path) -> None:
    result = make_result(2)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        with style("icml"):
            paths = save_figure(
                draw_cam(result), tmp_path / name / "cam", cam_table(result), result.provenance
            )
    assert [p.suffix for p in paths] == [".pdf", ".png", ".csv", ".txt", ".tex"]
    for path in paths:
        assert path.read_bytes() == (tmp_path / "a" / path.name).read_bytes()


def test_draw_cam_draws_differences_on_one_symmetric_scale() -> None:
    result = replace(make_result(4, 3), difference=True)
    figure = draw(result)
    differences = [result.difference_maps(model) for model in (1, 2)]
    # one pixel in a hundred may lie beyond the scale
    limit = np.percentile(np.abs(differences), 99)
    assert 0 < limit < np.abs(differences).max()
    colours = mpl.colormaps["RdBu_r"]
    for axes, values in zip(picture_axes(figure)[16:], np.concatenate(differences), strict=True):
        expected = colours(np.clip(0.5 + values / (2 * limit), 0, 1))[..., :3]
        np.testing.assert_allclose(axes.images[0].get_array(), expected)
    written = [t.get_text() for t in texts(figure)]
    assert {f"≤ −{100 * limit:.2g}", f"≥ +{100 * limit:.2g}"} <= set(written)
    assert "difference of maps (% of mass per pixel)" in written
    first, second = bar_axes(figure)
    np.testing.assert_allclose(second.images[0].get_array()[0, [0, -1]], colours([0.0, 1.0])[:, :3])
    assert (first.images[0].get_array()[0, 0] != second.images[0].get_array()[0, 0]).any()


def test_draw_cam_writes_what_moved_under_differences() -> None:
    result = replace(make_result(3, 2), difference=True, models=("baseline", "ralr"))
    boxes = result.boxes.copy()
    boxes[2] = -1
    maps = result.maps.copy()
    maps[64:128] = maps[256:320] = 2.0  # the second image: equal maps
    result = replace(result, boxes=boxes, maps=maps)
    written = [t.get_text() for t in texts(draw(result))]
    moved, inside = result.moved_mass(1), result.energy_in_box(1) - result.energy_in_box(0)
    assert moved[1] == 0
    assert f"{100 * moved[0]:.0f} % moved\n{100 * inside[0]:+.0f} % in box".replace("-", "−") in written
    assert "0 % moved\n0 % in box" in written
    assert f"{100 * moved[2]:.0f} % moved" in written
    assert {"RALR", "− baseline"} <= set(written) or "RALR − baseline" in written


def test_draw_cam_names_differences_by_what_tells_the_models_apart() -> None:
    models = ("ralr, seed 0, epoch 13", "ralr, seed 0, epoch 20")
    written = [t.get_text() for t in texts(draw(replace(make_result(3, 2), difference=True, models=models)))]
    assert "epoch 20 − epoch 13" in written


def test_draw_cam_of_equal_maps_has_a_white_difference() -> None:
    result = replace(make_result(2, 2), difference=True, maps=np.ones(2 * 2 * 64, np.float32))
    figure = draw(result)
    for axes in picture_axes(figure)[6:]:
        assert (axes.images[0].get_array() == mpl.colormaps["RdBu_r"](0.5)[:3]).all()
    assert {"−0", "+0"} <= {t.get_text() for t in texts(figure)}


def test_draw_cam_of_one_model_has_no_differences() -> None:
    figure = draw(replace(make_result(2, 1), difference=True))
    assert len(picture_axes(figure)) == 4
    assert len(bar_axes(figure)) == 1


@pytest.mark.parametrize("options", [{}, {"name": "neurips"}, {"name": "neurips", "column": "half"}])
def test_draw_cam_writes_the_whole_rule(options: dict[str, str]) -> None:
    """A warning that the choice is no sample must not be cut."""
    result = replace(make_result(3, 2), difference=True, selection=OUTCOME)
    written = " ".join(t.get_text() for t in texts(draw(result, **options)))
    assert OUTCOME.replace("-", "").replace(" ", "") in written.replace("-", "").replace(" ", "")


BOX_COLUMNS = ("box_area", "centre_energy_in_box", "centre_rank_accuracy", "energy_in_box", "rank_accuracy")


def test_cam_table_has_the_numbers_behind_the_picture() -> None:
    result = make_result(3, 2)
    boxes = result.boxes.copy()
    boxes[2] = (-9, 4, -2, 9)
    maps = result.maps.copy()
    maps[:64] = -1
    result = replace(result, boxes=boxes, maps=maps, labels=np.array([0, -1, 2]))
    rows = cam_table(result)
    assert [(row["model"], row["image"]) for row in rows] == list(
        itertools.product(result.models, result.indices)
    )
    assert [row["map_is_zero"] for row in rows] == [True] + [False] * 5
    for k, row in enumerate(rows):
        model, i = divmod(k, 3)
        assert row["target_probability"] == result.target_probabilities[model, i]
        assert row["prediction"] == NAMES[result.predictions[model, i]]
        if i == 1:
            assert row["label"] is None
            assert row["correct"] is None
        else:
            assert row["correct"] == (result.predictions[model, i] == result.labels[i])
        moved = result.moved_mass(model)[i] if model else None
        assert row["moved_from_first"] == moved
        if i == 2:
            assert all(row[column] is None for column in BOX_COLUMNS)
            assert [row[c] for c in ("x0", "y0", "x1", "y1")] == [-9, 4, -2, 9]
        else:
            assert [row[column] for column in BOX_COLUMNS] == [
                result.box_area()[i],
                result.centre_energy_in_box()[i],
                result.centre_rank_accuracy()[i],
                result.energy_in_box(model)[i],
                result.rank_accuracy(model)[i],
            ]
    assert rows[0]["energy_in_box"] == rows[0]["box_area"]  # a map without positive value counts as uniform


def test_cam_table_without_boxes_leaves_blanks() -> None:
    result = replace(make_result(2, 1), boxes=None, image_names=("a.png", "b.png"))
    rows = cam_table(result)
    assert [row["file"] for row in rows] == ["a.png", "b.png"]
    assert all(row[c] is None for row in rows for c in ("x0", "moved_from_first", *BOX_COLUMNS))
    assert all(math.isfinite(row["prediction_probability"]) for row in rows)


def test_draw_cam_asks_for_no_canvas_of_the_page_for_each_picture() -> None:
    figure = draw_cam(replace(make_result(), difference=True))
    # matplotlib gives each rasterised artist one, and keeps them all until the PDF is closed
    assert len(figure.findobj(lambda artist: bool(artist.get_rasterized()))) <= 2  # colour bars


def test_draw_cam_refuses_more_pictures_than_memory_holds() -> None:
    check_pictures(64, 7, difference=True)
    with pytest.raises(
        InputError, match="64 images in 16 rows are 1,024 pictures, a figure holds at most 1,000"
    ):
        check_pictures(64, 15, difference=False)
    with pytest.raises(InputError, match="1,005 pictures"):
        draw_cam(make_result(335, 2))


@pytest.mark.parametrize(("side", "shown"), [(64, "nearest"), (160, "antialiased")])
def test_pixels_of_large_images_are_not_left_out(side: int, shown: str) -> None:
    """Print has fewer than they have; of small ones each is to be seen."""
    figure = draw_cam(make_result(1, 1, (side, side)))
    pictures = [axes.images[0] for axes in figure.axes[:2]]
    assert [picture.get_interpolation() for picture in pictures] == [shown, shown]
