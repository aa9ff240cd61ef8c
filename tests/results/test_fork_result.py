"""The numbers of a fork against hand cases."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from ralr_viz.results.bundle import load_result, save_result
from ralr_viz.results.fork import CURVES, ForkResult, t_interval

NAN = np.nan


def make_fork(repeats: int = 2, *, probes: bool = False, **changes: object) -> ForkResult:
    """K = 1 at factors 1 and 3 of LR 0.1, decayed to 0.05 in the second epoch; loss = 1 − 2·Σ LR + repeat."""
    branches = [(f, r) for r in range(repeats) for f in (1.0, 3.0)] + [(NAN, 0)]
    base = np.array([0.1, 0.05])
    curves = {name: np.full((len(branches), 3), NAN) for name in CURVES}
    for i, (factor, repeat) in enumerate(branches):
        lr = base * np.array([2.0 if np.isnan(factor) else factor, 1.0])
        curves["lr"][i, 1:] = lr
        curves["sum_lr"][i] = [0, *np.cumsum(lr)]
        for name in CURVES[2:-1]:
            curves[name][i] = 1 - 2 * curves["sum_lr"][i] + np.array([0, repeat, 2 * repeat])
        curves["step_length"][i, 1:] = lr
    shape = (len(branches), 2 if probes else 0)
    values: dict[str, object] = {
        "run": "ralr, seed 0, epoch 3",
        "start_epoch": 3,
        "amplified_epochs": 1,
        "factor": np.array([f for f, _ in branches]),
        "repeat": np.array([r for _, r in branches]),
        "status": ("finished",) * len(branches),
        "base_lr": base,
        **curves,
        "sharpness": np.full(shape, 0.25),
        "barrier": np.full(shape, 0.125),
        "start_sharpness": 0.5 if probes else NAN,
        "probe": ("How.",) if probes else (),
        "images": {"train": 20, "test": 30, "val": 10},
        "dataset": "squares",
        "reproduction": "reproduced",
        "reproduction_note": "epochs 4 to 5",
    }
    return ForkResult(**(values | changes))  # type: ignore[arg-type]


def test_sum_lr_is_common_up_to_that_of_the_smallest_factor() -> None:
    result = make_fork()
    np.testing.assert_allclose(result.common_sum_lr, [0, 0.1, 0.15])
    np.testing.assert_allclose(result.planned_sum_lr(3.0), [0, 0.3, 0.35])
    # 0.15 is half of factor 3's first epoch
    assert result.epochs_at_sum_lr(3.0) == pytest.approx(0.5)
    assert result.epochs_at_sum_lr(1.0) == pytest.approx(2)


def test_at_sum_lr_interpolates_between_epochs() -> None:
    loss = np.array([[1.0, 0.8, 0.7], [1.0, 0.4, 0.1]])
    result = make_fork(1)
    values = result.val_loss.copy()
    values[:2] = loss
    result = dataclasses.replace(result, val_loss=values)
    # factor 1 at its own epochs; factor 3 at 1/3 and 1/2 of the way from 1.0 to 0.4
    np.testing.assert_allclose(result.at_sum_lr("val_loss")[:, 0], [[1.0, 0.8, 0.7], [1.0, 0.8, 0.7]])


def test_at_sum_lr_is_the_same_for_a_loss_of_sum_lr_alone() -> None:
    values = make_fork(1).at_sum_lr("val_loss")
    np.testing.assert_allclose(values[0], values[1])


def test_differences_are_paired_over_the_repeats() -> None:
    result = make_fork(3)
    at = {(r["quantity"], r["at"], r["factor"]): r for r in result.summary()}
    end = at["val_loss", "at the end", 3.0]
    assert end["mean"] == pytest.approx(1 - 2 * 0.35 + 2)
    assert end["difference"] == pytest.approx(-0.4)  # the repeats' own levels have gone
    assert end["low"] == pytest.approx(-0.4) and end["high"] == pytest.approx(-0.4)
    assert at["val_loss", "after the amplified epochs", 3.0]["difference"] == pytest.approx(-0.4)
    assert at["val_loss", "at the end", 1.0]["difference"] == 0
    assert end["repeats"] == 3
    # repeat r is r at factor 1's second epoch, but half an epoch's r at factor 3: −r·1.5 is not shared
    equal = at["val_loss", "at equal sum of LR", 3.0]
    assert equal["difference"] == pytest.approx(np.mean([0, -1.5, -3.0]))
    assert equal["low"] < equal["difference"] < equal["high"]


def test_one_repeat_has_no_interval() -> None:
    rows = make_fork(1).summary()
    assert rows and all(np.isnan([row["low"], row["high"]]).all() for row in rows)
    assert {row["quantity"] for row in rows} == {
        "train_loss", "val_loss", "val_acc", "test_loss", "test_acc", "distance",
    }  # fmt: skip
    probed = make_fork(1, probes=True).summary()
    assert {"sharpness", "barrier"} <= {row["quantity"] for row in probed}


def test_t_interval_equals_scipy() -> None:
    values = np.array([0.3, -0.1, 0.7, 0.2])
    found = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert t_interval(values) == pytest.approx((values.mean(), found.low, found.high))
    assert np.isnan(t_interval(np.array([1.0, NAN]))).all()


def test_diverged_branches_have_no_value_after_it() -> None:
    values = make_fork().val_loss.copy()
    values[1, 1:] = NAN
    result = make_fork(val_loss=values, status=("finished", "diverged", "finished", "finished", "finished"))
    at = {(r["quantity"], r["at"], r["factor"]): r for r in result.summary()}
    assert np.isnan(at["val_loss", "at the end", 3.0]["difference"])
    assert np.isnan(at["val_loss", "at equal sum of LR", 3.0]["difference"])
    assert at["val_loss", "at the end", 1.0]["difference"] == 0
    np.testing.assert_allclose(result.at_sum_lr("val_loss")[1, 0], [1, NAN, NAN])


def test_rows_and_decays() -> None:
    result = make_fork()
    assert (result.row(3.0, 1), result.row(None), result.row(2.0), result.repeats) == (3, 4, None, 2)
    assert result.factors == (1.0, 3.0)
    assert result.decays == (1,)
    assert result.split == "val"
    assert make_fork(val_loss=np.full((5, 3), NAN)).split == "test"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("val_loss", np.zeros((5, 2))),
        ("sharpness", np.zeros((5, 1))),
        ("repeat", np.zeros(4, int)),
        ("factor", np.full(5, 3.0)),
    ],
)
def test_fork_result_refuses_what_does_not_fit(name, value) -> None:
    with pytest.raises(ValueError, match=name):
        make_fork(**{name: value})


def test_fork_result_survives_saving(tmp_path) -> None:
    result = make_fork(probes=True)
    assert load_result(save_result(result, tmp_path / "fork")) == result
