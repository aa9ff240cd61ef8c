"""What is left of a training's records when it is over: the epoch that was best, and the numbers of ``result.json``."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ralr_viz.results.columns import (
    EXAMPLES_SECONDS,
    EXAMPLES_SHARE,
    SELECTING,
    evaluated_columns,
    speed_column,
    speed_of,
)
from ralr_viz.results.tasks import IMAGES, About

_EVALUATED = ("train_loss_eval", *evaluated_columns(None))


def best_epoch(history: Sequence[Mapping[str, Any]]) -> int | None:
    """Epoch of the lowest validation loss, else training loss; the later one on ties.

    Where some epochs alone were evaluated it is one of them: of another there is no score.
    """
    measured = [r for r in history if any(r.get(name) is not None for name in _EVALUATED)]
    for name in SELECTING:
        losses = [(r[name], -r["epoch"]) for r in measured or history if r.get(name) is not None]
        if losses:
            return -min(losses)[1]
    return history[-1]["epoch"] if history else None


def summarise_history(history: Sequence[Mapping[str, Any]], about: About = IMAGES) -> dict[str, Any]:
    """Contract of ``result.json``: last and best epoch, median of the last five, final factor, Σ LR and Σ LR².

    Where each example is recorded also what that took, and its share of the seconds of the steps, per cent.
    """
    score = about.score
    names = ("train_loss_eval", *evaluated_columns(score))

    def pick(record: Mapping[str, Any]) -> dict[str, Any]:
        return {"epoch": record["epoch"]} | {n: record.get(n) for n in names}

    if not history:
        return {"epochs": 0}
    best = next(r for r in history if r["epoch"] == best_epoch(history))
    medians = {}
    for name in evaluated_columns(score)[1::2] if score is not None else ():
        values = [r.get(name) for r in history[-5:]]
        measured = [value for value in values if value is not None]
        medians[name] = statistics.median(measured) if len(measured) == len(values) else None
    rates = [rate for r in history if (rate := speed_of(r)) is not None]
    seconds = math.fsum(r["seconds"] for r in history if r.get("seconds") is not None)
    return {
        "epochs": history[-1]["epoch"],
        "last": pick(history[-1]),
        "best": pick(best),
        "median_last5": medians,
        "final_factor": history[-1].get("factor"),
        "sum_lr": math.fsum(r["lr"] for r in history if r.get("lr") is not None),
        "sum_lr_squared": math.fsum(r["lr"] ** 2 for r in history if r.get("lr") is not None),
        "seconds": seconds,
        speed_column(about.samples): statistics.median(rates) if rates else None,
        **_price(history, seconds),
    }


def _price(history: Sequence[Mapping[str, Any]], seconds: float) -> dict[str, float]:
    prices = [r[EXAMPLES_SECONDS] for r in history if r.get(EXAMPLES_SECONDS) is not None]
    if not prices or not seconds:
        return {}
    spent = math.fsum(prices)
    return {EXAMPLES_SECONDS: spent, EXAMPLES_SHARE: 100 * spent / seconds}
