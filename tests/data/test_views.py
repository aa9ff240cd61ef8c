"""Photographs as squares of one size, made once, with boxes where they are in them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ralr_viz.data import Dataset, Split, View, fixed_view, views
from ralr_viz.data.ingest import Intake, write_store
from ralr_viz.data.ragged import Boxes, join_boxes
from ralr_viz.data.store import read_store
from ralr_viz.errors import InputError, StorageError, UnknownNameError

SHAPES = [(40, 60), (64, 33), (90, 91), (20, 20), (31, 120)]


def store(
    root: Path, boxes: list[list[list[float]]] | None = None, shapes: list[tuple[int, int]] = SHAPES
) -> Dataset:
    """The same photographs in both splits."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
    n = len(images)
    regions: Boxes | None = None
    if boxes is not None:
        rows = [np.array(row, dtype=np.float64).reshape(-1, 4) for row in boxes * 2]
        regions = join_boxes(rows, [np.zeros(len(row)) for row in rows])
    intake = Intake(
        class_ids=("a",), class_names=("a",), is_test=np.arange(2 * n) >= n, labels=np.zeros(2 * n, np.int64),
        boxes=regions, images=iter([images * 2]),
    )  # fmt: skip
    return read_store(write_store(intake, root, "photos"))


@pytest.mark.parametrize(
    "view", [View(24), View(24, 24), View(16, 40), View(28, mode="warp")], ids=lambda v: v.name
)
def test_fixed_view_is_what_torchvision_makes_of_a_pil_image(view: View, tmp_path: Path) -> None:
    from torchvision.transforms import v2

    dataset = store(tmp_path)
    found = fixed_view(dataset, "test", view.size, view.resize, view.mode)
    assert found.images.shape == (len(SHAPES), view.size, view.size, 3) and found.boxes is None
    if view.mode == "warp":
        theirs: Any = v2.Resize((view.size, view.size))
    else:
        theirs = v2.Compose([v2.Resize(view.shorter), v2.CenterCrop(view.size)])
    for ours, image in zip(found.images, dataset.test.photographs, strict=True):
        np.testing.assert_array_equal(ours, np.asarray(theirs(Image.fromarray(image))))
    np.testing.assert_array_equal(found.labels, dataset.test.labels)


def test_default_resize_is_that_of_imagenet() -> None:
    assert [View(size).shorter for size in (224, 448, 160)] == [256, 512, 183]


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(20, 90), st.integers(20, 90)),
    st.tuples(*[st.floats(0, 1)] * 4),
    st.sampled_from([View(16), View(16, 16), View(18, 30), View(16, mode="warp")]),
)
def test_boxes_cover_the_pixels_that_they_covered(
    shape: tuple[int, int], corners: tuple[float, ...], view: View
) -> None:
    """Slow twin: draw the box, look at the drawing; what is more than half white is inside, up to a rounded edge."""
    height, width = shape
    x0, x1 = sorted(round(c * width) for c in corners[:2])
    y0, y1 = sorted(round(c * height) for c in corners[2:])
    if x0 == x1 or y0 == y1:
        return
    drawing = np.zeros((height, width, 3), np.uint8)
    drawing[y0:y1, x0:x1] = 255
    seen = views.look_at(drawing, view)[..., 0] > 127
    mapped = views._map_corners(np.array([[x0, y0, x1, y1]], float), np.array([shape]), view)
    box = views._choose_largest(mapped, np.array([1]))[0]
    covered = np.zeros_like(seen)
    if box[0] >= 0:
        covered[box[1] : box[3] + 1, box[0] : box[2] + 1] = True
        assert 0 <= box[0] <= box[2] < view.size and 0 <= box[1] <= box[3] < view.size
    rows, columns = np.nonzero(seen != covered)
    if len(rows):  # only a line at each edge of the box
        edges_y, edges_x = {mapped[0, 1], mapped[0, 3]}, {mapped[0, 0], mapped[0, 2]}
        near = [min(abs(r - e) for e in edges_y) <= 1 or min(abs(c - e) for e in edges_x) <= 1 for r, c in zip(rows, columns, strict=True)]  # fmt: skip
        assert all(near)


def test_boxes_are_cut_at_the_edges_and_never_lost_while_inside(tmp_path: Path) -> None:
    whole = [[[0, 0, w, h]] for h, w in SHAPES]
    found = fixed_view(store(tmp_path, whole), "train", 20)
    assert found.boxes is not None and found.boxes.dtype == np.int16
    assert found.boxes.tolist() == [[0, 0, 19, 19]] * len(SHAPES)


def test_box_outside_of_the_view_is_minus_one_and_of_several_the_largest_inside_counts(
    tmp_path: Path,
) -> None:
    shapes = [(40, 120), (40, 120), (40, 120)]
    corners = [
        [[0.0, 0, 30, 40]],  # left of the centre, which is 40 to 80
        [[0, 0, 45, 40], [50, 10, 60, 35], [70, 0, 80, 10]],  # the largest has fewest pixels inside
        [],
    ]
    dataset = store(tmp_path, corners, shapes)
    counts = dataset.test.regions.counts.tolist()  # type: ignore[attr-defined]
    found = fixed_view(dataset, "test", 40, 40)
    assert found.boxes is not None
    assert dict(zip(counts, found.boxes.tolist(), strict=True)) == {
        1: [-1] * 4,
        3: [10, 10, 19, 34],
        0: [-1] * 4,
    }


def test_view_is_made_once_and_is_gone_with_its_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = store(tmp_path)
    told: list[int] = []
    first = fixed_view(dataset, "test", 24, progress=lambda done, total, what: told.append(done))
    folder = dataset.root / "views" / "test-centre-24-of-27"
    assert told == [len(SHAPES)] and sorted(p.name for p in folder.iterdir()) == ["images.npy", "view.json"]
    assert json.loads((folder / "view.json").read_text())["kernel"].startswith("Pillow ")
    monkeypatch.setattr(views, "look_at", None)  # is not asked again
    again = fixed_view(dataset, "test", 24)
    np.testing.assert_array_equal(first.images, again.images)
    assert isinstance(again.images, np.memmap) and not again.images.flags.writeable
    monkeypatch.undo()
    other = write_store(
        Intake(("a",), ("a",), np.array([False, True]), np.zeros(2, np.int64), None,
               iter([[np.zeros((30, 20, 3), np.uint8)] * 2])),
        tmp_path, "photos", force=True,
    )  # fmt: skip
    assert not (other / "views").exists()


@pytest.mark.parametrize("harm", ["other images", "cut off", "no manifest"])
def test_view_of_other_images_or_damaged_is_made_again(harm: str, tmp_path: Path) -> None:
    dataset = store(tmp_path)
    good = np.array(fixed_view(dataset, "test", 24).images)
    folder = dataset.root / "views" / "test-centre-24-of-27"
    if harm == "other images":
        text = (folder / "view.json").read_text()
        (folder / "view.json").write_text(text.replace(dataset.content_hash, "0" * 64))
        np.save(folder / "images.npy", good ^ 255)
    elif harm == "cut off":
        (folder / "images.npy").write_bytes((folder / "images.npy").read_bytes()[:-5])
    else:
        (folder / "view.json").unlink()
        np.save(folder / "images.npy", good ^ 255)
    np.testing.assert_array_equal(fixed_view(dataset, "test", 24).images, good)


def test_view_does_not_depend_on_threads_or_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = store(tmp_path)
    one = np.array(fixed_view(dataset, "test", 24, workers=1).images)
    monkeypatch.setattr(views, "_PIECE", 3 * 24**2 * 2)
    other = replace(dataset, content_hash="1" * 64)
    np.testing.assert_array_equal(fixed_view(other, "test", 24, workers=7).images, one)


def test_view_lies_in_the_cache_where_the_store_may_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = store(tmp_path / "root")
    monkeypatch.setenv("RALR_VIZ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("os.access", lambda path, mode: False)
    fixed_view(dataset, "test", 24)
    assert not (dataset.root / "views").exists()
    assert (tmp_path / "cache" / "views" / dataset.content_hash[:32] / "test-centre-24-of-27").is_dir()


def test_view_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = store(tmp_path)

    def full(*args: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)
    with pytest.raises(StorageError, match="no space left"):
        fixed_view(dataset, "test", 24)
    assert [path.name for path in (dataset.root / "views").iterdir()] == [".lock"]


def test_squares_have_views_too(squares: Dataset) -> None:
    same = fixed_view(squares, "test", squares.image_size, mode="warp")
    assert same is squares.test
    half = fixed_view(squares, "test", 8, 8)
    np.testing.assert_array_equal(half.images[3], np.asarray(Image.fromarray(squares.test.images[3]).resize((8, 8), Image.Resampling.BILINEAR)))  # fmt: skip
    boxed = replace(squares, test=Split(squares.test.images, squares.test.labels, np.tile(np.int16([2, 4, 9, 15]), (len(squares.test), 1))))  # fmt: skip
    boxed.test.boxes[0] = -1  # type: ignore[index]
    boxes = fixed_view(boxed, "test", 8, 8).boxes
    assert boxes is not None and boxes[:2].tolist() == [[-1] * 4, [1, 2, 4, 7]]


@pytest.fixture
def squares(tmp_path: Path) -> Dataset:
    images = np.random.default_rng(1).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    intake = Intake(("a",), ("a",), np.arange(12) >= 6, np.zeros(12, np.int64), None, iter([images]))
    return read_store(write_store(intake, tmp_path, "squares"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((4,), "view of 4 pixels"),
        ((24, 20), "resize = 20: the shorter side must be 24 to 2048"),
        ((24, 30, "warp"), "resize = 30: a `warp` scales both sides"),
    ],
)
def test_view_refuses_what_makes_no_square(arguments: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        View(*arguments)


def test_view_refuses_another_mode() -> None:
    with pytest.raises(UnknownNameError, match="did you mean `centre`"):
        View(24, None, "center")  # type: ignore[arg-type]
