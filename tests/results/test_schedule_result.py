"""Schedules: sums and shares against closed forms."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ralr_viz.analysis.schedule import compute_schedule
from ralr_viz.errors import InputError
from ralr_viz.results.bundle import load_result, save_result
from ralr_viz.results.schedule import ScheduleResult


def test_compute_schedule_adds_up_a_worked_example() -> None:
    result = compute_schedule(
        [0.1, 0.1, 0.01, 0.01],
        [("baseline", None, np.ones(4)), ("ralr", 7, [1, 3, 2, 1]), ("scaled", None, np.full(4, 1.5))],
        recipe="demo",
    )
    np.testing.assert_allclose(result.lr[1], [0.1, 0.3, 0.02, 0.01])
    assert result.epoch.tolist() == [1, 2, 3, 4]
    assert result.amplified_share.tolist() == [0, 0.5, 1]
    np.testing.assert_array_equal(result.mean_amplification, [math.nan, 2.5, 1.5])
    np.testing.assert_allclose(result.sum_lr, [0.22, 0.43, 0.33])
    np.testing.assert_allclose(result.sum_lr_ratio, [1, 0.43 / 0.22, 1.5])
    row = result.summary()[1]
    assert (row["method"], row["seed"], row["epochs"], row["amplified_epochs"]) == ("ralr", 7, 4, 2)
    assert (row["mean_factor"], row["final_factor"]) == (1.75, 1)


@given(
    st.lists(st.tuples(st.floats(1e-6, 1), st.sampled_from([1.0, 1.5, 2.0, 3.0])), min_size=1, max_size=30),
    st.floats(0.5, 2),
)
def test_compute_schedule_equals_a_slow_twin(pairs: list[tuple[float, float]], constant: float) -> None:
    base, factor = [b for b, _ in pairs], [f for _, f in pairs]
    result = compute_schedule(base, [("ralr", 0, factor), ("scaled", None, [constant] * len(base))])
    raised = [f for f in factor if f != 1]
    assert result.amplified_share[0] == pytest.approx(len(raised) / len(factor))
    if raised:
        assert result.mean_amplification[0] == pytest.approx(sum(raised) / len(raised))
    assert result.sum_lr[0] == pytest.approx(math.fsum(b * f for b, f in pairs))
    assert result.sum_lr_ratio[1] == pytest.approx(constant)


def test_compute_schedule_shows_the_law_of_the_paper() -> None:
    factors = pytest.importorskip("ralr_viz.schedule").amplification_factors(0, 20_000)
    result = compute_schedule(np.full(20_000, 0.1), [("ralr", 0, factors)])
    # p = 0.5 and U[1, 3]: five standard errors
    assert result.amplified_share[0] == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(20_000))
    assert result.mean_amplification[0] == pytest.approx(2, abs=5 * math.sqrt(1 / 3) / math.sqrt(10_000))
    assert result.sum_lr_ratio[0] == pytest.approx(1.5, abs=5 * math.sqrt(0.417) / math.sqrt(20_000))


def test_schedule_result_round_trips(tmp_path: Path) -> None:
    result = compute_schedule([0.1], [("ralr", 3, [2.0])], recipe="demo", provenance={"p": 0.5})
    loaded = load_result(save_result(result, tmp_path / "r"))
    assert isinstance(loaded, ScheduleResult)
    assert loaded == result
    assert loaded.provenance == {"p": 0.5}


@pytest.mark.parametrize(
    ("base", "factors", "message"),
    [
        ([], [("ralr", 0, [])], "`base_lr`"),
        ([math.nan], [("ralr", 0, [1])], "`base_lr`"),
        ([-0.1, 0.2], [("ralr", 0, [1, 1])], "`base_lr`"),
        ([0.0], [("ralr", 0, [1])], "`base_lr`"),
        ([0.1], [], "no method"),
        ([0.1], [("ralr", 0, [1, 2])], r"`ralr` \(seed 0\) must be 1 finite"),
        ([0.1], [("ralr", 0, [math.inf])], "finite"),
        ([0.1], [("ralr", 0, [0])], "> 0"),
    ],
)
def test_compute_schedule_refuses_bad_values(base: list[float], factors: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        compute_schedule(base, factors)
