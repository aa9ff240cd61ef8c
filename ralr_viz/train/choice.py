"""Where and how a run is trained: as its comparison is, or as is faster here where it is the first."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from ralr_viz.errors import InputError
from ralr_viz.recipe import Recipe
from ralr_viz.runtime.device import Runtime, half_precision, resolve_runtime
from ralr_viz.runtime.ranks import Ranks
from ralr_viz.train.setting import Setting, Wish, read_setting, setting_path, settle
from ralr_viz.train.speed import measure_speed

# A precision of fewer bits is worth them where it is faster by more than the clock's noise.
_WORTH = 1.05


def choose_runtime(
    directory: Path, run: tuple[Recipe, str, int], data_root: Path, wish: Wish, ranks: Ranks
) -> Runtime:
    """Together: the runtime of a run.

    Args:
        directory: Of the run.
        run: Its recipe, method and seed.
        data_root: Folder of the data sets.
        wish: What is asked for.
        ranks: That train it together.

    Raises:
        InputError: The comparison has another setting, or one that this machine has not.
    """
    recipe, path = run[0], setting_path(directory, *run)
    wish = replace(wish, device=ranks.device or wish.device)

    def kept() -> Setting | None:
        found = None if path is None else read_setting(path)
        if path is not None and found is not None:
            found.check(wish, path)
        return found

    setting = ranks.lead(kept)
    if setting is None:
        free = resolve_runtime(
            wish.device,
            "fp32" if recipe.precision == "auto" else recipe.precision,
            deterministic=wish.deterministic,
            compile=wish.compile,
            threads=recipe.threads,
        )
        choices = _choices(recipe, free.device, ranks)
        if path is not None:
            choose = functools.partial(_choose, choices, recipe, data_root, free, ranks.size)
            setting = ranks.lead(functools.partial(settle, path, directory, wish, choose))
        if setting is None:  # as before there was a choice
            return replace(free, precision="bf16" if "bf16" in choices else choices[0])
    return _resolve(setting, wish, path)


def _resolve(setting: Setting, wish: Wish, path: Path | None) -> Runtime:
    try:
        return resolve_runtime(
            setting.device if wish.device == "auto" else wish.device,
            setting.precision,
            deterministic=setting.deterministic,
            compile=setting.compile,
            threads=setting.threads,
        )
    except InputError as error:
        raise InputError(f"the runs beside `{path}` have its setting, but here {error}") from None


def _choices(recipe: Recipe, device: torch.device, ranks: Ranks) -> tuple[str, ...]:
    """Together: the precisions that there is a choice of, IEEE's first."""
    own = half_precision(device)
    shared = [half for half in ("bf16", "fp16") if ranks.every(own == half)]
    choices = ("fp32", *shared)
    if recipe.precision != "auto":
        return (recipe.precision,)
    return (recipe.auto_precision,) if recipe.auto_precision in choices else choices


def _choose(
    choices: tuple[str, ...],
    recipe: Recipe,
    data_root: Path,
    runtime: Runtime,
    ranks: int,
    others: Sequence[Setting],
) -> Setting:
    """The setting with the precision that is faster; timed, unless one kind of training was before."""
    made = Setting(
        runtime.device.type, choices[0], runtime.threads or torch.get_num_threads(), runtime.compile,
        runtime.deterministic, of=(recipe.dataset, recipe.model, max(1, recipe.batch // ranks)),
    )  # fmt: skip
    if len(choices) == 1:
        return made
    for other in others:
        if other.rates.keys() == set(choices) and replace(other, precision=made.precision, rates={}) == made:
            return other
    part = replace(recipe, batch=max(1, recipe.batch // ranks))
    rates = {
        name: measure_speed(part, data_root, replace(runtime, precision=name)).samples_per_second
        for name in choices
    }
    exact, half = choices
    return replace(made, precision=half if rates[half] > _WORTH * rates[exact] else exact, rates=rates)
