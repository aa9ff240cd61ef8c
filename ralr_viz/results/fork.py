"""Checkpoints, continued at several learning rates: what followed from each factor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from ralr_viz.results.fields import Array, Axis, PlaceOn
from ralr_viz.results.of_loss import LossResult
from ralr_viz.results.uncertainty import student_interval

CURVES = (
    "lr",
    "sum_lr",
    "train_loss",
    "val_loss",
    "val_acc",
    "test_loss",
    "test_acc",
    "distance",
    "step_length",
)
"""Quantities that are measured after each epoch since the fork."""


@dataclass(frozen=True, eq=False)
class ForkResult(LossResult):
    r"""B continuations (branches) of one checkpoint or of several, one of each seed, T epochs each.

    A branch trains the first K epochs at the scheduled learning rate times its factor, the others at factor 1;
    the base schedule goes on, its decays included, unless the branches are annealed: then all of them go on at a tenth,
    a hundredth, … of the checkpoint's scheduled rate. Repeat 0 is trained in the run's own order and
    augmentation; every other repeat has an order and augmentation of its own, the same for all factors, so
    that differences between factors are paired over the repeats. The branch ``recorded`` replays the factors
    that the run itself drew, as far as the run went on.

    Arrays of shape (B, T + 1) are float64; column k is after k epochs since the fork, column 0 the checkpoint
    itself. NaN where nothing was measured: after a divergence, beyond the run's own end for the recorded
    branch, of a quantity that is one epoch's in column 0, and without a validation part.

    Attributes:
        run: Name of the checkpoint: method, seed and epoch.
        start_epoch: Finished epochs of the checkpoint.
        amplified_epochs: K.
        factor: (B,) float64 factor of the first K epochs; NaN for the recorded branch.
        repeat: (B,) int64.
        state: (B,) int64 which checkpoint it began at; None in results of before there could be several.
        anneal: Epochs at a tenth, a hundredth, … of the rate; empty where the schedule goes on.
        status: ``finished`` or ``diverged``, for each branch.
        base_lr: (T,) float64 scheduled learning rate of each epoch.
        lr: (B, T + 1) learning rate in use.
        sum_lr: (B, T + 1) Σ of it over the epochs since the fork.
        train_loss: (B, T + 1) nats, eval mode, without augmentation, on a fixed sample of what is trained on.
        val_loss, val_acc, test_loss, test_acc: (B, T + 1) loss and score, of images nats and per cent.
        distance: (B, T + 1) ‖w − w_fork‖ over all trained weights.
        step_length: (B, T + 1) ‖w_k − w_{k−1}‖.
        sharpness: (B, 2) float64 after K epochs and after the last: average filter-normalised sharpness in
            nats; (B, 0) where it was not measured.
        barrier: (B, 2) the loss barrier on the straight line back to the checkpoint, in nats; or (B, 0).
        child_barrier: (B,) of annealed branches: the barrier between their ends, in nats. Of a factor other than 1 to the
            end of factor 1 in the same order; of factor 1 to that of the next order, which is what SGD's noise leaves.
        start_sharpness: Of the checkpoint, the mean over several; NaN where it was not measured.
        probe: How sharpness and barrier were measured, a sentence each; empty where they were not.
        images: Number of samples behind ``train``, ``val`` and ``test``.
        dataset: Its name.
        reproduction: Whether the branch in the run's own order and factors is the run: ``reproduced``,
            ``differs``, ``not comparable`` (another machine or setting) or ``nothing to compare``.
        reproduction_note: What was compared, and what was found.
        notes: What a reader should know, a sentence each.
        score_key: Of the score in a record, which stands as ``acc`` here.

    Raises:
        ValueError: Shapes that do not fit together.
    """

    kind: ClassVar[str] = "fork"
    schema: ClassVar[int] = 1

    run: str
    start_epoch: int
    amplified_epochs: int
    factor: Annotated[np.ndarray, Array("float", ("branches",))]
    repeat: Annotated[np.ndarray, Array("integer", ("branches",)), PlaceOn("branches")]
    status: Annotated[tuple[str, ...], Axis(("branches",))]
    base_lr: Annotated[np.ndarray, Array("float", ("epochs",))]
    lr: Annotated[np.ndarray, Array("float", ("branches", "epochs+1"))]
    sum_lr: Annotated[np.ndarray, Array("float", ("branches", "epochs+1"))]
    train_loss: Annotated[np.ndarray, Array("float", ("branches", "epochs+1"), unit="nats")]
    val_loss: Annotated[np.ndarray, Array("float", ("branches", "epochs+1"), unit="nats")]
    val_acc: Annotated[np.ndarray, Array("float", ("branches", "epochs+1"), unit="%")]
    test_loss: Annotated[np.ndarray, Array("float", ("branches", "epochs+1"), unit="nats")]
    test_acc: Annotated[np.ndarray, Array("float", ("branches", "epochs+1"), unit="%")]
    distance: Annotated[np.ndarray, Array("float", ("branches", "epochs+1"))]
    step_length: Annotated[np.ndarray, Array("float", ("branches", "epochs+1"))]
    sharpness: Annotated[np.ndarray, Array("float", ("branches", (0, 2)), unit="nats")]
    barrier: Annotated[np.ndarray, Array("float", ("branches", (0, 2)), unit="nats")]
    start_sharpness: float
    probe: tuple[str, ...]
    images: dict[str, int]
    dataset: str
    reproduction: str
    reproduction_note: str
    notes: tuple[str, ...] = ()
    score_key: str = "acc"
    state: Annotated[np.ndarray | None, Array("integer", ("branches",)), PlaceOn("branches")] = None
    anneal: tuple[int, ...] = ()
    child_barrier: Annotated[np.ndarray | None, Array("float", ("branches",), unit="nats")] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if 1.0 not in self.factors:
            raise ValueError("`factor` must contain 1, which the others are compared with")
        places = [(f, r, s) for f in self.factors for r in range(self.repeats) for s in range(self.states)]
        if any(self.row(*place) is None for place in places):
            raise ValueError("`repeat` must have each number up to its largest for each `factor`")
        if self.anneal and self.amplified_epochs + sum(self.anneal) != len(self.base_lr):
            raise ValueError(
                f"`anneal` is {self.anneal} after {self.amplified_epochs} epochs, `base_lr` has {len(self.base_lr)}"
            )
        if not 0 <= self.amplified_epochs <= len(self.base_lr):
            raise ValueError(
                f"`amplified_epochs` is {self.amplified_epochs}, must be from 0 to {len(self.base_lr)}"
            )

    @property
    def factors(self) -> tuple[float, ...]:
        """The F different factors, growing."""
        return tuple(np.unique(self.factor[np.isfinite(self.factor)]).tolist())

    @property
    def repeats(self) -> int:
        """R."""
        return int(self.repeat.max()) + 1

    @property
    def states(self) -> int:
        """S, the checkpoints."""
        return 1 if self.state is None else int(self.state.max()) + 1

    @property
    def units(self) -> tuple[int, str]:
        """What intervals are over: how many, and ``seeds`` where there are several checkpoints, else ``repeats``."""
        return (self.states, "seeds") if self.states > 1 else (self.repeats, "repeats")

    @property
    def epoch(self) -> np.ndarray:
        """(T + 1,) int64 epochs since the fork."""
        return np.arange(len(self.base_lr) + 1)

    @property
    def split(self) -> str:
        """``val``, or ``test`` where nothing was held out."""
        return "val" if np.isfinite(self.val_loss).any() else "test"

    @property
    def has_probes(self) -> bool:
        """Whether sharpness and barrier were measured."""
        return bool(self.sharpness.shape[1])

    @property
    def decays(self) -> tuple[int, ...]:
        """Epochs since the fork after which the base LR changes."""
        return tuple((np.flatnonzero(np.diff(self.base_lr)) + 1).tolist())

    def row(self, factor: float | None, repeat: int = 0, state: int = 0) -> int | None:
        """Place of a branch; ``None`` is the recorded one, which there need not be."""
        same = np.isnan(self.factor) if factor is None else self.factor == factor
        same = same & (self.repeat == repeat)
        found = np.flatnonzero(same if self.state is None else same & (self.state == state))
        return int(found[0]) if len(found) else None

    def outcome(self, quantity: str) -> np.ndarray:
        """A quantity as (F, R, …): by factor, repeat, and epoch (or the two moments of a probe).

        Of several checkpoints (F, S, …), the means over the repeats of each: seeds are the units, since the orders of
        one seed share all that it has learned.
        """
        values = getattr(self, quantity)
        by_state = np.array(
            [
                [[values[self.row(f, r, s)] for r in range(self.repeats)] for s in range(self.states)]
                for f in self.factors
            ]
        )
        return by_state.mean(axis=2) if self.states > 1 else by_state[:, 0]

    def planned_sum_lr(self, factor: float) -> np.ndarray:
        """(T + 1,) Σ LR of a branch since the fork, also where it diverged."""
        lr = self.base_lr * np.where(np.arange(len(self.base_lr)) < self.amplified_epochs, factor, 1.0)
        return np.concatenate([[0.0], np.cumsum(lr)])

    @property
    def common_sum_lr(self) -> np.ndarray:
        """(T + 1,) Σ LR after each epoch of the smallest factor: all factors reach each of them."""
        return self.planned_sum_lr(min(self.factors))

    def at_sum_lr(self, quantity: str) -> np.ndarray:
        """A quantity at `common_sum_lr`, (F, R, T + 1), linearly interpolated between epochs.

        The larger a factor, the fewer epochs it has had there, and the more of them at the amplified LR.
        """
        values = self.outcome(quantity)
        grid = self.common_sum_lr
        return np.stack(
            [
                [_interpolate(grid, self.planned_sum_lr(factor), curve) for curve in curves]
                for factor, curves in zip(self.factors, values, strict=True)
            ]
        )

    def epochs_at_sum_lr(self, factor: float) -> float:
        """Epochs after which a factor has the largest common Σ LR."""
        return float(np.interp(self.common_sum_lr[-1], self.planned_sum_lr(factor), self.epoch))

    def differences(self, values: np.ndarray) -> np.ndarray:
        """Outcomes (F, R, …) minus those of factor 1 in the same repeat."""
        return values - values[self.factors.index(1.0)]

    def summary(self) -> list[dict[str, Any]]:
        """One row for each quantity, moment and factor.

        Returns:
            Rows with ``quantity``, ``at`` (``after the amplified epochs``, ``at the end``, ``at equal sum of
            LR``), ``factor``, ``repeats`` (how many units, which are seeds where there are several), ``mean``, ``difference`` (from factor 1) and, for two repeats and
            more, ``low`` and ``high``, the ends of its paired 95 % t interval over the repeats (NaN else).
            The recorded branch is not among them.
        """
        rows = []
        for quantity, at, values in self._moments():
            for i, factor in enumerate(self.factors):
                mean, low, high = t_interval(self.differences(values)[i])
                rows.append(
                    {
                        "quantity": quantity,
                        "at": at,
                        "factor": factor,
                        "repeats": self.units[0],
                        "mean": float(values[i].mean()),
                        "difference": mean,
                        "low": low,
                        "high": high,
                    }
                )
        return rows

    def describe(self) -> list[str]:
        """The check against the run, then a line for each quantity, moment and factor."""
        units = dict.fromkeys(("loss", "sharpness", "barrier"), self.loss_unit) | {"acc": self.score_unit}
        count, counted = self.units
        lines = [f"repeat 0 against the run: {self.reproduction} ({self.reproduction_note})"]
        for row in self.summary():
            kind = row["quantity"].split("_")[-1]
            unit = f" {units.get(kind, '')}".rstrip()
            name = row["quantity"] if kind != "acc" else row["quantity"].replace("acc", self.score_key)
            text = f"{name} {row['at']}, factor {row['factor']:g}: {row['mean']:.4g}{unit}"
            if row["factor"] != 1:
                text += f", {row['difference']:+.3g} against factor 1"
                if count > 1:
                    text += f" [{row['low']:+.3g}, {row['high']:+.3g}] over {count} {counted}"
            lines.append(text)
        if self.child_barrier is not None:
            lines.append(
                "child_barrier: between annealed ends; of factor 1 that of two data orders, which SGD's noise alone leaves, "
                "of another that to factor 1 in the same order"
            )
        return lines

    def _moments(self) -> list[tuple[str, str, np.ndarray]]:
        """(quantity, moment, (F, R) values)."""
        names = [name for name in CURVES if name not in ("lr", "sum_lr", "step_length")]
        names = [name for name in names if np.isfinite(getattr(self, name)).any()]
        found = []
        for name in names:
            values = self.outcome(name)
            found.append((name, "after the amplified epochs", values[..., self.amplified_epochs]))
            found.append((name, "at the end", values[..., -1]))
            if not self.anneal:
                found.append((name, "at equal sum of LR", self.at_sum_lr(name)[..., -1]))
        for name in ("sharpness", "barrier") if self.has_probes else ():
            values = self.outcome(name)
            found.append((name, "after the amplified epochs", values[..., 0]))
            found.append((name, "at the end", values[..., 1]))
        if self.child_barrier is not None:
            found.append(("child_barrier", "at the end", self.outcome("child_barrier")))
        return found


def t_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean of (n,) values and the ends of its 95 % t interval; NaN ends for one value, NaN for a NaN."""
    mean = float(values.mean())
    if len(values) < 2:
        return mean, np.nan, np.nan
    low, high = student_interval(values)
    return mean, float(low), float(high)


def _interpolate(x: np.ndarray, known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values at x; NaN beyond the last epoch that was measured."""
    measured = np.isfinite(values)
    if not measured.any():
        return np.full(len(x), np.nan)
    return np.interp(x, known[measured], values[measured], right=np.nan)
