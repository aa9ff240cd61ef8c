"""A run directory: what a training leaves behind, and the state to go on from.

    recipe.toml  env.json  metrics.jsonl  log.txt  checkpoints/{last,prev,best,epoch_0200}.pt  result.json

`result.json` is written last: where it is, the run is done. The files are the truth; there is no database.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

from ralr_viz._version import __version__
from ralr_viz.data import Dataset
from ralr_viz.errors import CheckpointError, InputError, UnknownNameError
from ralr_viz.foreign import one_line
from ralr_viz.models.checkpoint_file import FORMAT_VERSION, pack_checkpoint
from ralr_viz.recipe import recipe_to_toml
from ralr_viz.results.columns import evaluated_columns
from ralr_viz.results.examples import examples_path, write_examples
from ralr_viz.results.movement import late_start
from ralr_viz.results.storage import append_line, copy_file, remove_leftovers, write_bytes, write_json
from ralr_viz.results.tasks import IMAGES, SETS, About
from ralr_viz.train.beside import WriterBeside, copy_to_host
from ralr_viz.train.checkpoint import read_checkpoint
from ralr_viz.train.lock import lock_folder
from ralr_viz.train.record import clean_record
from ralr_viz.train.resumed import check_history, check_same_run, with_earlier
from ralr_viz.train.summary import best_epoch, summarise_history
from ralr_viz.train.watch import LoopWatch, describe_dataset, method_of


class RunWriter:
    """Writes a run directory, for ralr-viz's own loop and for anybody's.

    Example:
        >>> about = {"arch": "resnet20", "dataset": "cifar10", "epochs": 30, "scheduler": scheduler}
        >>> with RunWriter("runs/mine/ralr/seed0", **about) as run:
        ...     for epoch in range(1, 31):
        ...         loss, accuracy = train_and_validate(...)
        ...         run.log(epoch=epoch, val_loss=loss, val_acc=accuracy)
        ...         run.save(model)
        ...         scheduler.step()

    Args:
        directory: The run directory; made with its parents.
        arch: Architecture as `ralr_viz.models.build_model` takes it, or None where there is none of that name.
        num_classes: Of the classifier; the data set's where left out.
        method: What is compared: ``baseline``, ``ralr``, ``scaled`` or a name of your own. Where left out, what
            the scheduler makes of it: a `ralr_viz.RALR` ``ralr``, most others ``baseline``.
        seed: Training seed.
        recipe: Settings to record; any flat mapping of plain values. They go before those that are read from
            optimizer and scheduler.
        header: More of what a checkpoint says about itself, before the data set's: ``mean``, ``std`` (three floats
            each; what your network was trained with), ``class_names``, ``dataset``, ``image_size``.
        keep: Epochs whose checkpoint is kept beside the last, the one before and the best; where ``epochs`` is
            given, 2/3 of it and its end unless you say otherwise.
        environment: What ``env.json`` is to hold. Where a resumed run has another than before, what the earlier one
            had stays under ``earlier``.
        resume: Go on with what the directory holds (see `restored`) instead of refusing it.
        epochs: Planned length of the training.
        optimizer, scheduler: What trains; of a scheduler its own optimizer is taken. Give them before the first
            step, with the weights that the training starts from. `log` then adds base LR, factor and LR of the
            epoch's steps, and the lengths that `ralr-viz movement` needs; `save` keeps their states. The lengths of
            a resumed training's first epoch are not known, nor are its distances from the start.
        dataset: What is trained on: the name of an imported data set, or what `ralr_viz.data.load_dataset` returned.
        about: How one speaks of what is trained, where it is no classification of images: the score has the columns
            ``val_<key>`` and ``test_<key>`` of the records.

    Attributes:
        restored: The state that a resumed run goes on from, with its ``source``; None where there was none.
        notes: What a reader should know of how it was opened, a line each; they are in ``log.txt`` too.

    Raises:
        CheckpointError: ``resume``, and neither the last state nor the one before can be read.
        InputError: The directory holds a run and ``resume`` is false, or a run of other settings; a data set
            that is not imported; something else than an optimizer or scheduler.
        RunLockedError: Another process writes to it.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        arch: str | None = None,
        num_classes: int | None = None,
        method: str | None = None,
        seed: int = 0,
        recipe: Mapping[str, Any] | None = None,
        header: Mapping[str, Any] | None = None,
        keep: Collection[int] | None = None,
        environment: Mapping[str, Any] | None = None,
        resume: bool = False,
        epochs: int | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        scheduler: Any = None,
        dataset: str | Dataset | None = None,
        about: About = IMAGES,
    ) -> None:
        self.directory = Path(directory)
        self.checkpoints = self.directory / "checkpoints"
        data = describe_dataset(dataset)
        if keep is None:
            keep = () if epochs is None else (late_start(epochs), epochs)
        self.keep = frozenset(keep)
        self.about = about
        self._watch: LoopWatch | None = None
        self._writer = WriterBeside()
        self.history: list[dict[str, Any]] = []
        self.restored: dict[str, Any] | None = None
        self.notes: list[str] = []
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"cannot make the run directory `{directory}` ({error.strerror}): choose another"
            ) from None
        self._lock: int | None = lock_folder(self.directory)
        try:
            holds_run = (self.directory / "metrics.jsonl").exists() or (self.checkpoints / "last.pt").exists()
            if holds_run and not resume:
                raise InputError(
                    f"`{directory}` already holds a run: pass --resume (resume=True) to go on with it"
                )
            remove_leftovers(self.directory)
            remove_leftovers(self.checkpoints)
            planned = {"dataset": data.get("dataset"), "model": arch, "epochs": epochs}
            self._given = {k: v for k, v in planned.items() if v is not None} | dict(recipe or {})
            header = {
                "format": FORMAT_VERSION,
                "ralr_viz": __version__,
                "torch": torch.__version__,
                "arch": arch,
                "method": method or method_of(scheduler),
                "seed": seed,
                "recipe": self._given,
                "num_classes": None,
                **data,
                **({} if num_classes is None else {"num_classes": num_classes}),
                **(header or {}),
            }
            # plain values only: a subclass of str such as TorchVersion would not load with weights_only
            self.header: dict[str, Any] = json.loads(json.dumps(header))
            if resume:
                self._restore()
            if self.restored is not None and "precision" in self.restored["header"]:
                # a run keeps its arithmetic on whatever machine it goes on, and says so
                kept = {"precision": self.restored["header"]["precision"]}
                self.header |= kept
                environment = None if environment is None else {**environment, **kept}
            if optimizer is not None or scheduler is not None:
                resumed = self.restored is not None
                self._watch = LoopWatch(optimizer, scheduler, epochs=epochs, resumed=resumed)
                if self.restored is not None:  # what was seen then, before the scheduler had moved
                    self._given = self.restored["header"]["recipe"] | self._given
            self._write_recipe()
            if about != IMAGES:
                environment = {**(environment or {}), "task": about.to_dict()}
            if environment is not None:
                if self.restored is not None:
                    environment = with_earlier(self.directory / "env.json", environment)
                write_json(self.directory / "env.json", dict(environment))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self.history and not (self.directory / "result.json").exists():
                self.finish()
            elif kind is not None:  # which says more than why a state could not be saved either
                with contextlib.suppress(Exception):
                    self.wait()
        finally:
            self.close()

    def log(self, **record: Any) -> None:
        """Add one epoch's record. Non-finite values are stored as null.

        Args:
            **record: ``epoch`` is 1-based and grows; losses are in nats, accuracies in per cent. Numbers of
                Python, of NumPy and tensors of one element are taken.

        Raises:
            InputError: ``epoch`` is missing, below 1 or does not grow; a value that is no number; an accuracy outside
                [0, 100]; or accuracies of the first epoch below 1, which are shares unless there are many classes.
        """
        last = self.history[-1]["epoch"] if self.history else 0
        clean = clean_record(record, last, self.header["num_classes"])
        if self._watch is not None:
            clean = {"epoch": clean["epoch"]} | self._watch.record() | clean
            if not self.history:  # how long an epoch is, is known from here on
                self._write_recipe()
        self.history.append(clean)
        append_line(self.directory / "metrics.jsonl", json.dumps(clean, allow_nan=False))

    def log_examples(
        self, name: str, *, right: np.ndarray, losses: np.ndarray, places: np.ndarray | None = None
    ) -> None:
        """Add what the last logged epoch made of each example, for `ralr-viz learning`; before `save`.

        Args:
            name: ``train`` (the samples that are trained on), ``val`` (held out of them) or ``test``.
            right: (n,) bool, whether the class was predicted.
            losses: (n,) in nats; NaN for an example that was not seen.
            places: (n,) of the examples in the data set's split; 0, 1, … where left out.

        Raises:
            InputError: No epoch is logged yet, an unknown name, or other examples than in the epoch before.
        """
        if not self.history:
            raise InputError("`log_examples` is of the last logged epoch, and none is: call `log` before it")
        if name not in SETS:
            raise UnknownNameError("set of examples", name, SETS)
        facts = {key: self.header.get(key) for key in ("dataset", "content_hash")}
        rows = np.arange(len(right)) if places is None else places
        path = examples_path(self.directory, name)
        write_examples(path, self.history[-1]["epoch"], right, losses, rows, facts)

    def say(self, line: str) -> None:
        """Add a line to ``log.txt``."""
        append_line(self.directory / "log.txt", one_line(line, None))

    def save(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer | None = None,
        scheduler: Any = None,
        **state: Any,
    ) -> Path:
        """Save the state after the last logged epoch as ``last``, and under the other names it has earned.

        The old ``last`` stays as ``prev``; ``best`` is the lowest validation loss (training loss without
        validation), the later one on ties (Algorithm 1's L ≤ L*); the test set never selects.

        Args:
            model, optimizer, scheduler: Their ``state_dict`` is taken (those of the writer where left out); the
                model must not be wrapped.
            **state: More tensors and plain values that a resumed loop needs.
        """
        self.wait()
        self._write(self._describe_state(model, optimizer, scheduler, state))
        return self.checkpoints / "last.pt"

    def save_beside(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer | None = None,
        scheduler: Any = None,
        **state: Any,
    ) -> None:
        """`save` by a thread, of the state as it is now, while the training goes on.

        The state is on disk when `wait`, `finish` or the next save comes back; killed before that, a run goes on from the
        state before.

        Raises:
            StorageError: The state before could not be saved.
        """
        self.wait()
        content, ready = copy_to_host(self._describe_state(model, optimizer, scheduler, state))

        def write() -> None:
            ready()
            self._write(content)

        self._writer.start(write)

    def wait(self) -> None:
        """Come back when what `save_beside` was given is on disk.

        Raises:
            StorageError: It could not be saved.
        """
        self._writer.wait()

    def _describe_state(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer | None,
        scheduler: Any,
        state: dict[str, Any],
    ) -> dict[str, Any]:
        """Content of the checkpoint after the last logged epoch."""
        if self._watch is not None:
            optimizer, scheduler = optimizer or self._watch.optimizer, scheduler or self._watch.scheduler
        epoch = self.history[-1]["epoch"] if self.history else 0
        return {
            "header": {**self.header, "epoch": epoch, "parameters": [n for n, _ in model.named_parameters()]},
            "history": list(self.history),
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict() if optimizer is not None else None,
            "scheduler": scheduler.state_dict() if scheduler is not None else None,
            **state,
        }

    def _write(self, content: dict[str, Any]) -> None:
        """Of a thread too: it reads nothing that the training goes on to change."""
        last = self.checkpoints / "last.pt"
        if last.exists():
            copy_file(last, self.checkpoints / "prev.pt")
        write_bytes(last, pack_checkpoint(content))
        if "partial" not in content:
            self._name_checkpoint(content["history"])

    def finish(
        self, status: str = "finished", message: str = "", final: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Write ``result.json``, after its last state; the run is done.

        Args:
            status: ``finished`` or ``diverged``.
            message: What a reader should know, one line.
            final: Scores of the last state that were taken once, at the end (see `Training.conclude`). Those of
                the test images also stand with the last epoch.
        """
        self.wait()
        result = summarise_history(self.history, self.about) | {"status": status}
        if final:
            result["final"] = dict(final)
        if final and "test" in final and "last" in result:
            result["last"] |= {
                name: final["test"][name.removeprefix("test_")]
                for name in evaluated_columns(self.about.score)
                if name.startswith("test_")
            }
        if message:
            result["message"] = message
        write_json(self.directory / "result.json", result)
        return result

    def drop_optimizer(self) -> None:
        """Keep of a finished training's states the weights and what is known of them, and of the last two the last."""
        (self.checkpoints / "prev.pt").unlink(missing_ok=True)
        for path in sorted(self.checkpoints.glob("*.pt")):
            content = read_checkpoint(path)
            kept = {name: content[name] for name in ("header", "history", "model")}
            write_bytes(path, pack_checkpoint(kept | {"optimizer": None, "scheduler": None}))

    def close(self) -> None:
        """Give the directory free, when what is being saved is on disk.

        Raises:
            StorageError: It could not be saved.
        """
        try:
            self.wait()
        finally:
            if self._watch is not None:
                self._watch.close()
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def _write_recipe(self) -> None:
        """Write what is known of the settings, those that were given before those that were seen."""
        seen = self._watch.settings() if self._watch is not None else {}
        recipe = json.loads(json.dumps(seen | self._given))
        self.header["recipe"] = recipe
        named = {
            "recipe": recipe.get("name", ""),
            "method": self.header["method"],
            "seed": self.header["seed"],
        }
        text = recipe_to_toml(named | {k: v for k, v in recipe.items() if k != "name"})
        write_bytes(self.directory / "recipe.toml", text.encode())

    def _name_checkpoint(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Give ``last`` the names that its epoch deserves; run again after a kill, it changes nothing."""
        if not history:
            return
        epoch, last = history[-1]["epoch"], self.checkpoints / "last.pt"
        if best_epoch(history) == epoch:
            copy_file(last, self.checkpoints / "best.pt")
        if epoch in self.keep:
            copy_file(last, self.checkpoints / f"epoch_{epoch:04d}.pt")

    def _restore(self) -> None:
        """Read the newest whole state; ``metrics.jsonl`` is made to agree with it."""
        names = [name for name in ("last.pt", "prev.pt") if (self.checkpoints / name).exists()]
        failed: list[str] = []
        for name in names:
            path = self.checkpoints / name
            try:
                state = read_checkpoint(path)
                self.history = check_history(state.get("history"))
            except CheckpointError as error:
                failed.append(f"{name} cannot be read ({error})")
                continue
            check_same_run(self.directory, state["header"], self.header)
            if name != "last.pt":
                why = failed[0] if failed else "last.pt is missing"
                self.notes.append(f"resuming from {name}, the state before: {why}")
                self.say(self.notes[-1])
                copy_file(path, self.checkpoints / "last.pt")
            self.restored = state | {"source": name}
            if "partial" not in state:
                self._name_checkpoint(self.history)
            break
        else:
            for line in failed:
                self.say(line)
            if names:
                raise CheckpointError(
                    f"neither last.pt nor prev.pt in `{self.checkpoints}` can be read: "
                    "move the run directory away and start it again"
                )
        lines = "".join(json.dumps(r, allow_nan=False) + "\n" for r in self.history)
        write_bytes(self.directory / "metrics.jsonl", lines.encode())
