"""Class-folder trees: ``train/<class>/…`` and ``test/<class>/…`` (or ``val/``), as ImageFolder reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from ralr_viz.data.archive import Source
from ralr_viz.data.images import decode_photographs, decode_stream, name_files
from ralr_viz.data.ingest import Intake
from ralr_viz.data.official import Reading, measure_images
from ralr_viz.data.picture import CAP, EXTENSIONS, Look, is_image_name
from ralr_viz.data.spool import Images
from ralr_viz.errors import DataError

_GLANCE = 64
_TEST_FOLDERS = ("test", "val", "valid", "validation")


def has_class_folders(source: Source) -> bool:
    """Whether there is a ``train`` folder with folders in it."""
    return any(name.startswith("train/") and name.count("/") >= 2 for name in source.names)


def read_class_folders(source: Source, size: int | None = None, reading: Reading | None = None) -> Intake:
    """Read a class-folder tree; the labels are the sorted class folders of ``train``.

    ``test`` is the test split; where it holds no classes, ``val``, ``valid`` or ``validation`` is. Images may lie
    deeper inside a class. What is not read is named in the intake's notes.

    Args:
        source: Folder or archive.
        size: Scale and crop all images to squares of this many pixels.
        reading: How photographs are read; without a cap theirs is `CAP`, and none where all images are squares of one
            size already.

    Raises:
        DataError: No images, no test split, a class without images, a test class missing in train, or images
            that cannot be used (see :func:`~ralr_viz.data.images.decode_stream`).
    """
    test_folder = _find_test_folder(source)
    members = _members(source, "train", test_folder)
    images = [name for name in members if is_image_name(name)]
    counts = Counter(tuple(name.split("/")[:2]) for name in images)
    folders = {tuple(name.split("/")[:2]) for name in (*members, *source.folders) if "/" in name}
    folders = {(split, name) for split, name in folders if split in ("train", test_folder)}
    if empty := sorted(folders - counts.keys()):
        raise DataError(
            f"class folder `{'/'.join(empty[0])}` of `{source.label}` has no images ({', '.join(e[1:] for e in EXTENSIONS)}): "
            f"add some or remove it"
        )
    class_ids = tuple(sorted(name for folder, name in counts if folder == "train"))
    if extra := sorted(name for folder, name in counts if folder == test_folder and name not in class_ids):
        raise DataError(
            f"class `{extra[0]}` is in `{test_folder}` but not in `train` of `{source.label}`: "
            f"both need the same classes"
        )
    label = {name: index for index, name in enumerate(class_ids)}
    notes = _note_left_out(source, set(images), test_folder)
    reading = reading or Reading()
    decoded, shapes = _decode(source, images, size, reading, notes)
    return Intake(
        class_ids=class_ids,
        class_names=class_ids,
        is_test=np.array([not name.startswith("train/") for name in images]),
        labels=np.array([label[name.split("/")[1]] for name in images], dtype=np.int64),
        boxes=None,
        images=decoded,
        notes=notes,
        shapes=shapes,
        source={
            "file": source.label, "layout": "class folders", "test": test_folder,
            "other_files": len(source.names) - len(images), "resized_to": size,
        } | ({} if shapes is None else {"cap": reading.cap or CAP}),
    )  # fmt: skip


def _decode(
    source: Source, names: list[str], size: int | None, reading: Reading, notes: list[str]
) -> tuple[Iterator[Images], np.ndarray | None]:
    """The images, and the shapes that they will have where these had to be read first: not of small squares."""
    workers = reading.workers
    if size is not None:
        return decode_stream(source.read(names), size=size, workers=workers, notes=notes), None
    cap = reading.cap or CAP
    side = _common_side(measure_images(source, names[:_GLANCE], None))
    if side is not None and side <= cap:
        look = Look(cap=cap)  # for those that a glance has not seen
        return decode_photographs(source.read(names), look, small=True, workers=workers, notes=notes), None
    shapes = measure_images(source, names, reading.progress)
    look = Look(cap=reading.cap if _common_side(shapes) else cap)
    expected = np.array([look.shape(*shape) for shape in shapes.tolist()])
    return decode_photographs(source.read(names), look, workers=workers, notes=notes), expected


def _common_side(shapes: np.ndarray) -> int | None:
    side = int(shapes[0, 0])
    return side if (shapes == side).all() else None


def _note_left_out(source: Source, read: set[str], test_folder: str) -> list[str]:
    """Files that are not read: those beside the images, and whole folders that look like another split."""
    left = [name for name in source.names if name not in read]
    others = [f for f in _TEST_FOLDERS if f != test_folder]
    notes = []
    for folder in others:
        inside = [name for name in left if name.startswith(f"{folder}/") and is_image_name(name)]
        if inside:
            notes.append(
                f"{len(inside):,} images of `{folder}` are left out: `{test_folder}` is the test split"
            )
            left = [name for name in left if not name.startswith(f"{folder}/")]
    if left:
        notes.append(f"{name_files(sorted(left), 'file')} left out")
    return notes


def _find_test_folder(source: Source) -> str:
    for folder in _TEST_FOLDERS:
        if any(_members(source, folder)):
            return folder
    raise DataError(
        f"`{source.label}` has no `test/<class>/` or `val/<class>/` folders: add a test split beside `train`"
    )


def _members(source: Source, *folders: str) -> list[str]:
    """Files inside a class folder of one of ``folders``."""
    return [name for name in source.names if name.count("/") >= 2 and name.split("/")[0] in folders]
