"""CUB-200-2011 in its official layout: five lists beside ``images/``, one box an image.

References:
    Wah et al., The Caltech-UCSD Birds-200-2011 Dataset, CNS-TR-2011-001.
"""

from __future__ import annotations

from ralr_viz.data.archive import Source
from ralr_viz.data.ingest import Intake
from ralr_viz.data.official import Listed, Reading, read_lists, take_in
from ralr_viz.errors import DataError

_LISTS = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "bounding_boxes.txt", "classes.txt")


def has_cub_layout(source: Source) -> bool:
    """Whether two of the lists lie beside each other."""
    return _find_folder(source) is not None


def read_cub(source: Source, reading: Reading) -> Intake:
    """Read CUB-200-2011 or any subset of its classes; labels are in the order of ``classes.txt``.

    In the official archive ``attributes.txt`` lies beside the folder with all else, so that folder is looked for.

    Raises:
        DataError: A list is missing, malformed or disagrees with another, or images that cannot be used.
    """
    folder = _find_folder(source)
    assert folder is not None, "call has_cub_layout first"
    contents = read_lists(source, [folder + name for name in _LISTS])
    images, labels, splits, boxes, classes = (
        _read_table(source, folder + name, contents[folder + name], columns)
        for name, columns in zip(_LISTS, (1, 1, 1, 4, 1), strict=True)
    )
    order = sorted(classes, key=int)
    rank = {number: i for i, number in enumerate(order)}
    listed = []
    for number, (file,) in images.items():
        try:
            (label,), (train,), box = labels[number], splits[number], boxes[number]
            x, y, width, height = map(float, box)
            row = Listed(
                f"{folder}images/{file}", rank[label], train != "1", ((x, y, x + width, y + height),), (0,)
            )
        except (KeyError, ValueError) as error:
            raise DataError(
                f"the lists of `{source.label}` do not agree on image {number} (`{file}`): get it again"
            ) from error
        listed.append(row)
    ids = [classes[number][0] for number in order]
    names = [name.split(".", 1)[-1].replace("_", " ") for name in ids]
    return take_in(source, listed, ids, names, reading, "CUB-200-2011")


def _find_folder(source: Source) -> str | None:
    """The folder that the lists are in, ending in ``/`` or empty."""
    count: dict[str, int] = {}
    for name in source.names:
        folder, _, file = name.rpartition("/")
        if file in _LISTS:
            count[folder] = count.get(folder, 0) + 1
    found = [folder for folder, lists in count.items() if lists >= 2]
    return (found[0] + "/" if found[0] else "") if found else None


def _read_table(source: Source, file: str, content: bytes, columns: int) -> dict[str, list[str]]:
    """Lines ``number value …`` by their number."""
    table = {}
    for i, line in enumerate(content.decode("utf-8", errors="replace").splitlines(), start=1):
        number, *values = line.split(maxsplit=columns)
        if len(values) != columns or not number.isdecimal() or number in table:
            raise DataError(
                f"line {i} of `{file}` in `{source.label}` is malformed, a new number and {columns} "
                f"value{'s' * (columns > 1)} were expected: get it again"
            )
        table[number] = [value.strip() for value in values]
    return table
