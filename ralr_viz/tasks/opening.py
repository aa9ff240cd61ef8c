"""The task of a recipe."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from ralr_viz.own_code import call_named, check_allowed
from ralr_viz.results.tasks import TASKS, About

if TYPE_CHECKING:
    from ralr_viz.recipe import Recipe
    from ralr_viz.tasks.task import Task


def open_task(recipe: Recipe, root: Path) -> Task:
    """Make the task of a recipe, with its data.

    Args:
        recipe: Says which; code of the user's own must be allowed (`ralr_viz.own_code.allow_code`).
        root: Folder of the ingested data sets.

    Raises:
        InputError: Its data are not there or do not fit, or its code is not allowed or cannot be imported.
    """
    row = TASKS.get(recipe.task)
    if row is None:
        check_allowed("task", recipe.task)
        made: Task = call_named(recipe.task, recipe=recipe, root=root)
        return made
    module, _, name = row.task.partition(":")
    found: Task = getattr(importlib.import_module(module), name)(recipe, root)
    return found


def about_task(task: Task) -> About:
    """How one speaks of its runs."""
    return About(task.score, task.loss_unit, task.samples_name)
