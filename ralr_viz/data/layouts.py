"""Which reader a source is for, by the files that are in it."""

from __future__ import annotations

from ralr_viz.data.archive import Source
from ralr_viz.data.cifar import has_cifar_batches, read_cifar
from ralr_viz.data.class_folder import has_class_folders, read_class_folders
from ralr_viz.data.cub import has_cub_layout, read_cub
from ralr_viz.data.ingest import Intake
from ralr_viz.data.known import KNOWN
from ralr_viz.data.official import Reading
from ralr_viz.data.stanford_cars import has_car_folders, has_cars_lists, read_car_folders, read_cars
from ralr_viz.data.stanford_dogs import has_dogs_layout, read_dogs
from ralr_viz.data.tiny_imagenet import has_tiny_imagenet_layout, read_tiny_imagenet
from ralr_viz.data.voc import has_voc_layout, read_voc
from ralr_viz.errors import DataError, InputError

_PHOTOGRAPHS = ((has_cub_layout, read_cub), (has_cars_lists, read_cars), (has_dogs_layout, read_dogs))
CARS = "stanford-cars"


def read_layout(name: str, source: Source, size: int | None, reading: Reading) -> Intake:
    """Read a source into an intake.

    Args:
        name: Of the data set; ``tiny-imagenet-50`` is a part of its archive, class folders are numbered as Stanford
            Cars has them only under that name, and of several VOC folders one of that name is taken alone.
        source: Folder or archive.
        size: Side that images of class folders are scaled and cropped to.
        reading: How photographs are read.

    Raises:
        InputError: ``size`` or a cap for images to which it does not apply.
        DataError: No layout that is known, or as its reader.
    """
    if has_tiny_imagenet_layout(source):
        _refuse(source, "images of one size", size=size, cap=reading.cap)
        known = KNOWN.get(name)
        return read_tiny_imagenet(source, subset=known.class_ids if known else None, workers=reading.workers)
    for has, read in _PHOTOGRAPHS:
        if has(source):
            _refuse(source, "photographs whose boxes and hash are of their own shape", size=size)
            return read(source, reading)
    if has_voc_layout(source):
        _refuse(source, "photographs whose boxes and hash are of their own shape", size=size)
        return read_voc(name, source, reading)
    if name == CARS and has_car_folders(source):
        return read_car_folders(source, reading)
    if has_class_folders(source):
        return read_class_folders(source, size, reading)
    _refuse(source, "images of one size", size=size, cap=reading.cap)
    if has_cifar_batches(source):
        return read_cifar(source)
    raise DataError(
        f"`{source.label}` has no layout that is known (it begins with `{source.names[0]}`): give class "
        f"folders `train/<class>/` and `test/<class>/`, annotations as PASCAL VOC has them, or the official archives of "
        f"CIFAR, Tiny-ImageNet, CUB-200-2011, Stanford Cars or Stanford Dogs"
    )


def _refuse(source: Source, what: str, **options: int | None) -> None:
    for option, value in options.items():
        if value is not None:
            raise InputError(
                f"{option} = {value}: `{source.label}` has {what}; --{option} is for class folders"
            )
