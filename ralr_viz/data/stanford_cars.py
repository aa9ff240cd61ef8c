"""Stanford Cars in the layouts that circulate since its addresses are dead.

- ``cars_train/``, ``cars_test/`` (doubled in Kaggle's copy) and the devkit's lists ``cars_train_annos.mat``,
  ``cars_meta.mat`` and ``cars_test_annos_withlabels.mat``, wherever these lie;
- ``car_ims/`` with ``cars_annos.mat``, all images in one folder;
- class folders ``train/<class>/`` and ``test/<class>/``, with boxes where ``anno_train.csv`` and ``anno_test.csv`` are.

Class ids are the numbers of the devkit, ``001`` to ``196``, in all of them.

References:
    Krause et al., 3D Object Representations for Fine-Grained Categorization, 3dRR workshop 2013.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from ralr_viz.data.archive import Source
from ralr_viz.data.ingest import Intake
from ralr_viz.data.known import read_class_lines
from ralr_viz.data.official import Listed, Reading, index_by_tail, read_lists, read_mat, take_in
from ralr_viz.data.picture import is_image_name
from ralr_viz.errors import DataError

_TRAIN, _TEST, _META = "cars_train_annos.mat", "cars_test_annos_withlabels.mat", "cars_meta.mat"
_BLIND = "cars_test_annos.mat"
_ALL = "cars_annos.mat"
_CORNERS = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")
_DEVKIT = (
    f"give the devkit ({_TRAIN}, {_META}) and {_TEST} beside cars_train and cars_test, by one --from each"
)


def has_cars_lists(source: Source) -> bool:
    """Whether one of the lists of the devkit is there."""
    return bool(_find(source, (_TRAIN, _TEST, _META, _ALL)))


def read_cars(source: Source, reading: Reading) -> Intake:
    """Read the images by the devkit's lists.

    Raises:
        DataError: A list is missing, has no classes or is malformed, or images that cannot be used.
    """
    files = _find(source, (_TRAIN, _TEST, _META, _ALL, _BLIND))
    if _ALL in files:
        table = _read_table(source, files[_ALL], ("annotations", "class_names"))
        names, parts = table["class_names"], [(_ALL, table["annotations"], "")]
    else:
        if _TEST not in files and _BLIND in files:
            files[_TEST] = files[_BLIND]  # the classes may have been added to it
        for needed in (_TRAIN, _TEST, _META):
            if needed not in files:
                raise DataError(f"`{source.label}` lacks `{needed}`: {_DEVKIT}")
        names = _read_table(source, files[_META], ("class_names",))["class_names"]
        parts = [
            (files[list_], _read_table(source, files[list_], ("annotations",))["annotations"], folder)
            for list_, folder in ((_TRAIN, "cars_train"), (_TEST, "cars_test"))
        ]
    class_names = [str(name) for name in np.atleast_1d(names)]
    listed = [row for part in parts for row in _read_rows(source, *part, len(class_names))]
    return take_in(source, listed, _number(len(class_names)), class_names, reading, "Stanford Cars")


def has_car_folders(source: Source) -> bool:
    """Whether there are class folders, at any depth, of the names of Stanford Cars alone."""
    return bool(_folder_images(source)) and all(
        _plain(name.split("/")[-2]) in _numbers() for name in _folder_images(source)
    )


def read_car_folders(source: Source, reading: Reading) -> Intake:
    """Read class folders; boxes come from ``anno_train.csv`` and ``anno_test.csv`` where both are there.

    Raises:
        DataError: An image has no row in these files, a row is malformed, or images that cannot be used.
    """
    numbers, files = _numbers(), _find(source, ("anno_train.csv", "anno_test.csv"))
    boxes = {} if len(files) < 2 else dict(_read_csv(source, files))
    listed = []
    for name in _folder_images(source):
        split, folder, file = name.split("/")[-3:]
        if boxes and (split, file) not in boxes:
            raise DataError(
                f"image `{name}` of `{source.label}` has no row in anno_{split}.csv: get it again"
            )
        corners = (boxes[split, file],) if boxes else ()
        listed.append(Listed(name, numbers[_plain(folder)], split == "test", corners, (0,) * len(corners)))
    class_names = read_class_lines("stanford_cars_classes.txt")
    found = take_in(
        source, listed, _number(len(class_names)), class_names, reading, "Stanford Cars, class folders",
        boxes=bool(boxes),
    )  # fmt: skip
    if not boxes:
        found.notes.append("class folders have no boxes: anno_train.csv and anno_test.csv are not there")
    return found


def _read_rows(source: Source, file: str, table: Any, folder: str, num_classes: int) -> Iterator[Listed]:
    """The rows of a list; boxes are from 1 to the last pixel."""
    rows = np.atleast_1d(table)
    fields = rows.dtype.names or ()
    if "class" not in fields:
        raise DataError(
            f"`{file}` of `{source.label}` has no classes: {_DEVKIT}; the devkit's own {_BLIND} is without"
        )
    tails = index_by_tail(source.names, 2)
    for i, row in enumerate(rows, start=1):
        try:
            path = str(row["fname"]) if folder else str(row["relative_im_path"])
            tail = f"{folder}/{path}" if folder else "/".join(PurePosixPath(path).parts[-2:])
            label = int(row["class"]) - 1
            x1, y1, x2, y2 = (float(row[corner]) for corner in _CORNERS)
            is_test = bool(int(row["test"])) if not folder else folder == "cars_test"
            if not 0 <= label < num_classes:
                raise ValueError(label)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise DataError(f"row {i} of `{file}` in `{source.label}` is malformed: get it again") from error
        yield Listed(tails.get(tail, tail), label, is_test, ((x1 - 1, y1 - 1, x2, y2),), (0,))


def _read_table(source: Source, file: str, variables: Sequence[str]) -> dict[str, Any]:
    table = read_mat(source.label, file, read_lists(source, [file])[file])
    for variable in variables:
        if variable not in table:
            raise DataError(f"`{file}` of `{source.label}` lacks `{variable}`: get it again")
    return table


def _read_csv(
    source: Source, files: dict[str, str]
) -> Iterator[tuple[tuple[str, str], tuple[float, float, float, float]]]:
    """Box of each image by its split and file: rows ``file, x1, y1, x2, y2, class``."""
    for split in ("train", "test"):
        file = files[f"anno_{split}.csv"]
        text = read_lists(source, [file])[file].decode("utf-8", errors="replace")
        for i, row in enumerate(csv.reader(text.splitlines()), start=1):
            try:
                image, x1, y1, x2, y2, _ = row
                yield (split, image), (float(x1) - 1, float(y1) - 1, float(x2), float(y2))
            except ValueError as error:
                raise DataError(
                    f"line {i} of `{file}` in `{source.label}` is malformed: get it again"
                ) from error


def _find(source: Source, names: Sequence[str]) -> dict[str, str]:
    return {name.split("/")[-1]: name for name in source.names if name.split("/")[-1] in names}


def _folder_images(source: Source) -> list[str]:
    """Images ``…/train/<class>/<file>`` and ``…/test/<class>/<file>``."""
    return [
        name
        for name in source.names
        if name.count("/") >= 2 and name.split("/")[-3] in ("train", "test") and is_image_name(name)
    ]


def _numbers() -> dict[str, int]:
    """Label of each class by its name without what copies change: ``Ram C/V`` cannot name a folder."""
    return {_plain(name): i for i, name in enumerate(read_class_lines("stanford_cars_classes.txt"))}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _number(count: int) -> list[str]:
    return [f"{number:03}" for number in range(1, count + 1)]
