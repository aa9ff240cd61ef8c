"""Training that detects objects: SSD on images with any number of boxes."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from ralr_viz.data import load_dataset
from ralr_viz.data.augment import draw_order
from ralr_viz.errors import DataError
from ralr_viz.models.pretrained import locate_weights
from ralr_viz.results.tasks import DETECTION, MEAN_PRECISION
from ralr_viz.runtime.device import Runtime
from ralr_viz.runtime.ranks import Ranks
from ralr_viz.tasks.base import BaseTask
from ralr_viz.tasks.batches import Batches, MadeWhenAsked
from ralr_viz.tasks.batching import check_batches, count_steps, spread
from ralr_viz.tasks.detection.evaluate import DetectionEvaluator
from ralr_viz.tasks.detection.loss import LocationLoss, MultiboxSums, Targets, match_priors, multibox_loss
from ralr_viz.tasks.detection.network import SSD300, Outputs, SmallSSD, load_vgg16
from ralr_viz.tasks.detection.priors import SSD300_LEVELS, make_priors, small_levels
from ralr_viz.tasks.detection.recipe import DetectionRecipe
from ralr_viz.tasks.detection.samples import Draw, Painter, Pictures, finish, open_splits
from ralr_viz.tasks.task import Part

_AHEAD = 2
"""Steps whose images are made before they are asked for."""
_RESIDENT = 2**30
"""Bytes of normalised images that are kept."""
_PROBE_DRAW = Draw(0, -1)
_VGG16 = "torchvision:vgg16"


class DetectionBatch(NamedTuple):
    """Normalised images, and what a network should say of each of P priors.

    Attributes:
        images: (b, 3, S, S) float32.
        offsets: (b, P, 4) float32.
        labels: (b, P) int64, 0 for the background.
    """

    images: Tensor
    offsets: Tensor
    labels: Tensor


class Detection(BaseTask):
    """Objects in images; a loss's weight is the number of positive priors.

    Objects that are difficult are trained on, as in the reference, and count in no score. An image without objects
    adds nothing to the loss, since there are three hard negatives for each positive prior: its background is not
    learned, and it is a test image of which each detection is false.

    Attributes:
        dataset: The recipe's.
    """

    recipe_type = DetectionRecipe
    name = DETECTION
    score = MEAN_PRECISION
    samples_name = "images"
    counted = ("location", "classes")
    largest_growth = 100.0
    recipe: DetectionRecipe

    def __init__(self, recipe: DetectionRecipe, root: Path) -> None:
        """Open the data.

        Raises:
            DataError: They are not there, or a channel of them never changes.
            InputError: They have no objects.
        """
        super().__init__(recipe, root)
        self.dataset = load_dataset(recipe.dataset, root)
        if min(self.dataset.std) <= 0:
            raise DataError(
                f"a colour channel of `{self.dataset.name}` never changes, so it cannot be normalised"
            )
        self.splits = open_splits(self.dataset)
        levels = SSD300_LEVELS if recipe.model == "ssd300" else small_levels(recipe.input_size)
        self.priors = make_priors(levels)

    @functools.cached_property
    def painter(self) -> Painter:
        """Of the images."""
        fill = np.rint(255 * np.array(self._scale[0])).astype(np.uint8)
        return Painter(self.splits, self.recipe, fill)

    @functools.cached_property
    def _scale(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Mean and std of the channels, in units of [0, 1]: those that the weights expect, or of the data."""
        if self.recipe.weights:
            return locate_weights(_VGG16, self.recipe.weights)[1:]
        return self.dataset.mean, self.dataset.std

    @property
    def facts(self) -> Mapping[str, Any]:
        """Of the data set, and of the weights that a network starts from."""
        mean, std = self._scale
        facts = {
            "num_classes": self.dataset.num_classes,
            "mean": list(mean),
            "std": list(std),
            "class_names": list(self.dataset.class_names),
            "dataset": self.dataset.name,
            "content_hash": self.dataset.content_hash,
            "image_size": self.recipe.input_size,
        }
        if self.recipe.weights:
            with locate_weights(_VGG16, self.recipe.weights)[0].open("rb") as file:
                facts["weights_sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
        return facts

    def count(self, split: str) -> int:
        """Images."""
        return len(self.splits[split])

    def build(self) -> nn.Module:
        """SSD300, from VGG-16's weights where the recipe has them, or the small SSD."""
        classes = self.dataset.num_classes
        if self.recipe.model != "ssd300":
            return SmallSSD(classes, self.recipe.input_size)
        model = SSD300(classes)
        if self.recipe.weights:
            load_vgg16(model, self.recipe.weights)
        return model

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Weights first, since the first group's rate is what a record has; then biases."""
        groups: dict[bool, list[nn.Parameter]] = {False: [], True: []}
        for name, parameter in model.named_parameters():
            groups[name.endswith(".bias")].append(parameter)
        if self.recipe.bias_lr == 1 or not groups[True]:
            return super().parameter_groups(model)
        return [
            {"params": groups[False]},
            {"params": groups[True], "lr": self.recipe.lr * self.recipe.bias_lr},
        ]

    def batch(self, split: str, places: np.ndarray) -> DetectionBatch:
        """Images as they are."""
        return self.prepare_batch(self.painter.make(split, places), torch.device("cpu"))

    def prepare_batch(
        self, pictures: Pictures, device: torch.device, memory_format: torch.memory_format | None = None
    ) -> DetectionBatch:
        """Normalise images on the device, and match the priors with their objects."""
        images, boxes, labels = (tensor.to(device, non_blocking=True) for tensor in pictures)
        mean, std = (torch.tensor(values, device=device) for values in self._scale)
        x = (images.float() / 255 - mean) / std
        x = x.permute(0, 3, 1, 2).contiguous(memory_format=memory_format or torch.contiguous_format)
        return DetectionBatch(x, *match_priors(self.priors_on(device), boxes, labels))

    def priors_on(self, device: torch.device) -> Tensor:
        """(P, 4) centres; moved there once."""
        if self.priors.device != device:
            self.priors = self.priors.to(device)
        return self.priors

    def loss(self, model: nn.Module, batch: DetectionBatch) -> tuple[Tensor, Tensor]:
        """Σ multibox loss, and the number of positive priors."""
        sums = self.measure(model(batch.images), batch)
        return sums.loss, sums.positives

    def measure(self, outputs: Outputs, batch: DetectionBatch) -> MultiboxSums:
        """The multibox loss of what a network says."""
        kind = cast(LocationLoss, self.recipe.loc_loss)
        return multibox_loss(
            outputs.offsets, outputs.logits, Targets(batch.offsets, batch.labels), location_loss=kind
        )

    def train_loss(self, network: nn.Module, batch: DetectionBatch, runtime: Runtime) -> Part:
        """Mean over the positive priors; of none it is 0."""
        with runtime.autocast():
            outputs = network(batch.images)
        sums = self.measure(outputs, batch)
        counts = torch.stack([sums.offsets, sums.logits]).detach()
        return Part(sums.loss / sums.positives.clamp_min(1), sums.positives, counts)

    def weigh(self, batch: DetectionBatch) -> Tensor:
        """Its positive priors."""
        return Targets(batch.offsets, batch.labels).count_positives()

    def record(self, counts: Sequence[float], weight: float) -> dict[str, float]:
        """Both parts of the loss, and the positive priors."""
        location, classes = counts
        return {
            "train_loc_loss": location / weight,
            "train_conf_loss": classes / weight,
            "positives": weight,
        }

    def feed(self, runtime: Runtime, ranks: Ranks) -> DetectionFeed:
        """Batches of augmented training images."""
        trained = self.split()["train"]
        ranks.lead(lambda: check_batches(self.recipe, len(trained), ranks.size))
        return DetectionFeed(self, trained, runtime)

    def evaluator(self, runtime: Runtime) -> DetectionEvaluator:
        """On the training sample, on what was held out and, where the recipe says so, on the test images."""
        return DetectionEvaluator(self, self.watched(), runtime)

    def conclude(self, model: nn.Module, runtime: Runtime) -> dict[str, Any]:
        """Average precision of each class on the test images, in fp32."""
        return {"test": DetectionEvaluator(self, {"test": self.split()["test"]}, runtime).describe(model)}

    def read_parts(self, split: str, parts: Sequence[np.ndarray]) -> Sequence[DetectionBatch]:
        """Many images are made when they are asked for: VOC's 4,952 test images are 5 GB."""
        if sum(map(len, parts)) * self.recipe.input_size**2 * 12 > _RESIDENT:
            return MadeWhenAsked(lambda part: self.batch(split, part), parts)
        return super().read_parts(split, parts)

    def read(self, limit: int | None, split: str = "test") -> Batches:
        """Images as they are, with what priors are matched to; only the loss of them is a sum."""
        return replace(super().read(limit, split), score=None)

    def probe(self, count: int, runtime: Runtime) -> Batches:
        """Training images in one fixed draw of the augmentation."""
        chosen = spread(spread(self.split()["train"], self.recipe.train_sample), count)
        found, step = self.read(1, "train"), self.recipe.batch
        parts = [chosen[first : first + step] for first in range(0, len(chosen), step)]
        made = [self.painter.make("train", part, _PROBE_DRAW) for part in parts]
        cpu = torch.device("cpu")
        return replace(
            found,
            batches=tuple(self.prepare_batch(pictures, cpu) for pictures in made),
            limit=count,
            choice=f"{len(chosen):,} train images",
            augmentation="one draw of the training's",
        )


@dataclass(frozen=True, eq=False)
class DetectionPlan:
    """An epoch.

    Attributes:
        draw: Of the augmentation.
        order: (n,) places of the training images.
        batch: Images a step.
        steps: Of the epoch.
    """

    draw: Draw
    order: np.ndarray
    batch: int
    steps: int

    def shown(self, steps: int) -> int:
        """Images; the last batch may be smaller."""
        return min(steps * self.batch, len(self.order))


class DetectionFeed:
    """Makes the batches of an epoch, the next ones while one is trained on."""

    def __init__(self, task: Detection, trained: np.ndarray, runtime: Runtime) -> None:
        self.task, self.trained, self.runtime = task, trained, runtime
        self.steps = count_steps(task.recipe, len(trained))
        self._started: dict[tuple[Draw, int], tuple[Pictures, list[Future[None]]]] = {}

    def plan(self, seed: int, epoch: int) -> DetectionPlan:
        """The order is that of `draw_order`."""
        order = self.trained[draw_order(seed, epoch, len(self.trained)).numpy()]
        return DetectionPlan(Draw(seed, epoch), order, self.task.recipe.batch, self.steps)

    def load(self, plan: DetectionPlan, step: int, ranks: Ranks) -> list[DetectionBatch]:
        """One batch, or this rank's part of it; the ranks are told its positive priors."""
        wanted = [(plan.draw, at) for at in range(step, min(step + 1 + _AHEAD, plan.steps))]
        self._started = {key: self._started[key] for key in wanted if key in self._started}
        for draw, at in wanted:
            if (draw, at) not in self._started:
                start = at * plan.batch
                first, last = ranks.shard(start, min(start + plan.batch, len(plan.order)))
                self._started[draw, at] = self.task.painter.start("train", plan.order[first:last], draw)
        pictures = finish(self._started.pop((plan.draw, step)))
        batch = self.task.prepare_batch(pictures, self.runtime.device, self.runtime.memory_format)
        # a step without any positive prior has no share to give: a little, so that none divides by 0
        ranks.weigh(self.task.weigh(batch) + 1e-20)
        return [batch]
