"""One training between its epochs: network, optimizer, schedule and data, and how an epoch is trained."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ralr_viz.data import Dataset
from ralr_viz.data.augment import BatchLoader, EpochPlan, pad_images, plan_epoch
from ralr_viz.data.split import split_train
from ralr_viz.errors import CheckpointError, DivergedError, InputError
from ralr_viz.models import build_model
from ralr_viz.results.columns import EVALUATED
from ralr_viz.train.conclude import final_sets, score_final
from ralr_viz.train.evaluate import evaluate, evaluation_sets, place_images
from ralr_viz.train.optim import build_optimizer, build_scheduler
from ralr_viz.train.ranks import ALONE, Ranks, seed_of_rank
from ralr_viz.train.recipe import Recipe
from ralr_viz.train.runtime import Runtime, read_rng_state, set_rng_state
from ralr_viz.train.step import train_step
from ralr_viz.train.stop import StopSignal

# Steps between two looks at the running loss, and at the other ranks: each look waits for the device.
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


class Training:
    """State of one training between its epochs; it writes no file.

    Args:
        recipe, method, seed: What to train; the seed fixes initial weights, order and augmentation.
        dataset: The recipe's.
        runtime: Where and in which precision.
        ranks: The processes that train it together, each its part of every batch. All of them make this object
            and call the methods marked *together*.

    Attributes:
        model, optimizer, scheduler: As after ``epoch`` epochs.
        network: What is trained: the model, or its replica of torch's DistributedDataParallel.
        epoch: Number of finished epochs.
        order_seed: Seed of order and augmentation; the training seed, unless somebody sets another.
        partial: What the next epoch goes on from, where it was stopped in its midst.

    Raises:
        InputError: Fewer training images than a batch, or fewer images in a batch than ranks.
    """

    def __init__(
        self,
        recipe: Recipe,
        method: str,
        seed: int,
        dataset: Dataset,
        runtime: Runtime,
        ranks: Ranks = ALONE,
    ) -> None:
        self.recipe, self.order_seed, self.runtime, self.ranks = recipe, seed, runtime, ranks
        device = runtime.device
        train, held = split_train(
            dataset.train.labels, validation=recipe.validation, subset=recipe.subset, seed=recipe.split_seed
        )
        ranks.lead(lambda: _check_batches(recipe, len(train), ranks.size))
        self.final_sets = final_sets(recipe, dataset, train, held)
        # uint8 on the device: a quarter of float32, and the whole of CIFAR is 150 MB
        images, self.labels = place_images(dataset.train, train, device)
        padded = pad_images(images, recipe.crop_padding)
        self.eval_sets = {}
        if ranks.rank == 0:  # whose running statistics count
            each_epoch = recipe.evaluate_test == "epoch"
            self.eval_sets = evaluation_sets(
                dataset, train, held, recipe.train_sample, device, with_test=each_epoch
            )
        self.mean = torch.tensor(dataset.mean, dtype=torch.float32, device=device)
        self.std = torch.tensor(dataset.std, dtype=torch.float32, device=device)
        self.num_classes = dataset.num_classes
        self.loader = BatchLoader(
            padded, self.labels, self.mean, self.std, dataset.num_classes, recipe.crop_padding
        )

        torch.manual_seed(seed)  # the same initial weights in every method
        self.model = runtime.place(build_model(recipe.model, dataset.num_classes))
        if runtime.compile:
            self.model.compile(dynamic=False)  # in place, so the state dict keeps its keys
        self.network = ranks.replicate(self.model)
        if ranks.size > 1:
            self._rehearse()
        if ranks.rank:  # dropout is another in each part of a batch
            torch.manual_seed(seed_of_rank(seed, ranks.rank, 0))
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
        """Together: train an epoch, or the rest of a stopped one, and measure it.

        Args:
            stop: Asked after each step; among several ranks at each look at the loss, where they agree on it.
            report: Called every few steps.

        Returns:
            The epoch's record (contract of ``metrics.jsonl``); in ranks other than 0 without evaluation.

        Raises:
            EpochStoppedError: ``stop`` has a signal.
            DivergedError: The loss is NaN or infinite.
        """
        epoch = self.epoch
        trained = self._train(epoch, self._plan(epoch).to(self.runtime.device), stop, report)
        record = self._measure(epoch, trained)
        self.scheduler.step()
        self.epoch = epoch + 1
        return record

    def evaluate(self) -> dict[str, float | None]:
        """Loss (nats) and accuracy (per cent) of the network as it is, as they stand in a record."""
        record: dict[str, float | None] = dict.fromkeys(EVALUATED)
        for name, (images, labels) in self.eval_sets.items():
            result = evaluate(self.model, images, labels, self.mean, self.std, self.runtime)
            if name == "train":
                record["train_loss_eval"] = result.loss
            else:
                record |= {f"{name}_loss": result.loss, f"{name}_acc": result.top1}
        return record

    def conclude(self) -> dict[str, Any]:
        """Scores of the network as it is on what the recipe leaves for the end; see `score_final`."""
        network = self.model, self.recipe.model, self.num_classes
        return score_final(*network, self.final_sets, self.mean, self.std, self.runtime)

    def weights(self) -> Tensor:
        """All parameters as one vector."""
        return torch.cat([p.detach().flatten() for p in self.parameters])

    def rng_state(self) -> dict[str, Any]:
        """Together: for networks with dropout; order and augmentation do not need it."""
        own = read_rng_state(self.runtime.device)
        others = self.ranks.of_others(own)
        return own | {"other_ranks": others} if others else own

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
            self.epoch = int(state["header"]["epoch"])
            streams = [state["rng"], *state["rng"].get("other_ranks", ())]
            if self.ranks.rank < len(streams):
                set_rng_state(streams[self.ranks.rank], self.runtime.device)
            else:  # there are more ranks than before
                torch.manual_seed(seed_of_rank(self.order_seed, self.ranks.rank, self.epoch))
        except InputError:  # of another schedule, and says so
            raise
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

    def _rehearse(self) -> None:
        """Together: a backward pass that leaves nothing behind.

        After its first, DDP regroups the gradients that it sums at a time, and the last bit of a sum over more than
        two ranks depends on the grouping. A resumed training must not have its first step grouped otherwise.
        """
        model, recipe, device = self.model, self.recipe, self.runtime.device
        kept = copy.deepcopy(model.state_dict())
        part = self.ranks.shard(0, min(recipe.batch, len(self.labels)))
        x, _, _ = self._load_batch(self._plan(0).to(device), *part)
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            with self.runtime.autocast():
                logits = self.network(x)
            logits.float().sum().backward()
        model.zero_grad(set_to_none=True)
        model.load_state_dict(kept)

    def _train(
        self, epoch: int, plan: EpochPlan, stop: StopSignal, report: Report | None
    ) -> dict[str, float]:
        """Train one epoch, or the rest of a stopped one; returns its running means."""
        recipe, steps, n = self.recipe, self.steps, len(self.labels)
        first, spent, before, totals = self._take_up_epoch()
        self.network.train()
        begin = time.perf_counter()
        for step in range(first, steps):
            start, done = step * recipe.batch, step + 1
            part = self.ranks.shard(start, min(start + recipe.batch, n))
            x, y, target = self._load_batch(plan, *part)
            step_options = target, recipe.label_smoothing
            train_step(self.network, self.optimizer, x, y, totals, self.runtime, *step_options)
            look = done % LOOK_EVERY == 0 or done == steps
            if self.ranks.stopped(stop, look=look) and done < steps:
                whole = self._sum_parts(totals)
                self._check_finite(epoch, whole)
                seconds = spent + time.perf_counter() - begin
                others = self.ranks.of_others(totals.cpu())
                raise EpochStoppedError(
                    {"step": done, "seconds": seconds, "before": before.cpu(), "totals": whole.cpu()}
                    | ({"parts": [totals.cpu(), *others]} if others else {})
                )
            if look:
                whole = self._sum_parts(totals)
                loss = self._check_finite(epoch, whole) / min(done * recipe.batch, n)
                if report is not None and done < steps:
                    rate = (done - first) * recipe.batch / (time.perf_counter() - begin)
                    report(self.step_report(epoch, done, loss, rate))
        loss_sum, correct, norm_sum = whole.tolist()
        seconds = spent + time.perf_counter() - begin
        shown = min(steps * recipe.batch, n)
        return {
            "train_loss": loss_sum / shown,
            "train_acc": 100 * correct / shown,
            "grad_norm": norm_sum / steps,
            "step_length": float((self.weights() - before).norm()),
            "seconds": seconds,
            "images_per_second": shown / seconds,
        }

    def _take_up_epoch(self) -> tuple[int, float, Tensor, Tensor]:
        """Steps and seconds that the epoch has already, the weights before it and its totals so far."""
        device, partial = self.runtime.device, self.partial
        if partial is None:
            # Σ loss, Σ correct, Σ gradient norm
            return 0, 0.0, self.weights(), torch.zeros(3, device=device)
        self.partial = None
        rank, parts = self.ranks.rank, partial.get("parts", ())
        if len(parts) == self.ranks.size:  # each goes on with its own, so that the sum is the same to the bit
            totals = parts[rank].to(device, copy=True)
        else:
            totals = partial["totals"].to(device, copy=True)
            totals[:2] *= rank == 0
        return int(partial["step"]), float(partial["seconds"]), partial["before"].to(device), totals

    def _sum_parts(self, totals: Tensor) -> Tensor:
        """Together: totals of the whole batches; the norm of the gradient is every rank's already."""
        return torch.cat([self.ranks.sum(totals[:2]), totals[2:]])

    def _plan(self, epoch: int) -> EpochPlan:
        recipe = self.recipe
        return plan_epoch(
            self.order_seed,
            epoch,
            len(self.labels),
            size=self.loader.size,
            batch=recipe.batch,
            padding=recipe.crop_padding,
            flip=recipe.flip,
            cutout=recipe.cutout,
            mixup=recipe.mixup,
            cutmix=recipe.cutmix,
            cutmix_alpha=recipe.cutmix_alpha,
        )

    def _load_batch(self, plan: EpochPlan, start: int, stop: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Images, own labels and, where they are mixed, soft targets of a batch or of a part of one."""
        x, y, target = self.loader.load(plan, start, stop)
        return x.contiguous(memory_format=self.runtime.memory_format), y, target

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


def _check_batches(recipe: Recipe, images: int, ranks: int) -> None:
    """Raises: InputError when an epoch has no batch, or one with too few images for each rank to have one."""
    if recipe.drop_last and images < recipe.batch:
        raise InputError(f"`batch` = {recipe.batch} is more than the {images} training images: lower it")
    rest = 0 if recipe.drop_last else images % recipe.batch
    smallest = rest or min(recipe.batch, images)
    if smallest < ranks:
        raise InputError(
            f"`batch` = {recipe.batch} leaves {smallest} of the {images} training images to a batch, too few for "
            f"{ranks} processes: start fewer, or train another run by --set batch or --set drop_last=true"
        )
