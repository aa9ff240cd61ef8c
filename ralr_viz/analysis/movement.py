"""How far the weights move, from the records and the kept states of runs (the paper's "the network keeps moving")."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ralr_viz._version import __version__
from ralr_viz.errors import InputError
from ralr_viz.results.movement import MovementResult, late_start
from ralr_viz.results.names import group_runs, name_runs
from ralr_viz.results.predictions import PredictionsResult
from ralr_viz.results.run import RunRecord

State = Mapping[str, Any]
"""Name of a parameter → tensor or array; running statistics are left out."""
_RECORDED = {
    "step_length": "step_length",
    "distance": "distance_from_init",
    "weight_norm": "weight_norm",
    "lr": "lr",
}
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def compute_movement(
    runs: Sequence[RunRecord],
    *,
    states: Sequence[Mapping[int, State] | None] | None = None,
    predictions: Sequence[tuple[PredictionsResult, PredictionsResult] | None] | None = None,
    names: Sequence[str] | None = None,
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
    provenance: dict[str, Any] | None = None,
) -> MovementResult:
    r"""Path, net distance, angles and prediction churn of runs, over all epochs and over the last third.

    The records alone give the path :math:`\sum_e \|w_e - w_{e-1}\|`, the distance from the start and both per
    :math:`\sum_e \eta_e`; what needs the weights or predictions themselves is NaN without them. A path of
    equal, unrelated steps has path/net = √T, a straight one 1.

    Args:
        runs: At least one, in the order in which they are compared.
        states: For each run, the state after each kept epoch, or None. Values are looked up one at a time
            and not held, so a mapping that reads from disk is fine. The late phase needs epochs 2/3·E and E,
            angles three epochs in a row.
        predictions: For each run, predictions after 2/3·E and after E epochs on images that all runs share.
        names: Unique; when left out, of the runs.
        seed: Of the bootstrap over images.
        progress: Called as ``progress(done, total)`` with the number of states read.
        provenance: As in `Result`.

    Raises:
        InputError: No run; a run that never recorded its steps, of which there are no states either; runs of
            different architectures; or predictions on different images.

    References:
        Deng et al. 2022, section 3. Toneva et al. 2019 and Milani Fard et al. 2016 for churn.
    """
    if not runs:
        raise InputError("no run was given: name at least one run directory")
    states = states or [None] * len(runs)
    epoch = np.unique(np.concatenate([run.epoch for run in runs]))
    curves: dict[str, Any] = {name: _align(runs, epoch, key) for name, key in _RECORDED.items()}
    if not np.isfinite(curves["step_length"]).any():
        raise InputError(
            "no run has recorded `step_length`: log it from your own loop with `RunWriter.log(step_length=…)`"
        )
    lasts = [_planned_epochs(run) for run in runs]
    notes: list[str] = []
    for run, last in zip(runs, lasts, strict=True):
        if run.epoch[-1] < last:
            notes.append(f"{run.label}: {run.epoch[-1]} of {last} epochs, so its sums are not known")
    total = sum(len(kept or ()) for kept in states)
    weights, done = [], 0
    for run, kept, last in zip(runs, states, lasts, strict=True):
        weights.append(_Weights.read(kept or {}, late_start(last), last, done, total, progress))
        done += len(kept or ())
        if weights[-1].late is None:
            notes.append(f"{run.label}: the states after {late_start(last)} and {last} epochs are not kept")
    curves["angle"] = np.full((len(runs), len(epoch)), np.nan)
    for i, one in enumerate(weights):
        for e, angle in one.angles.items():
            curves["angle"][i, epoch == e] = angle
    changed, dataset, split = _churn(predictions, len(runs))
    return MovementResult(
        models=tuple(names) if names is not None else name_runs(runs),
        methods=group_runs(runs),
        epoch=epoch,
        late_after=np.array([late_start(last) for last in lasts], dtype=np.int64),
        last_epoch=np.array(lasts, dtype=np.int64),
        **curves,
        **_collect([run.label for run in runs], [one.late for one in weights]),
        changed=changed,
        dataset=dataset,
        split=split,
        seed=seed,
        notes=tuple(notes),
        provenance=_provenance(runs) | (provenance or {}),
    )


def angle_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Degrees between vectors along the last axis; NaN where one has no length.

    By the arc tangent of half-angles, which keeps all digits near 0 and 180, where the arc cosine loses half.
    """
    lengths = [np.linalg.norm(v, axis=-1, keepdims=True) for v in (a, b)]
    with np.errstate(invalid="ignore", divide="ignore"):
        a, b = a / lengths[0], b / lengths[1]
    half = np.arctan2(np.linalg.norm(a - b, axis=-1), np.linalg.norm(a + b, axis=-1))
    return np.degrees(2 * half)


@dataclass(frozen=True, eq=False)
class _Late:
    """Of the states at both ends of the late phase: each layer's numbers."""

    net: float
    norm: float
    layers: tuple[str, ...]
    layer_net: np.ndarray
    layer_norm: np.ndarray
    filter_angle: np.ndarray
    filter_layer: np.ndarray

    @classmethod
    def between(cls, before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> _Late:
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
class _Weights:
    """What the kept states of one run say.

    Attributes:
        angles: Epoch → degrees between its step and the one before.
        late: None where one of the two states is not kept.
    """

    angles: dict[int, float]
    late: _Late | None

    @classmethod
    def read(
        cls,
        kept: Mapping[int, State],
        start: int,
        end: int,
        done: int,
        total: int,
        progress: Callable[[int, int], object] | None,
    ) -> _Weights:
        """One pass over the states, growing; at most the last two steps and the state at ``start`` are held."""
        angles: dict[int, float] = {}
        late, early = None, None
        previous: tuple[int, dict[str, np.ndarray]] | None = None
        step: tuple[int, np.ndarray] | None = None
        for count, e in enumerate(sorted(kept), 1):
            state = _parameters(kept[e])
            if e == start:
                early = state
            if e == end and early is not None and start < end:
                _check_same("two states of a run", list(early), list(state))
                late = _Late.between(early, state)
            if previous is not None and previous[0] == e - 1:
                move = np.concatenate([(state[k] - v).ravel() for k, v in previous[1].items()])
                if step is not None and step[0] == e - 1:
                    angles[e] = float(angle_between(step[1], move))
                step = (e, move)
            previous = (e, state)
            if progress is not None:
                progress(done + count, total)
        return cls(angles, late)


def _parameters(state: State) -> dict[str, np.ndarray]:
    """The parameters as float64."""
    return {
        name: np.asarray(value.detach().cpu().double() if hasattr(value, "detach") else value, np.float64)
        for name, value in state.items()
        if not name.endswith(_STATISTICS)
    }


def _align(runs: Sequence[RunRecord], epoch: np.ndarray, quantity: str) -> np.ndarray:
    values = np.full((len(runs), len(epoch)), np.nan)
    for i, run in enumerate(runs):
        recorded = run.values(quantity)
        values[i, np.searchsorted(epoch, run.epoch)] = np.where(np.isfinite(recorded), recorded, np.nan)
    return values


def _planned_epochs(run: RunRecord) -> int:
    """E of the recipe; of a log without one, its last epoch."""
    planned = run.recipe.get("epochs")
    return planned if isinstance(planned, int) and planned >= 1 else int(run.epoch[-1])


def _collect(runs: Sequence[str], found: Sequence[_Late | None]) -> dict[str, Any]:
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


def _churn(
    predictions: Sequence[tuple[PredictionsResult, PredictionsResult] | None] | None, count: int
) -> tuple[np.ndarray, str | None, str | None]:
    """Whether each image's prediction changed (m, n), −1 where not known, and where the images are from."""
    given = [pair for pair in predictions or () if pair is not None]
    if predictions is None or not given:
        return np.zeros((count, 0), np.int8), None, None
    first = given[0][0]
    for one in (p for pair in given for p in pair):
        where = (one.dataset, one.split)
        if where != (first.dataset, first.split) or not np.array_equal(one.indices, first.indices):
            raise InputError(
                f"`{one.model}` was predicted on other images than `{first.model}`: churn needs the same for all"
            )
    rows = [
        np.full(len(first.indices), -1) if pair is None else pair[0].predicted != pair[1].predicted
        for pair in predictions
    ]
    return np.stack(rows).astype(np.int8), first.dataset, first.split


def _provenance(runs: Sequence[RunRecord]) -> dict[str, Any]:
    described = [
        {"run": run.label, "recipe": run.recipe, "status": run.status, "env": run.env} for run in runs
    ]
    # through JSON: a user's recipe.toml may hold dates, which a manifest cannot
    return json.loads(json.dumps({"ralr_viz": __version__, "runs": described}, default=str))
