"""From the name of a dataset to its store."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ralr_viz.data.archive import Source
from ralr_viz.data.dataset import Dataset
from ralr_viz.data.digits import read_digits
from ralr_viz.data.images import worker_count
from ralr_viz.data.ingest import Intake, Say, check_replaceable, write_store
from ralr_viz.data.known import KNOWN, KnownDataset
from ralr_viz.data.layouts import read_layout
from ralr_viz.data.number_words import NUMBERS, make_numbers
from ralr_viz.data.official import Reading
from ralr_viz.data.parallel import ParallelText, is_text, read_text, text_names
from ralr_viz.data.parallel_layouts import KNOWN_TEXTS, has_parallel_text, import_text
from ralr_viz.data.planted import read_planted
from ralr_viz.data.scenes import read_digit_scenes
from ralr_viz.data.sources import open_sources
from ralr_viz.data.spool import Images, Progress
from ralr_viz.data.store import MANIFEST, check_name, is_valid_name, read_store, stored_names
from ralr_viz.errors import DataError, InputError, UnknownNameError

DIGITS = "digits"
BUILT = {DIGITS: read_digits, "digit-scenes": read_digit_scenes, "planted": read_planted}
"""What needs no file: how each is made, at its first use."""
_SIZE_RANGE = (8, 1024)
_CAP_RANGE = (8, 8192)


def load_dataset(name: str, root: Path) -> Dataset:
    """Open dataset ``name`` of the data root; those of `BUILT` are made at their first use.

    Raises:
        UnknownNameError: Neither known nor in the root.
        DataError: Known but not in the root, or its store is damaged.
        StorageError: One of `BUILT` cannot be made because the root cannot be written.
    """
    if is_stored(name, root):
        return read_store(root / name)
    if name in BUILT:
        return read_store(write_store(BUILT[name](), root, name))
    if is_valid_name(name) and is_text(root / name):
        raise DataError(f"dataset `{name}` is text, not images: it is for recipes of the task translation")
    if name in KNOWN:
        raise DataError(f"dataset `{name}` is not in `{root}`: {how_to_get(name)}")
    raise UnknownNameError(
        "dataset", name, {*KNOWN, *stored_names(root)},
        f"(in `{root}`; your own: `ralr-viz data import NAME --from PATH`)",
    )  # fmt: skip


def load_text(name: str, root: Path) -> ParallelText:
    """Open the parallel text ``name`` of the data root; ``numbers`` is made at its first use.

    Raises:
        UnknownNameError: Neither known nor in the root.
        DataError: Known but not in the root, or its store is damaged.
        StorageError: ``numbers`` cannot be made because the root cannot be written.
    """
    if is_valid_name(name) and is_text(root / name):
        return read_text(root / name)
    if name == NUMBERS:
        return make_numbers(root)
    if name in KNOWN_TEXTS:
        raise DataError(
            f"text `{name}` is not in `{root}`: {KNOWN_TEXTS[name]} of `ralr-viz data import {name}`"
        )
    raise UnknownNameError(
        "text", name, {NUMBERS, *KNOWN_TEXTS, *text_names(root)},
        f"(in `{root}`; your own: `ralr-viz data import NAME --from PATH`)",
    )  # fmt: skip


def import_dataset(
    name: str,
    sources: Path | Sequence[Path],
    root: Path,
    *,
    size: int | None = None,
    cap: int | None = None,
    force: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Dataset | ParallelText:
    """Read folders, zips or tars into the store ``root/name``, whole or not at all.

    The layout is recognised by its files: the official CIFAR python version, Tiny-ImageNet, CUB-200-2011, Stanford Cars
    and Stanford Dogs, PASCAL VOC and what is annotated like it, or class folders ``train/<class>/`` and
    ``test/<class>/`` (or ``val/``) with pictures that Pillow reads. A known name must hold that dataset's classes;
    ``tiny-imagenet-50`` takes its classes out of the official archive. Files ``train.en``, ``train.de``, … are parallel
    text, see `import_text`.

    Args:
        name: ``[a-z0-9][a-z0-9._-]*``.
        sources: Folder or archive, whose enclosing folders are seen through; or several that belong together.
        root: The data root.
        size: Scale and crop the images of class folders to this many pixels; only under a name of your own. Left out,
            images of unequal shape keep theirs.
        cap: Scale longer sides of photographs down to this many pixels; left out, to `CAP`.
        force: Replace a store of that name.
        workers: Decoding threads; see `decode_stream`. The store does not depend on it.
        progress: Called as ``progress(done, total, what)``.
        say: Told what disk photographs take, before it is taken.

    Raises:
        InputError: A name or option that is not allowed.
        DataError: The source cannot be used, or the store is there and ``force`` is not set.
        StorageError: The store cannot be written.
    """
    check_name(name)
    if workers is not None:
        worker_count(workers)  # refuses a bad number before the work
    check_absent(name, root, force)
    if name in BUILT:
        raise InputError(f"dataset `{name}` is made at its first use: import yours under another name")
    if name == NUMBERS:
        raise InputError("text `numbers` is made by ralr-viz: import yours under another name")
    _check_size_options(name, size, cap)
    paths = [Path(sources)] if isinstance(sources, str | os.PathLike) else list(sources)
    with open_sources(paths) as opened:
        if has_parallel_text(opened):
            return import_text(name, opened, root, force=force)
        intake = read_layout(name, opened, size, Reading(cap, workers, progress))
        if name in KNOWN:
            _check_classes(KNOWN[name], opened, intake)
            if (side := KNOWN[name].image_size) is not None:
                intake = replace(intake, images=_check_image_size(name, side, opened, intake.images))
        folder = write_store(intake, root, name, force=force, progress=progress, say=say)
    return read_store(folder)


def check_absent(name: str, root: Path, force: bool) -> None:
    """Raise :class:`DataError` if there is a store that must not be replaced, or a folder that is none."""
    if not force and (is_stored(name, root) or is_text(root / name)):
        raise DataError(f"dataset `{name}` is already in `{root}`: add --force to replace it")
    check_replaceable(root / name)


def is_stored(name: str, root: Path) -> bool:
    """Whether ``root`` has a store of that name."""
    return is_valid_name(name) and (root / name / MANIFEST).is_file()


def how_to_get(name: str) -> str:
    """What to do about a known dataset that is not in the root."""
    if name in BUILT or name == NUMBERS:
        return "built at first use"
    if name in KNOWN_TEXTS:
        return f"{KNOWN_TEXTS[name]} of `ralr-viz data import {name}`"
    if name in KNOWN and KNOWN[name].by_hand:
        return f"{KNOWN[name].by_hand} of `ralr-viz data import {name}`"
    return f"run `ralr-viz data download {name}` or `ralr-viz data import {name} --from PATH`"


@dataclass(frozen=True)
class DatasetRow:
    """One line of ``ralr-viz data list``: a known dataset or a store in the root.

    ``present`` says whether there is a store; ``note`` how to get it, or what is wrong with it. ``image_size`` is None
    of photographs, ``side_range`` their shortest and longest side; ``languages`` are set of parallel text.
    """

    name: str
    present: bool
    n_train: int | None
    n_test: int | None
    num_classes: int | None
    image_size: int | None
    boxes: bool | None
    note: str
    side_range: tuple[int, int] | None = None
    languages: tuple[str, str] | None = None


def list_datasets(root: Path) -> list[DatasetRow]:
    """Known datasets, then the user's own; a damaged store is a row, not an error."""
    own = [name for name in stored_names(root) if name not in KNOWN]
    images = [
        _stored_row(name, root) if is_stored(name, root) else _absent_row(name) for name in (*KNOWN, *own)
    ]
    texts = dict.fromkeys((NUMBERS, *KNOWN_TEXTS, *text_names(root)))
    return images + [_text_row(name, root) for name in texts]


def _text_row(name: str, root: Path) -> DatasetRow:
    languages = ("en", "nn" if name == NUMBERS else "de")
    if not is_text(root / name):
        return DatasetRow(name, False, None, None, None, None, None, how_to_get(name), languages=languages)
    try:
        text = read_text(root / name)
    except DataError as error:
        return DatasetRow(name, True, None, None, None, None, None, str(error))
    counts, languages = text.counts, (text.source, text.target)
    return DatasetRow(name, True, counts["train"], counts["test"], None, None, None, "", languages=languages)


def _stored_row(name: str, root: Path) -> DatasetRow:
    try:
        dataset = read_store(root / name)
    except DataError as error:
        return DatasetRow(name, True, None, None, None, None, None, str(error))
    return DatasetRow(
        name, True, len(dataset.train), len(dataset.test), dataset.num_classes,
        None if dataset.has_photographs else dataset.image_size, dataset.has_boxes, "", dataset.side_range,
    )  # fmt: skip


def _absent_row(name: str) -> DatasetRow:
    known = KNOWN[name]
    return DatasetRow(
        name, False, known.n_train, known.n_test, known.num_classes, known.image_size, known.boxes,
        how_to_get(name),
    )  # fmt: skip


def _check_classes(known: KnownDataset, source: Source, intake: Intake) -> None:
    """A known name promises its classes in their official order, so that other people's weights fit."""
    if len(intake.class_ids) != known.num_classes:
        problem = f"has {len(intake.class_ids)} classes, `{known.name}` has {known.num_classes}"
    elif known.class_ids is not None and intake.class_ids != known.class_ids:
        pairs = zip(intake.class_ids, known.class_ids, strict=True)
        label, (wrong, right) = next((i, pair) for i, pair in enumerate(pairs) if pair[0] != pair[1])
        problem = f"has `{wrong}` as class {label}, `{known.name}` has `{right}`"
    else:
        return
    raise DataError(f"`{source.label}` {problem}: import it under a name of your own")


def _check_image_size(name: str, side: int, source: Source, images: Iterator[Images]) -> Iterator[Images]:
    for chunk in images:
        for height, width in {image.shape[:2] for image in chunk}:
            if (height, width) != (side, side):
                shape = f"{width} pixels a side" if height == width else f"{width}×{height} pixels"
                raise DataError(
                    f"`{source.label}` has images of {shape}, `{name}` has "
                    f"{side}: import it under a name of your own"
                )
        yield chunk


def _check_size_options(name: str, size: int | None, cap: int | None) -> None:
    if size is not None and cap is not None:
        raise InputError(f"size = {size} and cap = {cap}: squares of one size need no cap; give one of them")
    for option, value, (low, high) in (("size", size, _SIZE_RANGE), ("cap", cap, _CAP_RANGE)):
        if value is not None and not low <= value <= high:
            raise InputError(f"{option} = {value}: images are stored with {low} to {high} pixels a side")
    if name in KNOWN and size is not None:
        side = KNOWN[name].image_size
        has = f"{side} pixels a side" if side else "photographs"
        raise InputError(
            f"size = {size}: dataset `{name}` has {has} by definition; resize under a name of your own"
        )
