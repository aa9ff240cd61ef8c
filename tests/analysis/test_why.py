"""Verdicts on the claims, over simulated seeds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ralr_viz.analysis.why import compute_why
from ralr_viz.errors import InputError
from ralr_viz.results.measure import Measure
from ralr_viz.results.why import CLAIMS, WhyResult

ARMS = ("baseline", "ralr", "matched")


def _why(values: dict[int, np.ndarray], *, draws: float = 0.0, arms: tuple[str, ...] = ARMS) -> WhyResult:
    """Of claim k the values (arms, seeds), in units in which a growth is what is claimed."""
    measures: dict[str, list[list[Measure]]] = {}
    for k, table in values.items():
        claim = CLAIMS[k]
        noise = np.random.default_rng(0).normal(0, draws, (len(table), 200)) if draws else np.zeros((0, 0))
        measures[claim.diagnostic] = [
            [
                Measure(
                    claim.measures[0],
                    claim.measures[0],
                    "nats",
                    claim.sign * column,
                    claim.sign * column[:, None] + noise if draws else noise,
                    "images" if draws else "",
                )
            ]
            for column in table.T
        ]
    seeds = range(next(iter(values.values())).shape[1])
    return compute_why(measures, arms=arms, seeds=list(seeds))


def _table(effect: float, control: float = 0.0, *, n: int = 6, seed: int = 0) -> np.ndarray:
    """A around 0, B around ``effect``, the control around ``control``; spread 0.1 of each, seeds paired."""
    rng = np.random.default_rng(seed)
    return np.array([[0.0], [effect], [control]]) + rng.normal(0, 1, n) + rng.normal(0, 0.1, (3, n))


def test_verdict_supported_needs_sign_test_and_control():
    result = _why({k: _table(2.0, 1.0, seed=k) for k in range(4)})
    assert result.verdicts == ("supported",) * 4
    assert (result.corrected_p < 0.05).all()


def test_verdict_contradicted_is_the_opposite_sign():
    assert _why({0: _table(-2.0)}).verdicts[0] == "contradicted"


def test_verdict_contradicted_needs_the_control_as_supported_does():
    """RALR and the constant factor both oppose the claim alike: that is the factor's doing, not RALR's."""
    result = _why({0: _table(-2.0, -2.0, seed=1), 1: _table(-2.0, 1.0), 3: _table(-2.0, -4.0)})
    assert result.verdicts[0] == "not shown (no more than in the control)"
    assert result.verdicts[1] == "contradicted"
    assert result.verdicts[3] == "not shown (no more than in the control)"
    without = _why({0: _table(-2.0)[:2]}, arms=ARMS[:2])
    assert without.verdicts[0].startswith("not shown (ralr differs from baseline, but no control")


@pytest.mark.parametrize(
    ("ralr", "scaled", "shown"),
    [
        (1.0, 0.0, "as claimed"),
        (1.0, 1.0, "lower than the baseline, not than the constant factor"),
        (1.0, 2.0, "lower than the baseline, not than the constant factor"),  # published: flatter still
        (-1.0, 0.0, "opposite"),
        (-1.0, -2.0, "higher than the baseline, not than the constant factor"),
        (0.0, -1.0, "unclear"),
    ],
)
@pytest.mark.parametrize("n", [1, 2])
def test_verdict_of_few_seeds_looks_at_the_control(ralr, scaled, shown, n):
    noise = np.random.default_rng(0).normal(0, 0.05, (3, 200))
    claim = CLAIMS[0]  # of a fall
    values = claim.sign * np.array([0.0, ralr, scaled])
    of_seed = [Measure(claim.measures[0], "", "", values, values[:, None] + noise, "directions")]
    arms = ("baseline", "ralr", "scaled")
    result = compute_why({claim.diagnostic: [of_seed] * n}, arms=arms, seeds=list(range(n)))
    assert result.verdicts[0] == f"not testable at n = {n}; these checkpoints: {shown}"


def test_verdict_without_intervals_looks_at_the_control_too():
    for scaled, shown in (
        (0.5, "as claimed"),
        (1.5, "higher than the baseline, not than the matched constants"),
    ):
        result = _why({1: np.array([[0.0], [1.0], [scaled]])})
        assert result.verdicts[1].endswith(f"these checkpoints: {shown}, no interval")


def test_verdict_is_not_shown_where_the_control_does_the_same():
    result = _why({1: _table(2.0, 2.0)})
    assert result.verdicts[1] == "not shown (no more than in the control)"
    assert result.corrected_p[1] < 0.05


def test_verdict_without_control_supports_nothing():
    result = _why({1: _table(2.0)[:2]}, arms=ARMS[:2])
    assert result.verdicts[1].startswith("not shown (ralr differs from baseline, but no control")
    assert result.comparisons == ("b − a",)


def test_verdict_not_shown_and_not_measured():
    result = _why({1: np.random.default_rng(4).normal(size=(3, 5))})
    assert result.verdicts == ("not measured", "not shown", "not measured", "not measured")
    assert np.isnan(result.corrected_p[[0, 2, 3]]).all()
    assert result.corrected_p[1] == pytest.approx(min(4 * result.p[0, 0], 1))


@pytest.mark.parametrize(
    ("effect", "draws", "shown"),
    [
        (1.0, 0.05, "as claimed"),
        (-1.0, 0.05, "opposite"),
        (1.0, 5.0, "unclear"),
        (1.0, 0.0, "as claimed, no interval"),
    ],
)
def test_verdict_of_one_seed_speaks_of_these_checkpoints(effect, draws, shown):
    result = _why({0: np.array([[0.0], [effect], [0.0]])}, draws=draws)
    assert result.verdicts[0] == f"not testable at n = 1; these checkpoints: {shown}"
    assert np.isnan(result.corrected_p).all()
    assert result.interval(0, 0)[3] == ("images" if draws else "")


def test_verdicts_are_wrong_in_a_family_of_true_nulls_no_more_often_than_said():
    rng, wrong, rounds = np.random.default_rng(5), 0, 400
    for _ in range(rounds):
        tables = {k: rng.normal(size=(3, 4)) for k in range(4)}
        wrong += any("not shown" not in v or "no more" in v for v in _why(tables).verdicts)
    assert stats.binomtest(wrong, rounds, 0.05, alternative="greater").pvalue > 1e-3
    assert wrong  # a test that never rejects would pass the line above


def _late(angles: np.ndarray, change: np.ndarray, **more) -> WhyResult:
    """Of the claim that is decided by two measures, their values (arms, seeds)."""
    names = CLAIMS[1].measures
    of_seeds = [
        [Measure(name, name, "", column) for name, column in zip(names, columns, strict=True)]
        for columns in zip(angles.T, change.T, strict=True)
    ]
    return compute_why({"movement": of_seeds}, arms=ARMS, seeds=list(range(angles.shape[1])), **more)


def test_a_claim_of_two_measures_needs_both_and_the_larger_p():
    both = _late(_table(2.0, 1.0), _table(2.0, 1.0, seed=1))
    assert both.verdicts[1] == "supported" and both.measures_of(1) == [0, 1]
    assert both.corrected_p[1] == pytest.approx(4 * both.p[:, 0].max())
    assert (both.claim_of(0), both.claim_of(1)) == (1, 1)
    noise = np.random.default_rng(4).normal(size=(3, 6))
    assert _late(_table(2.0, 1.0), noise).verdicts[1] == "not shown"
    assert _late(_table(2.0, 1.0), _table(-2.0, -1.0)).verdicts[1] == "not shown (its measures disagree)"
    half = _late(_table(2.0, 1.0), _table(2.0, 2.0, seed=1))
    assert half.verdicts[1] == "not shown (no more than in the control)"
    assert _late(_table(-2.0), _table(-2.0, seed=1)).verdicts[1] == "contradicted"
    few = _late(_table(2.0, n=2), _table(-2.0, n=2))
    assert few.verdicts[1].endswith("these checkpoints: unclear, no interval")


def test_a_claim_whose_second_measure_is_missing_says_by_what_it_is_decided():
    result = _late(_table(2.0, 1.0), np.full((3, 6), np.nan))
    assert result.verdicts[1] == "supported"
    assert (
        "weights still move late: decided by late_angular_path alone, function_change was not measured"
        in result.notes
    )


def test_a_claim_that_any_larger_rate_would_show_needs_the_control_of_the_same_rates():
    tables = _table(2.0, 1.0), _table(2.0, 1.0, seed=1)
    result = _late(*tables, control="scaled")
    assert result.verdicts[1] == "not shown (ralr differs from baseline, but the control is not `matched`)"
    assert any(
        "takes the control `matched`" in note and "`scaled` decides nothing" in note for note in result.notes
    )
    assert _late(*tables, control="matched").notes == ()


def test_differences_are_paired_by_seed():
    table = _table(0.5, 0.2, n=4)
    result = _why({0: table})
    d = -(table[1] - table[0])  # this claim is of a fall
    assert result.differences[0, 0, 0] == pytest.approx(d.mean())
    assert result.p[0, 0] == pytest.approx(stats.ttest_1samp(d, 0).pvalue)
    assert result.differences[0, 1, 0] == pytest.approx(-(table[1] - table[2]).mean())
    assert result.differences[0, 2, 0] == pytest.approx(-(table[2] - table[0]).mean())
    assert result.sign_flip_floor == 0.125
    assert result.interval(0, 0)[3] == "seeds"


def test_why_finds_measures_and_their_claims():
    result = _why({0: _table(1.0), 3: _table(1.0)})
    assert result.find("collapse, matched loss", "nc1_test") == 1
    assert result.find("collapse", "else") is None
    assert (result.claim_of(0), result.claim_of(1)) == (0, 3)


def test_why_refuses_nothing_and_unequal_measures():
    with pytest.raises(InputError, match="no diagnostic"):
        compute_why({}, arms=ARMS, seeds=[0])
    one, other = (Measure(name, name, "", np.zeros(3)) for name in ("a", "b"))
    with pytest.raises(ValueError, match="expects one"):
        compute_why({"x": [[one], [other]]}, arms=ARMS, seeds=[0, 1])
    with pytest.raises(ValueError, match="arms"):
        compute_why({"x": [[one]]}, arms=ARMS[:2], seeds=[0])


def test_claims_are_decided_by_the_headline_of_a_diagnostic():
    """Each claim's measure is the first that its diagnostic's result gives, by the names that these use."""
    from ralr_viz.results import collapse, localisation

    names = {claim.diagnostic.split(",")[0]: claim.measures[0] for claim in CLAIMS}
    assert names["collapse"] == f"{next(iter(collapse.METRICS))}_{collapse.SPLITS[0]}"
    assert names["localisation"] == f"{next(iter(localisation.METRICS))}_{next(iter(localisation.STRATA))}"
