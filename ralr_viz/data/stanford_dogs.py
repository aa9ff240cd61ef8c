"""Stanford Dogs: ``Images/``, ``Annotation/`` and the lists, three archives that are given together.

Its images are ImageNet's, so a network that was trained on ImageNet may have seen the test images.

References:
    Khosla et al., Novel Dataset for Fine-Grained Image Categorization, FGVC workshop 2011.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np

from ralr_viz.data.archive import Source
from ralr_viz.data.ingest import Intake
from ralr_viz.data.official import Listed, Reading, index_by_tail, read_lists, read_mat, take_in
from ralr_viz.data.picture import is_image_name
from ralr_viz.data.ragged import DIFFICULT, TRUNCATED
from ralr_viz.errors import DataError

_LISTS = ("train_list.mat", "test_list.mat")
_BREED = re.compile(r"n\d{8}-.+")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_ARCHIVES = "give images.tar, annotation.tar and lists.tar, by one --from each"


def has_dogs_layout(source: Source) -> bool:
    """Whether one of the lists is there, or folders of breeds below ``Images`` or ``Annotation``."""
    for name in source.names:
        parts = name.split("/")
        if parts[-1] in _LISTS:
            return True
        if len(parts) >= 3 and parts[-3].lower() in ("images", "annotation") and _BREED.fullmatch(parts[-2]):
            return True
    return False


def read_dogs(source: Source, reading: Reading) -> Intake:
    """Read Stanford Dogs; labels are those of its lists, boxes as many as dogs are annotated.

    Raises:
        DataError: One of the three parts is missing or malformed, or images that cannot be used.
    """
    lists = {name.split("/")[-1]: name for name in source.names if name.split("/")[-1] in _LISTS}
    if missing := [name for name in _LISTS if name not in lists]:
        raise DataError(f"`{source.label}` lacks `{missing[0]}`: {_ARCHIVES}")
    contents = read_lists(source, lists.values())
    rows = [
        (file, label, name == "test_list.mat")
        for name, path in sorted(lists.items())
        for file, label in _read_list(source, path, contents[path])
    ]
    breeds = _name_breeds(source, [(file, label) for file, label, _ in rows])
    annotations = _find_annotations(source, [file for file, _, _ in rows])
    texts = read_lists(source, annotations.values())
    images = index_by_tail((name for name in source.names if is_image_name(name)), 2)
    listed = []
    for file, label, is_test in rows:
        path = annotations[file]
        corners, flags = _read_boxes(source, path, texts[path])
        listed.append(Listed(images.get(file, file), label, is_test, corners, flags))
    ids = [breed.split("-", 1)[0] for breed in breeds]
    names = [breed.split("-", 1)[1].replace("_", " ") for breed in breeds]
    return take_in(source, listed, ids, names, reading, "Stanford Dogs")


def _read_list(source: Source, path: str, content: bytes) -> list[tuple[str, int]]:
    """File ``n02085620-Chihuahua/n02085620_1.jpg`` and label from 0 of each image."""
    table = read_mat(source.label, path, content)
    for variable in ("file_list", "labels"):
        if variable not in table:
            raise DataError(f"`{path}` of `{source.label}` lacks `{variable}`: get it again")
    try:
        files = [str(file) for file in np.atleast_1d(table["file_list"])]
        labels = [int(label) - 1 for label in np.atleast_1d(table["labels"])]
        if not all(file.count("/") == 1 and _BREED.fullmatch(file.split("/")[0]) for file in files):
            raise ValueError("no folder of a breed")
        return list(zip(files, labels, strict=True))
    except (TypeError, ValueError) as error:
        raise DataError(f"`{path}` of `{source.label}` is malformed: get it again") from error


def _name_breeds(source: Source, rows: list[tuple[str, int]]) -> list[str]:
    """The folder of each label."""
    found: dict[int, str] = {}
    for file, label in rows:
        folder = file.split("/")[0]
        if found.setdefault(label, folder) != folder:
            raise DataError(
                f"label {label + 1} of `{source.label}` is of `{found[label]}` and of `{folder}`: get it again"
            )
    if sorted(found) != list(range(len(found))) or len(set(found.values())) != len(found):
        raise DataError(f"the labels of `{source.label}` are not 1 to {len(found)}: get it again")
    return [found[label] for label in sorted(found)]


def _find_annotations(source: Source, files: list[str]) -> dict[str, str]:
    """The annotation of each image: of its name without suffix."""
    tails = index_by_tail((name for name in source.names if not is_image_name(name)), 2)
    found = {file: tails.get(file.rsplit(".", 1)[0], "") for file in files}
    if lost := [file for file, path in found.items() if not path]:
        raise DataError(
            f"`{source.label}` has no annotation of `{lost[0]}` ({len(lost):,} of {len(files):,} are missing): {_ARCHIVES}"
        )
    return found


def _read_boxes(
    source: Source, path: str, content: bytes
) -> tuple[tuple[tuple[float, float, float, float], ...], tuple[int, ...]]:
    """Corners and flags of all dogs in an image."""
    try:
        if b"<!" in content:  # entities may unfold without end
            raise ValueError("declarations")
        objects = ElementTree.fromstring(content).findall("object")
        corners = [tuple(_number(dog, f"bndbox/{corner}") for corner in _CORNERS) for dog in objects]
        flags = [
            DIFFICULT * (dog.findtext("difficult") == "1") + TRUNCATED * (dog.findtext("truncated") == "1")
            for dog in objects
        ]
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"annotation `{path}` of `{source.label}` is malformed: get it again") from error
    return tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in corners), tuple(flags)


def _number(dog: ElementTree.Element, path: str) -> float:
    text = dog.findtext(path)
    if text is None:
        raise ValueError(f"no {path}")
    return float(text)
