"""A network that is a part of what was saved: beside a loss, a metric or an average of its weights."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ralr_viz.errors import CheckpointError
from ralr_viz.foreign import one_line
from ralr_viz.models.names import find_entries, translate

_COMPANIONS = {
    "criterion",
    "loss",
    "metric",
    "metrics",
    "acc",
    "accuracy",
    "confmat",
    "confusion",
    "auroc",
    "f1",
}
_LONGEST_KEY = 80
_NAMED = 4  # entries that are named of those left out


def take_part(state_dict: Mapping[str, Any], expected: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The entries below the one prefix that hold a network whole, without the prefix.

    Args:
        state_dict: As for `adapt_state_dict`.
        expected: State dict of the network.

    Returns:
        None where no prefix holds it. What is beside it is named in a warning.

    Raises:
        CheckpointError: Several prefixes do, and they are not the weights and an average of them.
    """
    entries = find_entries(state_dict)
    if not isinstance(entries, Mapping):
        return None
    tensors = {
        key: value for key, value in entries.items() if isinstance(key, str) and isinstance(value, Tensor)
    }
    parts = {
        prefix: part for prefix in _prefixes(tensors, expected) if (part := _below(prefix, tensors, expected))
    }
    if not parts:
        return None
    raw = [prefix for prefix in parts if not _is_average(prefix)]
    if len(parts) > 1 and len(raw) != 1:
        raise CheckpointError(
            f"the checkpoint holds the network {len(parts)} times, below {', '.join(f'`{p}`' for p in sorted(parts))}: "
            "save the one that is meant alone, as a state dict"
        )
    prefix = raw[0] if raw else next(iter(parts))
    taken = parts[prefix]
    left = [str(key) for key in entries if not (isinstance(key, str) and _name(key, prefix) in taken)]
    _warn(f"the network was taken from below `{prefix}`" if prefix else "the network was taken", left)
    return taken


def warn_of_averages(checkpoint: Mapping[str, Any]) -> None:
    """Say that a checkpoint holds averaged weights in an entry of their own, which nobody asked for."""
    averages = [
        str(key) for key, value in checkpoint.items() if isinstance(value, Mapping) and _is_average(str(key))
    ]
    if averages:
        _warn("the weights as they were trained were taken", averages)


def _warn(what: str, left: list[str]) -> None:
    if left:
        shown = [one_line(key, _LONGEST_KEY) for key in left[:_NAMED]]
        more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
        warnings.warn(
            f"{what}; left out: {', '.join(f'`{key}`' for key in shown)}{more}", UserWarning, stacklevel=4
        )


def _is_companion(name: str) -> bool:
    """Whether a name is of what stands beside a network in a module that trains it, by its first part."""
    first = name.partition(".")[0]
    return _is_average(first) or not _COMPANIONS.isdisjoint(first.lower().split("_"))


def _is_average(name: str) -> bool:
    """Whether a name says exponential moving average or stochastic weight averaging."""
    words = name.lower().replace(".", "_").split("_")
    return any(word in ("ema", "swa", "averaged", "average", "avg") for word in words)


def _prefixes(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """What may stand before the names of the network: what does before its first one."""
    first = next(iter(expected), "")
    return [
        key.removesuffix(first) for key in tensors if first and (key == first or key.endswith("." + first))
    ]


def _below(prefix: str, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries below a prefix, if they hold the network whole and nothing more of its modules; else none."""
    own = {name.partition(".")[0] for name in expected}
    taken: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        if not key.startswith(prefix):
            continue
        name = _name(key, prefix)
        if translate(name, expected) in expected:
            taken[name] = tensor
        elif name.partition(".")[0] in own or not (prefix or _is_companion(name)):
            return {}  # more than the network has: another network
    found = {translate(name, expected): tuple(tensor.shape) for name, tensor in taken.items()}
    counters = {name for name in expected if name.endswith("num_batches_tracked")}
    whole = all(
        found.get(name) == tuple(value.shape) for name, value in expected.items() if name not in counters
    )
    return taken if whole else {}


def _name(key: str, prefix: str) -> str:
    return key[len(prefix) :] if key.startswith(prefix) else ""
