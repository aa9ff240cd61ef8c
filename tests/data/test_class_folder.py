"""Class-folder trees, as folders and in archives."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ralr_viz.data import import_dataset
from ralr_viz.errors import DataError


def test_import_sorts_class_folders_into_labels(
    tmp_path: Path, root: Path, make_tree: Callable[..., Path]
) -> None:
    tree = make_tree(tmp_path / "tree", ("zebra", "Ant", "cat"))
    dataset = import_dataset("pets", tree, root)
    assert dataset.class_ids == dataset.class_names == ("Ant", "cat", "zebra")
    by_pixels = {
        image.tobytes(): label
        for image, label in zip(dataset.train.images, dataset.train.labels, strict=True)
    }
    for label, name in enumerate(dataset.class_ids):
        for file in (tree / "train" / name).iterdir():
            assert by_pixels[np.asarray(Image.open(file)).tobytes()] == label


@pytest.mark.parametrize("extension", ["webp", "bmp", "PNG"])
def test_import_gives_one_content_for_every_lossless_format(
    extension: str, tmp_path: Path, root: Path, make_tree: Callable[..., Path]
) -> None:
    png = import_dataset("png", make_tree(tmp_path / "png"), root)
    other = import_dataset("other", make_tree(tmp_path / "other", extension=extension), root)
    assert other.content_hash == png.content_hash
    assert other.mean == png.mean
    np.testing.assert_array_equal(other.train.images, png.train.images)
    np.testing.assert_array_equal(other.test.labels, png.test.labels)


def test_import_gives_one_content_for_folder_zip_and_tar(
    tmp_path: Path, root: Path, make_tree: Callable[..., Path], zip_folder: Callable[..., Path]
) -> None:
    tree = make_tree(tmp_path / "tree")
    with tarfile.open(tmp_path / "tree.tar.gz", "w:gz") as archive:
        archive.add(tree, "enclosing")
    sources = [tree, zip_folder(tree, tmp_path / "tree.zip"), tmp_path / "tree.tar.gz"]
    hashes = {import_dataset(f"d{i}", source, root).content_hash for i, source in enumerate(sources)}
    assert len(hashes) == 1


@pytest.mark.parametrize("extension", ["jfif", "jpe", "tif", "TIFF", "gif", "ppm"])
def test_import_drops_no_picture_for_its_suffix(
    extension: str, tmp_path: Path, root: Path, make_tree: Callable[..., Path]
) -> None:
    """Half of the files renamed to a rarer format: all of them are there, and nothing is said."""
    tree = make_tree(tmp_path / "tree")
    expected = import_dataset("all", tree, root)
    formats = {"jfif": "JPEG", "jpe": "JPEG", "tif": "TIFF", "tiff": "TIFF", "gif": "GIF", "ppm": "PPM"}
    files = sorted(tree.rglob("*.png"))
    for file in files[::2]:
        Image.open(file).save(file.with_suffix(f".{extension}"), formats[extension.lower()])
        file.unlink()
    found = import_dataset("half", tree, root)
    assert (len(found.train), len(found.test)) == (len(expected.train), len(expected.test))
    assert found.notes == ()


def test_import_names_what_it_leaves_out(tmp_path: Path, root: Path, make_tree: Callable[..., Path]) -> None:
    tree = make_tree(tmp_path / "tree")
    first = sorted((tree / "train").iterdir())[0]
    (first / "movie.mp4").write_bytes(b"x")
    (tree / "notes.txt").write_text("x")
    shutil.copytree(tree / "test", tree / "valid")
    dataset = import_dataset("pets", tree, root)
    count = len(list((tree / "test").rglob("*.png")))
    assert dataset.notes == (
        f"{count} images of `valid` are left out: `test` is the test split",
        f"2 files (notes.txt, train/{first.name}/movie.mp4) are left out",
    )


@pytest.mark.parametrize("folder", ["valid", "validation"])
def test_import_takes_other_names_of_a_test_split(
    folder: str, tmp_path: Path, root: Path, make_tree: Callable[..., Path]
) -> None:
    test = import_dataset("test", make_tree(tmp_path / "a"), root)
    other = import_dataset("other", make_tree(tmp_path / "b", test_folder=folder), root)
    assert other.content_hash == test.content_hash


def test_import_takes_val_where_there_is_no_test(
    tmp_path: Path, root: Path, make_tree: Callable[..., Path]
) -> None:
    test = import_dataset("test", make_tree(tmp_path / "a"), root)
    val = import_dataset("val", make_tree(tmp_path / "b", test_folder="val"), root)
    assert val.content_hash == test.content_hash
    (tmp_path / "b" / "test").mkdir()  # ImageNet's unlabelled test images lie flat
    shutil.copy(tmp_path / "b" / "val" / "cat" / "0.png", tmp_path / "b" / "test" / "x.png")
    assert import_dataset("val", tmp_path / "b", root, force=True).content_hash == test.content_hash


def test_import_sees_images_deeper_in_a_class(
    tmp_path: Path, root: Path, make_tree: Callable[..., Path]
) -> None:
    flat = import_dataset("flat", make_tree(tmp_path / "tree"), root)
    for folder in list((tmp_path / "tree" / "train").iterdir()):
        (folder / "images").mkdir()
        for file in folder.glob("*.png"):
            file.rename(folder / "images" / file.name)
        (folder / "boxes.txt").write_text("no image")
    assert import_dataset("deep", tmp_path / "tree", root).content_hash == flat.content_hash


def test_import_resizes_when_asked(tmp_path: Path, root: Path, make_tree: Callable[..., Path]) -> None:
    tree = make_tree(tmp_path / "tree", size=40)
    Image.new("RGB", (80, 50)).save(tree / "train" / "cat" / "other.png")
    dataset = import_dataset("pets", tree, root, size=16)
    assert dataset.image_size == 16
    assert '"resized_to": 16' in (root / "pets" / "store.json").read_text()


def remove(*names: str) -> Callable[[Path], None]:
    def do(tree: Path) -> None:
        for name in names:
            shutil.rmtree(tree / name)

    return do


def empty_class(tree: Path) -> None:
    (tree / "train" / "eel").mkdir()


def class_of_texts(tree: Path) -> None:
    (tree / "train" / "eel").mkdir()
    (tree / "train" / "eel" / "readme.txt").write_text("later")


def class_only_in_test(tree: Path) -> None:
    (tree / "train" / "cat").rename(tree / "test" / "owl")


def broken_images(tree: Path) -> None:
    (tree / "train" / "dog" / "0.png").write_bytes(b"\x89PNG broken")
    (tree / "test" / "cat" / "1.png").write_bytes(b"")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (remove("train"), "no layout that is known"),
        (remove("test"), r"has no `test/<class>/` or `val/<class>/`"),
        (remove("train/cat"), "class `cat` is in `test` but not in `train`"),
        (class_only_in_test, "class `cat` is in `test` but not in `train`|class `owl` is in `test`"),
        (class_of_texts, "class folder `train/eel` .* has no images"),
        (broken_images, r"2 images cannot be read: .*`train/dog/0\.png` \("),
        (broken_images, r"`test/cat/1\.png` \(not an image\)"),
    ],
)
def test_import_names_what_is_wrong_with_a_tree(
    spoil: Callable[[Path], None],
    words: str,
    packed: bool,
    tmp_path: Path,
    root: Path,
    make_tree: Callable[..., Path],
    zip_folder: Callable[..., Path],
) -> None:
    tree = make_tree(tmp_path / "tree")
    spoil(tree)
    source = zip_folder(tree, tmp_path / "tree.zip") if packed else tree
    with pytest.raises(DataError, match=words) as caught:
        import_dataset("pets", source, root)
    assert "\n" not in str(caught.value)
    assert not list(root.glob("*/")) and not list(root.glob(".import-*"))


def test_import_notices_an_empty_class_folder(
    tmp_path: Path, root: Path, make_tree: Callable[..., Path]
) -> None:
    tree = make_tree(tmp_path / "tree")
    empty_class(tree)
    with pytest.raises(DataError, match=r"class folder `train/eel` .* has no images"):
        import_dataset("pets", tree, root)
    shutil.make_archive(str(tmp_path / "packed"), "zip", tree)  # writes entries for folders, too
    with pytest.raises(DataError, match=r"class folder `train/eel` .* has no images"):
        import_dataset("pets", tmp_path / "packed.zip", root)
