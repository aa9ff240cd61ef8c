"""A checkpoint from which training can go on, with the data that it was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ralr_viz.data import data_root
from ralr_viz.errors import CheckpointError, DataError, InputError
from ralr_viz.own_code import names_code
from ralr_viz.recipe import Recipe, recipe_from_dict
from ralr_viz.tasks.opening import open_task
from ralr_viz.tasks.task import Task
from ralr_viz.train.checkpoint import read_checkpoint, resolve_checkpoint

_NEEDED = ("model", "optimizer", "scheduler", "rng")


@dataclass(frozen=True, eq=False)
class ForkPoint:
    """A checkpoint from which training can go on.

    Attributes:
        path: Its file.
        sha256: Of the file.
        state: Its content.
        recipe, method, seed, epoch: What it is of; ``epoch`` are finished.
    """

    path: Path
    sha256: str
    state: Mapping[str, Any] = field(repr=False)
    recipe: Recipe
    method: str
    seed: int
    epoch: int

    @property
    def directory(self) -> Path | None:
        """The run that it is of; None for a file that lies elsewhere."""
        return self.path.parent.parent if self.path.parent.name == "checkpoints" else None


def read_fork_point(path: Path) -> ForkPoint:
    """Read a checkpoint that holds the whole state of a training.

    Raises:
        CheckpointError: It has weights only, is of the midst of an epoch, or not of ralr-viz's own training.
    """
    remedy = "train with --set keep_every=1 and give RUN@E, or give a .pt file of a run directory"
    if path.suffix == ".safetensors":
        raise CheckpointError(f"`{path}` holds weights only, a fork needs the optimizer's state: {remedy}")
    state = read_checkpoint(path)
    header = state["header"]
    lacking = [name for name in _NEEDED if not state.get(name)]
    if lacking:
        raise CheckpointError(f"`{path}` has no state of the {lacking[0]}, which a fork needs: {remedy}")
    if "partial" in state:
        raise CheckpointError(
            f"`{path}` is of the midst of an epoch: give RUN@prev, or finish the run by --resume"
        )
    try:
        recipe = recipe_from_dict(header["recipe"], str(path))
        method, seed, epoch = str(header["method"]), int(header["seed"]), int(header["epoch"])
    except (KeyError, TypeError, ValueError, AttributeError, InputError) as error:
        if isinstance(error, InputError) and names_code((header.get("recipe") or {}).get("task")):
            raise
        raise CheckpointError(
            f"`{path}` is not of a training by `ralr-viz train`, so it cannot go on"
        ) from None
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return ForkPoint(path, sha256, state, recipe, method, seed, epoch)


class ForkState(NamedTuple):
    """What a fork starts from.

    Attributes:
        point: The checkpoint.
        task: What it was trained for, with its data.
        device: Where its branches are trained.
    """

    point: ForkPoint
    task: Task
    device: str = "auto"


def open_state(checkpoint: str | Path, *, root: Path | None = None, device: str = "auto") -> ForkState:
    """Open a checkpoint for `compute_fork`, where its data or device are not the common ones.

    Args:
        checkpoint: ``RUN@E`` or a ``.pt`` file, with the optimizer's state.
        root: Folder of the ingested data sets; left out, ``$RALR_VIZ_DATA``, else the user's cache folder.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises:
        CheckpointError: No checkpoint, or one from which training cannot go on.
        DataError: Other data than was trained on, or none.
        InputError: It was trained by code of the user's own, which is not allowed.
    """
    point = read_fork_point(resolve_checkpoint(checkpoint))
    task = open_task(point.recipe, data_root(root))
    if point.state["header"].get("content_hash") != task.facts.get("content_hash"):
        raise DataError(
            f"`{point.path}` was trained on other {task.samples_name} than `{point.recipe.dataset}` holds now: a fork needs the same; "
            "choose the data by --data"
        )
    return ForkState(point, task, device)
