"""How the networks that are compared look at photographs: as they were trained to, unless the caller says otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ralr_viz.data import Dataset, View, data_root, load_dataset
from ralr_viz.errors import InputError
from ralr_viz.train.checkpoint import Checkpoint


def choose_view(
    store: Dataset,
    checkpoints: Sequence[Checkpoint],
    *,
    size: int | None = None,
    resize: int | None = None,
    mode: str | None = None,
) -> View | None:
    """How the networks look at photographs of a data set; None where it is of squares.

    Args:
        store: The data set.
        checkpoints: Whose image size it is where ``size`` is None.
        size, resize, mode: See `View`; left out, what the recipes of the checkpoints say, ``resize`` only at their size.

    Raises:
        InputError: The size is not known, or not that of all checkpoints; recipes that say different things; or as `View`.
    """
    if not store.has_photographs:
        return None
    sizes = {size} if size is not None else {c.image_size for c in checkpoints if c.image_size is not None}
    if len(sizes) != 1:
        shown = f"take {' and '.join(map(str, sorted(sizes)))} pixels" if sizes else "do not say theirs"
        raise InputError(
            f"`{store.name}` has photographs of unequal shape and the networks {shown}: pass --size, e.g. --size 224"
        )
    (side,) = sizes
    return _as_trained(side, checkpoints, resize, mode)


def choose_view_of_files(
    checkpoints: Sequence[Checkpoint],
    size: int,
    root: Path | None,
    *,
    resize: int | None = None,
    mode: str | None = None,
) -> View | None:
    """As `choose_view`, of pictures in files; None where the networks were trained on squares and no view is asked for.

    Args:
        checkpoints: Those that are compared.
        size: Side in pixels that all of them take.
        root: Folder of the ingested data sets.
        resize, mode: As there.

    Raises:
        InputError: As there.
    """
    of_photographs = [c for c in checkpoints if _sees_photographs(c, root)]
    if resize is None and mode is None and not of_photographs:
        return None
    return _as_trained(size, of_photographs, resize, mode)


def _sees_photographs(checkpoint: Checkpoint, root: Path | None) -> bool:
    """By the data set where that is here, else by the recipe."""
    if checkpoint.dataset is not None:
        try:
            return load_dataset(checkpoint.dataset, data_root(root)).has_photographs
        except InputError:
            pass
    return bool((checkpoint.recipe or {}).get("input_size"))


def _as_trained(side: int, checkpoints: Sequence[Checkpoint], resize: int | None, mode: str | None) -> View:
    if resize is not None or not checkpoints:
        return View(side, resize, mode or "centre")  # type: ignore[arg-type]  # which refuses another
    views = {_recipe_view(checkpoint, side, mode) for checkpoint in checkpoints}
    if len(views) > 1:
        shown = "; ".join(sorted(view.describe() for view in views))
        raise InputError(
            f"the networks were trained to look at photographs in different ways ({shown}): pass --view, or --resize"
        )
    return views.pop()


def _recipe_view(checkpoint: Checkpoint, side: int, mode: str | None) -> View:
    recipe = checkpoint.recipe or {}
    own, scaled = recipe.get("view") or "centre", recipe.get("resize") or None
    keep = own == "centre" == (mode or own) and recipe.get("input_size") == side and isinstance(scaled, int)
    return View(side, scaled if keep else None, mode or own)  # type: ignore[arg-type]
