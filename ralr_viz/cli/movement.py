"""``ralr-viz movement``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_line, print_note
from ralr_viz.cli.output import describe_command, prepare_out, save_all
from ralr_viz.cli.progress import show_progress
from ralr_viz.errors import CheckpointError, InputError, UnknownNameError

if TYPE_CHECKING:
    from ralr_viz.results.predictions import PredictionsResult
    from ralr_viz.results.run import RunRecord
    from ralr_viz.train.checkpoint import Checkpoint

    Pair = tuple[Checkpoint, Checkpoint]


def movement(
    run: Annotated[
        list[Path],
        typer.Option("--run", metavar="RUN", help="Run directory, or a folder of them; repeatable."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the figure and its numbers.")],
    churn: Annotated[
        bool, typer.Option("--churn/--no-churn", help="Predictions that change late: needs the images.")
    ] = True,
    data: options.Data = None,
    split: options.Split = "test",
    limit: options.Limit = None,
    batch: options.Batch = 500,
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the bootstrap over images.")] = 0,
    style: options.Style = "icml",
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """How far the weights move, when, and for how much learning rate (the paper's "keeps moving").

    The records alone give path lengths; kept states give net distances, angles and layers; images give the
    share of predictions that change between 2/3 of the training and its end.

    Example: ralr-viz movement --run runs/R/baseline --run runs/R/ralr --run runs/R/scaled --out out
    """
    import numpy as np

    from ralr_viz.analysis.movement import compute_movement
    from ralr_viz.comparison.samples import SPLITS
    from ralr_viz.results.measure import list_measures
    from ralr_viz.results.run import find_runs, load_run

    if split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)
    force = prepare_out(out, "movement", style=style, force=force)
    folders = [folder for path in run for folder in find_runs(path)]
    records = [load_run(folder) for folder in folders]
    states = [KeptStates(folder) for folder in folders]
    notes: list[str] = []
    predictions: list[tuple[PredictionsResult, PredictionsResult] | None] | None = None
    with show_progress(quiet) as progress:
        if churn:
            try:
                ends = [
                    kept.late(int(r.recipe.get("epochs", 0))) for kept, r in zip(states, records, strict=True)
                ]
                predictions = _predict(ends, data, split, limit, batch, device, precision, quiet, progress)
            except InputError as error:
                notes.append(f"churn is not measured: {error} (--no-churn leaves it out)")
        result = compute_movement(
            records,
            states=states,
            predictions=predictions,
            names=_name_runs(records),
            seed=seed,
            progress=lambda done, total: progress(done, total, "weights"),
            provenance=describe_command() | {"device": device, "precision": precision},
        )
    for note in [kept.damage for kept in states if kept.damage]:  # to the quiet, too
        print_note(f"left out: {note}")
    if not quiet:
        for note in [*notes, *result.notes]:
            print_note(note)
    for line in list_measures(result.models, [m for m in result.measures() if np.isfinite(m.values).any()]):
        print_line(line)
    save_all(result, out, "movement", style=style, force=force, quiet=quiet)


class KeptStates(Mapping[int, Mapping[str, Any]]):
    """Epoch → the parameters that a run directory has kept, read from disk at each look, in network order.

    Attributes:
        damage: Why the last state cannot be read, where there is one that cannot; its epoch is left out.
    """

    def __init__(self, run: Path) -> None:
        from ralr_viz.train.checkpoint import load_checkpoint, resolve_checkpoint, saved_epochs
        from ralr_viz.train.checkpoint_file import parse_checkpoint, read_checkpoint_bytes

        self._specs = {epoch: f"{run}@{epoch}" for epoch in saved_epochs(run)}
        self.damage = ""
        try:
            file = resolve_checkpoint(run)
        except CheckpointError:  # a record without any state is fine
            return
        try:
            parse_checkpoint(file, read_checkpoint_bytes(file))
        except CheckpointError as error:
            self.damage = str(error)
            return
        with contextlib.suppress(CheckpointError):  # nor need the state say of which network it is
            last = load_checkpoint(run).epoch
            if last is not None:
                self._specs.setdefault(last, str(run))

    def checkpoint(self, epoch: int) -> Checkpoint:
        from ralr_viz.train.checkpoint import load_checkpoint

        return load_checkpoint(self._specs[epoch])

    def late(self, epochs: int) -> Pair | None:
        """The checkpoints after 2/3 and after all of the epochs, where both are kept."""
        from ralr_viz.results.movement import late_start

        start = late_start(epochs)
        if start >= epochs or not {start, epochs} <= self._specs.keys():
            return None
        return self.checkpoint(start), self.checkpoint(epochs)

    def __getitem__(self, epoch: int) -> Mapping[str, Any]:
        return dict(self.checkpoint(epoch).build().named_parameters())

    def __iter__(self) -> Iterator[int]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)


def _name_runs(records: Sequence[RunRecord]) -> list[str]:
    """``baseline`` and ``RALR`` where that tells them apart, else with seed, else with what differs."""
    from ralr_viz.results.names import method_name, name_runs

    short = [method_name(r.method) for r in records]
    seeds = [f"{name}, seed {r.seed}" for name, r in zip(short, records, strict=True)]
    for names in (short, seeds):
        if len(set(names)) == len(names):
            return names
    return list(name_runs(records))


def _predict(
    ends: Sequence[Pair | None],
    data: Path | None,
    split: str,
    limit: int | None,
    batch: int,
    device: str,
    precision: str,
    quiet: bool,
    progress: Any,
) -> list[tuple[PredictionsResult, PredictionsResult] | None] | None:
    """Predictions at both ends of each run's late phase, on images that all share."""
    from ralr_viz.cli.inputs import select_common
    from ralr_viz.cli.predictions import cached_predictions
    from ralr_viz.train.runtime import resolve_runtime

    checkpoints = [c for pair in ends if pair is not None for c in pair]
    if not checkpoints:
        return None
    parts = select_common(checkpoints, data, split, limit, quiet=quiet)
    runtime = resolve_runtime(device, precision)
    found = [
        cached_predictions(c, part, runtime, name=c.label, batch=batch, progress=progress)
        for c, part in zip(checkpoints, parts, strict=True)
    ]
    pairs = iter(zip(found[::2], found[1::2], strict=True))
    return [None if pair is None else next(pairs) for pair in ends]
