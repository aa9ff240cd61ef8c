"""Checkpoints that are given two by two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ralr_viz.errors import InputError

if TYPE_CHECKING:
    from ralr_viz.train.checkpoint import Checkpoint

    Pair = tuple[Checkpoint, Checkpoint]


def load_pairs(
    specs: Sequence[str], *, option: str = "--ckpt", **known: Any
) -> tuple[list[Pair], list[str], list[tuple[str, str]]]:
    """Pairs of checkpoints, their names and what the two ends of each are.

    Args:
        specs: Of the option, an even number.
        option: What it is called.
        **known: As `load_checkpoints` takes it.

    Raises:
        InputError: An odd number.
        CheckpointError: One that cannot be used.
    """
    from ralr_viz.cli.inputs import load_checkpoints
    from ralr_viz.comparison.pairs import name_pairs

    if len(specs) % 2:
        raise InputError(
            f"`{option}` is given {len(specs)} times: every pair takes two, e.g. "
            f"{option} RUN@200 {option} RUN@300"
        )
    checkpoints = load_checkpoints(specs, **known)
    pairs = list(zip(checkpoints[::2], checkpoints[1::2], strict=True))
    return pairs, *name_pairs(pairs)


def describe_pairs(
    pairs: Sequence[Pair], names: Sequence[str], states: Sequence[tuple[str, str]]
) -> list[dict[str, Any]]:
    """For the provenance, an entry for each checkpoint."""
    return [
        {"pair": name, "state": state, "sha256": c.sha256, "epoch": c.epoch}
        for name, ends, pair in zip(names, states, pairs, strict=True)
        for state, c in zip(ends, pair, strict=True)
    ]
