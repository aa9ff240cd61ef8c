"""Learning-rate schedules before anything is trained: base LR, amplification and what it adds up to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from ralr_viz.results.bundle import Result
from ralr_viz.results.fields import Array, Axis, Within


@dataclass(frozen=True, eq=False)
class ScheduleResult(Result):
    """The LR of each epoch under one base schedule, for several methods and seeds ("arms").

    Attributes:
        recipe: Name of the recipe.
        method: Of each arm.
        seed: Of each arm; None where it does not depend on one.
        epoch: 1 … num_epochs, int64 (num_epochs,).
        base_lr: Scheduled LR, float64 (num_epochs,).
        factor: What it is multiplied by, float64 (num_arms, num_epochs).

    References:
        Section 4.2, Algorithm 1.
    """

    kind: ClassVar[str] = "schedule"
    schema: ClassVar[int] = 1

    recipe: str
    method: Annotated[tuple[str, ...], Axis(("arms",))]
    seed: Annotated[tuple[int | None, ...], Axis(("arms",))]
    epoch: Annotated[np.ndarray, Array("integer", ("epochs",))]
    base_lr: Annotated[np.ndarray, Array("float", ("epochs",), fewest=1, finite=True), Within(0)]
    factor: Annotated[np.ndarray, Array("float", ("arms", "epochs"), finite=True), Within(0)]

    @property
    def lr(self) -> np.ndarray:
        """LR in use, base × factor, float64 (num_arms, num_epochs)."""
        return self.base_lr * self.factor

    @property
    def amplified(self) -> np.ndarray:
        """Epochs whose LR is not the scheduled one, bool (num_arms, num_epochs)."""
        return self.factor != 1

    @property
    def amplified_share(self) -> np.ndarray:
        """Share of amplified epochs in [0, 1], float64 (num_arms,)."""
        return self.amplified.mean(axis=1)

    @property
    def mean_amplification(self) -> np.ndarray:
        """Mean factor of the amplified epochs, float64 (num_arms,); NaN where there is none."""
        count = self.amplified.sum(axis=1)
        total = np.where(self.amplified, self.factor, 0.0).sum(axis=1)
        return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)

    @property
    def sum_lr(self) -> np.ndarray:
        """Σ LR over the epochs, float64 (num_arms,)."""
        return self.lr.sum(axis=1)

    @property
    def sum_lr_ratio(self) -> np.ndarray:
        """Σ LR relative to the base schedule's (what `baseline` uses), float64 (num_arms,)."""
        return self.sum_lr / self.base_lr.sum()

    @property
    def sum_lr_squared_ratio(self) -> np.ndarray:
        """Σ LR² relative to the base schedule's, float64 (num_arms,)."""
        return (self.lr**2).sum(axis=1) / (self.base_lr**2).sum()

    def summary(self) -> list[dict[str, Any]]:
        """One row for each arm."""
        return [
            {
                "method": self.method[i],
                "seed": self.seed[i],
                "epochs": len(self.epoch),
                "amplified_epochs": int(self.amplified[i].sum()),
                "amplified_share": float(self.amplified_share[i]),
                "mean_amplification": float(self.mean_amplification[i]),
                "mean_factor": float(self.factor[i].mean()),
                "final_factor": float(self.factor[i, -1]),
                "sum_lr": float(self.sum_lr[i]),
                "sum_lr_ratio": float(self.sum_lr_ratio[i]),
                "sum_lr_squared_ratio": float(self.sum_lr_squared_ratio[i]),
            }
            for i in range(len(self.method))
        ]

    def describe(self) -> list[str]:
        """How much of RALR, the first arm, is amplified, and what every arm adds up to."""
        ralr = self.summary()[0]
        amplified = (
            f"{ralr['amplified_epochs']} of {ralr['epochs']} epochs amplified ({ralr['amplified_share']:.0%})"
        )
        if ralr["amplified_epochs"]:
            amplified += f", by {ralr['mean_amplification']:.2f} on average"
        lines = [
            f"{self.recipe}, seed {ralr['seed']}: {amplified}; mean factor {ralr['mean_factor']:.3f}, sum of LR "
            f"x{ralr['sum_lr_ratio']:.3f} of the baseline's"
        ]
        for arm in self.summary():
            name = arm["method"] if arm["seed"] is None else f"{arm['method']} of seed {arm['seed']}"
            lines.append(
                f"{name}: sum of LR x{arm['sum_lr_ratio']:.3f}, of LR² x{arm['sum_lr_squared_ratio']:.3f}"
            )
        return lines
