"""Where recipes lie and what a run directory is called: packaged TOML files, and those of users."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.foreign import is_one_line, one_line
from ralr_viz.recipe.recipe import Recipe, check_method, parse_overrides, recipe_from_dict
from ralr_viz.results.document import parse_toml


def recipe_names() -> tuple[str, ...]:
    """Names of the packaged recipes."""
    return tuple(
        sorted(p.name.removesuffix(".toml") for p in _folder().iterdir() if p.name.endswith(".toml"))
    )


def load_recipe(name: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Packaged recipe by name, or a user's TOML file, with ``key=value`` overrides.

    Raises:
        InputError: No such recipe or file, TOML that cannot be read, or a bad setting.
    """
    path = Path(name)
    if path.suffix == ".toml":
        if not path.is_file():
            raise InputError(f"`{path}` is not a file: give a recipe name or a TOML file")
        text, source, stem = read_toml_text(path), str(path), read_toml_name(path)
    elif str(name) in recipe_names():
        text, source, stem = (_folder() / f"{name}.toml").read_text(encoding="utf-8"), f"{name}", str(name)
    else:
        raise UnknownNameError("recipe", str(name), recipe_names(), "(or the path of a .toml file)")
    try:
        values = parse_toml(text)
    except ValueError as error:
        raise InputError(f"`{source}` is not valid TOML: {one_line(error)}") from None
    return recipe_from_dict(values | parse_overrides(overrides) | {"name": stem}, source)


def run_folder(recipe: Recipe, method: str, seed: int) -> Path:
    """``<recipe>[-<key8>]/<method>/seed<k>``; the key stands where the packaged recipe was changed."""
    check_method(method)
    name, key = recipe.name or "recipe", recipe.key(method)
    if key != _packaged_key(name, method):
        name = f"{name}-{key}"
    return Path(name) / method / f"seed{seed}"


@functools.cache
def _packaged_key(name: str, method: str) -> str | None:
    return load_recipe(name).key(method) if name in recipe_names() else None


def recipe_to_toml(values: Mapping[str, Any]) -> str:
    """Flat TOML; JSON's strings, numbers, booleans and lists are TOML's too."""
    lines = (f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())
    return "".join(lines).replace(
        "\x7f", "\\u007f"
    )  # the one character that JSON allows bare and TOML does not


def read_toml_name(path: Path) -> str:
    """Name of a user's TOML file, without its suffix, which names folders and stands in files.

    Raises:
        InputError: It is no line of text.
    """
    if not is_one_line(path.stem):
        raise InputError(
            f"`{path}` must have a name of one line of text: rename it, without control characters"
        )
    return path.stem


def read_toml_text(path: Path, remedy: str = "check its permissions") -> str:
    """Content of a user's TOML file.

    Raises:
        InputError: Not UTF-8, or it cannot be read; ``remedy`` ends that message.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"`{path}` is not text in UTF-8 (byte {error.start}): give a TOML file") from None
    except OSError as error:
        raise InputError(f"`{path}` cannot be read: {error.strerror}; {remedy}") from None


def _folder() -> Any:
    return resources.files("ralr_viz").joinpath("recipes")
