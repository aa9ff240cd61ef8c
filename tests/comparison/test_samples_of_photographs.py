"""Networks are compared on photographs through one view."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from ralr_viz.analysis.prediction_cache import cache_folder
from ralr_viz.analysis.selection import select_pictures
from ralr_viz.comparison import compare
from ralr_viz.comparison.view import choose_view, choose_view_of_files
from ralr_viz.data import Dataset, View, fixed_view
from ralr_viz.data.ingest import Intake, write_store
from ralr_viz.data.ragged import join_boxes
from ralr_viz.data.store import read_store
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.train.checkpoint import Checkpoint

SCALE = {"mean": (0.5,) * 3, "std": (0.2,) * 3}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (30 + i, 50 - i, 3), dtype=np.uint8) for i in range(12)]
    corners = [np.array([[5.0, 5, 25, 25]])] * 12
    intake = Intake(
        class_ids=("a", "b"), class_names=("a", "b"), is_test=np.arange(12) >= 6, labels=np.arange(12) % 2,
        boxes=join_boxes(corners, [np.zeros(1)] * 12), images=iter([images]),
    )  # fmt: skip
    return read_store(write_store(intake, root, "photos"))


def network() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))


def checkpoint(
    image_size: int | None, recipe: dict[str, object] | None = None, dataset: str | None = None
) -> Checkpoint:
    return Checkpoint(
        Path("net.pt"), "0" * 64, {}, "resnet20", 2, image_size=image_size, recipe=recipe, dataset=dataset
    )


def test_compare_looks_at_photographs_through_a_view(photos: Dataset) -> None:
    given = {"data": "photos", "root": photos.root.parent, "device": "cpu", **SCALE}
    pair = compare([network()], image_size=16, view="warp", **given)  # type: ignore[arg-type]
    samples = pair.labelled()
    expected = fixed_view(photos, "test", 16, mode="warp")
    np.testing.assert_array_equal(samples.images, expected.images)
    np.testing.assert_array_equal(samples.boxes, expected.boxes)
    assert samples.selection == "all 6 photos test images, warped to 16×16"
    assert pair.facts()["view"] == "warp-16" and pair.facts()["content_hash"] == photos.content_hash
    train = pair.on("train").labelled()
    assert train.view == samples.view and train.images.shape == (6, 16, 16, 3)
    centre = compare([network()], image_size=16, resize=20, limit=2, **given)  # type: ignore[arg-type]
    assert centre.labelled().view == View(16, 20)
    assert centre.labelled().selection == (
        "2 photos test images, evenly spread, the centre 16×16 after the shorter side was scaled to 20"
    )


def test_compare_refuses_photographs_of_no_size(photos: Dataset) -> None:
    given = {"data": "photos", "root": photos.root.parent, "device": "cpu", **SCALE}
    with pytest.raises(
        InputError, match="`photos` has photographs .* networks do not say theirs: pass --size"
    ):
        compare([network()], **given)  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="unknown view `wrap`"):
        compare([network()], image_size=16, view="wrap", **given)  # type: ignore[arg-type]


def test_view_is_that_of_the_checkpoints(photos: Dataset) -> None:
    recipe = {"input_size": 16, "resize": 30}
    assert choose_view(photos, [checkpoint(16), checkpoint(None)]) == View(16)
    assert choose_view(photos, [checkpoint(16, recipe)]) == View(16, 30)
    assert choose_view(photos, [checkpoint(16, recipe)], mode="warp") == View(16, mode="warp")
    assert choose_view(photos, [checkpoint(16, recipe)], size=20) == View(20)
    with pytest.raises(InputError, match="take 16 and 20 pixels: pass --size"):
        choose_view(photos, [checkpoint(16), checkpoint(20)])


def test_view_is_warped_where_the_recipe_was(photos: Dataset) -> None:
    warped = checkpoint(16, {"input_size": 16, "view": "warp"})
    assert choose_view(photos, [warped]) == View(16, mode="warp")
    assert choose_view(photos, [warped], size=20) == View(20, mode="warp")
    assert choose_view(photos, [warped], mode="centre") == View(16)
    assert choose_view(photos, [warped], resize=18) == View(16, 18)
    other = checkpoint(16, {"input_size": 16, "resize": 30})
    with pytest.raises(InputError, match="in different ways .*scaled to 30; warped to 16×16.*: pass --view"):
        choose_view(photos, [warped, other])
    assert choose_view(photos, [warped, checkpoint(16, {"input_size": 16})], mode="warp") == View(
        16, mode="warp"
    )


def test_files_are_seen_as_the_photographs_of_the_training(photos: Dataset, squares_root: Path) -> None:
    root = photos.root.parent
    trained = {"input_size": 16, "resize": 30}
    assert choose_view_of_files([checkpoint(16, trained, "photos")], 16, root) == View(16, 30)
    assert choose_view_of_files([checkpoint(16, None, "photos")], 16, root) == View(16)
    assert choose_view_of_files([checkpoint(16, trained, "elsewhere")], 16, root) == View(16, 30)
    assert choose_view_of_files([checkpoint(16, None, "squares")], 16, squares_root) is None
    assert choose_view_of_files([], 16, root) is None
    assert choose_view_of_files([], 16, root, mode="warp") == View(16, mode="warp")


def test_squares_have_no_view(squares_root: Path) -> None:
    pair = compare([network()], data="squares", root=squares_root, device="cpu", **SCALE)  # type: ignore[arg-type]
    assert pair.labelled().view is None and "view" not in pair.facts()


def test_predictions_of_one_view_are_not_those_of_another(photos: Dataset, squares_root: Path) -> None:
    given = {"data": "photos", "root": photos.root.parent, "device": "cpu", **SCALE}
    folders = []
    for view in ("centre", "warp"):
        pair = compare([network()], image_size=16, view=view, **given)  # type: ignore[arg-type]
        folders.append(cache_folder(pair, replace(pair.networks[0], source=checkpoint(16))))
    assert None not in folders and folders[0] != folders[1]


def test_chosen_photographs_say_how_they_were_looked_at(photos: Dataset) -> None:
    given = {"data": "photos", "root": photos.root.parent, "device": "cpu", **SCALE}
    pair = compare([network()], image_size=16, view="warp", **given)  # type: ignore[arg-type]
    chosen = select_pictures(pair, count=2).labelled()
    assert chosen.selection == "2 of 6 photos test images, random, seed 0, warped to 16×16"
