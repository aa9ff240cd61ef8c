"""Make run directories that are ready to be executed, here or elsewhere."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from ralr_viz.errors import InputError
from ralr_viz.foreign import one_line
from ralr_viz.recipe import (
    Recipe,
    check_method,
    check_seed,
    recipe_from_dict,
    recipe_to_toml,
    run_folder,
)
from ralr_viz.results.document import parse_json
from ralr_viz.results.run import read_recipe_file
from ralr_viz.results.storage import write_bytes
from ralr_viz.train.lock import lock_folder


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
        InputError: An unfinished run is there and neither ``resume`` nor ``force`` is given, the directory
            belongs to another recipe or cannot be made, or the seed is out of range.
        RunLockedError: A process is working on the directory that ``force`` would delete.
        UnknownNameError: No network has the recipe's name.
    """
    check_seed(seed)
    recipe.check_code()  # before anything is deleted, and here rather than on the cluster
    directory = runs / run_folder(recipe, method, seed)
    prepared = _has_text(directory / "recipe.toml")
    started = has_progress(directory)
    if force and (prepared or started):
        _delete(directory)
    else:
        if prepared:
            check_prepared(directory, recipe, method, seed)
        if finished_result(directory) is not None:
            return directory
        if started and not resume:
            raise InputError(
                f"`{directory}` holds an unfinished run: pass --resume to go on or --force to restart"
            )
        if prepared:
            return directory
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make the run directory `{directory}` ({error.strerror}): choose another --runs"
        ) from None
    # not synced, since thousands are prepared at once: an empty one is written again, and training writes it anew
    write_bytes(directory / "recipe.toml", _recipe_text(recipe, method, seed), sync=False)
    return directory


def check_prepared(directory: Path, recipe: Recipe, method: str, seed: int) -> None:
    """Refuse a run directory whose ``recipe.toml`` is of another training; there need be none.

    Raises:
        InputError: It is, or it cannot be read.
    """
    try:
        there = (directory / "recipe.toml").read_bytes()
    except OSError:
        return
    if there in (b"", _recipe_text(recipe, method, seed)):
        return
    found, its_method, its_seed = read_prepared_run(directory)
    if (found.key(method), its_method, its_seed) != (recipe.key(method), method, seed):
        raise InputError(
            f"`{directory}` was trained with other settings than its name says (see its recipe.toml): "
            "choose another --runs folder or move it away"
        )


def read_prepared_run(directory: Path) -> tuple[Recipe, str, int]:
    """Recipe, method and seed of a run directory.

    Raises:
        InputError: No run directory, or a recipe that cannot be used.
    """
    path = directory / "recipe.toml"
    if not path.is_file():
        raise InputError(f"`{directory}` is no prepared run (no recipe.toml): make one by `train --prepare`")
    values = read_recipe_file(path)
    method, seed, name = values.pop("method"), values.pop("seed"), values.pop("recipe")
    check_method(method)
    check_seed(seed)
    return recipe_from_dict(values | {"name": name}, str(path)), method, seed


def finished_result(directory: Path) -> dict[str, Any] | None:
    """Content of ``result.json``, or None where the run is not done.

    Raises:
        InputError: The file is damaged.
    """
    path = directory / "result.json"
    try:
        result = parse_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"`{path}` cannot be read ({error.strerror}): choose another --runs") from None
    except ValueError as error:
        raise InputError(f"`{path}` is damaged ({one_line(error)}): delete it and resume the run") from None
    if not isinstance(result, dict) or not isinstance(result.get("status"), str):
        raise InputError(f"`{path}` is no result of a run: delete it and resume the run")
    return result


def _recipe_text(recipe: Recipe, method: str, seed: int) -> bytes:
    """Content of ``recipe.toml``."""
    settings = {k: v for k, v in recipe.to_dict().items() if k != "name"}
    return recipe_to_toml({"recipe": recipe.name, "method": method, "seed": seed} | settings).encode()


def _has_text(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def has_progress(directory: Path) -> bool:
    """Whether training has left anything here; the directory need not exist."""
    try:
        if (directory / "metrics.jsonl").stat().st_size:
            return True
    except OSError:
        pass
    return any((directory / "checkpoints").glob("*"))


def _delete(directory: Path) -> None:
    """Delete a run, unless a process works on it."""
    descriptor = lock_folder(directory)
    try:
        shutil.rmtree(directory)
    finally:
        os.close(descriptor)
