"""Epochs at which runs are compared."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ralr_viz.analysis.matching import amplified_epoch, match_training_loss
from ralr_viz.errors import InputError
from ralr_viz.results.run import RunRecord


def _run(losses=(1.0, 0.5, 0.2), factors=(1.0, 1.0, 1.0), rates=(0.1, 0.1, 0.1)) -> RunRecord:
    epoch = np.arange(1, len(losses) + 1)
    columns = {"train_loss_eval": losses, "factor": factors, "base_lr": rates}
    return RunRecord("recipe", "ralr", 0, epoch, {k: np.array(v[: len(epoch)]) for k, v in columns.items()})


ALL = {1, 2, 3}


def test_match_takes_the_states_with_the_nearest_losses():
    fast, slow = _run((0.8, 0.42, 0.1)), _run((1.5, 0.9, 0.4))
    chosen, ratio = match_training_loss([fast, slow], [ALL, ALL])
    assert chosen == [2, 3]
    assert ratio == pytest.approx(0.42 / 0.4)


def test_match_refuses_losses_that_differ_by_more_than_a_tenth():
    with pytest.raises(
        InputError, match=r"by a factor of 1\.88 at least, and must be within a tenth .* keep_every=1"
    ):
        match_training_loss([_run((0.8, 0.42, 0.1)), _run((1.5, 0.9, 0.4))], [{1, 3}, {1}])


def test_match_is_at_one_scheduled_rate_whatever_the_factors():
    """Before and after a decay the networks are as near to a minimum as their rate lets them be: no pair is one of both."""
    early, late = (
        _run((1.0, 0.5, 0.2), rates=(0.1, 0.01, 0.01)),
        _run((2.0, 1.0, 0.5), rates=(0.1, 0.1, 0.01)),
    )
    assert match_training_loss([early, late], [ALL, ALL]) == ([2, 3], 1.0)  # not 1 and 2, of the rate before
    assert match_training_loss([early, late], [ALL, {1, 2}])[0] == [1, 2]
    with pytest.raises(InputError, match="are of other scheduled rates"):
        match_training_loss([early, late], [{2, 3}, {1, 2}])
    assert match_training_loss([_run(factors=(1.0, 1.0, 3.0)), _run()], [ALL, ALL]) == ([3, 3], 1.0)


def test_match_of_three_runs_has_the_least_ratio_of_all_choices():
    rng = np.random.default_rng(0)
    for _ in range(20):
        runs = [_run(tuple(rng.uniform(0.5, 0.6, 3))) for _ in range(3)]
        chosen, ratio = match_training_loss(runs, [ALL] * 3) if (best := _slow(runs)) <= 1.1 else (None, best)
        assert ratio == pytest.approx(best)
        if chosen:
            found = [run.values("train_loss_eval")[e - 1] for run, e in zip(runs, chosen, strict=True)]
            assert max(found) / min(found) == pytest.approx(best)


def _slow(runs: list[RunRecord]) -> float:
    losses = itertools.product(*(run.values("train_loss_eval") for run in runs))
    return min(max(one) / min(one) for one in losses)


def test_match_of_runs_that_end_alike_is_their_end():
    assert match_training_loss([_run(), _run()], [{2, 3}, {2, 3}]) == ([3, 3], 1.0)
    assert match_training_loss([_run((0.5, 0.2, 0.2))] * 2, [ALL, ALL]) == ([3, 3], 1.0)


@pytest.mark.parametrize("change", [{"losses": (1.0, np.nan, np.nan)}, {"rates": (0.1, np.nan, np.nan)}])
def test_match_refuses_runs_without_the_loss_or_the_rate(change):
    with pytest.raises(InputError, match="no `train_loss_eval` and `base_lr`"):
        match_training_loss([_run(**change)], [{3}])


def test_amplified_epoch_has_the_largest_factor_with_both_states_kept():
    run = _run((1.0,) * 5, (3.0, 1.5, 1.0, 2.5, 2.0))
    assert amplified_epoch(run, {1, 2, 3, 4, 5}) == 4  # epoch 1 has no state before it
    assert amplified_epoch(run, {1, 2, 4, 5}) == 5
    assert amplified_epoch(run, {3, 5}) is None
    assert amplified_epoch(_run(), {1, 2, 3}) is None
