"""Parallel text: what is stored, in which order, and what is refused."""

from __future__ import annotations

import zipfile

import pytest

from ralr_viz.data import import_dataset, load_dataset, load_text
from ralr_viz.data.number_words import spell
from ralr_viz.data.parallel import ParallelText
from ralr_viz.errors import DataError, InputError, UnknownNameError

TEXT = {
    "train.en": "a\u2028b\ntab\tin it\nthird\n",
    "train.de": "A\nB\u0085\n@@\n",
    "val.en": "v\n",
    "val.de": "V",
    "test.en": "z\ny\n",
    "test.de": "Z\nY\n",
}


def write(folder, **changes):
    folder.mkdir(exist_ok=True)
    for name, text in {**TEXT, **changes}.items():
        if text is not None:
            (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def test_lines_end_at_newlines_only(tmp_path):
    text = import_dataset("mine", write(tmp_path / "in"), tmp_path)
    assert isinstance(text, ParallelText)
    assert (text.source, text.target, text.counts) == ("en", "de", {"train": 3, "val": 1, "test": 2})
    assert set(zip(*text.read("train"), strict=True)) == {
        ("a\u2028b", "A"), ("tab\tin it", "B\u0085"), ("third", "@@")
    }  # fmt: skip
    assert load_text("mine", tmp_path) == text


def test_training_order_is_that_of_the_content_and_test_order_that_of_the_files(tmp_path):
    first = import_dataset("mine", write(tmp_path / "in"), tmp_path)
    turned = {"train.en": "third\ntab\tin it\na\u2028b\n", "train.de": "@@\nB\u0085\nA\n"}
    other = import_dataset("other", write(tmp_path / "in2", **turned), tmp_path)
    assert first.read("train") == other.read("train") and first.content_hash == other.content_hash
    assert first.read("test") == (["z", "y"], ["Z", "Y"])
    swapped = {"test.en": "y\nz\n", "test.de": "Y\nZ\n"}
    assert (
        import_dataset("third", write(tmp_path / "in3", **swapped), tmp_path).content_hash
        != first.content_hash
    )


def test_multi30k_is_found_in_its_zip_beside_other_text(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        for name, text in TEXT.items():
            archive.writestr(f"multi30k-en-de/{name.replace('test.', 'test_2016_flickr.')}", text)
        archive.writestr("newstest2021/newstest2021.en-de.src.en", "other\n")
    assert import_dataset("multi30k", tmp_path / "m.zip", tmp_path).counts["test"] == 2


def test_multi30ks_further_test_sets_are_kept_beside_the_splits(tmp_path):
    folder = write(tmp_path / "in")
    plain = import_dataset("plain", folder, tmp_path)
    (folder / "test_2017_flickr.en").write_text("p\nq\nr\n")
    (folder / "test_2017_flickr.de").write_text("P\nQ\nR\n")
    text = import_dataset("multi30k", folder, tmp_path)
    assert dict(text.more) == {"test_2017_flickr": 3} and not plain.more
    assert text.read("test_2017_flickr") == (["p", "q", "r"], ["P", "Q", "R"])
    assert text.content_hash == plain.content_hash  # runs of before go on
    (folder / "test_2017_flickr.de").write_text("P\nQ\n")
    with pytest.raises(DataError, match="`test_2017_flickr.en` has 3 lines, `test_2017_flickr.de` 2"):
        import_dataset("other", folder, tmp_path)


def test_wmts_training_files_are_joined_and_empty_lines_of_them_left_out(tmp_path):
    folder = write(tmp_path / "in", **dict.fromkeys(TEXT))
    files = {
        "europarl-v7.de-en.en": "e\n\n", "europarl-v7.de-en.de": "E\nX\n",
        "commoncrawl.de-en.en": "c\n", "commoncrawl.de-en.de": "C\n",
        "newstest2013.en": "v\n", "newstest2013.de": "V\n",
        "newstest2014.en": "t\n", "newstest2014.de": "T\n",
    }  # fmt: skip
    for name, text in files.items():
        (folder / name).write_text(text)
    text = import_dataset("wmt14-en-de", folder, tmp_path)
    assert text.counts["train"] == 2 and text.notes == ("1 training pairs with an empty line are left out",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.de": "A\nB\n"}, "`train.en` has 3 lines, `train.de` 2: line n"),
        ({"val.de": b"V\xff\n"}, "`val.de` is not UTF-8 in line 1"),
        ({"test.de": "Z\n  \n"}, "`test.de` is empty in line 2"),
        ({"test.en": None, "test.de": None}, "has no test text: add `test.en` and `test.de`"),
        ({"val.de": None}, "has `val.en` but not the same in `de`"),
        ({"val.en": "", "val.de": ""}, "`val.en` has no lines"),
        ({"train.fr": "a\nb\nc\n"}, "end the name with the two languages"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path, changes, message):
    with pytest.raises(DataError, match=message.replace("(", r"\(")) as caught:
        import_dataset("mine", write(tmp_path / "in", **changes), tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "mine").exists()


def test_direction_is_as_the_name_ends(tmp_path):
    text = import_dataset("mine-de-en", write(tmp_path / "in"), tmp_path)
    assert (text.source, text.target) == ("de", "en")


def test_a_stored_text_is_replaced_by_force_only_and_is_no_images(tmp_path):
    write(tmp_path / "in")
    import_dataset("mine", tmp_path / "in", tmp_path)
    with pytest.raises(DataError, match="already in"):
        import_dataset("mine", tmp_path / "in", tmp_path)
    import_dataset("mine", tmp_path / "in", tmp_path, force=True)
    with pytest.raises(DataError, match="is text, not images"):
        load_dataset("mine", tmp_path)
    with pytest.raises(UnknownNameError):
        load_text("mien", tmp_path)
    with pytest.raises(DataError, match="text `multi30k` is not in"):
        load_text("multi30k", tmp_path)
    with pytest.raises(InputError, match="made by ralr-viz"):
        import_dataset("numbers", tmp_path / "in", tmp_path)


def test_a_damaged_text_is_told(tmp_path):
    text = import_dataset("mine", write(tmp_path / "in"), tmp_path)
    (tmp_path / "mine" / "val.de").write_text("V\nW\n")
    with pytest.raises(DataError, match="`val.de` has 2 lines, not 1"):
        text.read("val")


def test_numbers_are_spelled_and_the_same_everywhere(tmp_path):
    assert spell(205_012) == "two hundred and five thousand and twelve"
    assert spell(1_100) == "one thousand one hundred" and spell(90_021) == "ninety thousand and twenty one"
    text = load_text("numbers", tmp_path)
    assert text.counts == {"train": 3000, "val": 200, "test": 200}
    assert text.content_hash.startswith("db92977ba3ece5ee")
    words, digits = ([line for split in text.counts for line in text.read(split)[i]] for i in (0, 1))
    assert len(set(digits)) == len(digits) == 3400
    assert all(spell(int(d.replace(" ", ""))) == w for w, d in zip(words[:50], digits[:50], strict=True))
