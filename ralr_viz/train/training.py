"""One training between its epochs: network, optimizer, schedule and data, and how an epoch is trained."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ralr_viz.data import Dataset, Split
from ralr_viz.data.augment import EpochPlan, crop_batch, normalise_batch, pad_images, plan_epoch
from ralr_viz.data.split import split_train
from ralr_viz.errors import CheckpointError, DivergedError, InputError
from ralr_viz.models import build_model
from ralr_viz.train.evaluate import evaluate
from ralr_viz.train.optim import build_optimizer, build_scheduler
from ralr_viz.train.recipe import Recipe
from ralr_viz.train.runtime import Runtime, StopSignal

# Steps between two looks at the running loss: each look waits for the device.
LOOK_EVERY = 25


@dataclass(frozen=True)
class StepReport:
    """What a progress bar shows: ``epoch`` is 1-based, ``loss`` the epoch's running mean in nats."""

    epoch: int
    epochs: int
    step: int
    steps: int
    lr: float
    factor: float
    loss: float
    images_per_second: float
    record: dict[str, Any] | None = None


Report = Callable[[StepReport], None]


class EpochStoppedError(Exception):
    """A signal came within an epoch; ``partial`` is what `Training.partial` needs to go on with it."""

    def __init__(self, partial: dict[str, Any]) -> None:
        super().__init__("stopped within an epoch")
        self.partial = partial


def train_step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    totals: Tensor,
    runtime: Runtime,
) -> None:
    """One optimizer step on the mean cross-entropy; nothing in it waits for the device.

    Args:
        network: In training mode.
        optimizer: Of its parameters, with no gradients left from before.
        x: (b, 3, H, W) float32 normalised images.
        y: (b,) int64 labels.
        totals: (3,) float32, to which Σ loss (nats), the number of correct predictions and the norm of the
            gradient are added.
        runtime: Where and in which precision.
    """
    with runtime.autocast():
        logits = network(x)
    logits = logits.float()
    loss = nn.functional.cross_entropy(logits, y)
    loss.backward()
    with torch.no_grad():
        gradients = [
            p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None
        ]
        norm = nn.utils.get_total_norm(gradients)
        totals += torch.stack([loss * len(y), (logits.argmax(1) == y).sum().float(), norm])
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


class Training:
    """State of one training between its epochs; it writes no file.

    Args:
        recipe, method, seed: What to train; the seed fixes initial weights, order and augmentation.
        dataset: The recipe's.
        runtime: Where and in which precision.

    Attributes:
        model, optimizer, scheduler: As after ``epoch`` epochs.
        epoch: Number of finished epochs.
        order_seed: Seed of order and augmentation; the training seed, unless somebody sets another.
        partial: What the next epoch goes on from, where it was stopped in its midst.

    Raises:
        InputError: Fewer training images than a batch.
    """

    def __init__(self, recipe: Recipe, method: str, seed: int, dataset: Dataset, runtime: Runtime) -> None:
        self.recipe, self.order_seed, self.runtime = recipe, seed, runtime
        device = runtime.device
        train, held = split_train(
            dataset.train.labels, validation=recipe.validation, subset=recipe.subset, seed=recipe.split_seed
        )
        if recipe.drop_last and len(train) < recipe.batch:
            raise InputError(
                f"`batch` = {recipe.batch} is more than the {len(train)} training images: lower it"
            )
        # uint8 on the device: a quarter of float32, and the whole of CIFAR is 150 MB
        images, self.labels = _to_device(dataset.train, train, device)
        self.padded = pad_images(images, recipe.crop_padding)
        self.eval_sets = {
            "train": _to_device(dataset.train, _spread(train, recipe.train_sample), device),
            "test": _to_device(dataset.test, np.arange(len(dataset.test.labels)), device),
        }
        if len(held):
            self.eval_sets["val"] = _to_device(dataset.train, held, device)
        self.mean = torch.tensor(dataset.mean, dtype=torch.float32, device=device)
        self.std = torch.tensor(dataset.std, dtype=torch.float32, device=device)

        self.num_classes = dataset.num_classes
        torch.manual_seed(seed)  # the same initial weights in every method
        self.model = runtime.place(build_model(recipe.model, dataset.num_classes))
        if runtime.compile:
            self.model.compile(dynamic=False)  # in place, so the state dict keeps its keys
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.initial = self.weights()
        self.optimizer = build_optimizer(recipe, self.model)
        self.scheduler = build_scheduler(recipe, method, seed, self.optimizer)
        self.epoch = 0
        self.partial: dict[str, Any] | None = None

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        n, batch = len(self.labels), self.recipe.batch
        return n // batch if self.recipe.drop_last else math.ceil(n / batch)

    def next_epoch(self, stop: StopSignal, report: Report | None = None) -> dict[str, Any]:
        """Train an epoch, or the rest of a stopped one, and measure it.

        Args:
            stop: Asked after each step.
            report: Called every few steps.

        Returns:
            The epoch's record (contract of ``metrics.jsonl``).

        Raises:
            EpochStoppedError: ``stop`` has a signal.
            DivergedError: The loss is NaN or infinite.
        """
        epoch, n, recipe = self.epoch, len(self.labels), self.recipe
        plan = plan_epoch(self.order_seed, epoch, n, padding=recipe.crop_padding, flip=recipe.flip)
        trained = self._train(epoch, plan.to(self.runtime.device), stop, report)
        record = self._measure(epoch, trained)
        self.scheduler.step()
        self.epoch = epoch + 1
        return record

    def evaluate(self) -> dict[str, float | None]:
        """Loss (nats) and accuracy (per cent) of the network as it is, as they stand in a record."""
        record: dict[str, float | None] = {"val_loss": None, "val_acc": None}
        for name, (images, labels) in self.eval_sets.items():
            result = evaluate(self.model, images, labels, self.mean, self.std, self.runtime)
            if name == "train":
                record["train_loss_eval"] = result.loss
            else:
                record |= {f"{name}_loss": result.loss, f"{name}_acc": result.top1}
        return record

    def weights(self) -> Tensor:
        """All parameters as one vector."""
        return torch.cat([p.detach().flatten() for p in self.parameters])

    def rng_state(self) -> dict[str, Tensor]:
        """For networks with dropout; order and augmentation do not need it."""
        state = {"cpu": torch.get_rng_state()}
        if self.runtime.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.runtime.device)
        return state

    def restore(self, state: dict[str, Any], source: Path) -> None:
        """Take up a saved state, in place: a compiled network stays compiled.

        Args:
            state: Content of a checkpoint; the caller keeps it, and may restore it again.
            source: Where it comes from, for the message.

        Raises:
            CheckpointError: Something is missing in it or does not fit.
        """
        try:
            self.model.load_state_dict(state["model"])
            # copied: torch would train on the caller's own momentum buffers
            self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
            self.scheduler.load_state_dict(state["scheduler"])
            torch.set_rng_state(state["rng"]["cpu"])
            if "cuda" in state["rng"] and self.runtime.device.type == "cuda":
                torch.cuda.set_rng_state(state["rng"]["cuda"], self.runtime.device)
            self.epoch = int(state["header"]["epoch"])
        except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"`{source}` lacks what training needs to go on "
                f"({type(error).__name__}): train again with --force"
            ) from None
        self.partial = state.get("partial")

    def step_report(
        self, epoch: int, step: int, loss: float, rate: float, record: dict[str, Any] | None = None
    ) -> StepReport:
        """What to show after ``step`` steps of the 0-based ``epoch``; with its record when it is done."""
        lr, factor = float(self.scheduler.get_last_lr()[0]), self.scheduler.factor
        if record is not None:  # the scheduler is one epoch ahead already
            lr, factor = record["lr"], record["factor"]
        return StepReport(epoch + 1, self.recipe.epochs, step, self.steps, lr, factor, loss, rate, record)

    def _train(
        self, epoch: int, plan: EpochPlan, stop: StopSignal, report: Report | None
    ) -> dict[str, float]:
        """Train one epoch, or the rest of a stopped one; returns its running means."""
        recipe, device, steps = self.recipe, self.runtime.device, self.steps
        first, before = 0, self.weights()
        totals = torch.zeros(3, device=device)  # Σ loss, Σ correct, Σ gradient norm
        spent = 0.0
        if self.partial is not None:
            first, spent = int(self.partial["step"]), float(self.partial["seconds"])
            before, totals = self.partial["before"].to(device), self.partial["totals"].to(device)
            self.partial = None
        self.model.train()
        begin = time.perf_counter()
        for step in range(first, steps):
            start, done = step * recipe.batch, step + 1
            x, y = self._load_batch(plan, start, min(start + recipe.batch, len(self.labels)))
            train_step(self.model, self.optimizer, x, y, totals, self.runtime)
            if stop.number is not None and done < steps:
                self._check_finite(epoch, totals)
                seconds = spent + time.perf_counter() - begin
                raise EpochStoppedError(
                    {"step": done, "seconds": seconds, "before": before.cpu(), "totals": totals.cpu()}
                )
            if done % LOOK_EVERY == 0 or done == steps:
                loss = self._check_finite(epoch, totals) / min(done * recipe.batch, len(self.labels))
                if report is not None and done < steps:
                    rate = (done - first) * recipe.batch / (time.perf_counter() - begin)
                    report(self.step_report(epoch, done, loss, rate))
        loss_sum, correct, norm_sum = totals.tolist()
        seconds = spent + time.perf_counter() - begin
        shown = min(steps * recipe.batch, len(self.labels))
        return {
            "train_loss": loss_sum / shown,
            "train_acc": 100 * correct / shown,
            "grad_norm": norm_sum / steps,
            "step_length": float((self.weights() - before).norm()),
            "seconds": seconds,
            "images_per_second": shown / seconds,
        }

    def _load_batch(self, plan: EpochPlan, start: int, stop: int) -> tuple[Tensor, Tensor]:
        cropped = crop_batch(self.padded, plan, start, stop, self.recipe.crop_padding)
        x = normalise_batch(cropped, self.mean, self.std)
        return x.contiguous(memory_format=self.runtime.memory_format), self.labels[plan.order[start:stop]]

    def _measure(self, epoch: int, trained: dict[str, float]) -> dict[str, Any]:
        weights = self.weights()
        return {
            "epoch": epoch + 1,
            "base_lr": self.scheduler.base_lr[0],
            "factor": self.scheduler.factor,
            "lr": float(self.scheduler.get_last_lr()[0]),
            **trained,
            "distance_from_init": float((weights - self.initial).norm()),
            "weight_norm": float(weights.norm()),
            **self.evaluate(),
        }

    def _check_finite(self, epoch: int, totals: Tensor) -> float:
        """Sum of the losses so far.

        Raises:
            DivergedError: It is NaN or infinite.
        """
        total = float(totals[0])
        if not math.isfinite(total):
            kept = f"the state after epoch {epoch} is kept" if epoch else "no epoch was finished"
            raise DivergedError(
                f"the loss is not finite in epoch {epoch + 1} at factor {self.scheduler.factor:.3g} "
                f"(LR {float(self.scheduler.get_last_lr()[0]):.3g}): {kept}; lower --set lr or high"
            )
        return total


def _to_device(split: Split, indices: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images (n, H, W, 3) uint8 and labels (n,) int64 of the indices."""
    images = torch.from_numpy(split.images[indices])
    return images.to(device), torch.from_numpy(split.labels[indices].astype(np.int64)).to(device)


def _spread(indices: np.ndarray, count: int) -> np.ndarray:
    """``count`` of the indices, evenly spread: canonical order is by hash, so this is a random sample."""
    return indices if count >= len(indices) else indices[len(indices) * np.arange(count) // count]
