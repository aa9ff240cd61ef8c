"""Recipes: everything that decides the result of a training run, frozen and hashable."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.own_code import check_allowed, import_named, names_code
from ralr_viz.recipe.rules import RULES, Rule, check_recipe
from ralr_viz.recipe.settings import Settings, to_epoch
from ralr_viz.recipe.values import coerce_value, parse_value
from ralr_viz.results.names import NO_EFFECT, UNTRAINED
from ralr_viz.results.tasks import CLASSIFICATION, TASKS

METHODS = ("baseline", "ralr", "scaled", "matched", "noise")

# Raised only when the same fields come to mean another training; old run folders then keep their old key.
RECIPE_VERSION = 1

_LENGTHS = frozenset({"restart_epochs", "cycle"})


@dataclass(frozen=True, kw_only=True)
class Recipe(Settings):
    """One training experiment, without its method and seed: `Settings` that hold together.

    A task with settings of its own has a child of this class: its fields and ``rules`` for them, which may stand in a
    table of the task's name.

    Raises:
        InputError: A setting of another type, outside its range, or at odds with another.
    """

    rules: ClassVar[Mapping[str, Rule]] = RULES
    uses_store: ClassVar[bool] = False
    """Whether ``dataset`` is one of the imported data sets."""

    def __post_init__(self) -> None:
        check_recipe(self, self.rules)

    @property
    def own_code(self) -> dict[str, str]:
        """The settings that name code of the user's own, which is imported only where he has allowed it."""
        return {
            name: value for name in ("task", "model", "optimizer") if names_code(value := getattr(self, name))
        }

    def check_code(self) -> None:
        """Refuse a network that cannot be built, and code of the user's own that is not allowed; nothing is imported.

        Raises:
            InputError: So it is.
        """
        for setting, named in self.own_code.items():
            check_allowed(setting, named)

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
        """Plain values, lists for tuples, its texts last; the inverse of `recipe_from_dict`."""
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}
        return plain | {name: plain.pop(name) for name in ("name", "description")}


def recipe_from_dict(values: Mapping[str, Any], source: str) -> Recipe:
    """Recipe from plain values; ``source`` names the file in errors.

    Raises:
        InputError: A missing or unknown field, a wrong type or a value outside its range.
    """
    kind = recipe_class(values.get("task", CLASSIFICATION))
    values = _flatten(values)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for name in values:
        if name not in fields:
            raise UnknownNameError("recipe setting", name, fields, f"(in {source})")
    missing = [n for n, f in fields.items() if f.default is dataclasses.MISSING and n not in values]
    if missing:
        raise InputError(f"`{source}` lacks the setting `{missing[0]}`: add it, e.g. from a packaged recipe")
    return kind(**{n: coerce_value(n, v, str(fields[n].type)) for n, v in values.items()})


def recipe_class(task: Any) -> type[Recipe]:
    """What the recipes of a task are.

    Raises:
        UnknownNameError: There is no such task.
        InputError: It is code of somebody's own that is not allowed or cannot be imported.
    """
    if row := TASKS.get(str(task)):
        module, _, name = row.recipe.partition(":")
        found = getattr(importlib.import_module(module), name)
    elif names_code(task):
        check_allowed("task", task)
        found = getattr(import_named(task), "recipe_type", Recipe)
    else:
        raise UnknownNameError("task", str(task), TASKS, "(or package.module:Class, of your own)")
    assert isinstance(found, type) and issubclass(found, Recipe), f"{task}: {found} is no Recipe"
    return found


def _flatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of which those of the task may stand in a table of its name; those beside it go before."""
    table = values.get(str(values.get("task", CLASSIFICATION)))
    if not isinstance(table, dict):
        return dict(values)
    return table | {name: value for name, value in values.items() if value is not table}


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
    names = dict.fromkeys(f.name for recipe in (old, new) for f in dataclasses.fields(recipe))
    missing = object()
    return [n for n in names if n not in skip and getattr(old, n, missing) != getattr(new, n, missing)]
