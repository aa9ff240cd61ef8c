"""Recipes: everything that decides the result of a training run, frozen and hashable."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.foreign import is_one_line, one_line
from ralr_viz.results.document import parse_toml
from ralr_viz.results.names import NO_EFFECT, UNTRAINED
from ralr_viz.train.recipe_rules import check_recipe
from ralr_viz.train.recipe_values import coerce_value, parse_value
from ralr_viz.train.settings import Settings, to_epoch

METHODS = ("baseline", "ralr", "scaled", "matched", "noise")

# Raised only when the same fields come to mean another training; old run folders then keep their old key.
RECIPE_VERSION = 1

_LENGTHS = frozenset({"restart_epochs", "cycle"})


@dataclass(frozen=True, kw_only=True)
class Recipe(Settings):
    """One training experiment, without its method and seed: `Settings` that hold together.

    Raises:
        InputError: A setting of another type, outside its range, or at odds with another.
    """

    def __post_init__(self) -> None:
        check_recipe(self)

    def key(self, method: str = "ralr") -> str:
        """Eight hex digits that name the training itself.

        Hash of the fields that change the weights and differ from their defaults, and of the recipe
        version: an option added later leaves old keys alone. A method does not depend on the factors of
        the others, so recipes that differ only there share it.
        """
        skip = UNTRAINED | NO_EFFECT.get(method, frozenset())
        fields = {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.name not in skip and getattr(self, f.name) != f.default
        }
        # 0.5 of 300 epochs and 150 are the same training
        if "milestones" in fields:
            fields["milestones"] = self.milestone_epochs
        for name in _LENGTHS & fields.keys():
            fields[name] = to_epoch(fields[name], self.epochs)
            if fields[name] == to_epoch(getattr(Recipe, name), self.epochs):
                del fields[name]
        if fields.pop("amplify_from", 0) and self.first_amplified:
            fields["amplify_from"] = self.first_amplified
        if "noise_range" in fields:
            fields["noise_range"] = [float(share) for share in self.noise_range]
        if method == "noise":  # whose first epoch had noise, unlike timm's, in runs of the plain key
            fields["noise_from"] = 1
        text = json.dumps({"version": RECIPE_VERSION, **fields}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, lists for tuples; the inverse of `recipe_from_dict`."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}


def recipe_from_dict(values: Mapping[str, Any], source: str) -> Recipe:
    """Recipe from plain values; ``source`` names the file in errors.

    Raises:
        InputError: A missing or unknown field, a wrong type or a value outside its range.
    """
    fields = {f.name: f for f in dataclasses.fields(Recipe)}
    for name in values:
        if name not in fields:
            raise UnknownNameError("recipe setting", name, fields, f"(in {source})")
    missing = [n for n, f in fields.items() if f.default is dataclasses.MISSING and n not in values]
    if missing:
        raise InputError(f"`{source}` lacks the setting `{missing[0]}`: add it, e.g. from a packaged recipe")
    return Recipe(**{n: coerce_value(n, v, str(fields[n].type)) for n, v in values.items()})


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


def parse_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    """Settings of ``key=value`` texts, each value read as TOML where it is that, else as a text.

    Raises:
        InputError: No ``=``, or the recipe's name.
    """
    values: dict[str, Any] = {}
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator:
            raise InputError(f"`--set {override}` has no `=`: write --set key=value")
        if key.strip() == "name":
            raise InputError(f"`--set {override}`: a recipe is named by its file; choose a folder by --runs")
        values[key.strip()] = parse_value(value.strip())
    return values


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


def check_method(method: str) -> None:
    """Raises: UnknownNameError when ``method`` is none of METHODS."""
    if method not in METHODS:
        raise UnknownNameError("method", method, METHODS)


def check_seed(seed: int) -> None:
    """Raises: InputError when torch's generator does not take ``seed``."""
    if not 0 <= seed < 2**63:
        raise InputError(f"`seed` = {seed} must be in [0, 2^63): choose another")


def changed_settings(before: Mapping[str, Any], now: Mapping[str, Any], method: str) -> list[str]:
    """Names of the settings in which two flat recipes are different trainings.

    Returns:
        Empty also where either is no recipe of ours but the settings of somebody's own loop.
    """
    try:
        old, new = recipe_from_dict(before, "the checkpoint"), recipe_from_dict(now, "the recipe")
    except InputError:
        return []
    if old.key(method) == new.key(method):
        return []
    skip = UNTRAINED | NO_EFFECT.get(method, frozenset())
    names = [f.name for f in dataclasses.fields(Recipe) if f.name not in skip]
    return [name for name in names if getattr(old, name) != getattr(new, name)]


def recipe_to_toml(values: Mapping[str, Any]) -> str:
    """Flat TOML; JSON's strings, numbers, booleans and lists are TOML's too."""
    lines = (f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())
    return "".join(lines).replace(
        "\x7f", "\\u007f"
    )  # the one character that JSON allows bare and TOML does not


def _folder() -> Any:
    return resources.files("ralr_viz").joinpath("recipes")


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
