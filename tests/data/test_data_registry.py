"""Names: known, unknown, absent, the user's own; and the list of all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ralr_viz.data import import_dataset, list_datasets, load_dataset
from ralr_viz.data.known import KNOWN
from ralr_viz.data.number_words import NUMBERS
from ralr_viz.data.parallel_layouts import KNOWN_TEXTS
from ralr_viz.errors import DataError, InputError, UnknownNameError

NAMES = KNOWN["cifar10"].class_ids or ()


def test_load_dataset_absent_says_both_ways_to_get_it(root: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_dataset("cifar10", root)
    assert str(caught.value) == (
        f"dataset `cifar10` is not in `{root}`: run `ralr-viz data download cifar10` or "
        f"`ralr-viz data import cifar10 --from PATH`"
    )
    assert caught.value.exit_code == 2
    assert not root.exists()


def test_load_dataset_unknown_offers_the_nearest_names(
    tmp_path: Path, root: Path, make_tree: Callable[..., Path]
) -> None:
    import_dataset("my-pets", make_tree(tmp_path / "tree"), root)
    with pytest.raises(UnknownNameError, match=r"`cifar1`: did you mean `cifar10`"):
        load_dataset("cifar1", root)
    with pytest.raises(UnknownNameError, match=r"`mypets`: did you mean `my-pets`"):
        load_dataset("mypets", root)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../pets", "a/b", "Pets", "-x", ".x", "a b", "a\n", "x" * 65, "ä"]
)
def test_names_that_are_no_folder_of_the_root_are_refused(
    name: str, tmp_path: Path, root: Path, make_tree: Callable[..., Path]
) -> None:
    import_dataset("pets", make_tree(tmp_path / "tree"), tmp_path)
    with pytest.raises(InputError, match="not allowed"):
        import_dataset(name, tmp_path / "tree", root)
    with pytest.raises(UnknownNameError):
        load_dataset(name, root)
    assert not root.exists()


@pytest.mark.parametrize(
    ("classes", "size", "words"),
    [
        (NAMES[:9], 32, r"has 9 classes, `cifar10` has 10"),
        (("plane", *NAMES[1:]), 32, r"has `automobile` as class 0, `cifar10` has `airplane`"),
        (NAMES, 16, r"has images of 16 pixels a side, `cifar10` has 32"),
    ],
)
def test_import_under_a_known_name_must_be_that_dataset(
    classes: tuple[str, ...],
    size: int,
    words: str,
    tmp_path: Path,
    root: Path,
    make_tree: Callable[..., Path],
) -> None:
    tree = make_tree(tmp_path / "tree", classes, n_train=1, n_test=1, size=size)
    with pytest.raises(DataError, match=words):
        import_dataset("cifar10", tree, root)
    assert import_dataset("mine", tree, root).num_classes == len(classes)


@pytest.mark.parametrize(("name", "size"), [("mine", 7), ("mine", 1025), ("mine", -1), ("cifar10", 64)])
def test_import_refuses_a_size_out_of_range_or_for_a_known_dataset(
    name: str, size: int, tmp_path: Path, root: Path, make_tree: Callable[..., Path]
) -> None:
    with pytest.raises(InputError, match=f"size = {size}"):
        import_dataset(name, make_tree(tmp_path / "tree"), root, size=size)


def test_list_datasets_shows_known_own_and_damaged(
    tmp_path: Path, root: Path, make_tree: Callable[..., Path], make_tiny_imagenet: Callable[..., Path]
) -> None:
    texts = [NUMBERS, *KNOWN_TEXTS]
    assert [row.name for row in list_datasets(root)] == [*KNOWN, *texts]
    assert not any(row.present for row in list_datasets(root))

    import_dataset("boxed", make_tiny_imagenet(tmp_path / "tiny", ["n1"]), root)
    import_dataset("pets", make_tree(tmp_path / "tree"), root)
    import_dataset("torn", tmp_path / "tree", root)
    (root / "torn" / "train_images.npy").unlink()
    (root / "no-store").mkdir()
    rows = {row.name: row for row in list_datasets(root)}
    assert list(rows) == [*KNOWN, "boxed", "pets", "torn", *texts]
    assert (rows["pets"].n_train, rows["pets"].n_test, rows["pets"].num_classes) == (8, 4, 2)
    assert (rows["pets"].boxes, rows["boxed"].boxes, rows["boxed"].image_size) == (False, True, 64)
    assert rows["torn"].present and rows["torn"].n_train is None and "damaged" in rows["torn"].note
    assert "data download cifar100" in rows["cifar100"].note
    assert rows["digits"].note == "built at first use"
