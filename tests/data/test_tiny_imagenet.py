"""Tiny-ImageNet's official layout: boxes, greyscale, words, and the packaged subset."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ralr_viz.data import Dataset, doctor, import_dataset
from ralr_viz.data.known import KNOWN
from ralr_viz.data.store import read_store
from ralr_viz.errors import DataError, InputError

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "tiny-imagenet-50.zip"
PACKAGED = KNOWN["tiny-imagenet-50"].class_ids or ()
OTHERS = [f"n{i:08}" for i in range(150)]


def find(dataset: Dataset, split: str, file: Path) -> tuple[str, list[int]]:
    """Wnid and box under which the store has the image of ``file``."""
    data = getattr(dataset, split)
    image = np.asarray(Image.open(file).convert("RGB"))
    [index] = np.flatnonzero((data.images == image).all(axis=(1, 2, 3)))
    return dataset.class_ids[data.labels[index]], data.boxes[index].tolist()


@pytest.fixture
def tiny(tmp_path: Path, make_tiny_imagenet: Callable[..., Path]) -> Path:
    return make_tiny_imagenet(tmp_path / "tiny-imagenet-200", ["n03", "n01", "n02"])


def test_import_ties_every_image_to_its_class_and_box(tiny: Path, root: Path) -> None:
    dataset = import_dataset("mini", tiny, root)
    assert dataset.class_ids == ("n01", "n02", "n03")
    assert dataset.class_names == ("the n01", "the n02", "the n03")
    assert (len(dataset.train), len(dataset.test)) == (6, 3)
    assert dataset.train.boxes is not None and dataset.train.boxes.dtype == np.int16
    for wnid in dataset.class_ids:
        for index in range(2):
            file = tiny / "train" / wnid / "images" / f"{wnid}_{index}.JPEG"
            assert find(dataset, "train", file) == (wnid, [index, index, 9, 20 + index])
    assert dataset.notes == ("3 boxes of zero width or height are left out",)
    for position, wnid in enumerate(["n03", "n01", "n02"]):  # in the order of wnids.txt
        assert find(dataset, "test", tiny / "val" / "images" / f"val_{position}.JPEG") == (
            wnid,
            [-1, -1, -1, -1],  # [3, 4, 3, 60] has no width
        )


def test_boxes_without_width_are_dropped_on_reading_and_hashed_as_they_are(tiny: Path, root: Path) -> None:
    """So that a store made before, and every run that names its hash, stays what it was."""
    dataset = import_dataset("mini", tiny, root)
    kept = read_store(root / "mini", keep_degenerate=True)
    assert sorted(kept.test.boxes.tolist()) == [[3, 4, 3, 60]] * 3
    assert kept.content_hash == dataset.content_hash
    assert all(check.ok for check in doctor(root, "mini"))
    assert "3 of zero width or height" in next(
        c.detail for c in doctor(root, "mini") if c.check == "boxes of test"
    )


def test_classes_of_one_name_stay_two(tiny: Path, root: Path) -> None:
    words = (tiny / "words.txt").read_text().replace("the n02", "the n01")
    (tiny / "words.txt").write_text(words)
    assert import_dataset("mini", tiny, root).class_names == ("the n01 (n01)", "the n01 (n02)", "the n03")


def test_import_makes_greyscale_rgb(tiny: Path, root: Path) -> None:
    file = tiny / "train" / "n01" / "images" / "n01_0.JPEG"
    Image.open(file).convert("L").save(file)
    dataset = import_dataset("mini", tiny, root)
    assert find(dataset, "train", file) == ("n01", [0, 0, 9, 20])


def test_import_gives_one_content_for_folder_and_zip(
    tiny: Path, tmp_path: Path, root: Path, zip_folder: Callable[..., Path]
) -> None:
    packed = zip_folder(tiny, tmp_path / "t.zip", inside="tiny-imagenet-200/")
    folder, archive = import_dataset("a", tiny, root), import_dataset("b", packed, root)
    assert folder.content_hash == archive.content_hash


def test_import_subsets_the_official_classes(
    tmp_path: Path, root: Path, make_tiny_imagenet: Callable[..., Path]
) -> None:
    # PNG under the official names would not do: JPEG files are what the layout has.
    official = make_tiny_imagenet(tmp_path / "official", [*OTHERS, *PACKAGED], n_train=1)
    full = import_dataset("tiny-imagenet", official, root)
    subset = import_dataset("tiny-imagenet-50", official, root)
    assert (full.num_classes, subset.num_classes, subset.class_ids) == (200, 50, PACKAGED)
    assert (len(full.test), len(subset.train), len(subset.test)) == (200, 50, 50)
    file = official / "train" / PACKAGED[7] / "images" / f"{PACKAGED[7]}_0.JPEG"
    assert find(subset, "train", file) == find(full, "train", file) == (PACKAGED[7], [0, 0, 9, 20])


def test_import_takes_a_50_class_archive_as_it_is(
    tmp_path: Path, root: Path, make_tiny_imagenet: Callable[..., Path]
) -> None:
    source = make_tiny_imagenet(tmp_path / "tiny-50", list(reversed(PACKAGED)), n_train=1)
    assert import_dataset("tiny-imagenet-50", source, root).class_ids == PACKAGED
    with pytest.raises(DataError, match=r"has 50 classes, `tiny-imagenet` has 200"):
        import_dataset("tiny-imagenet", source, root)


def append(name: str, text: str) -> Callable[[Path], None]:
    def do(tiny: Path) -> None:
        with (tiny / name).open("a") as file:
            file.write(text)

    return do


def remove(name: str) -> Callable[[Path], None]:
    return lambda tiny: (tiny / name).unlink()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            append("val/val_annotations.txt", "val_9.JPEG\tn01\t1\t2\t3\n"),
            "line 4 of `val/val_annotations.txt`",
        ),
        (
            append("train/n01/n01_boxes.txt", "n01_0.JPEG\t1\t2\t3\tx\n"),
            "line 3 of `train/n01/n01_boxes.txt`",
        ),
        (
            append("train/n01/n01_boxes.txt", "n01_0.JPEG\t-1\t2\t3\t4\n"),
            "line 3 of `train/n01/n01_boxes.txt`",
        ),
        (
            append("train/n01/n01_boxes.txt", "n01_7.JPEG\t1\t2\t3\t4\n"),
            r"lacks `train/n01/images/n01_7\.JPEG`",
        ),
        (remove("train/n01/images/n01_1.JPEG"), r"lacks `train/n01/images/n01_1\.JPEG`"),
        (remove("train/n02/n02_boxes.txt"), r"lacks `train/n02/n02_boxes\.txt`"),
        (append("wnids.txt", "n77\n"), r"lacks `train/n77/n77_boxes\.txt`"),
        (lambda tiny: (tiny / "val/val_annotations.txt").write_text(""), "has no val images"),
        (
            lambda tiny: (tiny / "train/n01/n01_boxes.txt").write_text("n01_0.JPEG\t1\t1\t2\t2\n"),
            r"image `train/n01/images/n01_1\.JPEG` .* has no box",
        ),
    ],
)
def test_import_names_what_is_wrong(
    spoil: Callable[[Path], None], words: str, tiny: Path, root: Path
) -> None:
    spoil(tiny)
    with pytest.raises(DataError, match=words):
        import_dataset("mini", tiny, root)
    assert not root.exists()


def test_import_refuses_to_resize_images_with_boxes(tiny: Path, root: Path) -> None:
    with pytest.raises(InputError, match="size = 32"):
        import_dataset("mini", tiny, root, size=32)


def test_import_tiny_imagenet_50_names_the_missing_class(tiny: Path, root: Path) -> None:
    with pytest.raises(DataError, match=rf"lacks class `{PACKAGED[0]}` \(50 of 50 are missing\)"):
        import_dataset("tiny-imagenet-50", tiny, root)


@pytest.mark.skipif(not REAL.exists(), reason="the real data is not beside the checkout")
def test_packaged_list_is_that_of_the_real_archive() -> None:
    with zipfile.ZipFile(REAL) as archive:
        wnids = archive.read("tiny-imagenet-50/wnids.txt").decode().split()
    assert tuple(sorted(wnids)) == PACKAGED
    assert len(PACKAGED) == 50
