"""One training between its epochs: network, optimizer, schedule and data, and how an epoch is trained."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

import torch
from torch import Tensor

from ralr_viz.errors import CheckpointError, DivergedError, InputError
from ralr_viz.models.average import average_weights
from ralr_viz.recipe import Recipe
from ralr_viz.results.columns import EXAMPLES_SECONDS, evaluated_columns, speed_column
from ralr_viz.runtime.device import Runtime, read_rng_state, set_rng_state
from ralr_viz.runtime.eager import uncompiled
from ralr_viz.runtime.faults import named_faults
from ralr_viz.runtime.ranks import ALONE, Ranks, seed_of_rank
from ralr_viz.runtime.stop import StopSignal
from ralr_viz.tasks.task import ExampleFeed, Plan, Task
from ralr_viz.train.beside import PlansAhead
from ralr_viz.train.compiled import compile_options
from ralr_viz.train.examples import ExampleTotals, Record
from ralr_viz.train.loss_scale import LossScale
from ralr_viz.train.optim import build_optimizer, build_scheduler
from ralr_viz.train.step import Totals, train_step

# Steps between two looks at the running loss, and at the other ranks: each look waits for the device.
LOOK_EVERY = 25
_IN_EVALUATION = "in an evaluation, which `batch` does not change: free some of it, or go on with --resume on a larger device"


@dataclass(frozen=True)
class StepReport:
    """What a progress bar shows: ``epoch`` is 1-based, ``loss`` the epoch's running mean, ``speed`` in samples/s."""

    epoch: int
    epochs: int
    step: int
    steps: int
    lr: float
    factor: float
    loss: float
    speed: float
    task: Task
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
        task: What is trained for, with its recipe and data.
        method, seed: Of the learning rates; the seed fixes initial weights, order and augmentation.
        runtime: Where and in which precision.
        ranks: The processes that train it together, each its part of every batch. All of them make this object
            and call the methods marked *together*.

    Attributes:
        model, optimizer, scheduler, loss_scale: As after ``epoch`` epochs.
        network: What is trained: the model, or its replica of torch's DistributedDataParallel.
        epoch: Number of finished epochs.
        steps: Of the present epoch.
        order_seed: Seed of order and augmentation; the training seed, unless somebody sets another.
        partial: What the next epoch goes on from, where it was stopped in its midst.
        first_loss: Mean loss up to the first look of all, against which a divergence is told; None before it.
        evaluator: What each epoch is measured on; None in ranks other than 0, whose running statistics do not count.

    Raises:
        InputError: The training samples make no epoch, or one of batches with fewer samples than ranks.
    """

    def __init__(self, task: Task, method: str, seed: int, runtime: Runtime, ranks: Ranks = ALONE) -> None:
        recipe: Recipe = task.recipe
        self.task, self.recipe, self.order_seed, self.runtime, self.ranks = task, recipe, seed, runtime, ranks
        self.feed = task.feed(runtime, ranks)
        self.steps = self.feed.steps
        self._plans = PlansAhead(self.feed, recipe.epochs)
        self.evaluator = task.evaluator(runtime) if ranks.rank == 0 else None

        torch.manual_seed(seed)  # the same initial weights in every method
        self.model = runtime.place(task.build())
        self.replays = False  # steps as CUDA graphs
        if runtime.compile:
            options = compile_options(runtime, ranks, task.facts.get("image_size"))
            self.replays = "mode" in options
            self.model.compile(**options)
        self.network = ranks.replicate(self.model)
        if ranks.size > 1:
            self._rehearse()
        if ranks.rank:  # dropout is another in each part of a batch
            torch.manual_seed(seed_of_rank(seed, ranks.rank, 0))
        self.examples = ExampleTotals(task, runtime.device)
        self.recorded: dict[str, Record] = {}  # of the last epoch
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.initial = self.weights()
        self.optimizer = build_optimizer(recipe, task.parameter_groups(self.model), runtime.device)
        self.scheduler = build_scheduler(recipe, method, seed, self.optimizer, self.steps)
        self.loss_scale = LossScale(runtime.precision, runtime.device)
        self.loss_scale.prepare(self.optimizer)
        self.epoch = 0
        self.base_lrs: list[float] = []  # of the epoch's steps, where they differ
        self.partial: dict[str, Any] | None = None
        self.first_loss: float | None = None

    def next_epoch(self, stop: StopSignal, report: Report | None = None) -> dict[str, Any]:
        """Together: train an epoch, or the rest of a stopped one, and measure it.

        Args:
            stop: Asked after each step; among several ranks at each look at the loss, where they agree on it.
            report: Called every few steps.

        Returns:
            The epoch's record (contract of ``metrics.jsonl``); in ranks other than 0 without evaluation.

        Raises:
            EpochStoppedError: ``stop`` has a signal.
            DivergedError: The loss is NaN, infinite, or much larger than at the beginning, or the task says that nothing
                was learned.
        """
        epoch = self.epoch
        plan = self._plans.take(self.order_seed, epoch)
        self.steps = plan.steps
        trained = self._train(epoch, plan, stop, report)
        record = self._measure(epoch, trained)
        if self.examples.places:
            measured = self.evaluator if self.recipe.evaluates(epoch + 1) else None
            with self.examples.timed():
                self.recorded = self.examples.records(self.examples.whole(self.ranks), measured)
            record[EXAMPLES_SECONDS] = self.examples.take_seconds()
        if failed := self.ranks.lead(lambda: self.task.judge(record, plan.steps)):
            raise DivergedError(f"{failed}: {self._kept(epoch)}; lower --set lr or high")
        self.scheduler.step()
        self.epoch = epoch + 1
        return record

    def evaluate(self) -> dict[str, float | None]:
        """Loss and score of the network as it is, as they stand in a record."""
        if self.evaluator is None:
            return self._unmeasured()
        with uncompiled(), named_faults(self.runtime.device, _IN_EVALUATION):
            return self._unmeasured() | self.evaluator(self.model)

    def conclude(self, averaged: Sequence[Mapping[str, Tensor]] = ()) -> dict[str, Any]:
        """What the task looks at once, at the end; where there are states, of their mean too, under ``averaged``."""
        with uncompiled(), named_faults(self.runtime.device, _IN_EVALUATION):
            final = self.task.conclude(self.model, self.runtime)
        if not (final and averaged):
            return final
        model = self.runtime.place(self.task.build())  # of its own: what training goes on with stays
        model.load_state_dict(average_weights(averaged))
        return final | {"averaged": self.task.conclude(model, self.runtime) | {"states": len(averaged)}}

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
            self.loss_scale.load_state_dict(state.get("loss_scale", {}))
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
        self.first_loss = state.get("first_loss")

    def step_report(
        self, epoch: int, step: int, loss: float, rate: float, record: dict[str, Any] | None = None
    ) -> StepReport:
        """What to show after ``step`` steps of the 0-based ``epoch``; with its record when it is done."""
        lr, factor = float(self.scheduler.get_last_lr()[0]), self.scheduler.factor
        if record is not None:  # the scheduler is one epoch ahead already
            lr, factor = record["lr"], record["factor"]
        return StepReport(
            epoch + 1, self.recipe.epochs, step, self.steps, lr, factor, loss, rate, self.task, record
        )

    def _rehearse(self) -> None:
        """Together: a backward pass that leaves nothing behind.

        After its first, DDP regroups the gradients that it sums at a time, and the last bit of a sum over more than
        two ranks depends on the grouping. A resumed training must not have its first step grouped otherwise.
        """
        model, device = self.model, self.runtime.device
        kept = copy.deepcopy(model.state_dict())
        batches = self.feed.load(self.feed.plan(self.order_seed, 0), 0, self.ranks)
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            self.task.train_loss(self.network, batches[-1], self.runtime).mean.backward()
        model.zero_grad(set_to_none=True)
        model.load_state_dict(kept)

    def _train(self, epoch: int, plan: Plan, stop: StopSignal, report: Report | None) -> dict[str, float]:
        """Train one epoch, or the rest of a stopped one; returns its running means."""
        steps = plan.steps
        first, spent, before, totals = self._take_up_epoch(plan)
        self.network.train()
        begin = time.perf_counter()
        for step in range(first, steps):
            done = step + 1
            batches = self.feed.load(plan, step, self.ranks)
            if self.replays:  # nothing of the step before is still asked for
                torch.compiler.cudagraph_mark_step_begin()
            parts = train_step(
                self.network, self.optimizer, self.task, batches, totals, self.runtime, self.recipe.clip_norm,
                self.loss_scale,
            )  # fmt: skip
            if self.examples.of_steps:
                with self.examples.timed():
                    rows = cast(ExampleFeed, self.feed).rows(plan, step, self.ranks)
                    self.examples.add(rows, parts[0].each)
            if self.recipe.moves_each_step:
                self.base_lrs.append(self.scheduler.base_lr[0])
                if done < steps:
                    self.scheduler.step_base()
            look = done % LOOK_EVERY == 0 or done == steps
            if self.ranks.stopped(stop, look=look) and done < steps:
                self._stop(epoch, done, spent + time.perf_counter() - begin, before, totals)
            if look:
                whole = self._sum_parts(totals)
                loss = self._check_loss(epoch, whole)
                if report is not None and done < steps:
                    rate = (plan.shown(done) - plan.shown(first)) / (time.perf_counter() - begin)
                    report(self.step_report(epoch, done, loss, rate))
        return self._describe_epoch(plan, whole, before, spent + time.perf_counter() - begin)

    def _describe_epoch(self, plan: Plan, whole: Totals, before: Tensor, seconds: float) -> dict[str, float]:
        """Running means of an epoch, and how far it went."""
        (loss_sum, *counts, weight), (norm_sum, clipped, largest) = (
            whole.own.tolist(),
            whole.values[-3:].tolist(),
        )
        skipped = float(self.loss_scale.skipped)
        clipping = {"grad_norm_max": largest, "clipped_steps": clipped} if self.recipe.clip_norm else {}
        return {
            "train_loss": loss_sum / weight,
            **self.task.record(counts, weight),
            "grad_norm": norm_sum / max(plan.steps - skipped, 1),
            **clipping,
            **({"skipped_steps": skipped} if self.loss_scale.enabled else {}),
            "step_length": float((self.weights() - before).norm()),
            "seconds": seconds,
            speed_column(self.task.samples_name): plan.shown(plan.steps) / seconds,
        }

    def _stop(self, epoch: int, done: int, seconds: float, before: Tensor, totals: Totals) -> NoReturn:
        """Together: leave an epoch in its midst, with what is needed to go on.

        Raises:
            EpochStoppedError: Always, unless the loss has diverged.
        """
        whole = self._sum_parts(totals)
        self._check_loss(epoch, whole)
        own = totals.values.cpu()
        others = self.ranks.of_others(own)
        partial = {"step": done, "seconds": seconds, "before": before.cpu(), "totals": whole.values.cpu()}
        if self.recipe.moves_each_step:
            partial["base_lrs"] = self.base_lrs
        if self.loss_scale.enabled:
            partial["skipped"] = float(self.loss_scale.skipped)
        if self.examples.of_steps:
            partial["examples"] = self.examples.whole(self.ranks).cpu()
        if self.examples.places:
            partial[EXAMPLES_SECONDS] = self.examples.seconds
        raise EpochStoppedError(partial | ({"parts": [own, *others]} if others else {}))

    def _take_up_epoch(self, plan: Plan) -> tuple[int, float, Tensor, Totals]:
        """Steps and seconds that the epoch has already, the weights before it and its totals so far."""
        device, partial = self.runtime.device, self.partial
        self.base_lrs = []
        self.loss_scale.skipped.fill_(0.0 if partial is None else float(partial.get("skipped", 0.0)))
        self.examples.begin(partial.get("examples") if partial and self.ranks.rank == 0 else None)
        if partial is None:
            return 0, 0.0, self.weights(), Totals.zero(len(self.task.counted), device)
        self.partial = None
        self.examples.seconds = float(partial.get(EXAMPLES_SECONDS, 0.0))
        self.base_lrs = list(partial.get("base_lrs", ()))
        rank, parts, step = self.ranks.rank, partial.get("parts", ()), int(partial["step"])
        if len(parts) == self.ranks.size:  # each goes on with its own, so that the sum is the same to the bit
            totals = Totals.load(parts[rank], plan.shown(step) / self.ranks.size, device)
        else:
            totals = Totals.load(partial["totals"], plan.shown(step), device)
            totals.own.mul_(rank == 0)
        return step, float(partial["seconds"]), partial["before"].to(device), totals

    def _sum_parts(self, totals: Totals) -> Totals:
        """Together: totals of the whole batches; the norm of the gradient is every rank's already."""
        return Totals(torch.cat([self.ranks.sum(totals.own), totals.values[-3:]]))

    def _measure(self, epoch: int, trained: dict[str, float]) -> dict[str, Any]:
        weights = self.weights()
        return {
            "epoch": epoch + 1,
            **self._rates(),
            **trained,
            "distance_from_init": float((weights - self.initial).norm()),
            "weight_norm": float(weights.norm()),
            **(self.evaluate() if self.recipe.evaluates(epoch + 1) else self._unmeasured()),
        }

    def _rates(self) -> dict[str, float]:
        """Learning rates of the epoch, of those that move within it the means over its steps."""
        factor, base, lr = (
            self.scheduler.factor,
            self.scheduler.base_lr[0],
            float(self.scheduler.get_last_lr()[0]),
        )
        if self.recipe.moves_each_step:
            base = math.fsum(self.base_lrs) / len(self.base_lrs)
            lr = base * factor
        return {"base_lr": base, "factor": factor, "lr": lr}

    def _unmeasured(self) -> dict[str, float | None]:
        return dict.fromkeys(evaluated_columns(self.task.score))

    def _check_loss(self, epoch: int, totals: Totals) -> float:
        """Mean of the losses so far.

        Raises:
            DivergedError: It is NaN or infinite, or more than the task's growth of what it was at first.
        """
        total, weight = float(totals.own[0]), float(totals.own[-1])
        if not math.isfinite(total):
            raise self._diverged(epoch, "the loss is not finite")
        loss = total / weight
        if self.first_loss is None:
            self.first_loss = loss
        if loss > self.task.largest_growth * self.first_loss:
            raise self._diverged(
                epoch, f"the loss is {loss:.3g}, {loss / self.first_loss:.3g} times the first look's,"
            )
        return loss

    def _diverged(self, epoch: int, what: str) -> DivergedError:
        return DivergedError(
            f"{what} in epoch {epoch + 1} at factor {self.scheduler.factor:.3g} "
            f"(LR {float(self.scheduler.get_last_lr()[0]):.3g}): {self._kept(epoch)}; lower --set lr or high"
        )

    def _kept(self, epoch: int) -> str:
        return f"the state after epoch {epoch} is kept" if epoch else "no epoch was finished"
