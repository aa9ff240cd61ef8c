"""The columns of ``metrics.jsonl``, named once: whoever writes, reads, draws or names one takes it from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ralr_viz.results.tasks import Score

ACCURACY_WORDS = (
    *("acc", "accuracy", "top1", "top1acc", "top1accuracy"),
    *("acc1", "acctop1", "accuracytop1", "prec1"),
)
"""What others call an accuracy, in lower case and only its letters and digits."""


@dataclass(frozen=True)
class Column:
    """A quantity of each epoch; losses are in nats, accuracies in per cent, all after the epoch.

    Attributes:
        name: Its key in a record.
        title: As text names it.
        unit: ``nats``, ``%``, ``s``, ``images/s``, or empty.
        note: How it was measured, where the title does not tell; empty else.
        split: ``train``, ``val``, ``test``, or empty for what is of no images.
        higher_is_better: None where neither is.
        whole_epoch: Of the epoch as a whole: logged batch by batch, the mean is the epoch's.
        drawn: Whether the learning curves keep it.
        known: Whether a record always has it, if only as not measured, and a CSV may.
        aliases: Other people's names, in lower case and only its letters and digits.
        words: What others write before or after the split's name for it, likewise.
    """

    name: str
    title: str
    unit: str = ""
    note: str = ""
    split: str = ""
    higher_is_better: bool | None = None
    whole_epoch: bool = False
    drawn: bool = True
    known: bool = True
    aliases: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    @property
    def is_accuracy(self) -> bool:
        """In per cent, thus in [0, 100]; others write it as a share."""
        return self.unit == "%"

    @property
    def label(self) -> str:
        """The title with how it was measured, or that it is in per cent."""
        more = self.note or ("%" if self.is_accuracy else "")
        return f"{self.title} ({more})" if more else self.title

    @property
    def difference_unit(self) -> str:
        """Unit of a difference of two of its values."""
        return "points" if self.is_accuracy else self.unit


def _loss(split: str, title: str, **more: bool | str | tuple[str, ...]) -> Column:
    options = {"words": ("loss",), **more}
    return Column(f"{split}_loss", f"{title} loss", "nats", split=split, higher_is_better=False, **options)  # type: ignore[arg-type]


def _accuracy(split: str, title: str, *, drawn: bool = True, whole_epoch: bool = False) -> Column:
    return Column(
        f"{split}_acc", f"{title} accuracy", "%", split=split, higher_is_better=True, words=ACCURACY_WORDS,
        drawn=drawn, whole_epoch=whole_epoch,
    )  # fmt: skip


COLUMNS = (
    Column("base_lr", "scheduled LR", whole_epoch=True, aliases=("baselr", "baselearningrate")),
    Column("factor", "factor", aliases=("factor",)),
    Column(
        "lr", "LR", whole_epoch=True, aliases=("lr", "learningrate", "lrsgd", "lradam", "lradamw")
    ),
    _loss("train", "training", note="running", whole_epoch=True, aliases=("loss",)),
    _accuracy("train", "training", drawn=False, whole_epoch=True),
    Column(
        "train_loss_eval", "training loss", "nats", note="eval mode", split="train", higher_is_better=False,
        aliases=("trainlosseval",),
    ),
    _loss("val", "validation"),
    _accuracy("val", "validation"),
    _loss("test", "test"),
    _accuracy("test", "test"),
    Column("seconds", "time", "s", higher_is_better=False, drawn=False, known=False),
    Column(
        "images_per_second", "speed", "images/s", higher_is_better=True, drawn=False, known=False
    ),
    Column("step_length", "weight step", drawn=False, known=False),
)  # fmt: skip
"""In the order of records and tables; a record may hold others that only its writer knows."""

BY_NAME = {column.name: column for column in COLUMNS}
QUANTITIES = tuple(column.name for column in COLUMNS if column.known)
CURVES = tuple(column.name for column in COLUMNS if column.drawn)
"""What the learning curves keep."""
ACCURACIES = tuple(column.name for column in COLUMNS if column.is_accuracy)
RATES = ("lr", "base_lr")
SELECTING = ("val_loss", "train_loss")
"""Losses whose lowest value makes an epoch the best; the first that was measured."""
EVALUATED = ("val_loss", "val_acc", "test_loss", "test_acc")
"""What is measured after an epoch on held-out images."""
EXAMPLES_SECONDS = "examples_seconds"
"""Of an epoch, where each example is recorded: what that took, the writing of the epoch before with it."""
EXAMPLES_SHARE = "examples_share"
"""Of a result: its sum in per cent of the seconds."""
TIMES = ("seconds", "images_per_second", "samples_per_second", EXAMPLES_SECONDS)


def evaluated_columns(score: Score | None) -> tuple[str, ...]:
    """What is measured after an epoch on held-out samples, loss and score."""
    names = ["loss"] + ([] if score is None else [score.key])
    return tuple(f"{split}_{name}" for split in ("val", "test") for name in names)


def speed_column(samples_name: str) -> str:
    """Where the speed of a training stands in a record."""
    return "images_per_second" if samples_name == "images" else "samples_per_second"


def speed_of(record: Mapping[str, Any]) -> Any:
    """Samples a second of a record or a result, of images or others; None where it has none."""
    return record.get("images_per_second", record.get("samples_per_second"))
