"""The task that checkpoints were trained for, where that is no classification of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ralr_viz.data import data_root
from ralr_viz.errors import InputError
from ralr_viz.nouns import NOUNS
from ralr_viz.own_code import is_allowed, names_code
from ralr_viz.recipe import recipe_from_dict
from ralr_viz.results.tasks import task_name
from ralr_viz.tasks.opening import open_task
from ralr_viz.tasks.task import Task
from ralr_viz.train.checkpoint import Checkpoint


def task_of(checkpoints: Sequence[Checkpoint], root: Path | None) -> Task | None:
    """What all of them were trained for; None for labelled images.

    Args:
        checkpoints: Of one task.
        root: Folder of the ingested data sets.

    Raises:
        InputError: They are of several tasks or data, or of one whose code is not allowed.
    """
    others = [checkpoint for checkpoint in checkpoints if not checkpoint.is_classifier]
    if not others:
        return None
    first = others[0]
    for checkpoint in checkpoints:
        for name, of in (("task", task_name), ("dataset", lambda recipe: (recipe or {}).get("dataset"))):
            if of(checkpoint.recipe) != of(first.recipe):
                raise InputError(
                    f"`{checkpoint.path}` has `{name}` = {of(checkpoint.recipe)}, `{first.path}` has {of(first.recipe)}: "
                    "compare networks that were trained for one"
                )
    named = task_name(first.recipe)
    if names_code(named) and not is_allowed(named):
        takers = ", ".join(noun.command_name for noun in NOUNS.values() if noun.of_any_task)
        raise InputError(
            f"`{first.path}` was trained for `{named}`, a task of somebody's own: {takers} take it with --allow {named}, "
            "what needs images does not"
        )
    task = open_task(recipe_from_dict(first.recipe or {}, str(first.path)), data_root(root))
    here = task.facts.get("content_hash")
    for checkpoint in checkpoints:
        if checkpoint.content_hash not in (None, here):
            raise InputError(
                f"`{checkpoint.path}` was trained on other data than `{first.dataset}` holds now: choose the data by --data"
            )
    return task
