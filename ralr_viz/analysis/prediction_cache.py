"""Predictions of a checkpoint on a data set, kept on disk for whoever asks next."""

from __future__ import annotations

import hashlib
import json
import warnings
from importlib import metadata
from pathlib import Path

from ralr_viz._version import __version__
from ralr_viz.comparison import Comparison, Network
from ralr_viz.data.store import cache_root
from ralr_viz.errors import InputError, RalrVizError, StorageError
from ralr_viz.models.registry import is_user_factory
from ralr_viz.results.bundle import load_result, save_result
from ralr_viz.results.predictions import PredictionsResult


def cache_folder(comparison: Comparison, network: Network) -> Path | None:
    """Where the predictions of a network are kept; None for what has no hash: own modules, code and images.

    Its name is made of everything that decides the numbers: the checkpoint's hash, the images', their
    normalisation, device, precision and version.
    """
    checkpoint, samples = network.checkpoint, comparison.samples
    if checkpoint is None or is_user_factory(checkpoint.arch) or samples.content_hash is None:
        return None
    if samples.augmentation:  # whose images are not those of the data set
        return None
    facts = (
        {
            "schema": PredictionsResult.schema,
            "ralr_viz": __version__,
            "torch": metadata.version("torch"),
            "checkpoint": checkpoint.sha256,
            "arch": checkpoint.arch,
            "content": samples.content_hash,
            "split": samples.split,
            "indices": hashlib.sha256(samples.indices.astype("<i8").tobytes()).hexdigest(),
            "mean": network.mean,
            "std": network.std,
        }
        | comparison.runtime.key
        | comparison.seen()
    )
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
    return cache_root() / "predictions" / key


def read_predictions(folder: Path) -> PredictionsResult | None:
    """What is kept there; a damaged entry costs a warning and is computed again."""
    if not folder.is_dir():
        return None
    try:
        found = load_result(folder)
    except (InputError, OSError) as error:
        warnings.warn(f"predictions are computed again: {error}", stacklevel=2)
        return None
    return found if isinstance(found, PredictionsResult) else None


def keep_predictions(found: PredictionsResult, folder: Path) -> None:
    """Keep them; a cache that cannot be written costs a warning, not the work."""
    try:
        save_result(found, folder, force=True)
    except (RalrVizError, OSError) as error:
        reason = "the disk is full or may not be written" if isinstance(error, StorageError) else error
        warnings.warn(
            f"predictions are not kept for later commands in `{folder.parent}`: {reason}", stacklevel=2
        )
