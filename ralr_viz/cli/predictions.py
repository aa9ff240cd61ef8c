"""Predictions of a checkpoint on a split, computed once: later commands read them from the cache."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from ralr_viz._version import __version__
from ralr_viz.cli.inputs import SplitImages
from ralr_viz.cli.lines import print_note
from ralr_viz.errors import InputError, RalrVizError, StorageError
from ralr_viz.models.registry import is_user_factory
from ralr_viz.results.bundle import load_result, save_result
from ralr_viz.results.predictions import PredictionsResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from ralr_viz.train.checkpoint import Checkpoint
    from ralr_viz.train.runtime import Runtime


def cached_predictions(
    checkpoint: Checkpoint,
    part: SplitImages,
    runtime: Runtime,
    *,
    name: str,
    batch: int = 500,
    progress: Callable[[int, int, str], None] | None = None,
) -> PredictionsResult:
    """Predictions of a checkpoint on a split, from ``$RALR_VIZ_CACHE``, else the user's cache folder.

    The key is made of everything that decides the numbers: the checkpoint's hash, the images', their
    normalisation, device, precision and version. A damaged entry is computed again; a cache that cannot be
    written costs a note on stderr, not the command.

    Args:
        checkpoint: Of which network.
        part: Its images.
        runtime: Device and precision of the forward pass.
        name: Of the network, for figures; no part of the key.
        batch: Images per forward pass.
        progress: Called as ``progress(done, total, what)``.
    """
    from ralr_viz.analysis.predictions import compute_predictions

    folder = None
    if not is_user_factory(checkpoint.arch):  # whose code is not in the checkpoint's hash
        folder = cache_root() / "predictions" / _key(checkpoint, part, runtime)
    found = None if folder is None else _read(folder)
    if found is None:
        n = len(part.labels)
        found = compute_predictions(
            checkpoint.build(),
            part.images,
            part.labels,
            mean=part.mean,
            std=part.std,
            indices=part.indices,
            class_names=part.class_names,
            dataset=part.dataset,
            split=part.split,
            batch=batch,
            device=str(runtime.device),
            precision=runtime.precision,
            progress=None if progress is None else lambda done: progress(done, n, f"predictions of {name}"),
            provenance={
                "checkpoint": {"label": checkpoint.label, "sha256": checkpoint.sha256},
                "recipe": dict(checkpoint.recipe or {}),
                "content_hash": part.content_hash,
                "device": runtime.device.type,
                "precision": runtime.precision,
                "ralr_viz": __version__,
            },
        )
        if folder is not None:
            _keep(found, folder)
    return dataclasses.replace(found, model=name)


def cache_root() -> Path:
    """Folder of what can be computed again: ``$RALR_VIZ_CACHE``, else the user's cache folder."""
    if variable := os.environ.get("RALR_VIZ_CACHE"):
        return Path(variable).expanduser()
    return platformdirs.user_cache_path("ralr-viz")


def _key(checkpoint: Checkpoint, part: SplitImages, runtime: Runtime) -> str:
    facts = {
        "schema": PredictionsResult.schema,
        "ralr_viz": __version__,
        "torch": metadata.version("torch"),
        "checkpoint": checkpoint.sha256,
        "arch": checkpoint.arch,
        "content": part.content_hash,
        "split": part.split,
        "indices": hashlib.sha256(part.indices.astype("<i8").tobytes()).hexdigest(),
        "mean": part.mean,
        "std": part.std,
        "device": runtime.device.type,
        "precision": runtime.precision,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _read(folder: Path) -> PredictionsResult | None:
    if not folder.is_dir():
        return None
    try:
        found = load_result(folder)
    except (InputError, OSError) as error:
        print_note(f"predictions are computed again: {error}")
        return None
    return found if isinstance(found, PredictionsResult) else None


def _keep(found: PredictionsResult, folder: Path) -> None:
    try:
        save_result(found, folder, force=True)
    except (RalrVizError, OSError) as error:
        reason = "the disk is full or may not be written" if isinstance(error, StorageError) else error
        print_note(f"predictions are not kept for later commands in `{folder.parent}`: {reason}")
