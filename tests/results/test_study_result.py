"""The result of a study: what it refuses, what it says of its cells, and what of them in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ralr_viz.errors import UnknownNameError
from ralr_viz.results.bundle import load_result, save_result
from ralr_viz.results.study import COMPARISON, METRICS, SUMMARY, StudyResult
from ralr_viz.results.study_caption import describe_study

ROW = COMPARISON.index


def _result(**changes: Any) -> StudyResult:
    """Two cells at three seeds, the second compared with the first, one of whose runs failed."""
    values = np.array([[70.0, 71.0, 72.0], [73.0, np.nan, 75.0]])[:, :, None] + np.array([0.0, 0.1, 0.2])
    summaries = np.full((2, 3, len(SUMMARY)), np.nan)
    summaries[:, :, 0] = [[3] * 3, [2] * 3]
    summaries[:, :, 1] = np.nanmean(values, axis=1)
    comparisons = np.full((2, 3, len(COMPARISON)), np.nan)
    comparisons[1, :, [ROW(n) for n in ("difference", "low", "high", "p", "holm_p", "permutation_floor")]] = [
        [3.0] * 3, [0.5, -0.5, 0.5], [5.5] * 3, [0.03] * 3, [0.03, 0.2, 0.06], [0.2] * 3
    ]  # fmt: skip
    fields: dict[str, Any] = {
        "name": "mine",
        "title": "Mine",
        "note": "one thing to know",
        "axes": ("network", "method"),
        "labels": (("ResNet-20", "Baseline"), ("ResNet-20", "RALR")),
        "rows": ("network",),
        "columns": ("method",),
        "methods": ("baseline", "ralr"),
        "seeds": (0, 1, 2),
        "values": values,
        "states": np.array([["finished"] * 3, ["finished", "failed", "finished"]]),
        "references": np.array([-1, 0]),
        "paper": np.array([[91.25, 0.1], [np.nan, np.nan]]),
        "summaries": summaries,
        "comparisons": comparisons,
        "conditions": {"dataset": ("cifar10",), "device": ("cpu",), "threads": (1, 2), "epochs": (24,)},
    }
    return StudyResult(**(fields | changes))


def test_study_result_is_saved_and_loaded(tmp_path):
    result = _result(provenance={"study": "mine"})
    assert load_result(save_result(result, tmp_path / "study")) == result


@pytest.mark.parametrize(
    "changes",
    [
        {"values": np.zeros((2, 2, 3))},
        {"comparisons": np.zeros((2, 3, 2))},
        {"methods": ("baseline",)},
        {"labels": (("a",), ("b",))},
        {"rows": ("network", "method")},
        {"states": np.full((2, 3), "lost")},
        {"references": np.array([-1, 2])},
    ],
)
def test_study_result_refuses_what_does_not_fit(changes):
    with pytest.raises(ValueError, match="expects|must"):
        _result(**changes)


def test_study_result_says_what_the_interval_excludes_in_each_metric():
    result = _result()
    assert [result.excludes_zero(1, metric) for metric in METRICS] == [True, False, True]
    assert [result.survives_holm(1, metric) for metric in METRICS] == [True, False, False]
    assert not result.excludes_zero(0, "last") and not result.survives_holm(
        0, "last"
    )  # compared with nothing
    with pytest.raises(UnknownNameError, match="unknown metric `best_on_test`"):
        result.summary(0, "best_on_test")


def test_study_result_withholds_the_comparison_of_a_diverged_run_and_with_it():
    assert not _result().withheld.any()
    ok, bad = ["finished"] * 3, ["finished", "diverged", "finished"]
    for states in ([ok, bad], [bad, ok]):
        states = np.array(states)
        values = np.where((states == "diverged")[:, :, None], np.nan, _result().values)
        assert _result(states=states, values=values).withheld.tolist() == [False, True]
        # a score that says what a diverged run counts as is compared
        scored = np.nan_to_num(_result().values, nan=1.0)
        assert not _result(states=states, values=scored).withheld.any()


def test_study_records_hold_every_seed_and_number():
    records = _result().records()
    assert [(r["network"], r["method"], r["metric"]) for r in records[:3]] == [
        ("ResNet-20", "Baseline", metric) for metric in METRICS
    ]
    last, median = records[3:5]
    assert (last["seed0"], last["seed1"], last["seed2"]) == (73.0, None, 75.0)
    assert last["seed1 state"] == "failed" and last["failed"] == 1
    assert median["mean"] == pytest.approx(74.1)
    assert last["reference"] == "ResNet-20, Baseline" and last["excludes 0"] is True
    assert records[0]["minus paper"] == pytest.approx(71 - 91.25) and last["minus paper"] is None
    assert records[0]["excludes 0"] is None
    assert all(list(record) == list(records[0]) for record in records)


def test_study_records_keep_an_axis_called_as_one_of_their_columns():
    record = _result(axes=("n", "seed0"), rows=("n",), columns=("seed0",)).records()[0]
    assert (record["axis n"], record["axis seed0"]) == ("ResNet-20", "Baseline")
    assert (record["n"], record["seed0"]) == (3, 70.0)


def test_describe_study_says_what_may_be_read_from_it():
    text = " ".join(describe_study(_result()))
    for said in (
        "after the last epoch, over 3 training seeds (0–2).",
        "5 of 6 runs have finished.",
        "ddof = 1",
        "†: 0 runs diverged and 1 run failed; they are in no mean.",
        "Difference from Baseline:",
        "Welch's 95 % t interval",
        "corrected for the one comparison of this table",
        "No exact permutation p can be below 0.2.",
        "may be of the best epoch on the test set",
        "Data: cifar10, 24 epochs.",
        "cpu, threads 1/2.",
        "Not all runs share: threads.",
        "one thing to know.",
    ):
        assert said in text
    assert "compared with nothing" not in text


def test_describe_study_names_the_metric_and_its_seeds():
    text = " ".join(describe_study(_result(seeds=(0, 3, 4)), "best"))
    assert "lowest validation loss" in text and "seeds (0, 3, 4)" in text
    assert "median of the last five" in " ".join(describe_study(_result(), "median_last5"))


def test_describe_study_says_nothing_of_what_is_not_there():
    empty = _result(
        references=np.array([-1, -1]), paper=np.full((2, 2), np.nan), conditions={}, note="",
        states=np.full((2, 3), "finished"),
    )  # fmt: skip
    text = " ".join(describe_study(empty))
    assert not any(word in text for word in ("Difference", "paper", "†", "Data", "Trained", "Not all"))


def test_describe_study_tells_a_diverged_run_and_the_family_of_holm():
    states = np.array([["finished"] * 3, ["finished", "diverged", "pending"]])
    text = " ".join(describe_study(_result(states=states, references=np.array([1, 0]))))
    assert "1 run diverged and 0 runs failed" in text and "compared with nothing" in text
    assert "corrected for the 2 comparisons" in text and "below 0.2, or 0.4 after Holm" in text
    assert "the reference of each" in text  # Baseline from RALR, and RALR from Baseline


def test_study_result_is_frozen():
    result = _result()
    with pytest.raises(ValueError, match="read-only"):
        result.values[0, 0, 0] = 1
    assert replace(result) == result
