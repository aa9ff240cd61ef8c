"""The training of a run directory: epoch after epoch, saved after each, resumed where it stopped.

Among several ranks all train, and rank 0 alone has the directory: what it reads and whether it could write is told
to the others, so that none waits for one that has given up.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from torch import Tensor

from ralr_viz.errors import DivergedError, InterruptedRunError
from ralr_viz.results.columns import speed_of
from ralr_viz.runtime.device import configure, describe_environment
from ralr_viz.runtime.faults import named_faults
from ralr_viz.runtime.ranks import ALONE, Ranks
from ralr_viz.runtime.stop import StopSignal, catch_stop_signals
from ralr_viz.tasks.opening import about_task, open_task
from ralr_viz.train.checkpoint import read_checkpoint
from ralr_viz.train.choice import choose_runtime
from ralr_viz.train.prepare import read_prepared_run
from ralr_viz.train.run import RunWriter
from ralr_viz.train.setting import Wish
from ralr_viz.train.training import EpochStoppedError, Report, Training

T = TypeVar("T")


def train_run(
    directory: Path,
    data_root: Path,
    *,
    device: str = "auto",
    deterministic: bool = True,
    compile: bool = False,
    report: Report | None = None,
    note: Callable[[str], object] | None = None,
    ranks: Ranks = ALONE,
) -> dict[str, Any]:
    """Execute or resume one prepared run directory.

    Args:
        directory: Holds ``recipe.toml`` with the recipe, ``method`` and ``seed``.
        data_root: Folder of the ingested data sets.
        device, deterministic, compile: See `Wish`; a run has the setting of its comparison, and a resumed one its precision.
        report: Called every few steps and, with ``record`` set, after each epoch.
        note: Called in rank 0 with what a reader should know, one line: that an older state was gone on from.
        ranks: From `join_ranks`, where several processes train it together; each makes this call.

    Returns:
        The content of ``result.json``.

    Raises:
        DivergedError: The loss became NaN or infinite; the last finite state is kept.
        InterruptedRunError: SIGINT or SIGTERM; the state is saved.
        InputError: Bad recipe, missing data, missing device, run in use, code of somebody's own that is not allowed.
        StorageError: The disk is full; what was saved before is intact.
        PeerError: Rank 0 has raised one of these, in the other ranks; or a process has ended.
    """
    recipe, method, seed = read_prepared_run(directory)
    task = open_task(recipe, data_root)
    facts = dict(task.facts)
    wish = Wish(device, compile, deterministic)
    runtime = choose_runtime(directory, (recipe, method, seed), data_root, wish, ranks)
    configure(runtime)
    header = {**facts, "precision": runtime.precision}
    if ranks.size > 1:
        header["world_size"] = ranks.size
    with (
        _open_run(
            ranks,
            directory,
            arch=recipe.model,
            method=method,
            seed=seed,
            recipe=recipe.to_dict(),
            header=header,
            keep=recipe.kept_epochs,
            environment=describe_environment(runtime, ranks) | {"data": facts.get("content_hash")},
            about=about_task(task),
            resume=True,
        ) as (run, restored),
        catch_stop_signals() as stop,
    ):
        if run is not None and note is not None:
            for line in run.notes:
                note(line)
        if restored is not None:  # another machine's "auto" must not change the arithmetic midway
            runtime = dataclasses.replace(runtime, precision=restored["header"]["precision"])
        remedy = "lower it by --set batch, then train anew, or --resume on a larger device"
        with named_faults(runtime.device, f"at `batch` = {recipe.batch}: {remedy}"):
            training = Training(task, method, seed, runtime, ranks)
            return _Loop(run, training, restored, directory).run_epochs(stop, report)


@contextlib.contextmanager
def _open_run(
    ranks: Ranks, directory: Path, **about: Any
) -> Iterator[tuple[RunWriter | None, dict[str, Any] | None]]:
    """Together: the run directory, in rank 0 alone, and in all ranks the state to go on from, if any."""
    opened: list[RunWriter] = []

    def open_run() -> dict[str, Any] | None:
        opened.append(RunWriter(directory, **about))
        return opened[0].restored

    restored = ranks.lead(open_run)
    if not opened:
        yield None, restored
        return
    with opened[0] as run:
        yield run, restored


class _Loop:
    """A training and the run directory that it is written to, which is None in ranks other than 0."""

    def __init__(
        self, run: RunWriter | None, training: Training, restored: dict[str, Any] | None, directory: Path
    ) -> None:
        self.run, self.training = run, training
        if restored is not None:
            training.restore(restored, directory / "checkpoints" / restored["source"])
            self._say_resumed(restored["header"].get("world_size", 1))

    def run_epochs(self, stop: StopSignal, report: Report | None) -> dict[str, Any]:
        training, epochs = self.training, self.training.recipe.epochs
        for epoch in range(training.epoch, epochs):
            record = self._next_epoch(stop, report)
            self._save(record)
            if report is not None:
                loss, rate = record["train_loss"], speed_of(record)
                report(training.step_report(epoch, training.steps, loss, rate, record))
            if training.ranks.stopped(stop) and training.epoch < epochs:
                self._interrupt(stop)
        result = self._lead(lambda run: run.finish(final=training.conclude(self._averaged(run))))
        if not training.recipe.keep_optimizer:  # now that nothing goes on from it
            self._lead(lambda run: run.drop_optimizer())
        return result

    def _averaged(self, run: RunWriter) -> list[dict[str, Tensor]]:
        """Weights of the epochs whose mean is scored."""
        epochs = self.training.recipe.averaged_epochs
        if epochs:
            run.wait()
        return [read_checkpoint(run.checkpoints / f"epoch_{epoch:04d}.pt")["model"] for epoch in epochs]

    def _next_epoch(self, stop: StopSignal, report: Report | None) -> dict[str, Any]:
        try:
            return self.training.next_epoch(stop, report)
        except EpochStoppedError as stopped:
            self._save(partial=stopped.partial)
            self._interrupt(stop)
        except DivergedError as error:  # what is on disk is the last finite state
            message = str(error)
            self._lead(lambda run: run.say(f"diverged: {message}"))
            self._lead(lambda run: run.finish("diverged", message))
            raise

    def _save(self, record: dict[str, Any] | None = None, **state: Any) -> None:
        training = self.training
        state["rng"] = training.rng_state()  # of all ranks, so outside of what rank 0 does alone
        if math.isfinite(training.task.largest_growth):
            state["first_loss"] = training.first_loss
        if training.loss_scale.enabled:
            state["loss_scale"] = training.loss_scale.state_dict()

        def write(run: RunWriter) -> None:
            if record is not None:
                run.log(**record)
                with training.examples.timed():  # counts to the next epoch: this one's record is written
                    for name, (places, right, losses) in training.recorded.items():
                        run.log_examples(name, right=right, losses=losses, places=places)
            run.save_beside(training.model, training.optimizer, training.scheduler, **state)
            if record is not None:
                run.say(_log_line(record))

        self._lead(write)

    def _interrupt(self, stop: StopSignal) -> NoReturn:
        assert stop.number is not None
        epoch = min(self.training.epoch + 1, self.training.recipe.epochs)
        message = f"stopped in epoch {epoch}; the state is saved: --resume goes on"
        self._lead(lambda run: run.wait())
        self._lead(lambda run: run.say(message))
        raise InterruptedRunError(message, stop.number)

    def _say_resumed(self, size_before: int) -> None:
        training, size = self.training, self.training.ranks.size
        within = " (and part of the next)" if training.partial else ""
        line = f"resuming after epoch {training.epoch}{within}"
        if size_before != size:
            line += f" in {size} processes, not {size_before}: batch statistics are of other parts from here"
        self._lead(lambda run: run.say(line))

    def _lead(self, write: Callable[[RunWriter], T]) -> T:
        """Together: write in rank 0; its error is raised in all."""

        def in_rank_0() -> T:
            assert self.run is not None
            return write(self.run)

        return self.training.ranks.lead(in_rank_0)


def _log_line(record: dict[str, Any]) -> str:
    shown = {k: v for k, v in record.items() if v is not None}
    return "  ".join(f"{k} {v:.6g}" for k, v in shown.items())
