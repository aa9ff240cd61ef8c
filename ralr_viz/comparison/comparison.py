"""The one object that analyses look at: networks under names, the samples they see, where and how they run."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ralr_viz.comparison.augmentation import augment_samples
from ralr_viz.comparison.files import read_files
from ralr_viz.comparison.network import PLAIN, Network, Triple, check_scale, name_checkpoints, plain_network
from ralr_viz.comparison.of_task import task_of
from ralr_viz.comparison.own_images import OwnImages, read_images
from ralr_viz.comparison.samples import Samples, open_dataset, own_samples, select_samples
from ralr_viz.comparison.view import choose_view
from ralr_viz.data import data_root, load_dataset
from ralr_viz.errors import InputError
from ralr_viz.runtime.device import Runtime, resolve_runtime
from ralr_viz.tasks.batches import Batch, Batches
from ralr_viz.tasks.classification.evaluate import fitting_batch
from ralr_viz.tasks.own import OwnTask
from ralr_viz.tasks.task import Task
from ralr_viz.train.checkpoint import Checkpoint, load_checkpoint

Source = str | os.PathLike[str] | Checkpoint | nn.Module
"""A run directory, ``DIR@200``, ``DIR@best``, a checkpoint file, or a network."""

Progress = Callable[[int, int, str], object]
"""Called as ``progress(done, total, what)``."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Networks side by side on the same samples.

    Attributes:
        networks: One or more, of different names.
        samples: What they look at.
        runtime: Device and precision of their forward passes.
        batch: Images a forward pass; None for what the analysis takes, see `batch_size`.
        named: The names are the caller's, not made from what the networks differ in.
        notes: What a reader should know of how it came about, a sentence each.
        task: Whose batches the samples are; None for labelled images.
        memory: What was computed of it and will be asked for again.
    """

    networks: tuple[Network, ...]
    samples: Samples | Batches
    runtime: Runtime
    batch: int | None = None
    named: bool = False
    notes: tuple[str, ...] = ()
    task: OwnTask | Task | None = None
    memory: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.networks)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the networks, in their order."""
        return tuple(network.name for network in self.networks)

    def build(self, i: int) -> nn.Module:
        """A private copy of network ``i`` in eval mode; see `Network.build`."""
        make = getattr(self.task, "build", None)  # which an objective of the caller's own has not
        return self.networks[i].build(classifier=self.task is None, make=make)

    def batch_size(self, most: int = 500, *, as_trained: bool = False) -> int:
        """Images a forward pass: the caller's number, else as many as a few gigabytes hold the activations of.

        Args:
            most: Where images are small; of a task's own batches it is only passed on.
            as_trained: No fewer than a step of training had, whose statistics BatchNorm knows.
        """
        if self.batch is not None or isinstance(self.samples, Batches):
            return self.batch or most
        height, width = self.samples.images.shape[1:3]
        least = max((network.recipe_batch or 1 for network in self.networks), default=1) if as_trained else 1
        return max(fitting_batch(height * width, most), min(least, most))

    def labelled(self) -> Samples:
        """The images that the networks look at.

        Raises:
            InputError: They look at batches of a task of the caller's own.
        """
        if isinstance(self.samples, Batches):
            self.samples.refuse_images()
        return self.samples

    def batches(self) -> Iterator[Batch]:
        """Of a task of the caller's own: its batches, one after the other on the device."""
        if not isinstance(self.samples, Batches):
            raise InputError("the networks are compared on images: `labelled` has them")
        return self.samples.on_device(self.runtime.device)

    def common_scale(self) -> tuple[Triple, Triple]:
        """Mean and std that all networks have.

        Raises:
            InputError: One sees the images normalised otherwise than the first.
        """
        first = self.networks[0]
        for network in self.networks:
            if (network.mean, network.std) != (first.mean, first.std):
                raise InputError(
                    f"`{network.shown}` was trained with another mean or std than `{first.shown}`: "
                    "compare networks of one normalisation"
                )
        return first.mean, first.std

    def take(self, rows: np.ndarray) -> Comparison:
        """The same networks on some of the samples, by their rows."""
        return replace(self, samples=self.samples.take(rows))

    def on(self, split: str) -> Comparison:
        """The same networks on another split of the data set, with the same limit.

        Raises:
            InputError: The images are the caller's own, or as `compare`.
        """
        samples = self.samples
        if isinstance(samples, Batches) and samples.split and self.task is not None:
            return replace(self, samples=self.task.read(samples.limit, split))
        if samples.store is None:
            raise InputError(
                f"images of your own have no `{split}` images beside them: compare the networks on those, too"
            )
        checkpoints = [network.checkpoint for network in self.networks if network.checkpoint]
        return replace(
            self, samples=select_samples(samples.store, split, samples.limit, checkpoints, samples.view)
        )

    def augmented(self, seed: int = 0) -> Comparison:
        """The same with one fixed draw of the augmentation that the networks were trained with.

        BatchNorm's statistics are of augmented images; measured on others, they are others.

        Raises:
            InputError: The networks were trained with different augmentation.
        """
        if isinstance(self.samples, Batches):
            samples = self.samples if self.task is None else self.task.augmented(self.samples, seed)
            return replace(self, samples=samples)
        return replace(self, samples=augment_samples(self.samples, self.networks, seed))

    def facts(self) -> dict[str, Any]:
        """What every result keeps of it: the networks' hashes and epochs, the recipe of the first, the data."""
        return {
            "checkpoints": [network.facts() for network in self.networks],
            "recipe": self.networks[0].recipe,
            "content_hash": self.samples.content_hash,
        } | self.seen()

    def seen(self) -> dict[str, str]:
        """How photographs were looked at, for a result's provenance; nothing of what are squares already."""
        view = None if isinstance(self.samples, Batches) else self.samples.view
        return {} if view is None else {"view": view.name}


def compare(
    networks: Mapping[str, Source] | Sequence[Source],
    *,
    data: str | None = None,
    root: Path | None = None,
    split: str = "test",
    limit: int | None = None,
    images: OwnImages | None = None,
    files: Sequence[str | os.PathLike[str]] = (),
    task: OwnTask | Task | None = None,
    labels: np.ndarray | None = None,
    boxes: np.ndarray | None = None,
    masks: np.ndarray | None = None,
    class_names: Sequence[str] = (),
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    arch: str | None = None,
    num_classes: int | None = None,
    image_size: int | None = None,
    resize: int | None = None,
    view: str | None = None,
    device: str = "auto",
    precision: str = "fp32",
    batch: int | None = None,
) -> Comparison:
    """Open networks and choose what they are compared on.

    Args:
        networks: Run directories (``DIR``, ``DIR@200``, ``DIR@best``), checkpoint files or modules of your own,
            as they are now: they are never moved or changed, and what becomes of them later is not seen. By name,
            or in a list, which are then named by what differs.
        data: Name of an ingested data set; left out, the one that the checkpoints were trained on.
        root: Folder of the ingested data sets; left out, ``$RALR_VIZ_DATA``, else the user's cache folder.
        split: ``test``, ``train`` or ``val``, the part that was held out in training.
        limit: At most so many images of the split, evenly spread.
        images: Instead of a data set, of your own: an array, a tensor, pictures of PIL, a data set or a loader, see
            `OwnImages`.
        files: Instead of either: pictures of any size, in files.
        task: Instead of images: of your own, see `ralr_viz.task`; ``limit`` is then of its batches. Left out, that of
            the checkpoints' recipe, whose ``limit`` is of samples.
        labels, boxes, masks, class_names: Of ``images``, as `Samples` has them.
        mean, std: Normalisation per channel in units of [0, 1], for what does not say its own.
        arch, num_classes, image_size: For checkpoint files that do not say theirs; ``image_size`` is also the side that
            photographs of unequal shape are looked at with.
        resize, view: Of photographs, see `ralr_viz.data.View`: what their shorter side is scaled to before the
            ``centre`` is cut out, or ``warp`` for the whole picture; left out, what the recipes of the checkpoints say.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: ``fp32``, IEEE's on every device, ``bf16``, ``auto`` or, on CUDA, ``tf32``.
        batch: Images a forward pass; left out, what each analysis takes, see `Comparison.batch_size`.

    Raises:
        InputError: No network, no images, networks of different data, or what is missing is not known.
        CheckpointError: A checkpoint that cannot be used.

    Example:
        >>> pair = compare({"SGD": "runs/R/baseline/seed0", "RALR": "runs/R/ralr/seed0"}, limit=1000)  # doctest: +SKIP
    """
    if precision == "fp16":
        raise InputError("`--precision fp16` is of training, whose loss is scaled: take fp32 or auto")
    runtime = resolve_runtime(device, precision)  # refuse early what is not there
    if not networks:
        raise InputError("`networks` is empty: a comparison needs one network or more")
    if batch is not None and batch < 1:
        raise InputError(f"`batch` = {batch} must be at least 1")
    sources = list(networks.values()) if isinstance(networks, Mapping) else list(networks)
    given = {"arch": arch, "num_classes": num_classes, "image_size": image_size, "mean": mean, "std": std}
    opened = _open(sources, given | {"dataset": data})
    names = list(networks) if isinstance(networks, Mapping) else _name(opened)
    checkpoints = [source for source in opened if isinstance(source, Checkpoint)]
    own: tuple[Any, Any] = (mean, std)
    notes: tuple[str, ...] = ()
    scales: list[Any] | None = None
    samples: Samples | Batches
    if task is None:
        task = task_of(checkpoints, root)
    if task is not None:
        samples, scales = task.read(limit, split), [PLAIN] * len(opened)
    elif files:
        samples, scales = read_files(
            [Path(file) for file in files],
            opened,
            root=root,
            size=image_size,
            scale=own,
            resize=resize,
            mode=view,
        )
    elif images is not None:
        images, labels = read_images(images, labels, limit if boxes is None and masks is None else None)
        samples = own_samples(images, labels, boxes, class_names, masks)
    else:
        if not checkpoints and data is None:
            raise InputError(
                "a module does not say its data set: pass `data`, e.g. data='cifar10', or `images`"
            )
        store = open_dataset(checkpoints, root) if checkpoints else load_dataset(str(data), data_root(root))
        seen = choose_view(store, checkpoints, size=image_size, resize=resize, mode=view)
        samples = select_samples(store, split, limit, checkpoints, seen)
        if any(None in _scale(source, own) for source in opened):
            notes = (
                f"normalising with the mean and std of `{store.name}`: pass --mean and --std if others were trained with",
            )
        own = (mean or store.mean, std or store.std)
    built = []
    scales = scales or [_scale(source, own) for source in opened]
    for name, source, scale in zip(names, opened, scales, strict=True):
        if None in scale:
            raise InputError(f"`{name}` does not say its normalisation: pass `mean` and `std`")
        built.append(Network(name, source, *check_scale(*scale)))
    return Comparison(tuple(built), samples, runtime, batch, isinstance(networks, Mapping), notes, task)


def _open(sources: Sequence[Source], known: Mapping[str, Any]) -> list[Checkpoint | nn.Module]:
    """Checkpoints, and one copy of each module, however often it is there."""
    modules = {id(source): source for source in sources if isinstance(source, nn.Module)}
    copies = {key: copy.deepcopy(plain_network(module)) for key, module in modules.items()}
    return [
        copies[id(source)]
        if isinstance(source, nn.Module)
        else source
        if isinstance(source, Checkpoint)
        else load_checkpoint(source, **known)
        for source in sources
    ]


def _name(opened: Sequence[Checkpoint | nn.Module]) -> list[str]:
    """Names of networks that came without: of checkpoints by what differs, of modules by number."""
    of_files = iter(name_checkpoints([c for c in opened if isinstance(c, Checkpoint)]))
    return [
        next(of_files) if isinstance(source, Checkpoint) else f"network {i}"
        for i, source in enumerate(opened, 1)
    ]


def _scale(source: Checkpoint | nn.Module, own: tuple[Any, Any]) -> tuple[Any, Any]:
    """Mean and std of a network, else the given ones."""
    if isinstance(source, Checkpoint):
        return source.mean or own[0], source.std or own[1]
    return own
