"""Tiny-ImageNet in its official layout: ``wnids.txt``, ``words.txt``, ``train/<wnid>/…``, ``val/…``, boxes.

The official ``val`` is the test split; the official ``test`` has no labels and is not read. Labels are the
sorted wnids, as torchvision's ImageFolder orders the train folder, so that other people's weights fit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ralr_viz.data.archive import Source
from ralr_viz.data.images import decode_stream
from ralr_viz.data.ingest import Intake
from ralr_viz.data.picture import is_image_name
from ralr_viz.errors import DataError

_VAL_ANNOTATIONS = "val/val_annotations.txt"


def has_tiny_imagenet_layout(source: Source) -> bool:
    """Whether the source has the two files that only Tiny-ImageNet has."""
    return {"wnids.txt", _VAL_ANNOTATIONS} <= set(source.names)


def read_tiny_imagenet(
    source: Source, *, subset: Sequence[str] | None = None, workers: int | None = None
) -> Intake:
    """Read Tiny-ImageNet or any subset of its classes; greyscale images become RGB.

    Args:
        source: Folder or archive in the official layout.
        subset: Wnids to keep; None for all of ``wnids.txt``.
        workers: See :func:`~ralr_viz.data.images.decode_stream`.

    Raises:
        DataError: A wnid of ``subset`` is missing, an image has no annotation or the reverse, a malformed
            annotation, or images that cannot be used.
    """
    available = sorted(_read_text(source, ["wnids.txt"])["wnids.txt"].split())
    class_ids = tuple(available if subset is None else sorted(subset))
    if missing := sorted(set(class_ids) - set(available)):
        raise DataError(
            f"`{source.label}` lacks class `{missing[0]}` ({len(missing)} of {len(class_ids)} are missing): "
            f"import the official tiny-imagenet-200.zip"
        )
    label = {wnid: index for index, wnid in enumerate(class_ids)}
    annotations = _read_annotations(source, label)
    images = [name for name in source.names if name in annotations]
    if lost := sorted(annotations.keys() - set(images)):
        raise DataError(
            f"`{source.label}` lacks `{lost[0]}` ({len(lost)} annotated images are missing): get it again"
        )
    _check_complete(source, class_ids, images, annotations)
    return Intake(
        class_ids=class_ids,
        class_names=_class_names(source, class_ids),
        is_test=np.array([name.startswith("val/") for name in images]),
        labels=np.array([label[annotations[name][0]] for name in images], dtype=np.int64),
        boxes=np.array([annotations[name][1] for name in images], dtype=np.int16),
        images=decode_stream(source.read(images), workers=workers),
        source={"file": source.label, "layout": "Tiny-ImageNet", "test": "val"},
    )


def _read_annotations(source: Source, label: dict[str, int]) -> dict[str, tuple[str, list[int]]]:
    """Wnid and box of every image that belongs to a class in ``label``."""
    box_files = {f"train/{wnid}/{wnid}_boxes.txt": wnid for wnid in label}
    texts = _read_text(source, [_VAL_ANNOTATIONS, *box_files])
    found: dict[str, tuple[str, list[int]]] = {}
    for file, text in texts.items():
        for number, line in enumerate(text.splitlines(), start=1):
            fields = line.split()
            try:
                if file == _VAL_ANNOTATIONS:
                    image, wnid, *numbers = fields
                    image = f"val/images/{image}"
                else:
                    wnid = box_files[file]
                    image, *numbers = fields
                    image = f"train/{wnid}/images/{image}"
                box = _parse_box(numbers)
            except ValueError as error:
                raise DataError(
                    f"line {number} of `{file}` in `{source.label}` is malformed, a file and its box "
                    f"x0 y0 x1 y1 were expected: get the archive again"
                ) from error
            if wnid in label:
                found[image] = (wnid, box)
    return found


def _parse_box(fields: Sequence[str]) -> list[int]:
    x0, y0, x1, y1 = (int(field) for field in fields)
    box = [x0, y0, x1, y1]
    if min(box) < 0 or max(box) >= 2**15:  # negative coordinates stand for "no box" in the store
        raise ValueError(f"box {box}")
    return box


def _check_complete(
    source: Source,
    class_ids: tuple[str, ...],
    images: list[str],
    annotations: dict[str, tuple[str, list[int]]],
) -> None:
    """No class without train images, no test split without images, no image without an annotation."""
    classes, known = set(class_ids), set(images)
    # Of `val`, other classes' images have no annotation here: only a full import can tell a stray one.
    for name in source.names:
        split, wnid = (*name.split("/"), "")[:2]
        if split == "train" and wnid in classes and is_image_name(name) and name not in known:
            raise DataError(
                f"image `{name}` of `{source.label}` has no box in its _boxes.txt: get the archive again"
            )
    with_images = {annotations[name][0] for name in images if name.startswith("train/")}
    if empty := sorted(set(class_ids) - with_images):
        raise DataError(f"class `{empty[0]}` of `{source.label}` has no train images: get the archive again")
    if not any(name.startswith("val/") for name in images):
        raise DataError(f"`{source.label}` has no val images: they are the test split; get the archive again")


def _class_names(source: Source, class_ids: tuple[str, ...]) -> tuple[str, ...]:
    """The first synonym of each class in ``words.txt``, with the wnid where classes share it; or the wnid alone."""
    names: dict[str, str] = {}
    if "words.txt" in source.names:
        for line in _read_text(source, ["words.txt"])["words.txt"].splitlines():
            wnid, _, words = line.partition("\t")
            names[wnid] = words.split(",")[0].strip()
    named = [names.get(wnid) or wnid for wnid in class_ids]
    shared = {name for name, count in Counter(named).items() if count > 1}
    return tuple(
        f"{name} ({wnid})" if name in shared else name for name, wnid in zip(named, class_ids, strict=True)
    )


def _read_text(source: Source, names: Sequence[str]) -> dict[str, str]:
    texts = {name: content.decode("utf-8", errors="replace") for name, content in source.read(names)}
    if missing := [name for name in names if name not in texts]:
        raise DataError(f"`{source.label}` lacks `{missing[0]}`: get the archive again")
    return texts
