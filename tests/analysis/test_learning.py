"""Forgetting, order and maps against a literal twin, planted examples, and runs that do not differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from ralr_viz.analysis.effect import compute_effect
from ralr_viz.analysis.learning import compute_learning, evaluate_kept
from ralr_viz.analysis.learning.trace import trace
from ralr_viz.errors import InputError
from ralr_viz.plots.effect import draw_effect
from ralr_viz.plots.learning import draw_learning, learning_table
from ralr_viz.plots.style import style
from ralr_viz.results.bundle import load_result, save_result
from ralr_viz.results.examples import Examples, examples_path, read_examples
from ralr_viz.results.learning import RELATIONS
from ralr_viz.schedule import amplification_factors
from ralr_viz.train.loop import train_run
from ralr_viz.train.prepare import prepare_run
from ralr_viz.train.run import RunWriter


@given(st.integers(0, 2**32 - 1), st.integers(2, 9), st.integers(1, 6))
def test_trace_is_that_of_a_literal_twin(seed: int, epochs: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    right = rng.random((epochs, n)) < 0.6
    losses = np.where(rng.random((epochs, n)) < 0.2, np.nan, rng.exponential(size=(epochs, n)))
    epoch = np.sort(rng.choice(np.arange(1, 30), epochs, replace=False))
    found = trace(epoch, right, losses)
    forgotten, learned = np.zeros(epochs), np.zeros(epochs)
    for j in range(n):
        state, events, first, rights, probabilities, late = None, 0, 0, [], [], []
        for i in range(epochs):
            if np.isnan(losses[i, j]):
                continue
            if right[i, j]:
                first = first or epoch[i]
                learned[i] += not state
            elif state:
                events += 1
                forgotten[i] += 1
            state = bool(right[i, j])
            rights.append(state)
            probabilities.append(np.exp(-losses[i, j]))
            if epoch[i] > epoch[-1] * 2 / 3:
                late.append(state)
        assert found.events[j] == (events if first else -1) and found.first[j] == first
        assert found.ease[j] == pytest.approx(np.mean(rights) if rights else 0)
        assert found.late[j] == pytest.approx(np.mean(late) if late else 0)
        assert found.confidence[j] == pytest.approx(np.mean(probabilities) if rights else 0)
        assert found.variability[j] == pytest.approx(np.std(probabilities) if rights else 0)
    assert found.forgotten.tolist() == pytest.approx((forgotten / n).tolist())
    assert found.learned.tolist() == pytest.approx((learned / n).tolist())


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """``write("ralr", 0, right, factors)``: a run with a record of its held out examples."""

    def make(
        method: str, seed: int, right: np.ndarray, factors: Any = None, losses: Any = None, **more: Any
    ) -> Path:
        directory = tmp_path / method / f"seed{seed}"
        with RunWriter(directory, arch="resnet20", num_classes=3, method=method, seed=seed) as run:
            for i, row in enumerate(right):
                run.log(epoch=i + 1, val_loss=1.0, factor=1.0 if factors is None else float(factors[i]))
                run.log_examples(
                    "val", right=row, losses=np.where(row, 0.1, 3.0) if losses is None else losses[i], **more
                )
        return directory

    return make


def draw(seed: int, epochs: int = 9, n: int = 60) -> np.ndarray:
    ease = np.linspace(0, 1, n)
    return np.random.default_rng(seed).random((epochs, n)) < ease


def test_planted_forgetting_is_found_in_its_epoch_and_its_examples(write: Callable[..., Path]) -> None:
    right = np.ones((9, 60), dtype=bool)
    planted = right.copy()
    planted[4, 10:25] = False  # forgotten by the fifth epoch, and learned again
    planted[6:, 50:] = False  # for good
    factors = np.ones(9)
    factors[4] = 2.5
    a, b = write("baseline", 0, right), write("ralr", 0, planted, factors)
    result = compute_learning([a, b], count=8)
    assert not result.forgotten[0].any() and (result.events[0] == 0).all()
    assert result.forgotten[1].tolist() == [0, 0, 0, 0, 15 / 60, 0, 10 / 60, 0, 0]
    assert np.flatnonzero(result.events[1]).tolist() == [*range(10, 25), *range(50, 60)]
    assert result.learned[1, 5] == 15 / 60 and result.amplified[1].tolist() == [i == 4 for i in range(9)]
    assert set(result.chosen) <= set(range(50, 60)) and len(result.chosen) == 4  # none is gained
    assert result.disagreement[0, 1] == 10 / 60
    measures = {m.name: m.values.tolist() for m in result.measures()}
    assert measures["forgetting_events"] == [0, 25 / 60]
    assert measures["never_forgotten"] == pytest.approx([100, 100 * 35 / 60])


def test_a_run_compared_with_itself_parts_nowhere_and_seeds_do(write: Callable[..., Path]) -> None:
    a, b, c = (write(m, s, draw(d)) for m, s, d in (("baseline", 0, 1), ("baseline", 1, 2), ("ralr", 0, 1)))
    result = compute_learning([a, b, c])
    assert result.pairs(RELATIONS[0]) == [(0, 1)]
    assert result.pairs(RELATIONS[1]) == [(0, 2)] and result.pairs(RELATIONS[2]) == [(1, 2)]
    assert result.agreement[0, 2] == pytest.approx(1) and result.disagreement[0, 2] == 0
    assert result.agreement[0, 1] == pytest.approx(spearmanr(result.ease[0], result.ease[1]).statistic)
    assert result.disagreement[0, 1] > 0
    for measure in result.measures():
        value, low, high = measure.difference(0, 2)
        assert value == 0 and low <= 0 <= high
        assert low == high or measure.share  # none of 60 changed: a share may still
    assert any("same method, other seed" in line for line in result.describe())


def test_examples_that_were_never_right_are_told_apart(write: Callable[..., Path]) -> None:
    right = np.ones((4, 60), dtype=bool)
    right[:, :6] = False
    result = compute_learning(write("baseline", 0, right))
    measures = {m.name: m.values[0] for m in result.measures()}
    assert (result.events[0, :6] == -1).all() and measures["never_learned"] == pytest.approx(10)
    assert measures["never_forgotten"] == pytest.approx(90) and measures["first_epoch"] == 1


def test_what_cannot_be_compared_is_refused_in_one_line(write: Callable[..., Path], tmp_path: Path) -> None:
    a = write("baseline", 0, draw(0))
    other = write("ralr", 0, draw(0), places=np.arange(60) + 1)
    with pytest.raises(InputError, match="examples of `.*` are others than those of"):
        compute_learning([a, other])
    with pytest.raises(
        InputError, match=r"no record of its `train` examples: train with --set examples=train"
    ):
        compute_learning(a, examples="train")
    short = write("scaled", 0, draw(0, epochs=1))
    with pytest.raises(InputError, match="1 recorded epochs in common"):
        compute_learning([a, short])


def test_a_record_may_lack_epochs_of_another(write: Callable[..., Path]) -> None:
    a, b = write("baseline", 0, draw(0)), write("ralr", 0, draw(0, epochs=5))
    assert compute_learning([a, b]).epoch.tolist() == [1, 2, 3, 4, 5]


def test_kept_states_say_what_the_record_says(
    make_recipe: Callable[..., Any], tmp_path: Path, squares_root: Path
) -> None:
    directory = prepare_run(make_recipe(examples="val", keep_every=1), "ralr", 0, tmp_path)
    train_run(directory, squares_root, device="cpu")
    recorded = read_examples(examples_path(directory, "val"))
    (kept,) = evaluate_kept(directory, root=squares_root, split="val", device="cpu")
    assert isinstance(kept, Examples) and kept.epochs.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(kept.places, recorded.places)
    np.testing.assert_allclose(kept.losses, recorded.losses, rtol=2e-3, atol=1e-4)
    assert (kept.right == recorded.right).mean() > 0.99
    ours, theirs = compute_learning(directory, kept=[kept]), compute_learning(directory)
    assert (ours.source, theirs.source) == ("evaluated", "recorded")
    np.testing.assert_allclose(ours.confidence, theirs.confidence, atol=1e-3)
    (part,) = evaluate_kept(directory, root=squares_root, split="test", limit=4, device="cpu")
    assert part.right.shape == (3, 4)


@pytest.mark.parametrize("column", ["full", "half"])
def test_result_is_kept_and_drawn(write: Callable[..., Path], tmp_path: Path, column: Any) -> None:
    runs = [
        write(m, s, draw(3 * s + d)) for d, m in enumerate(("baseline", "ralr", "scaled")) for s in (0, 1)
    ]
    result = compute_learning(runs, count=6)
    save_result(result, tmp_path / "kept")
    assert load_result(tmp_path / "kept") == result
    with style("icml", column=column):
        figure = draw_learning(result)
        assert figure.get_figwidth() == mpl.rcParams["figure.figsize"][0]
        figure.savefig(tmp_path / "x.png", dpi=50)
    drawn = {line.get_gid(): line for panel in figure.axes for line in panel.lines}
    for i, name in enumerate(result.models):
        assert drawn[f"forgotten:{name}"].get_ydata() == pytest.approx(100 * result.forgotten[i, 1:])
    rows = learning_table(result)
    assert {row["model"] for row in rows} == set(result.models)
    alone = compute_learning(runs[0], count=0)
    assert draw_learning(alone).axes
    with pytest.raises(ValueError, match="chosen"):
        dataclasses.replace(result, chosen=result.chosen + 60)


def test_planted_forgetting_is_an_effect_of_the_amplified_epochs(tmp_path: Path) -> None:
    """Each epoch forgets 4 % of the examples, and 20 % more per unit of dose."""
    law = {"low": 1.0, "high": 3.0, "probability": 0.5, "draw": "uniform", "interval": 1}
    n, epochs, rng = 1000, 30, np.random.default_rng(0)
    for seed in range(3):
        factors, right = amplification_factors(seed, epochs), np.ones(n, dtype=bool)
        with RunWriter(
            tmp_path / "ralr" / f"seed{seed}",
            arch="resnet20",
            num_classes=3,
            method="ralr",
            seed=seed,
            recipe=law,
        ) as run:
            for i, factor in enumerate(factors):
                # all that was forgotten is learned in the epoch after, so that as many are there to be forgotten
                share = 0.04 + 0.2 * (factor - 1)
                right = ~((rng.random(n) < share * (i > 0)) & right)
                run.log(
                    epoch=i + 1,
                    base_lr=0.1,
                    lr=0.1 * factor,
                    factor=factor,
                    val_loss=1.0 + rng.normal(0, 0.1),
                )
                run.log_examples("val", right=right, losses=np.where(right, 0.1, 3.0))
    result = compute_effect(tmp_path / "ralr", horizon=1, resamples=499)
    row = result.outcomes.index("forgotten")
    assert result.low[row, 0] > 8 and result.high[row, 0] < 25
    assert result.outcome("forgotten") == ("examples forgotten", "points")
    assert draw_effect(result).axes
