"""What ``env.json`` says of a training, made fit to be compared with another's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def on_cuda(environment: Mapping[str, Any]) -> bool:
    """Whether it was trained on CUDA, whose devices are recorded by their names."""
    return environment.get("device") not in (None, "cpu", "mps")


def comparable(environment: Mapping[str, Any]) -> dict[str, Any]:
    """The same, with ``deterministic`` only where it makes a difference.

    The CPU's kernels are deterministic whatever was asked: it is false there, also where ``--deterministic`` was recorded.
    """
    off = "deterministic" in environment and not on_cuda(environment)
    return dict(environment) | ({"deterministic": False} if off else {})
