"""Training that classifies images: its data on the device, the loss that is trained on, what each epoch is measured on."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ralr_viz.data import load_dataset
from ralr_viz.data.augment import (
    BatchLoader,
    EpochPlan,
    augment_once,
    normalise_batch,
    pad_images,
    plan_epoch,
)
from ralr_viz.data.dataset import PhotographSplit, Split
from ralr_viz.data.split import split_train
from ralr_viz.errors import DataError
from ralr_viz.models.classifier import head_parameters
from ralr_viz.runtime.device import Runtime
from ralr_viz.runtime.ranks import Ranks
from ralr_viz.tasks.batches import Batches
from ralr_viz.tasks.batching import check_batches, count_steps, spread
from ralr_viz.tasks.classification.conclude import final_sets, score_final
from ralr_viz.tasks.classification.evaluate import evaluate, evaluation_sets, place_images
from ralr_viz.tasks.classification.loss import Classification
from ralr_viz.tasks.classification.photographs import (
    PhotographFeed,
    augment_photographs,
    see,
    view_of,
)
from ralr_viz.tasks.classification.recipe import ClassificationRecipe
from ralr_viz.tasks.classification.start import open_start
from ralr_viz.tasks.task import Part

_PROBE_BATCH = 500


class ImageClassification(Classification):
    """Images of one class each.

    Attributes:
        dataset: The recipe's.
        trained, held: (n,), (m,) indices of its training images that are trained on, and held out.
    """

    recipe_type = ClassificationRecipe
    samples_name = "images"
    counted = ("right",)
    largest_growth = math.inf

    def __init__(self, recipe: ClassificationRecipe, root: Path) -> None:
        """Open the data.

        Raises:
            DataError: They are not there, or a channel of them never changes.
                InputError: The recipe's split leaves a class without images, or it does not say how photographs are looked at.
            CheckpointError: The weights that it starts from are not there, or of another network.
        """
        self.recipe, self.dataset = recipe, load_dataset(recipe.dataset, root)
        if min(self.dataset.std) <= 0:
            raise DataError(
                f"a colour channel of `{self.dataset.name}` never changes, so it cannot be normalised"
            )
        super().__init__(self.dataset.train.labels)
        self.trained, self.held = split_train(
            self.dataset.train.labels,
            validation=recipe.validation,
            subset=recipe.subset,
            seed=recipe.split_seed,
        )
        self.view = view_of(recipe, self.dataset)
        self.start = open_start(recipe, self.dataset.num_classes, root)

    @property
    def facts(self) -> Mapping[str, Any]:
        """Of the data set, and how the images are normalised."""
        dataset, start, scale = self.dataset, self.start.weights, self.start.weights or self.dataset
        return {
            "num_classes": dataset.num_classes,
            "mean": list(scale.mean),
            "std": list(scale.std),
            "class_names": list(dataset.class_names),
            "dataset": dataset.name,
            "content_hash": dataset.content_hash,
            "image_size": self.view.size if self.view else dataset.image_size,
        } | ({"weights_sha256": start.sha256} if start else {})

    def build(self) -> nn.Module:
        """See `Start.build`."""
        return self.start.build()

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """All in one, or those of the classifier beside the others, at a rate of their own."""
        recipe = self.recipe
        if recipe.head_lr == 1:
            return [{"params": list(model.parameters())}]
        head = head_parameters(model, recipe.model)
        backbone = [p for p in model.parameters() if all(p is not h for h in head)]
        return [{"params": backbone}, {"params": head, "lr": recipe.lr * recipe.head_lr}]

    def feed(self, runtime: Runtime, ranks: Ranks) -> ImageFeed | PhotographFeed:
        """The training images, whole on the device; photographs are made on the host as they are needed."""
        ranks.lead(lambda: check_batches(self.recipe, len(self.trained), ranks.size))
        device, recipe = runtime.device, self.recipe
        photographs = self.dataset.train
        if isinstance(photographs, PhotographSplit):
            return PhotographFeed(recipe, photographs, self.trained, self._scale(device), runtime)
        # uint8 on the device: a quarter of float32, and the whole of CIFAR is 150 MB
        images, labels = place_images(self.dataset.train, self.trained, device)
        padded, classes = pad_images(images, recipe.crop_padding), self.dataset.num_classes
        loader = BatchLoader(padded, labels, *self._scale(device), classes, recipe.crop_padding)
        return ImageFeed(recipe, loader, runtime)

    def train_loss(
        self, network: nn.Module, batch: tuple[Tensor, Tensor, Tensor | None], runtime: Runtime
    ) -> Part:
        """Mean cross-entropy in nats, of mixed or smoothed labels where the recipe has them; counts what is right."""
        x, y, target = batch
        with runtime.autocast():
            logits = network(x)
        logits = logits.float()
        loss = nn.functional.cross_entropy(
            logits, y if target is None else target, label_smoothing=self.recipe.label_smoothing
        )
        with torch.no_grad():
            right = (logits.argmax(1) == y).float()
            each = torch.stack([_plain_losses(logits, y), right], 1) if self._keeps("train") else None
        return Part(loss, float(len(y)), right.sum()[None], each)

    def example_places(self, name: str) -> np.ndarray | None:
        """Those trained on, held out, or all test images where each epoch is measured on them."""
        if name == "test":
            return np.arange(len(self._part("test"))) if self.recipe.evaluate_test == "epoch" else None
        return self.trained if name == "train" else self.held

    def _keeps(self, name: str) -> bool:
        return name in self.recipe.examples.split(",")

    def weigh(self, batch: tuple[Tensor, Tensor, Tensor | None]) -> float:
        """Its images."""
        return float(len(batch[1]))

    def record(self, counts: Sequence[float], weight: float) -> dict[str, float]:
        """The running accuracy."""
        return {"train_acc": 100 * counts[0] / weight}

    def evaluator(self, runtime: Runtime) -> ImageEvaluator:
        """The sets of `evaluation_sets`, on the device."""
        recipe, device = self.recipe, runtime.device
        sets = evaluation_sets(
            self._part("train"),
            self._part("test"),
            self.trained,
            self.held,
            recipe.train_sample,
            device,
            with_test=recipe.evaluate_test == "epoch",
        )
        kept = frozenset(name for name in ("val", "test") if self._keeps(name))
        return ImageEvaluator(sets, *self._scale(device), runtime, kept)

    def judge(self, record: Mapping[str, Any], steps: int) -> str:
        """A finite loss is no failure."""
        return ""

    def conclude(self, model: nn.Module, runtime: Runtime) -> dict[str, Any]:
        """See `score_final`."""
        sets = final_sets(self.recipe, self._part("train"), self._part("test"), self.trained, self.held)
        return score_final(model, self.build, sets, *self._scale(runtime.device), runtime)

    def read(self, limit: int | None, split: str = "test") -> Batches:
        """Normalised images and classes; ``train`` and ``val`` are the recipe's."""
        part = self._part("test" if split == "test" else "train")
        chosen = {"test": np.arange(len(part)), "train": self.trained, "val": self.held}[split]
        chosen = spread(chosen, limit)
        return self._batches(part.images[chosen], part.labels[chosen], _PROBE_BATCH, split, limit)

    def augmented(self, batches: Batches, seed: int) -> Batches:
        """Of batches that were normalised already: themselves; see `probe`."""
        return batches

    def probe(self, count: int, runtime: Runtime) -> Batches:
        """In batches of 500; Cutout, Mixup and CutMix are left out, see `augment_once`."""
        recipe, train = self.recipe, self.dataset.train
        chosen = spread(spread(self.trained, recipe.train_sample), count)
        if isinstance(train, PhotographSplit):
            images = augment_photographs(recipe, train, chosen)
        else:
            images = augment_once(
                np.asarray(train.images[chosen]), padding=recipe.crop_padding, flip=recipe.flip
            )
        return self._batches(images, train.labels[chosen], _PROBE_BATCH, "train", count)

    def _batches(
        self, images: np.ndarray, labels: np.ndarray, batch: int, split: str, limit: int | None
    ) -> Batches:
        mean, std = self._scale(torch.device("cpu"))
        made = []
        for first in range(0, len(images), batch):
            x = torch.from_numpy(np.array(images[first : first + batch]))
            y = torch.from_numpy(labels[first : first + batch].astype(np.int64))
            made.append((normalise_batch(x, mean, std), y))
        return Batches(
            tuple(made),
            self.name,
            "nats",
            self.score,
            limit,
            dataset=self.dataset.name,
            split=split,
            content_hash=self.dataset.content_hash,
            samples_name=self.samples_name,
        )

    def _part(self, split: str) -> Split:
        return see(self.dataset, split, self.view)

    def _scale(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Mean and std (3,) of the images in units of [0, 1]."""
        mean, std = (
            torch.tensor(values, dtype=torch.float32, device=device)
            for values in (self.facts["mean"], self.facts["std"])
        )
        return mean, std


@dataclass(frozen=True, eq=False)
class ImagePlan:
    """An epoch of images.

    Attributes:
        draws: Order and augmentation, on the host.
        batch: Images a step.
        steps: Of the epoch.
    """

    draws: EpochPlan
    batch: int
    steps: int

    def shown(self, steps: int) -> int:
        """Images; the last batch may be smaller."""
        return min(steps * self.batch, len(self.draws.order))


class ImageFeed:
    """Makes the batches of an epoch from images that lie on the device."""

    def __init__(self, recipe: ClassificationRecipe, loader: BatchLoader, runtime: Runtime) -> None:
        self.recipe, self.loader, self.runtime = recipe, loader, runtime
        self.steps = count_steps(recipe, len(loader.labels))
        self._placed: tuple[EpochPlan, EpochPlan] | None = None

    def plan(self, seed: int, epoch: int) -> ImagePlan:
        """See `plan_epoch`."""
        recipe = self.recipe
        draws = plan_epoch(
            seed,
            epoch,
            len(self.loader.labels),
            size=self.loader.size,
            batch=recipe.batch,
            padding=recipe.crop_padding,
            flip=recipe.flip,
            cutout=recipe.cutout,
            mixup=recipe.mixup,
            cutmix=recipe.cutmix,
            cutmix_alpha=recipe.cutmix_alpha,
        )
        return ImagePlan(draws, recipe.batch, self.steps)

    def load(
        self, plan: ImagePlan, step: int, ranks: Ranks
    ) -> Sequence[tuple[Tensor, Tensor, Tensor | None]]:
        """Images, own labels and, where they are mixed, soft targets."""
        start = step * plan.batch
        part = ranks.shard(start, min(start + plan.batch, len(self.loader.labels)))
        x, y, target = self.loader.load(self._on_device(plan), *part)
        return [(x.contiguous(memory_format=self.runtime.memory_format), y, target)]

    def rows(self, plan: ImagePlan, step: int, ranks: Ranks) -> Tensor:
        """Of the images of `load`, among those that are trained on."""
        start = step * plan.batch
        first, last = ranks.shard(start, min(start + plan.batch, len(self.loader.labels)))
        return self._on_device(plan).order[first:last]

    def _on_device(self, plan: ImagePlan) -> EpochPlan:
        """An epoch's draws, moved once."""
        if self._placed is None or self._placed[0] is not plan.draws:
            self._placed = plan.draws, plan.draws.to(self.runtime.device)
        return self._placed[1]


@dataclass(frozen=True, eq=False)
class ImageEvaluator:
    """Loss and accuracy of a network on images on the device, of the sets ``kept`` also each one's."""

    sets: Mapping[str, tuple[Tensor, Tensor]]
    mean: Tensor
    std: Tensor
    runtime: Runtime
    kept: frozenset[str] = frozenset()
    each: dict[str, Tensor] = field(default_factory=dict)

    @functools.cached_property
    def sizes(self) -> dict[str, int]:
        """Images of each set."""
        return {name: len(labels) for name, (_, labels) in self.sets.items()}

    def __call__(self, model: nn.Module) -> dict[str, float | None]:
        """Nats and per cent, in the precision of the training."""
        record: dict[str, float | None] = {}
        for name, (images, labels) in self.sets.items():
            each: list[Tensor] | None = [] if name in self.kept else None
            result = evaluate(model, images, labels, self.mean, self.std, self.runtime, each=each)
            if each is not None:
                self.each[name] = torch.cat(each)
            if name == "train":
                record["train_loss_eval"] = result.loss
            else:
                record |= {f"{name}_loss": result.loss, f"{name}_acc": result.top1}
        return record


def _plain_losses(logits: Tensor, y: Tensor) -> Tensor:
    """(b,) cross-entropy with each image's own label, neither mixed nor smoothed."""
    return nn.functional.cross_entropy(logits, y, reduction="none")
