"""Detection in the layout of PASCAL VOC: ``Annotations/``, ``JPEGImages/`` and lists in ``ImageSets/Main/``.

``VOCdevkit/VOC2007`` and ``VOC2012`` as they are downloaded, several at once, and anybody's folder or archive like them.

What others leave open is decided so:

- An image has the name of its annotation; ``<filename>`` and ``<size>``, which are often wrong or 0 × 0, are not asked.
- Corners are inclusive pixels that count from 1, and may be fractions: the box is ``[x − 1, x')``.
- A box whose ends are equal or swapped is left out, one past the edge is cut there; both are counted in the notes.
- Of an object only its own box counts, not those of its ``<part>``.
- Names of classes are kept as they are written, in any script.
- An image without objects is kept. One that is listed and has no annotation is an error.
- Objects that are difficult or truncated are kept and flagged; what they count for is the task's business.

References:
    Everingham et al., The PASCAL Visual Object Classes (VOC) Challenge, IJCV 2010.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np

from ralr_viz.data.archive import Source
from ralr_viz.data.ingest import Intake
from ralr_viz.data.official import Listed, Reading, read_lists, take_in
from ralr_viz.data.picture import is_image_name
from ralr_viz.data.ragged import DIFFICULT, TRUNCATED
from ralr_viz.errors import DataError
from ralr_viz.foreign import one_line

_LISTS = "ImageSets/Main/"
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def has_voc_layout(source: Source) -> bool:
    """Whether lists of ``ImageSets/Main`` and annotations are there."""
    return bool(_find_folders(source))


def read_voc(name: str, source: Source, reading: Reading) -> Intake:
    """Read all VOC folders of a source, or the one that is called like the data set; labels are in order of the names.

    Trained on is ``trainval``, tested on ``test``; a folder without a ``test`` beside one that has it is all for training.
    Where none has one (VOC 2012's has no public objects), ``train`` and ``val`` are taken.

    Raises:
        DataError: A list, an annotation or an image is missing or malformed, or a class has no training objects.
    """
    folders = _find_folders(source)
    own = [folder for folder in folders if _name_folder(source, folder).lower() == name.lower()]
    folders = own if len(folders) > 1 and own else folders
    members = _read_members(source, folders)
    texts = read_lists(source, [member.annotation for member in members])
    objects = [_read_objects(source, m.annotation, texts.pop(m.annotation)) for m in members]
    classes = sorted({one.name for found in objects for one in found})
    if not classes:
        raise DataError(
            f"`{source.label}` has no object in any of its annotations: give the annotated images"
        )
    rank = {label: i for i, label in enumerate(classes)}
    listed = [
        Listed(
            member.image, 0, member.is_test, tuple(one.corners for one in found),
            tuple(one.flags for one in found), tuple(rank[one.name] for one in found),
        )
        for member, found in zip(members, objects, strict=True)
    ]  # fmt: skip
    intake = take_in(source, listed, classes, classes, reading, "PASCAL VOC")
    intake.notes.extend(_describe(source, folders, members, objects))
    return intake


@dataclass(frozen=True)
class _Member:
    """A listed image: its file, that of its annotation, and its split."""

    image: str
    annotation: str
    is_test: bool


@dataclass(frozen=True)
class _Object:
    """One object: its class, half-open corners in pixels of the file, and flags."""

    name: str
    corners: tuple[float, float, float, float]
    flags: int


def _find_folders(source: Source) -> list[str]:
    """The VOC folders, each ending in ``/`` or empty."""
    lists = {name[: -len(_tail(name))] for name in source.names if _tail(name)}
    annotated = {
        folder for folder in lists if any(n.startswith(f"{folder}Annotations/") for n in source.names)
    }
    return sorted(annotated)


def _tail(name: str) -> str:
    """``ImageSets/Main/<list>.txt`` at the end of a name; empty where it has no such end."""
    before, found, file = name.rpartition(_LISTS)
    whole = found and file.endswith(".txt") and "/" not in file and (not before or before.endswith("/"))
    return found + file if whole else ""


def _name_folder(source: Source, folder: str) -> str:
    return (source.prefix + folder).rstrip("/").rpartition("/")[2] or source.label


def _read_members(source: Source, folders: Sequence[str]) -> list[_Member]:
    wanted = ("trainval", "test", "train", "val")
    there = set(source.names)
    paths = {(f, kind): f"{f}{_LISTS}{kind}.txt" for f in folders for kind in wanted}
    texts = read_lists(source, [path for path in paths.values() if path in there])
    lists = {key: _read_list(texts[path]) for key, path in paths.items() if path in texts}
    tested = any(kind == "test" for _, kind in lists)
    members, seen = list[_Member](), set[str]()
    for folder in folders:
        images = _index(source, f"{folder}JPEGImages/")
        annotations = _index(source, f"{folder}Annotations/")
        for kind, is_test in _choose_lists({kind for f, kind in lists if f == folder}, tested):
            for image in lists[folder, kind]:
                if image not in annotations:
                    raise DataError(
                        f"`{source.label}` has no annotation of `{one_line(image)}`, which `{paths[folder, kind]}` lists: "
                        "get it again, or give its other archives by another --from"
                    )
                if annotations[image] in seen:
                    raise DataError(
                        f"`{source.label}` lists `{one_line(image)}` twice: take it from one of its lists"
                    )
                seen.add(annotations[image])
                found = images.get(image, f"{folder}JPEGImages/{image}.jpg")
                members.append(_Member(found, annotations[image], is_test))
    if not members:
        raise DataError(f"`{source.label}` lists no image in `{_LISTS}trainval.txt`: write one name a line")
    return members


def _choose_lists(kinds: set[str], tested: bool) -> Iterator[tuple[str, bool]]:
    """Which lists of a folder are read, and whether they are tested on."""
    if not tested:
        yield from ((kind, kind == "val") for kind in ("train", "val") if kind in kinds)
        return
    trained = ("trainval",) if "trainval" in kinds else ("train", "val")
    yield from ((kind, kind == "test") for kind in (*trained, "test") if kind in kinds)


def _read_list(content: bytes) -> list[str]:
    return [line.strip() for line in content.decode("utf-8", errors="replace").splitlines() if line.strip()]


def _index(source: Source, folder: str) -> dict[str, str]:
    """Images or annotations of a folder by their names without suffix."""
    wants_image = folder.endswith("JPEGImages/")
    return {
        name.removeprefix(folder).rpartition(".")[0]: name
        for name in source.names
        if name.startswith(folder) and (is_image_name(name) if wants_image else name.endswith(".xml"))
    }


def _read_objects(source: Source, path: str, content: bytes) -> list[_Object]:
    try:
        if b"<!DOCTYPE" in content or b"<!ENTITY" in content:  # entities may unfold without end
            raise ValueError("declarations")
        return [_read_object(one) for one in ElementTree.fromstring(content).findall("object")]
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(
            f"annotation `{path}` of `{source.label}` is malformed ({one_line(error)}): mend it or get it again"
        ) from error


def _read_object(one: ElementTree.Element) -> _Object:
    name = (one.findtext("name") or "").strip()
    if not name:
        raise ValueError("an object has no name")
    # findtext sees direct children alone, so not the boxes of parts
    values = [float(one.findtext(f"bndbox/{corner}") or "nan") for corner in _CORNERS]
    if not np.isfinite(values).all():
        raise ValueError(f"the box of `{name}` is no four numbers")
    x0, y0, x1, y1 = values
    proper = x1 > x0 and y1 > y0
    flags = DIFFICULT * _is_set(one, "difficult") + TRUNCATED * _is_set(one, "truncated")
    # without an area, so that it is left out and counted
    return _Object(name, (x0 - 1, y0 - 1, x1, y1) if proper else (0, 0, 0, 0), flags)


def _is_set(one: ElementTree.Element, flag: str) -> bool:
    return (one.findtext(flag) or "").strip() == "1"


def _describe(
    source: Source,
    folders: Sequence[str],
    members: Sequence[_Member],
    objects: Sequence[Sequence[_Object]],
) -> Iterator[str]:
    """What a user of several folders, difficult objects or empty images should know."""
    names = [_name_folder(source, folder) for folder in folders]
    total = sum(map(len, objects))
    difficult = sum(bool(one.flags & DIFFICULT) for found in objects for one in found)
    empty = sum(not found for found in objects)
    tests = sum(member.is_test for member in members)
    yield f"{' and '.join(names)}: {total:,} objects, {difficult:,} of them difficult"
    if empty:
        yield f"{empty:,} image{'s have' if empty > 1 else ' has'} no object"
    if not any(f"{folder}{_LISTS}test.txt" in set(source.names) for folder in folders):
        yield f"no test list: its {tests:,} images of `val` are the test images"
