"""PASCAL VOC's layout: what is read of it, and what is made of what others leave open."""

from __future__ import annotations

import tarfile

import numpy as np
import pytest
from PIL import Image

from ralr_viz.data import doctor, import_dataset, load_dataset, scenes
from ralr_viz.data.known import KNOWN
from ralr_viz.data.ragged import DIFFICULT, TRUNCATED
from ralr_viz.errors import DataError, InputError


def thing(name, box, *, more=""):
    corners = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name>{more}<bndbox>{corners}</bndbox></object>"


def write_voc(folder, members, *, shape=(30, 40), seed=0):
    """``members``: list → image → objects as XML."""
    rng = np.random.default_rng(seed)
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for kind, images in members.items():
        (folder / "ImageSets" / "Main" / f"{kind}.txt").write_text("".join(f"{name}\n" for name in images))
        for name, objects in images.items():
            pixels = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "JPEGImages" / f"{name}.png")
            text = f"<annotation><filename>wrong.jpg</filename><size><width>0</width></size>{objects}</annotation>"
            (folder / "Annotations" / f"{name}.xml").write_text(text, encoding="utf-8")
    return folder


CAT, DOG = thing("cat", (3, 4, 12, 20)), thing("dog", (1, 1, 40, 30))
PLAIN = {"trainval": {"a": CAT + DOG, "b": DOG}, "test": {"c": CAT}}


def boxes_of(split):
    """(corners, label, flag) of every box, of all images."""
    regions = split.regions
    return sorted(
        (tuple(float(v) for v in c), int(label), int(flag))
        for c, label, flag in zip(regions.corners, regions.labels, regions.flags, strict=True)
    )


def test_corners_count_from_one_and_are_inclusive(tmp_path):
    data = import_dataset("pets", write_voc(tmp_path / "VOC2007", PLAIN), tmp_path / "root")
    assert data.class_ids == ("cat", "dog") and (len(data.train), len(data.test)) == (2, 1)
    assert boxes_of(data.test) == [((2.0, 3.0, 12.0, 20.0), 0, 0)]
    assert ((0.0, 0.0, 40.0, 30.0), 1, 0) in boxes_of(data.train)
    assert all(check.ok for check in doctor(tmp_path / "root", "pets"))


def test_folder_and_archive_are_one_data_set(tmp_path):
    folder = write_voc(tmp_path / "VOCdevkit" / "VOC2007", PLAIN)
    with tarfile.open(tmp_path / "voc.tar", "w") as archive:
        archive.add(tmp_path / "VOCdevkit", "VOCdevkit")
    hashes = {
        import_dataset(name, source, tmp_path / "root").content_hash
        for name, source in (("folder", folder), ("tar", tmp_path / "voc.tar"))
    }
    assert len(hashes) == 1


def test_published_archives_are_read_as_one(tmp_path):
    """2007's two archives share their folder; 2012 has no test list and is all for training."""
    whole = write_voc(tmp_path / "whole" / "VOC2007", PLAIN)
    tails = {"trainval.txt": "trainval", "a": "trainval", "b": "trainval", "test.txt": "test", "c": "test"}
    for part in ("trainval", "test"):
        with tarfile.open(tmp_path / f"{part}.tar", "w") as archive:
            for path in sorted(whole.rglob("*")):
                if path.is_file() and (tails.get(path.name) or tails.get(path.stem)) == part:
                    archive.add(path, f"VOCdevkit/VOC2007/{path.relative_to(whole)}")
    later = write_voc(
        tmp_path / "VOCdevkit" / "VOC2012",
        {"trainval": {"d": CAT + DOG, "e": DOG}, "train": {"d": CAT + DOG}, "val": {"e": DOG}},
        seed=1,
    )
    with tarfile.open(tmp_path / "2012.tar", "w") as archive:
        archive.add(later.parent, "VOCdevkit")
    sources = [tmp_path / name for name in ("trainval.tar", "test.tar", "2012.tar")]
    both = import_dataset("both", sources, tmp_path / "root")
    assert (len(both.train), len(both.test)) == (4, 1)
    alone = import_dataset("later", later, tmp_path / "root")
    assert (len(alone.train), len(alone.test)) == (1, 1)
    assert any("no test list" in note for note in alone.notes)


def test_of_several_folders_the_one_of_the_name_is_taken(tmp_path):
    write_voc(tmp_path / "in" / "BCCD", PLAIN)
    write_voc(tmp_path / "in" / "cards", {"trainval": {"x": thing("ace", (1, 1, 9, 9))}, "test": {"y": CAT}})
    assert import_dataset("bccd", tmp_path / "in", tmp_path / "root").class_ids == ("cat", "dog")
    with pytest.raises(DataError, match="class `cat` .* has no train images"):
        import_dataset("cards", tmp_path / "in", tmp_path / "root")


def test_what_is_wrong_with_a_box_is_said(tmp_path):
    members = {
        "trainval": {
            "a": CAT + thing("cat", (5, 5, 5, 9)) + thing("cat", (9, 5, 3, 9)),  # no area, swapped
            "b": thing("cat", (30.5, 10.25, 55, 20.75)),  # fractions, past the edge
        },
        "test": {"c": CAT},
    }
    data = import_dataset("pets", write_voc(tmp_path / "V", members), tmp_path / "root")
    assert boxes_of(data.train) == [((2.0, 3.0, 12.0, 20.0), 0, 0), ((29.5, 9.25, 40.0, 20.75), 0, 0)]
    assert "2 boxes are empty and left out" in data.notes
    assert "1 box is cut at the edge of the image" in data.notes


def test_parts_names_flags_and_empty_images(tmp_path):
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    flags = "<difficult>1</difficult><truncated>1</truncated>"
    members = {
        "trainval": {"a": thing("猫 noir", (3, 4, 12, 20), more=part + flags), "b": "", "ü": CAT},
        "test": {"c": thing("猫 noir", (1, 1, 9, 9), more="<difficult>0</difficult>")},
    }
    data = import_dataset("pets", write_voc(tmp_path / "V", members), tmp_path / "root")
    assert data.class_ids == ("cat", "猫 noir")
    assert boxes_of(data.train) == [
        ((2.0, 3.0, 12.0, 20.0), 0, 0),
        ((2.0, 3.0, 12.0, 20.0), 1, DIFFICULT + TRUNCATED),
    ]
    assert sorted(data.train.regions.counts) == [0, 1, 1]
    assert "1 image has no object" in data.notes
    assert any("3 objects, 1 of them difficult" in note for note in data.notes)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda v: (v / "Annotations" / "a.xml").write_text("<annotation>"), "annotation `.*a.xml` .* malformed"),
        (lambda v: (v / "Annotations" / "a.xml").write_text("<!DOCTYPE x><annotation/>"), "declarations"),
        (lambda v: (v / "Annotations" / "a.xml").write_text("<a>" + thing("cat", (1, 1, "", 9)) + "</a>"),
         "the box of `cat` is no four numbers"),
        (lambda v: (v / "Annotations" / "a.xml").unlink(), "has no annotation of `a`"),
        (lambda v: (v / "JPEGImages" / "a.png").unlink(), "lists `.*a.jpg`, which it does not hold"),
        (lambda v: (v / "ImageSets" / "Main" / "test.txt").write_text("a\n"), "lists `a` twice"),
    ],
)  # fmt: skip
def test_source_that_is_broken_is_refused_in_one_line(tmp_path, spoil, message):
    folder = write_voc(tmp_path / "V", PLAIN)
    spoil(folder)
    with pytest.raises(DataError, match=message) as raised:
        import_dataset("pets", folder, tmp_path / "root")
    assert "\n" not in str(raised.value) and not (tmp_path / "root" / "pets").exists()


def test_size_is_refused_and_cap_scales_the_boxes(tmp_path):
    folder = write_voc(tmp_path / "V", PLAIN)
    with pytest.raises(InputError, match="size = 20"):
        import_dataset("pets", folder, tmp_path / "root", size=20)
    data = import_dataset("pets", folder, tmp_path / "root", cap=20)
    assert boxes_of(data.test) == [((1.0, 1.5, 6.0, 10.0), 0, 0)]


def test_downloads_are_checked_and_what_the_reference_trains_on_is_both_years():
    whole = KNOWN["voc0712"].downloads
    assert {*KNOWN["voc2007"].downloads, *KNOWN["voc2012"].downloads} == set(whole)
    assert all(len(each.md5) == 32 and each.url.endswith(".tar") for each in whole)
    assert KNOWN["voc0712"].n_train == KNOWN["voc2007"].n_train + 11_540


def test_digit_scenes_are_made_at_first_use(tmp_path):
    data = load_dataset("digit-scenes", tmp_path)
    assert (len(data.train), len(data.test), data.num_classes) == (800, 200, 10)
    assert all(check.ok for check in doctor(tmp_path, "digit-scenes"))
    counts = np.concatenate([data.train.regions.counts, data.test.regions.counts])
    assert counts.min() >= 1 and counts.max() <= 5


def test_digit_scenes_are_the_same_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(scenes, "TRAIN", 12)
    monkeypatch.setattr(scenes, "TEST", 4)
    made = [load_dataset("digit-scenes", tmp_path / name) for name in "ab"]
    assert made[0].content_hash == made[1].content_hash and len(made[0].train) == 12
