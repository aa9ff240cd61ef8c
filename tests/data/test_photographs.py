"""Images of unequal shape: decoded once at their own size, in an order that only shape and pixels decide."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from ralr_viz.cli.data import app
from ralr_viz.data import doctor, import_dataset, load_dataset
from ralr_viz.data.canonical import ContentHash, canonical_order
from ralr_viz.data.dataset import PhotographSplit
from ralr_viz.data.ingest import Intake, write_store
from ralr_viz.data.ragged import DIFFICULT, Boxes, join_boxes
from ralr_viz.data.store import read_store
from ralr_viz.errors import DataError, InputError, StorageError

SHAPES = [(20, 30), (40, 25), (12, 12), (33, 57)]


def noise(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def tree(tmp_path: Path, save_image: Callable[..., Path]) -> Path:
    """Four photographs of each class and split, of four shapes."""
    for split in ("train", "test"):
        for label, name in enumerate(("cat", "dog")):
            for i, shape in enumerate(SHAPES):
                seed = 100 * (split == "test") + 10 * label + i
                save_image(noise(*shape, seed), tmp_path / "photos" / split / name / f"{i}.png")
    return tmp_path / "photos"


def photographs(split: object) -> PhotographSplit:
    assert isinstance(split, PhotographSplit)
    return split


def test_import_keeps_the_shape_of_photographs(tree: Path, root: Path) -> None:
    dataset = import_dataset("pets", tree, root)
    split = photographs(dataset.train)
    stored = {image.tobytes(): label for image, label in zip(split.photographs, split.labels, strict=True)}
    for label, name in enumerate(("cat", "dog")):
        for file in (tree / "train" / name).iterdir():
            assert stored[np.asarray(Image.open(file)).tobytes()] == label
    assert sorted(map(tuple, split.photographs.shapes.tolist())) == sorted(SHAPES * 2)
    assert dataset.has_photographs and dataset.side_range == (12, 57) and not dataset.has_boxes
    pixels = np.concatenate([np.asarray(image).reshape(-1, 3) for image in split.photographs]) / 255
    np.testing.assert_allclose(dataset.mean, pixels.mean(0), atol=1e-12)
    np.testing.assert_allclose(dataset.std, pixels.std(0), atol=1e-12)
    assert all(check.ok for check in doctor(root, "pets"))


def test_photographs_have_one_content_whatever_holds_them(
    tree: Path, root: Path, tmp_path: Path, zip_folder: Callable[..., Path]
) -> None:
    with tarfile.open(tmp_path / "photos.tgz", "w:gz") as archive:
        for file in sorted(tree.rglob("*.png"), reverse=True):
            archive.add(file, "top/" + file.relative_to(tree).as_posix())
    sources = [tree, zip_folder(tree, tmp_path / "photos.zip"), tmp_path / "photos.tgz"]
    for i, source in enumerate(sources):
        import_dataset(f"d{i}", source, root, workers=i + 1)
    files = {
        file.name: {(root / f"d{i}" / file.name).read_bytes() for i in range(3)}
        for file in (root / "d0").glob("*.npy")
    }
    assert {name: len(contents) for name, contents in files.items()} == dict.fromkeys(files, 1)
    assert (
        len({json.loads((root / f"d{i}" / "store.json").read_text())["content_hash"] for i in range(3)}) == 1
    )


def test_content_of_photographs_is_pinned(tree: Path, root: Path) -> None:
    dataset = import_dataset("pets", tree, root)
    assert dataset.content_hash == "3335f28ee7652174be0ee771a41c53a77ef07683e14bf135e26dd228f19af145"


def test_squares_of_one_size_are_stored_as_ever(
    tmp_path: Path, root: Path, make_tree: Callable[..., Path]
) -> None:
    small = import_dataset("small", make_tree(tmp_path / "a"), root)
    assert json.loads((root / "small" / "store.json").read_text())["schema"] == 1
    assert small.content_hash == "0deb7b3da43cac3b784b402ce15e69c1966e592b9a5c7f74524e2fc6c2f42afa"
    large = import_dataset("large", make_tree(tmp_path / "b", size=700, n_train=1, n_test=1), root)
    assert (large.has_photographs, large.image_size) == (False, 700)  # no cap where nobody asked for one
    capped = import_dataset("capped", tmp_path / "b", root, cap=50)
    assert (capped.has_photographs, capped.image_size) == (False, 50)


def test_one_odd_picture_makes_photographs_of_many_squares(
    tmp_path: Path, root: Path, make_tree: Callable[..., Path], save_image: Callable[..., Path]
) -> None:
    tree = make_tree(tmp_path / "tree", n_train=40)
    save_image(noise(9, 1400, 0), tree / "train" / "dog" / "zz.png")  # after those that are glanced at
    dataset = import_dataset("pets", tree, root)
    assert dataset.side_range == (4, 640)
    save_image(noise(9, 1400, 0), tree / "test" / "cat" / "00.png")  # and before them
    (tree / "train" / "dog" / "zz.png").unlink()
    assert import_dataset("other", tree, root).side_range == (4, 640)


def test_cap_scales_longer_sides_down_by_pillow(tree: Path, root: Path) -> None:
    dataset = import_dataset("pets", tree, root, cap=30)
    shapes = sorted(map(tuple, photographs(dataset.test).photographs.shapes.tolist()))
    assert shapes == sorted([(20, 30), (30, 19), (12, 12), (17, 30)] * 2)
    split = photographs(dataset.train)
    stored = {image.tobytes() for image in split.photographs}
    large = Image.open(tree / "train" / "cat" / "3.png").resize((30, 17), Image.Resampling.BICUBIC)
    assert np.asarray(large).tobytes() in stored


def test_import_says_what_disk_photographs_take_before_it_is_taken(
    tree: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []
    import_dataset("pets", tree, root, say=lambda line: said.append((line, root.exists())))
    needed = 4 * 3 * sum(h * w for h, w in SHAPES)
    assert said == [
        (f"16 photographs, longest side 57 pixels: the store takes {needed / 2**10:.1f} KiB, twice that while it is written",
         False),
    ]  # fmt: skip

    class Usage:
        free = 2 * needed - 1

    monkeypatch.setattr("shutil.disk_usage", lambda folder: Usage)
    with pytest.raises(
        StorageError, match=r"has 85\.0 KiB of disk left, the import needs 85\.0 KiB: lower --cap"
    ):
        import_dataset("more", tree, root / "none")
    assert not (root / "none").exists()


def test_import_names_photographs_that_cannot_be_read(tree: Path, root: Path) -> None:
    (tree / "train" / "cat" / "0.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"1 image cannot be read: `train/cat/0\.png` \(not an image\)"):
        import_dataset("pets", tree, root)
    assert not (root / "pets").exists() and not list(root.glob(".import-*"))


def test_photographs_refuse_to_be_taken_for_one_array(tree: Path, root: Path) -> None:
    dataset = import_dataset("pets", tree, root)
    for look in (lambda: dataset.train.images, lambda: dataset.test.boxes, lambda: dataset.image_size):
        with pytest.raises(InputError, match=r"photographs of unequal shape: look at them with --size N"):
            look()


def test_known_names_refuse_photographs(tmp_path: Path, root: Path, make_tree: Callable[..., Path]) -> None:
    from ralr_viz.data.known import KNOWN

    tree = make_tree(tmp_path / "tree", KNOWN["cifar10"].class_ids or (), n_train=1)
    Image.new("RGB", (32, 48)).save(tree / "train" / "cat" / "other.png")
    with pytest.raises(DataError, match="has images of 32×48 pixels, `cifar10` has 32"):
        import_dataset("cifar10", tree, root)


def test_size_and_cap_exclude_each_other(tree: Path, root: Path) -> None:
    with pytest.raises(InputError, match="size = 16 and cap = 32"):
        import_dataset("pets", tree, root, size=16, cap=32)
    with pytest.raises(InputError, match="cap = 2: images are stored with 8 to 8192 pixels"):
        import_dataset("pets", tree, root, cap=2)


def some_boxes() -> Boxes:
    corners = [
        np.array([[4.5, 1, 9, 8], [0, 0, 3, 3]]), np.empty((0, 4)), np.array([[1, 2, 3, 4]]), np.array([[0, 0, 5, 5]]),
    ]  # fmt: skip
    labels = [np.array([1, 0]), np.empty(0), np.array([1]), np.array([0])]
    return join_boxes(corners, labels, [np.array([DIFFICULT, 0]), np.empty(0), np.array([0]), np.array([3])])


def stored(root: Path, boxes: Boxes, order: list[int]) -> Path:
    images = [noise(10, 12 + i, i) for i in range(4)]
    intake = Intake(
        class_ids=("a", "b"),
        class_names=("a", "b"),
        is_test=np.array([False, False, True, False])[order],
        labels=np.array([0, 1, 1, 0])[order],
        boxes=boxes.take(np.array(order)),
        images=iter([[images[i] for i in order]]),
    )
    return write_store(intake, root, "-".join(map(str, order)))


def test_store_keeps_any_number_of_boxes_an_image(root: Path) -> None:
    boxes = some_boxes()
    one, other = (read_store(stored(root, boxes, order)) for order in ([0, 1, 2, 3], [3, 2, 0, 1]))
    assert one.content_hash == other.content_hash and one.has_boxes
    split = photographs(one.train)
    assert split.regions is not None
    found = {
        int(width): [split.regions.corners[at].tolist(), split.regions.labels[at].tolist(), split.regions.flags[at].tolist()]
        for width, at in zip(split.photographs.shapes[:, 1], map(split.regions.of, range(3)), strict=True)
    }  # fmt: skip
    assert found == {
        12: [[[0, 0, 3, 3], [4.5, 1, 9, 8]], [0, 1], [0, DIFFICULT]],
        13: [[], [], []],
        15: [[[0, 0, 5, 5]], [0], [3]],
    }
    assert all(check.ok for check in doctor(root))


def test_content_hash_sees_boxes_of_photographs() -> None:
    boxes = some_boxes()
    digests, labels = [bytes([i]) * 32 for i in range(4)], np.zeros(4, np.int64)
    moved = Boxes(boxes.offsets, boxes.corners + 1, boxes.labels, boxes.flags)
    elsewhere = Boxes(np.array([0, 1, 2, 3, 4]), boxes.corners, boxes.labels, boxes.flags)
    flagged = Boxes(boxes.offsets, boxes.corners, boxes.labels, boxes.flags ^ 1)
    hashes = set()
    for some in (boxes, moved, elsewhere, flagged):
        content = ContentHash()
        content.add_split("train", digests, labels, some)
        hashes.add(content.hexdigest(["a"]))
    assert len(hashes) == 4
    assert canonical_order([b"x"] * 4, labels, boxes).tolist() == sorted(
        range(4), key=boxes.keys().__getitem__
    )


def damage(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / name, change(np.load(folder / name)))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (damage("train_shapes.npy", lambda a: a + 1), "offsets and shapes of `train` do not match"),
        (damage("train_offsets.npy", lambda a: a[:-1]), "`train_offsets.npy` is int64"),
        (damage("train_pixels.npy", lambda a: a[:-1]), "`train_pixels.npy` is uint8"),
        (damage("train_box_offsets.npy", lambda a: a[::-1]), "the boxes of `train` do not rise from 0"),
        (damage("train_box_labels.npy", lambda a: a + 5), r"labels of the boxes of `train` are not all in \[0, 2\)"),
        (damage("train_labels.npy", lambda a: a - 5), r"labels of `train` are not all in \[0, 2\)"),
        (lambda folder: (folder / "train_box_flags.npy").unlink(), "`train_box_flags.npy` cannot be read"),
    ],
)  # fmt: skip
def test_load_refuses_a_damaged_store_of_photographs(
    harm: Callable[[Path], None], words: str, root: Path
) -> None:
    folder = stored(root, some_boxes(), [0, 1, 2, 3])
    harm(folder)
    with pytest.raises(DataError, match=words):
        load_dataset(folder.name, root)


@pytest.mark.parametrize(
    ("harm", "failed"),
    [
        (damage("train_pixels.npy", lambda a: a ^ 1), {"content", "mean and std"}),
        (damage("test_boxes.npy", lambda a: a + 50), {"content", "boxes of test"}),
        (damage("train_box_flags.npy", lambda a: a ^ 1), {"content"}),
    ],
)
def test_doctor_finds_what_loading_cannot_see_in_photographs(
    harm: Callable[[Path], None], failed: set[str], root: Path
) -> None:
    folder = stored(root, some_boxes(), [0, 1, 2, 3])
    harm(folder)
    assert {check.check for check in doctor(root, folder.name) if not check.ok} == failed


def test_commands_show_photographs(tree: Path, root: Path) -> None:
    runner = CliRunner()
    done = runner.invoke(
        app, ["import", "pets", "--from", str(tree), "--data", str(root), "--json", "--cap", "50"]
    )
    facts = json.loads(done.stdout)
    assert (facts["image_size"], facts["side_range"]) == (None, [12, 50])
    assert "16 photographs, longest side 50 pixels: the store takes 37.4 KiB" in done.stderr
    listed = runner.invoke(app, ["list", "--data", str(root)]).stdout
    assert "pets              ready    8 + 8 photographs of 12 to 50 pixels a side, 2 classes" in listed
    checked = runner.invoke(app, ["doctor", "--data", str(root), "-q"])
    assert (checked.exit_code, checked.stderr) == (0, "")
    assert (
        "ok    pets: store: 8 train, 8 test, 2 classes, photographs of 12 to 50 pixels a side"
        in checked.stdout
    )
