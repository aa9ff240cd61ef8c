"""Learning curves of one or more runs: the numbers behind Figure 1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from ralr_viz.results.columns import CURVES, SELECTING
from ralr_viz.results.fields import Array, Axis, OneOf
from ralr_viz.results.of_loss import LossResult
from ralr_viz.results.run import CONSTANT_METHODS

_LAST = 5  # epochs of the median accuracy, as in `result.json`


@dataclass(frozen=True, eq=False)
class CurvesResult(LossResult):
    """Curves of several runs on one axis of epochs.

    All arrays of shape (num_runs, num_epochs) are float64, NaN where a run did not measure (an epoch that it
    has not reached, a loss that is no longer finite). Losses are in `loss_unit`; what is called ``acc`` is
    the score of the task, for images accuracy in per cent.

    Attributes:
        run: Name of each run, unique, without a path.
        recipe, method: Of each run; the recipe's name is empty for a CSV.
        seed: Of each run, None where not known.
        status: ``finished``, ``diverged``, ``running`` or ``unknown``.
        split: What the figures evaluate on, for all runs the same: ``validation``, or ``test`` where there is
            no validation (the paper calls its test images validation), or empty where neither was measured.
        epoch: Finished epochs, growing, int64 (num_epochs,).
        base_lr, factor, lr: Scheduled LR, amplification and their product, in use during the epoch.
        train_loss: Running mean over the epoch's augmented batches.
        train_loss_eval: After the epoch, in eval mode and without augmentation, on a fixed sample.
        val_loss, val_acc, test_loss, test_acc: After the epoch.
        best_epoch: Of lowest validation loss, else of lowest training loss, the later one on ties (the
            paper's Algorithm 1: L <= L*), int64 (num_runs,); 0 where no loss is finite. The test set never
            selects.
        best_by: ``val_loss``, ``train_loss`` or empty, for each run.
        group: What each run is averaged with and drawn as, of `group_runs`: runs of one group are replicates.
        notes: What was assumed of each run's log, a sentence each.
    """

    kind: ClassVar[str] = "curves"
    schema: ClassVar[int] = 1

    run: Annotated[tuple[str, ...], Axis(("runs",))]
    recipe: Annotated[tuple[str, ...], Axis(("runs",))]
    method: Annotated[tuple[str, ...], Axis(("runs",))]
    seed: Annotated[tuple[int | None, ...], Axis(("runs",))]
    status: Annotated[tuple[str, ...], Axis(("runs",))]
    split: Annotated[str, OneOf(("validation", "test", ""))]
    epoch: Annotated[np.ndarray, Array("integer", ("epochs",))]
    base_lr: Annotated[np.ndarray, Array("float", ("runs", "epochs"))]
    factor: Annotated[np.ndarray, Array("float", ("runs", "epochs"))]
    lr: Annotated[np.ndarray, Array("float", ("runs", "epochs"))]
    train_loss: Annotated[np.ndarray, Array("float", ("runs", "epochs"), unit="nats")]
    train_loss_eval: Annotated[np.ndarray, Array("float", ("runs", "epochs"), unit="nats")]
    val_loss: Annotated[np.ndarray, Array("float", ("runs", "epochs"), unit="nats")]
    val_acc: Annotated[np.ndarray, Array("float", ("runs", "epochs"), unit="%")]
    test_loss: Annotated[np.ndarray, Array("float", ("runs", "epochs"), unit="nats")]
    test_acc: Annotated[np.ndarray, Array("float", ("runs", "epochs"), unit="%")]
    best_epoch: Annotated[np.ndarray, Array("integer", ("runs",))]
    best_by: Annotated[tuple[str, ...], OneOf((*SELECTING, "")), Axis(("runs",))]
    group: Annotated[tuple[str, ...], Axis(("runs",), optional=True)] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.group:  # of a result that was saved before the settings decided
            several = len(set(self.recipe) - {""}) > 1
            pairs = zip(self.recipe, self.method, strict=True)
            named = tuple(f"{r} {m}".strip() for r, m in pairs) if several else self.method
            object.__setattr__(self, "group", named)

    @property
    def has_validation(self) -> bool:
        """Whether the curves are evaluated on held-out images that are not the test set."""
        return self.split == "validation"

    @property
    def loss(self) -> np.ndarray:
        """Loss on ``split``, (num_runs, num_epochs)."""
        return self.val_loss if self.has_validation else self.test_loss

    @property
    def acc(self) -> np.ndarray:
        """Accuracy on ``split`` in per cent, (num_runs, num_epochs)."""
        return self.val_acc if self.has_validation else self.test_acc

    @property
    def gap(self) -> np.ndarray:
        """Overfitting gap in nats, (num_runs, num_epochs): loss on ``split`` − ``train_loss_eval``."""
        return self.loss - self.train_loss_eval

    @property
    def amplified(self) -> np.ndarray:
        """Epochs whose LR was amplified at random, bool (num_runs, num_epochs).

        A factor that never changes marks none, nor do the constants of `scaled` and `matched`.
        """
        drawn = ~np.isin(self.method, CONSTANT_METHODS)[:, None]
        measured = np.isfinite(self.factor)
        lowest = np.where(measured, self.factor, np.inf).min(axis=1, keepdims=True)
        highest = np.where(measured, self.factor, -np.inf).max(axis=1, keepdims=True)
        return drawn & measured & (lowest < highest) & (self.factor != 1)

    def summary(self) -> list[dict[str, Any]]:
        """One row for each run, what a table or the terminal shows.

        Returns:
            Rows with ``run, recipe, method, seed, status, epochs, split``; accuracy in per cent at the last
            evaluated epoch (``last_acc``), at the best epoch (``best_epoch``, ``best_acc``) and its median
            over the last five evaluated epochs (``median5_acc``); the overfitting gap in nats (``gap``: loss
            on ``split`` − ``train_loss_eval``, at the last epoch that has both) and that training loss (``gap_train_loss``),
            since a run that underfits has less of a gap; ``final_factor`` and ``sum_lr``. NaN where not measured.
        """
        rows = []
        for i, run in enumerate(self.run):
            acc = self.acc[i][np.isfinite(self.acc[i])]
            best = self.acc[i][self.epoch == self.best_epoch[i]]
            measured = np.isfinite([getattr(self, name)[i] for name in CURVES]).any(axis=0)
            rates = self.lr[i][np.isfinite(self.lr[i])]
            rows.append(
                {
                    "run": run,
                    "recipe": self.recipe[i],
                    "method": self.method[i],
                    "seed": self.seed[i],
                    "status": self.status[i],
                    "epochs": int(self.epoch[measured].max(initial=0)),
                    "split": self.split,
                    "last_acc": _last(acc),
                    "best_epoch": int(self.best_epoch[i]),
                    "best_acc": _last(best),
                    "median5_acc": float(np.median(acc[-_LAST:])) if len(acc) else np.nan,
                    "gap": _last(self.gap[i]),
                    "gap_train_loss": _last(self.train_loss_eval[i][np.isfinite(self.gap[i])]),
                    "final_factor": _last(self.factor[i]),
                    "sum_lr": float(rates.sum()) if len(rates) else np.nan,
                }
            )
        return rows

    def describe(self) -> list[str]:
        """A line for each run; what was not measured is left out."""
        return [self._describe_row(row, by) for row, by in zip(self.summary(), self.best_by, strict=True)]

    def _describe_row(self, row: dict[str, Any], best_by: str) -> str:
        show, unit = self.show_score, f" {self.loss_unit}" if self.loss_unit else ""
        parts = [
            (row["last_acc"], f"{row['split']} {self.score_name} {show(row['last_acc'])} (last)"),
            (row["best_acc"], f"{show(row['best_acc'])} (lowest {best_by}, epoch {row['best_epoch']})"),
            (row["median5_acc"], f"{show(row['median5_acc'])} (median of the last five)"),
            (
                row["gap"],
                f"overfitting gap {row['gap']:.3f}{unit} at training loss {row['gap_train_loss']:.3f}",
            ),
            (row["final_factor"], f"final factor {row['final_factor']:.2f}"),
            (row["sum_lr"], f"sum of LR {row['sum_lr']:.3f}"),
        ]
        return f"{row['run']}: " + ", ".join(text for value, text in parts if not math.isnan(value))


def _last(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite[-1]) if len(finite) else np.nan
