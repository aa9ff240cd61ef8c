"""Epochs at which runs are compared."""

from __future__ import annotations

import numpy as np
import pytest

from ralr_viz.analysis.matching import amplified_epoch, match_training_loss
from ralr_viz.errors import InputError
from ralr_viz.results.run import RunRecord


def _run(losses=(1.0, 0.5, 0.2), factors=(1.0, 1.0, 1.0)) -> RunRecord:
    epoch = np.arange(1, len(losses) + 1)
    metrics = {"train_loss_eval": np.array(losses), "factor": np.array(factors)}
    return RunRecord("recipe", "ralr", 0, epoch, metrics)


def test_match_takes_the_state_nearest_to_the_highest_last_loss():
    fast, slow = _run((0.8, 0.42, 0.1)), _run((1.5, 0.9, 0.4))
    chosen, ratio = match_training_loss([fast, slow], [{1, 2, 3}, {1, 2, 3}])
    assert chosen == [2, 3]
    assert ratio == pytest.approx(0.42 / 0.4)


def test_match_can_take_kept_states_only():
    chosen, ratio = match_training_loss([_run((0.8, 0.42, 0.1)), _run((1.5, 0.9, 0.4))], [{1, 3}, {3}])
    assert chosen == [1, 3]  # 0.8 is nearer to 0.4 than 0.1 is, as ratios
    assert ratio == pytest.approx(2)


def test_match_of_runs_that_end_alike_is_their_end():
    assert match_training_loss([_run(), _run()], [{2, 3}, {2, 3}]) == ([3, 3], 1.0)


def test_match_refuses_runs_without_the_loss():
    with pytest.raises(InputError, match="train_loss_eval"):
        match_training_loss([_run((1.0, np.nan, np.nan))], [{3}])


def test_amplified_epoch_has_the_largest_factor_with_both_states_kept():
    run = _run((1.0,) * 5, (3.0, 1.5, 1.0, 2.5, 2.0))
    assert amplified_epoch(run, {1, 2, 3, 4, 5}) == 4  # epoch 1 has no state before it
    assert amplified_epoch(run, {1, 2, 4, 5}) == 5
    assert amplified_epoch(run, {3, 5}) is None
    assert amplified_epoch(_run(), {1, 2, 3}) is None
