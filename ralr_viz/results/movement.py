"""How far the weights of several runs moved, when, and for how much learning rate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ralr_viz.results.bundle import Result
from ralr_viz.results.fields import Array, Axis, Within
from ralr_viz.results.measure import Measure, list_measures
from ralr_viz.results.uncertainty import bootstrap_counts

DRAWS = 1000
"""Bootstrap resamples of the images for the churn."""
_CHUNK = 1 << 22  # numbers of a chunk of resamples


def nearest_late(epochs: Iterable[int], last: int) -> int:
    """Of kept epochs the one nearest to 2/3 of the last, the lower of two."""
    return min(epochs, key=lambda epoch: (abs(epoch - 2 * last / 3), epoch))


def late_start(epochs: int) -> int:
    """The epoch after which a training of that length is late: two thirds of it, rounded as `keep` does."""
    return max(1, round(2 / 3 * epochs))


@dataclass(frozen=True, eq=False)
class MovementResult(Result):
    r"""Weights of m runs from epoch to epoch, w_e being all trained weights after e epochs as one vector.

    Path lengths are sums of :math:`\|w_e - w_{e-1}\|` over whole epochs, which is at most the length of the
    path of the single steps. The late phase is the epochs after ``late_after``. All lengths are in units of
    the weights; arrays are float64, NaN where something was not recorded or kept.

    A length is no property of the function: before a normalisation w → 2w, η → 4η and weight decay → wd/4 give the
    same network after every step and halve path / Σ LR, which also falls as the rates grow. What such a rescaling
    leaves alone are the *angular path*, :math:`\sum_s \arccos\frac{\langle w_s, w_{s+1}\rangle}{\|w_s\| \|w_{s+1}\|}`
    of a filter from kept state to kept state of the late phase, and the *function change*, the mean over images of
    :math:`\frac12\sum_k |p_k(E) - p_k(2E/3)|`. Both grow with the rates, so that only a control of the same rates
    (`matched`) tells what else moves the network.

    Attributes:
        models: m unique names.
        methods: Method of each, for its looks.
        epoch: (num_epochs,) int64, growing.
        step_length: (m, num_epochs) ‖w_e − w_{e−1}‖.
        distance: (m, num_epochs) ‖w_e − w_0‖.
        weight_norm: (m, num_epochs) ‖w_e‖.
        lr: (m, num_epochs) learning rate in use during the epoch, amplification included.
        angle: (m, num_epochs) degrees between w_e − w_{e−1} and w_{e−1} − w_{e−2}: 0 straight on, 90
            unrelated, 180 back.
        late_after: (m,) int64 epoch that the late phase begins after, 2/3·E.
        last_epoch: (m,) int64 E, as the recipe says.
        late_net: (m,) ‖w_E − w_{2/3·E}‖.
        late_norm: (m,) ‖w_{2/3·E}‖.
        layers: L weight matrices and kernels, in the network's order; empty where no states were kept.
        layer_net: (m, L) distance of each between the two states.
        layer_norm: (m, L) norm of each at 2/3·E.
        filter_angle: (m, F) float32 degrees between the two states of each filter (row of a matrix), which a
            change of its length leaves alone.
        filter_layer: (F,) int64 place of the filter's layer in ``layers``.
        changed: (m, n) int8 whether the prediction of an image changed between the two states, −1 where it
            was not looked at; n = 0 without images.
        dataset, split: Where these come from.
        seed: Of the bootstrap over these.
        notes: What could not be measured and why, a sentence each.
        angular_path: (m, F) float32 degrees that each filter turns in the late phase, summed over its kept states; None
            in results from before it was measured, as the three that follow.
        normalised: (L,) whether a normalisation follows a layer; the angular path is of these, of all where none is.
        late_steps: (m,) int64 steps from kept state to kept state that the angular path is the sum of, of states that all
            runs of that length have kept: 1 where only both ends are, whose path is the angle between them.
        function_change: (m, n) float32 share of probability that moves to another class between the two states, in
            [0, 1]; NaN where it was not looked at.

    References:
        van Laarhoven, L2 regularization versus batch and weight normalization, 2017.
    """

    kind: ClassVar[str] = "movement"
    schema: ClassVar[int] = 1

    models: Annotated[tuple[str, ...], Axis(("models",), unique=True)]
    methods: Annotated[tuple[str, ...], Axis(("models",))]
    epoch: Annotated[np.ndarray, Array("integer", ("epochs",))]
    step_length: Annotated[np.ndarray, Array("float", ("models", "epochs"))]
    distance: Annotated[np.ndarray, Array("float", ("models", "epochs"))]
    weight_norm: Annotated[np.ndarray, Array("float", ("models", "epochs"))]
    lr: Annotated[np.ndarray, Array("float", ("models", "epochs"))]
    angle: Annotated[np.ndarray, Array("float", ("models", "epochs"), unit="degrees")]
    late_after: Annotated[np.ndarray, Array("integer", ("models",))]
    last_epoch: Annotated[np.ndarray, Array("integer", ("models",))]
    late_net: Annotated[np.ndarray, Array("float", ("models",))]
    late_norm: Annotated[np.ndarray, Array("float", ("models",))]
    layers: Annotated[tuple[str, ...], Axis(("layers",))]
    layer_net: Annotated[np.ndarray, Array("float", ("models", "layers"))]
    layer_norm: Annotated[np.ndarray, Array("float", ("models", "layers"))]
    filter_angle: Annotated[np.ndarray, Array("float", ("models", "filters"), unit="degrees")]
    filter_layer: Annotated[np.ndarray, Array("integer", ("filters",))]
    changed: Annotated[np.ndarray, Array("integer", ("models", "images"))]
    dataset: str | None = None
    split: str | None = None
    seed: Annotated[int, Within(0)] = 0
    notes: tuple[str, ...] = ()
    angular_path: Annotated[np.ndarray | None, Array("float", ("models", "filters"), unit="degrees")] = None
    normalised: Annotated[np.ndarray | None, Array("boolean", ("layers",))] = None
    late_steps: Annotated[np.ndarray | None, Array("integer", ("models",))] = None
    function_change: Annotated[np.ndarray | None, Array("float", ("models", "images"))] = None

    @property
    def num_images(self) -> int:
        """n, whose predictions were looked at."""
        return self.changed.shape[-1]

    @property
    def step_per_lr(self) -> np.ndarray:
        """‖w_e − w_{e−1}‖ over the epoch's learning rate, (m, num_epochs)."""
        return _divide(self.step_length, self.lr)

    @property
    def relative_change(self) -> np.ndarray:
        """‖w_E − w_{2/3·E}‖ / ‖w_{2/3·E}‖ of each layer in per cent, (m, L)."""
        return 100 * _divide(self.layer_net, self.layer_norm)

    @property
    def layer_angle(self) -> np.ndarray:
        """Median angle of each layer's filters in degrees, (m, L)."""
        angles = np.full(self.layer_net.shape, np.nan)
        for i in range(len(self.layers)):
            angles[:, i] = np.median(self.filter_angle[:, self.filter_layer == i], axis=1)
        return angles

    def path(self, *, late: bool) -> np.ndarray:
        """Σ‖w_e − w_{e−1}‖ over the late phase or the whole run, (m,); NaN where an epoch is missing."""
        return self._sum(self.step_length, late)

    def sum_lr(self, *, late: bool) -> np.ndarray:
        """Σ of the learning rates of the phase's epochs, (m,); NaN where an epoch is missing."""
        return self._sum(self.lr, late)

    @property
    def late_angular_path(self) -> np.ndarray:
        """Mean angular path in degrees of the filters that a normalisation follows, else of all, (m,)."""
        if self.angular_path is None or not self.angular_path.shape[1]:
            return np.full(len(self.models), np.nan)
        chosen = np.ones(len(self.filter_layer), dtype=bool)
        if self.normalised is not None and self.normalised.any():
            chosen = self.normalised[self.filter_layer]
        paths = self.angular_path[:, chosen].astype(np.float64)
        known = np.isfinite(paths)  # a filter without length has no angle
        return _divide(np.where(known, paths, 0).sum(axis=1), known.sum(axis=1))

    def churn_draws(self) -> np.ndarray:
        """Churn in per cent on resampled images, (m, DRAWS), the same images for all; NaN where not measured."""
        unknown = np.any(self.changed < 0, axis=1)
        return np.where(unknown[:, None], np.nan, 100 * self._resample(self.changed))

    def _resample(self, values: np.ndarray) -> np.ndarray:
        """Means (m, DRAWS) of values (m, n) over resampled images, common to all."""
        n = self.num_images
        counts = bootstrap_counts(n, DRAWS, self.seed, size=max(_CHUNK // max(n, 1), 1))
        return np.concatenate([values @ rows.T.astype(np.float64) for rows in counts], axis=1) / n

    def measures(self) -> tuple[Measure, ...]:
        """The numbers of a table, those that no rescaling moves first; function change and churn rest on sampled images."""
        late_path, late_lr, path = self.path(late=True), self.sum_lr(late=True), self.path(late=False)
        end = np.array([self._at(self.distance, i, e) for i, e in enumerate(self.last_epoch)])
        relative = 100 * _divide(self.step_length, self.weight_norm)
        span = self.last_epoch - self.late_after
        exact = [
            ("late_path_per_lr", "late path / Σ LR", "", _divide(late_path, late_lr)),
            ("late_path", "late path", "", late_path),
            ("path_per_lr", "path / Σ LR, whole run", "", _divide(path, self.sum_lr(late=False))),
            ("path", "path, whole run", "", path),
            ("late_net", "late net distance", "", self.late_net),
            ("late_net_per_lr", "late net distance / Σ LR", "", _divide(self.late_net, late_lr)),
            ("late_path_net_ratio", "late path / net distance", "", _divide(late_path, self.late_net)),
            ("path_net_ratio", "path / net distance, whole run", "", _divide(path, end)),
            ("late_relative_step", "late step / norm, mean of epochs", "%", self._sum(relative, True) / span),
            ("late_relative_change", "late net distance / norm", "%", self._late_change()),
            ("late_angle", "late angle of successive epochs", "degrees", self._late_angle()),
            ("late_filter_angle", "late angle of filters, median", "degrees", self._filter_median()),
            ("late_sum_lr", "Σ LR, late", "", late_lr),
        ]
        measures = [self._measure_angles(), *self._measure_function()]
        measures += [Measure(name, label, unit, values) for name, label, unit, values in exact]
        if self.num_images:
            looked = (self.changed >= 0).all(axis=1)
            churn = np.where(looked, 100 * self.changed.mean(axis=1), np.nan)
            draws = self.churn_draws()
            measures += [
                Measure(
                    "churn",
                    "predictions changed, late",
                    "%",
                    churn,
                    draws,
                    "images",
                    self.num_images,
                    share=100.0,
                ),
                Measure(
                    "churn_per_lr",
                    "predictions changed / Σ LR, late",
                    "%",
                    _divide(churn, late_lr),
                    _divide(draws, late_lr[:, None]),
                    "images",
                    self.num_images,
                ),
            ]
        return tuple(measures)

    def describe(self) -> list[str]:
        """Each measure that at least one run has."""
        return list_measures(self.models, [m for m in self.measures() if np.isfinite(m.values).any()])

    def _measure_angles(self) -> Measure:
        label = "angular path of filters, late"
        if self.late_steps is not None and (known := self.late_steps[self.late_steps > 0]).size:
            low, high = int(known.min()), int(known.max())
            label += f", {low if low == high else f'{low} to {high}'} kept step{'s' if high > 1 else ''}"
        return Measure("late_angular_path", label, "degrees", self.late_angular_path)

    def _measure_function(self) -> list[Measure]:
        if self.function_change is None or not self.num_images:
            return []
        change = 100 * self.function_change.astype(np.float64)
        draws = self._resample(change)  # NaN of a run that was not looked at
        values = change.mean(axis=1)
        return [
            Measure("function_change", "function change, late", "%", values, draws, "images", self.num_images)
        ]

    def _sum(self, values: np.ndarray, late: bool) -> np.ndarray:
        first = self.late_after if late else np.zeros_like(self.late_after)
        inside = (self.epoch > first[:, None]) & (self.epoch <= self.last_epoch[:, None])
        whole = (inside & np.isfinite(values)).sum(axis=1) == self.last_epoch - first
        sums = np.where(inside, values, 0).sum(axis=1)
        return np.where(whole & (self.last_epoch > first), sums, np.nan)

    def _at(self, values: np.ndarray, i: int, epoch: int) -> float:
        found = values[i, self.epoch == epoch]
        return float(found[0]) if len(found) else np.nan

    def _late_change(self) -> np.ndarray:
        return 100 * _divide(self.late_net, self.late_norm)

    def _late_angle(self) -> np.ndarray:
        """Mean over the pairs of steps that are both late; NaN where one is missing or there is none."""
        inside = (self.epoch >= self.late_after[:, None] + 2) & (self.epoch <= self.last_epoch[:, None])
        count = self.last_epoch - self.late_after - 1
        whole = ((inside & np.isfinite(self.angle)).sum(axis=1) == count) & (count > 0)
        sums = np.where(inside, self.angle, 0).sum(axis=1)
        return np.where(whole, sums / np.maximum(count, 1), np.nan)

    def _filter_median(self) -> np.ndarray:
        if not self.filter_angle.shape[1]:
            return np.full(len(self.models), np.nan)
        return np.median(self.filter_angle, axis=1).astype(np.float64)


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, NaN where b is 0 or NaN."""
    a, b = np.broadcast_arrays(a, b)
    return np.divide(a, b, out=np.full(a.shape, np.nan), where=(b != 0) & np.isfinite(b))
