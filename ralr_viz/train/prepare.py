"""Make run directories that are ready to be executed, here or elsewhere."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from ralr_viz.errors import InputError
from ralr_viz.results.run import read_recipe_file
from ralr_viz.train.recipe import Recipe, check_method, recipe_from_dict, recipe_to_toml, run_folder
from ralr_viz.train.storage import lock_folder, write_bytes


def prepare_run(
    recipe: Recipe, method: str, seed: int, runs: Path, *, resume: bool = False, force: bool = False
) -> Path:
    """Write a run directory with its ``recipe.toml``; a finished or prepared one is left as it is.

    Args:
        recipe, method, seed: What to train.
        runs: Folder of all runs.
        resume: Accept a directory with an unfinished run.
        force: Delete what the directory holds and start again.

    Returns:
        ``runs/<recipe>[-<key8>]/<method>/seed<k>``.

    Raises:
        InputError: An unfinished run is there and neither ``resume`` nor ``force`` is given, or the
            directory belongs to another recipe.
        RunLockedError: A process is working on the directory that ``force`` would delete.
    """
    directory = runs / run_folder(recipe, method, seed)
    values = {"recipe": recipe.name, "method": method, "seed": seed} | {
        k: v for k, v in recipe.to_dict().items() if k != "name"
    }
    if (directory / "recipe.toml").exists():
        if force:
            _delete(directory)
        else:
            _check_same(directory, recipe, method)
            started = (directory / "metrics.jsonl").exists()
            if started and not resume and finished_result(directory) is None:
                raise InputError(
                    f"`{directory}` holds an unfinished run: pass --resume to go on or --force to restart"
                )
            if finished_result(directory) is not None:
                return directory
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the run directory `{directory}`: {error.strerror}") from None
    write_bytes(directory / "recipe.toml", recipe_to_toml(values).encode())
    return directory


def read_prepared_run(directory: Path) -> tuple[Recipe, str, int]:
    """Recipe, method and seed of a run directory.

    Raises:
        InputError: No run directory, or a recipe that cannot be used.
    """
    path = directory / "recipe.toml"
    values = read_recipe_file(path)
    method, seed, name = values.pop("method"), values.pop("seed"), values.pop("recipe")
    if seed is None:
        raise InputError(f"`{path}` has no `seed`: prepare the run with `ralr-viz train --prepare`")
    check_method(method)
    return recipe_from_dict(values | {"name": name}, str(path)), method, seed


def finished_result(directory: Path) -> dict[str, Any] | None:
    """Content of ``result.json``, or None where the run is not done.

    Raises:
        InputError: The file is damaged.
    """
    path = directory / "result.json"
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"`{path}` cannot be read ({error}): delete it and pass --resume") from None
    if not isinstance(result, dict) or not isinstance(result.get("status"), str):
        raise InputError(f"`{path}` is no result of a run: delete it and pass --resume")
    return result


def _check_same(directory: Path, recipe: Recipe, method: str) -> None:
    there, _, _ = read_prepared_run(directory)
    if there.key(method) != recipe.key(method):
        raise InputError(
            f"`{directory}` was trained with other settings: pass another --runs folder or --force"
        )


def _delete(directory: Path) -> None:
    """Delete a run, unless a process works on it."""
    descriptor = lock_folder(directory)
    try:
        shutil.rmtree(directory)
    finally:
        os.close(descriptor)
