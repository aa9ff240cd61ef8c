"""What the readers of official sets of photographs share: lists, boxes, and what must be there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ralr_viz.data.archive import Source
from ralr_viz.data.images import decode_photographs, read_shapes
from ralr_viz.data.ingest import Intake
from ralr_viz.data.picture import CAP, Look
from ralr_viz.data.ragged import Boxes, join_boxes
from ralr_viz.data.spool import Progress
from ralr_viz.errors import DataError
from ralr_viz.foreign import one_line

_LARGEST_LIST = 8 * 2**20


@dataclass(frozen=True)
class Listed:
    """A photograph as the lists have it.

    Attributes:
        name: Of the file in the source; a name that is not there is refused by `take_in`.
        label: In ``[0, num_classes)``.
        is_test: Its split.
        corners: ``x0 y0 x1 y1`` of its boxes in pixels of the file, covering ``[x0, x1) × [y0, y1)``.
        flags: Of each box.
        box_labels: Of each box; None where all are of the image's class.
    """

    name: str
    label: int
    is_test: bool
    corners: tuple[tuple[float, float, float, float], ...]
    flags: tuple[int, ...]
    box_labels: tuple[int, ...] | None = None

    @property
    def classes(self) -> tuple[int, ...]:
        """What it shows: one class, or those of its boxes."""
        return (self.label,) if self.box_labels is None else self.box_labels


@dataclass(frozen=True)
class Reading:
    """How photographs are read: longest side, threads, and who is told how far it is."""

    cap: int | None = None
    workers: int | None = None
    progress: Progress | None = None


def take_in(
    source: Source,
    listed: Sequence[Listed],
    class_ids: Sequence[str],
    class_names: Sequence[str],
    reading: Reading,
    layout: str,
    *,
    boxes: bool = True,
) -> Intake:
    """The intake of what is listed, in pixels as they are stored in the files: EXIF orientation is not applied.

    Boxes are cut at the edge of their image and scaled with it.

    Raises:
        DataError: A photograph is listed twice or not there, or a split or a class has none.
    """
    rows = {row.name: row for row in listed}
    names = [name for name in source.names if name in rows]
    _check_listed(source, listed, rows, names, class_ids)
    ordered = [rows[name] for name in names]
    shapes = measure_images(source, names, reading.progress)
    look = Look(cap=reading.cap or CAP, turned=False)
    stored = np.array([look.shape(*shape) for shape in shapes.tolist()])
    notes: list[str] = []
    return Intake(
        class_ids=tuple(class_ids),
        class_names=tuple(class_names),
        is_test=np.array([row.is_test for row in ordered]),
        labels=np.array([row.label for row in ordered], dtype=np.int64),
        boxes=_place_boxes(ordered, shapes, stored, notes) if boxes else None,
        images=decode_photographs(source.read(names), look, workers=reading.workers, notes=notes),
        source={"file": source.label, "layout": layout, "test": "official", "cap": look.cap},
        notes=notes,
        shapes=stored,
    )


def _check_listed(
    source: Source,
    listed: Sequence[Listed],
    rows: Mapping[str, Listed],
    names: Sequence[str],
    class_ids: Sequence[str],
) -> None:
    if len(rows) < len(listed):
        seen: set[str] = set()
        twice = next(row.name for row in listed if row.name in seen or seen.add(row.name))  # type: ignore[func-returns-value]
        raise DataError(f"`{source.label}` lists `{twice}` twice: get it again")
    if len(names) < len(rows):
        there = set(names)
        lost = [name for name in rows if name not in there]
        raise DataError(
            f"`{source.label}` lists `{lost[0]}`, which it does not hold ({len(lost):,} of {len(rows):,} images are "
            f"missing): get it again, or give its other archives by another --from"
        )
    trained = {label for row in listed if not row.is_test for label in row.classes}
    if empty := sorted(set(range(len(class_ids))) - trained):
        raise DataError(
            f"class `{class_ids[empty[0]]}` of `{source.label}` has no train images: get it again"
        )
    if all(not row.is_test for row in listed):
        raise DataError(f"`{source.label}` lists no test images: get it again")


def measure_images(source: Source, names: Sequence[str], progress: Progress | None) -> np.ndarray:
    """``(n, 2)`` height and width of the files by their headers; 1 × 1 of those that cannot be read."""

    def tell(done: int) -> None:
        if progress:
            progress(done, len(names), "measuring images")

    shapes = read_shapes(source.read(names), tell)
    return np.array([shapes[name] for name in names])


def _place_boxes(rows: Sequence[Listed], shapes: np.ndarray, stored: np.ndarray, notes: list[str]) -> Boxes:
    """The boxes in pixels of the stored images."""
    corners, labels, flags, cut, empty = [], [], [], 0, 0
    for row, (height, width), (new_height, new_width) in zip(rows, shapes, stored, strict=True):
        given = np.array(row.corners, dtype=np.float64).reshape(-1, 4)
        limit = np.array([width, height, width, height], dtype=np.float64)
        inside = np.clip(given, 0, limit)
        proper = (inside[:, 2] > inside[:, 0]) & (inside[:, 3] > inside[:, 1])
        cut += int((proper & (inside != given).any(1)).sum())
        empty += int((~proper).sum())
        scale = np.array([new_width, new_height, new_width, new_height]) / limit
        corners.append((inside * scale)[proper])
        classes = np.full(len(given), row.label) if row.box_labels is None else np.array(row.box_labels)
        labels.append(classes.astype(np.int64).reshape(-1)[proper])
        flags.append(np.array(row.flags, dtype=np.uint8)[proper])
    for count, what in ((cut, "cut at the edge of the image"), (empty, "empty and left out")):
        if count:
            notes.append(f"{count:,} box{'es are' if count > 1 else ' is'} {what}")
    return join_boxes(corners, labels, flags)


def read_lists(source: Source, names: Iterable[str], remedy: str = "get it again") -> dict[str, bytes]:
    """The content of small files.

    Raises:
        DataError: One is not there.
    """
    names = list(names)
    found = dict(source.read(names, limit=_LARGEST_LIST))
    if missing := [name for name in names if name not in found]:
        raise DataError(f"`{source.label}` lacks `{missing[0]}`: {remedy}")
    return found


def index_by_tail(names: Iterable[str], parts: int) -> dict[str, str]:
    """The names by their last ``parts`` components, whatever folders enclose them."""
    return {"/".join(name.split("/")[-parts:]): name for name in names if name.count("/") >= parts - 1}


def read_mat(label: str, name: str, content: bytes) -> dict[str, Any]:
    """The variables of a MATLAB file, with no dimension of length one.

    Raises:
        DataError: It cannot be read.
    """
    import io

    from scipy.io import loadmat  # heavy

    try:
        return dict(loadmat(io.BytesIO(content), squeeze_me=True))
    except Exception as error:  # a damaged file may raise nearly any exception
        raise DataError(
            f"`{name}` of `{label}` is no MATLAB file that can be read ({one_line(error)}): get it again"
        ) from error
