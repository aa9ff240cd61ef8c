"""Recipes: everything that decides the result of a training run, frozen and hashable."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ralr_viz.errors import InputError, UnknownNameError

METHODS = ("baseline", "ralr", "scaled")
OPTIMIZERS = ("sgd", "adam", "adagrad")
SCHEDULES = ("multistep", "cosine", "constant")
PRECISIONS = ("auto", "fp32", "bf16")
DRAWS = ("uniform", "integer")

# Beyond these a number is a slip of the keyboard, and what is drawn of it overflows.
MOST_EPOCHS, HIGHEST_FACTOR = 100_000, 1e6

# Raised only when the same fields come to mean another training; old run folders then keep their old key.
RECIPE_VERSION = 1

_EXAMPLES = {"tuple": "0.5,0.75", "bool": "true", "int": "30", "float": "0.1", "str": "NAME"}
_AMPLIFICATION = frozenset({"low", "high", "probability", "draw", "interval"})
_NO_EFFECT_ON_WEIGHTS = frozenset({"name", "description", "keep", "keep_every", "train_sample"})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training experiment, without its method and seed.

    Epochs in ``milestones`` and ``keep`` are integers (after so many epochs) or fractions of ``epochs``
    (``0.5`` is half of the training), so that ``--set epochs=30`` scales the schedule with it.

    Attributes:
        dataset: Name of an ingested dataset.
        model: Architecture, as `ralr_viz.models.build_model` takes it.
        epochs: Number of passes over the training images.
        batch: Images per step.
        lr: Initial base learning rate η₀.
        optimizer: ``sgd``, ``adam`` or ``adagrad``.
        momentum, nesterov, weight_decay: Of the optimizer; weight decay is the coupled L2 kind, on all
            parameters, so an amplified learning rate amplifies it too.
        schedule: ``multistep`` (× ``gamma`` after each of ``milestones``), ``cosine`` to 0, ``constant``.
        low, high, probability, draw: RALR's [low, high], p_r and how the factor is drawn (paper section 4.2).
        interval: Epochs per draw (the paper: 1).
        crop_padding: Zero padding of the random crop in pixels; 0 turns it off.
        flip: Mirror horizontally with probability 0.5.
        validation: Share of the training images held out, stratified; 0 trains on all, as the paper does.
        subset: Number of training images to keep, stratified, before holding out; 0 keeps all.
        split_seed: Seed of both selections; the same for all training seeds, so that they are comparable.
        drop_last: Leave out the last, smaller batch of an epoch.
        precision: ``auto``, ``fp32`` or ``bf16`` (autocast).
        keep: Epochs whose checkpoint is kept; ``keep_every`` keeps each n-th.
        train_sample: Images of the fixed training sample on which ``train_loss_eval`` is measured.
    """

    dataset: str
    model: str
    epochs: int
    batch: int
    lr: float
    optimizer: str = "sgd"
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: str = "multistep"
    milestones: tuple[int | float, ...] = ()
    gamma: float = 0.1
    low: float = 1.0
    high: float = 3.0
    probability: float = 0.5
    draw: str = "uniform"
    interval: int = 1
    crop_padding: int = 0
    flip: bool = False
    validation: float = 0.0
    subset: int = 0
    split_seed: int = 0
    drop_last: bool = False
    precision: str = "auto"
    keep: tuple[int | float, ...] = ()
    keep_every: int = 0
    train_sample: int = 2000
    name: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        _check(self)

    @property
    def milestone_epochs(self) -> tuple[int, ...]:
        """Epochs after which the base learning rate falls."""
        return tuple(_to_epoch(m, self.epochs) for m in self.milestones)

    @property
    def kept_epochs(self) -> frozenset[int]:
        """Epochs whose checkpoint is kept; 2/3 of the training and its end are what Figure 2 compares."""
        every = range(self.keep_every, self.epochs + 1, self.keep_every) if self.keep_every else ()
        return frozenset(_to_epoch(k, self.epochs) for k in self.keep) | frozenset(every)

    def key(self, method: str = "ralr") -> str:
        """Eight hex digits that name the training itself.

        Hash of the fields that change the weights and differ from their defaults, and of the recipe
        version: an option added later leaves old keys alone. The baseline does not depend on the
        amplification, so recipes that differ only there share it.
        """
        skip = _NO_EFFECT_ON_WEIGHTS | (_AMPLIFICATION if method == "baseline" else frozenset())
        fields = {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.name not in skip and getattr(self, f.name) != f.default
        }
        if "milestones" in fields:  # 0.5 of 300 epochs and 150 are the same training
            fields["milestones"] = self.milestone_epochs
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
    return Recipe(**{n: _coerce(n, v, str(fields[n].type)) for n, v in values.items()})


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
        text, source, stem = _read_text(path), str(path), path.stem
    elif str(name) in recipe_names():
        text, source, stem = (_folder() / f"{name}.toml").read_text(encoding="utf-8"), f"{name}", str(name)
    else:
        raise UnknownNameError("recipe", str(name), recipe_names(), "(or the path of a .toml file)")
    try:
        values: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"`{source}` is not valid TOML: {error}") from None
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator:
            raise InputError(f"`--set {override}` has no `=`: write --set key=value")
        if key.strip() == "name":
            raise InputError(f"`--set {override}`: a recipe is named by its file; choose a folder by --runs")
        values[key.strip()] = _parse_value(value.strip())
    return recipe_from_dict(values | {"name": stem}, source)


def run_folder(recipe: Recipe, method: str, seed: int) -> Path:
    """``<recipe>[-<key8>]/<method>/seed<k>``; the key stands where the packaged recipe was changed."""
    check_method(method)
    name = recipe.name or "recipe"
    packaged = load_recipe(name).key(method) if name in recipe_names() else None
    if recipe.key(method) != packaged:
        name = f"{name}-{recipe.key(method)}"
    return Path(name) / method / f"seed{seed}"


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
    names = [f.name for f in dataclasses.fields(Recipe) if f.name not in _NO_EFFECT_ON_WEIGHTS]
    return [name for name in names if getattr(old, name) != getattr(new, name)]


def recipe_to_toml(values: Mapping[str, Any]) -> str:
    """Flat TOML; JSON's strings, numbers, booleans and lists are TOML's too."""
    lines = (f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())
    return "".join(lines).replace(
        "\x7f", "\\u007f"
    )  # the one character that JSON allows bare and TOML does not


def _folder() -> Any:
    return resources.files("ralr_viz").joinpath("recipes")


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"`{path}` is not text in UTF-8 (byte {error.start}): give a TOML file") from None
    except OSError as error:
        raise InputError(f"`{path}` cannot be read: {error.strerror}; check its permissions") from None


def _parse_value(text: str) -> Any:
    for candidate in (text, f"[{text}]"):
        try:
            return tomllib.loads(f"value = {candidate}")["value"]
        except tomllib.TOMLDecodeError:
            continue
    return text


def _coerce(name: str, value: Any, annotation: str) -> Any:
    """Accept what TOML can write for a field: an integer for a float, a list or a number for a tuple."""
    if annotation.startswith("tuple"):
        value = tuple(value) if isinstance(value, list) else (value,)
        if all(isinstance(v, int | float) and not isinstance(v, bool) for v in value):
            return value
    elif annotation == "bool":
        if isinstance(value, bool):
            return value
    elif annotation == "int":
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    elif annotation == "float":
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif isinstance(value, str):
        return value
    kind = annotation.split("[")[0]
    raise InputError(f"`{name}` = {value!r} must be of type {kind}, e.g. --set {name}={_EXAMPLES[kind]}")


def _to_epoch(value: int | float, epochs: int) -> int:
    return value if isinstance(value, int) else max(1, round(value * epochs))


def _check(r: Recipe) -> None:
    def require(holds: bool, name: str, rule: str) -> None:
        if not holds:
            raise InputError(
                f"`{name}` = {getattr(r, name)!r} must be {rule}: change it in the recipe or by --set"
            )

    require(1 <= r.epochs <= MOST_EPOCHS, "epochs", f"in [1, {MOST_EPOCHS}]")
    require(r.batch >= 1, "batch", "at least 1")
    require(math.isfinite(r.lr) and r.lr > 0, "lr", "a positive, finite number")
    own = ":" in r.model and not r.model.startswith("torchvision:")
    require(
        not own, "model", "one of ralr-viz's or torchvision's; train your own in your loop with RunWriter"
    )
    require(r.optimizer in OPTIMIZERS, "optimizer", f"one of {', '.join(OPTIMIZERS)}")
    require(r.schedule in SCHEDULES, "schedule", f"one of {', '.join(SCHEDULES)}")
    require(r.precision in PRECISIONS, "precision", f"one of {', '.join(PRECISIONS)}")
    require(r.draw in DRAWS, "draw", f"one of {', '.join(DRAWS)}")
    require(0 <= r.momentum < 1, "momentum", "in [0, 1)")
    require(not r.nesterov or r.momentum > 0, "nesterov", "false without momentum")
    require(math.isfinite(r.weight_decay) and r.weight_decay >= 0, "weight_decay", "at least 0")
    require(math.isfinite(r.gamma) and r.gamma > 0, "gamma", "a positive, finite number")
    require(0 <= r.probability <= 1, "probability", "in [0, 1]")
    require(math.isfinite(r.low) and r.low > 0, "low", "a positive, finite number")
    require(math.isfinite(r.high) and r.high >= r.low, "high", f"finite and at least `low` = {r.low}")
    require(r.high <= HIGHEST_FACTOR, "high", f"at most {HIGHEST_FACTOR:.0e}")
    require(r.interval >= 1, "interval", "at least 1")
    require(0 <= r.crop_padding <= 64, "crop_padding", "in [0, 64]")
    require(0 <= r.validation <= 0.5, "validation", "in [0, 0.5]")
    require(r.subset >= 0, "subset", "at least 0")
    require(r.keep_every >= 0, "keep_every", "at least 0")
    require(r.train_sample >= 1, "train_sample", "at least 1")
    for name in ("milestones", "keep"):
        for value in getattr(r, name):
            fraction = isinstance(value, float)
            require(
                0 < value <= (1 if fraction else r.epochs),
                name,
                f"epochs in [1, {r.epochs}] or fractions of the training in (0, 1]",
            )
