"""What the kept states of runs say: how far each layer and filter moved late, and how steps turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ralr_viz.analysis.angle import angle_between
from ralr_viz.comparison.states import RunStates, State
from ralr_viz.errors import InputError

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True, eq=False)
class Late:
    """Of the states at both ends of the late phase: each layer's numbers."""

    net: float
    norm: float
    layers: tuple[str, ...]
    layer_net: np.ndarray
    layer_norm: np.ndarray
    filter_angle: np.ndarray
    filter_layer: np.ndarray

    @classmethod
    def between(cls, before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> Late:
        net = np.sqrt(sum(((after[k] - v) ** 2).sum() for k, v in before.items()))
        norm = np.sqrt(sum((v**2).sum() for v in before.values()))
        layers = [k for k, v in before.items() if v.ndim > 1]
        angles = [angle_between(*(s[k].reshape(len(s[k]), -1) for s in (before, after))) for k in layers]
        return cls(
            net=float(net),
            norm=float(norm),
            layers=tuple(k.removesuffix(".weight") for k in layers),
            layer_net=np.array([np.linalg.norm(after[k] - before[k]) for k in layers]),
            layer_norm=np.array([np.linalg.norm(before[k]) for k in layers]),
            filter_angle=np.concatenate([*angles, np.zeros(0)]).astype(np.float32),
            filter_layer=np.repeat(np.arange(len(layers)), [len(a) for a in angles]),
        )


@dataclass(frozen=True, eq=False)
class Weights:
    """What the kept states of one run say.

    Attributes:
        angles: Epoch → degrees between its step and the one before.
        late: None where one of the two states is not kept.
    """

    angles: dict[int, float]
    late: Late | None

    @classmethod
    def read(cls, run: RunStates, advance: Callable[[], None]) -> Weights:
        """One pass over the states, growing; at most the last two steps and the first late state are held.

        Args:
            run: With its states.
            advance: Called after each state.
        """
        kept, (start, end) = run.states, run.late_ends or (None, None)
        angles: dict[int, float] = {}
        late, early = None, None
        previous: tuple[int, dict[str, np.ndarray]] | None = None
        step: tuple[int, np.ndarray] | None = None
        for e in sorted(kept):
            state = _parameters(kept[e])
            if e == start:
                early = state
            if e == end and early is not None:
                _check_same("two states of a run", list(early), list(state))
                late = Late.between(early, state)
            if previous is not None and previous[0] == e - 1:
                move = np.concatenate([(state[k] - v).ravel() for k, v in previous[1].items()])
                if step is not None and step[0] == e - 1:
                    angles[e] = float(angle_between(step[1], move))
                step = (e, move)
            previous = (e, state)
            advance()
        return cls(angles, late)


def _parameters(state: State) -> dict[str, np.ndarray]:
    """The parameters as float64."""
    return {
        name: np.asarray(value.detach().cpu().double() if hasattr(value, "detach") else value, np.float64)
        for name, value in state.items()
        if not name.endswith(_STATISTICS)
    }


def collect_late(runs: Sequence[str], found: Sequence[Late | None]) -> dict[str, Any]:
    """Arrays with a first axis of runs; NaN for those without states."""
    first = next((one for one in found if one is not None), None)
    layers = () if first is None else first.layers
    of = np.zeros(0, np.int64) if first is None else first.filter_layer
    for run, one in zip(runs, found, strict=True):
        if one is not None:
            _check_same(f"`{run}` and the first run", list(layers), list(one.layers))
            if len(one.filter_layer) != len(of):
                raise InputError(
                    f"`{run}` has layers of another width than the first run: compare them alone"
                )
    nothing = {"layer_net": len(layers), "layer_norm": len(layers), "filter_angle": len(of)}
    arrays: dict[str, Any] = {
        name: np.stack([np.full(size, np.nan) if one is None else getattr(one, name) for one in found])
        for name, size in nothing.items()
    }
    arrays["filter_angle"] = arrays["filter_angle"].astype(np.float32)
    for name in ("net", "norm"):
        arrays[f"late_{name}"] = np.array([np.nan if one is None else getattr(one, name) for one in found])
    return arrays | {"layers": layers, "filter_layer": of}


def _check_same(what: str, first: list[str], second: list[str]) -> None:
    if first != second:
        other = next((n for n in [*second, *first] if (n in first) != (n in second)), "their order")
        raise InputError(f"{what} differ in their layers (`{other}`): compare runs of one architecture")
