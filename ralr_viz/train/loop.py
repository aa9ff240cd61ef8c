"""The training of a run directory: epoch after epoch, saved after each, resumed where it stopped."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NoReturn

import torch

from ralr_viz.data import load_dataset
from ralr_viz.errors import DataError, DivergedError, InterruptedRunError, RalrVizError
from ralr_viz.train.prepare import read_prepared_run
from ralr_viz.train.run import RunWriter
from ralr_viz.train.runtime import (
    StopSignal,
    catch_stop_signals,
    configure,
    describe_environment,
    resolve_runtime,
)
from ralr_viz.train.training import EpochStoppedError, Report, Training


def train_run(
    directory: Path,
    data_root: Path,
    *,
    device: str = "auto",
    deterministic: bool = False,
    compile: bool = False,
    report: Report | None = None,
) -> dict[str, Any]:
    """Execute or resume one prepared run directory.

    Args:
        directory: Holds ``recipe.toml`` with the recipe, ``method`` and ``seed``.
        data_root: Folder of the ingested data sets.
        device, deterministic, compile: See `Runtime`; a resumed run keeps its precision.
        report: Called every few steps and, with ``record`` set, after each epoch.

    Returns:
        The content of ``result.json``.

    Raises:
        DivergedError: The loss became NaN or infinite; the last finite state is kept.
        InterruptedRunError: SIGINT or SIGTERM; the state is saved.
        InputError: Bad recipe, missing data, missing device, run in use.
        StorageError: The disk is full; what was saved before is intact.
    """
    recipe, method, seed = read_prepared_run(directory)
    dataset = load_dataset(recipe.dataset, data_root)
    if min(dataset.std) <= 0:
        raise DataError(f"a colour channel of `{dataset.name}` never changes, so it cannot be normalised")
    runtime = resolve_runtime(device, recipe.precision, deterministic=deterministic, compile=compile)
    configure(runtime)
    header = {
        "mean": list(dataset.mean),
        "std": list(dataset.std),
        "class_names": list(dataset.class_names),
        "dataset": dataset.name,
        "content_hash": dataset.content_hash,
        "image_size": dataset.image_size,
        "precision": runtime.precision,
    }
    with (
        RunWriter(
            directory,
            arch=recipe.model,
            num_classes=dataset.num_classes,
            method=method,
            seed=seed,
            recipe=recipe.to_dict(),
            header=header,
            keep=recipe.kept_epochs,
            environment=describe_environment(runtime) | {"data": dataset.content_hash},
            resume=True,
        ) as run,
        catch_stop_signals() as stop,
    ):
        if run.restored is not None:  # another machine's "auto" must not change the arithmetic midway
            runtime = dataclasses.replace(runtime, precision=run.restored["header"]["precision"])
        try:
            return _Loop(run, Training(recipe, method, seed, dataset, runtime)).run_epochs(stop, report)
        except torch.OutOfMemoryError:
            raise RalrVizError(
                f"{runtime.device} is out of memory at `batch` = {recipe.batch}: lower it by --set batch, "
                "then train anew, or --resume on a larger device"
            ) from None


class _Loop:
    """A training and the run directory that it is written to."""

    def __init__(self, run: RunWriter, training: Training) -> None:
        self.run, self.training = run, training
        if run.restored is not None:
            training.restore(run.restored, run.checkpoints / run.restored["source"])
            within = " (and part of the next)" if training.partial else ""
            run.say(f"resuming after epoch {training.epoch}{within}")

    def run_epochs(self, stop: StopSignal, report: Report | None) -> dict[str, Any]:
        training, epochs = self.training, self.training.recipe.epochs
        for epoch in range(training.epoch, epochs):
            record = self._next_epoch(stop, report)
            self.run.log(**record)
            self._save()
            self.run.say(_log_line(record))
            if report is not None:
                loss, rate = record["train_loss"], record["images_per_second"]
                report(training.step_report(epoch, training.steps, loss, rate, record))
            if stop.number is not None and training.epoch < epochs:
                self._interrupt(stop)
        return self.run.finish()

    def _next_epoch(self, stop: StopSignal, report: Report | None) -> dict[str, Any]:
        try:
            return self.training.next_epoch(stop, report)
        except EpochStoppedError as stopped:
            self._save(partial=stopped.partial)
            self._interrupt(stop)
        except DivergedError as error:  # what is on disk is the last finite state
            self.run.say(f"diverged: {error}")
            self.run.finish("diverged", str(error))
            raise

    def _save(self, **state: Any) -> None:
        training = self.training
        self.run.save(
            training.model, training.optimizer, training.scheduler, rng=training.rng_state(), **state
        )

    def _interrupt(self, stop: StopSignal) -> NoReturn:
        assert stop.number is not None
        epoch = min(self.training.epoch + 1, self.training.recipe.epochs)
        message = f"stopped in epoch {epoch}; the state is saved: --resume goes on"
        self.run.say(message)
        raise InterruptedRunError(message, stop.number)


def _log_line(record: dict[str, Any]) -> str:
    shown = {k: v for k, v in record.items() if v is not None}
    return "  ".join(f"{k} {v:.6g}" for k, v in shown.items())
