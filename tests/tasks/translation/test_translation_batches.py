"""Batches by tokens: what an epoch shows, whatever the seed, the ranks or the accumulation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ralr_viz.errors import InputError
from ralr_viz.recipe import load_recipe
from ralr_viz.runtime.device import resolve_runtime
from ralr_viz.runtime.ranks import ALONE, Ranks
from ralr_viz.tasks.translation.batches import TextFeed, cut, make_batch
from ralr_viz.tasks.translation.pieces import BEGIN, END, Sentences
from ralr_viz.tasks.translation.task import Translation
from ralr_viz.train.step import Totals, train_step

CPU = resolve_runtime("cpu", "fp32")


def random_sentences(n: int, seed: int) -> Sentences:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 30, n)
    return Sentences(
        rng.integers(4, 90, lengths.sum()).astype(np.uint16), np.concatenate([[0], lengths.cumsum()])
    )


def make_feed(per_step: int = 1, batch: int = 256, n: int = 500, **changes: object) -> TextFeed:
    recipe = load_recipe("numbers-transformer-tiny", [f"batch={batch}"])
    return TextFeed(recipe, per_step, (random_sentences(n, 1), random_sentences(n, 2)), np.arange(n), CPU)


@pytest.mark.parametrize("per_step", [1, 3])
def test_an_epoch_shows_every_pair_once_within_the_budget(per_step):
    feed = make_feed(per_step)
    plan = feed.plan(5, 2)
    rows = [row for step in range(plan.steps) for batch in plan.batches(step) for row in batch]
    assert sorted(rows) == list(range(500))
    for step in range(plan.steps):
        for batch in feed.load(plan, step, ALONE):
            assert max(batch.source.numel(), batch.target[:, 1:].numel()) <= 256
    shown = [plan.shown(step) for step in range(plan.steps + 1)]
    assert shown[0] == 0 and shown[-1] == feed.pairs[1].lengths.sum() + 500
    tokens = [sum(b.tokens for b in feed.load(plan, step, ALONE)) for step in range(plan.steps)]
    assert np.diff(shown).tolist() == tokens


def test_plan_is_pure_and_its_shapes_are_those_of_every_epoch():
    feed = make_feed()
    again, same, other = make_feed().plan(5, 2), feed.plan(5, 2), feed.plan(5, 3)
    assert np.array_equal(again.rows, same.rows) and np.array_equal(again.starts, same.starts)
    assert not np.array_equal(same.rows, other.rows)
    assert sorted(np.diff(same.starts)) == sorted(np.diff(other.starts)) and same.steps == other.steps


def test_sentences_of_similar_lengths_are_together():
    feed = make_feed(batch=1024, n=3000)
    plan = feed.plan(0, 0)
    places = sum(b.target[:, 1:].numel() for s in range(plan.steps) for b in feed.load(plan, s, ALONE))
    assert plan.shown(plan.steps) / places > 0.9


def test_cut_gives_a_long_sentence_a_batch_of_its_own():
    assert cut(np.array([1, 1, 50, 1]), np.array([1, 1, 1, 1]), 10).tolist() == [0, 2, 3, 4]


def test_batch_is_marked_and_padded():
    source = Sentences(np.array([7, 8, 9], np.uint16), np.array([0, 2, 3]))
    batch = make_batch(source, source, np.array([0, 1]))
    assert batch.source.tolist() == [[7, 8, END], [9, END, 0]]
    assert batch.target.tolist() == [[BEGIN, 7, 8, END], [BEGIN, 9, END, 0]]
    assert batch.tokens == 5


class OneOf(Ranks):
    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size, self.weight = rank, size, 0.0

    def weigh(self, weight: torch.Tensor) -> None:
        self.weight = float(weight)


def test_ranks_share_each_batch_and_tell_their_tokens():
    feed = make_feed(2)
    plan, ranks = feed.plan(0, 0), [OneOf(rank, 3) for rank in range(3)]
    parts = [feed.load(plan, 0, rank) for rank in ranks]
    rows = sorted(map(tuple, (row for part in parts for b in part for row in trimmed(b.target))))
    whole = sorted(map(tuple, (row for b in feed.load(plan, 0, ALONE) for row in trimmed(b.target))))
    assert rows == whole
    assert sum(rank.weight for rank in ranks) == plan.shown(1)


def trimmed(target: torch.Tensor) -> list[list[int]]:
    return [[piece for piece in row if piece] for row in target.tolist()]


def test_too_many_ranks_or_batches_a_step_are_refused():
    with pytest.raises(InputError, match="too few for 400 processes"):
        make_feed().check(400)
    recipe = load_recipe("numbers-transformer-tiny", ["drop_last=true", "batch=100000"])
    feed = TextFeed(recipe, 9, (random_sentences(50, 1), random_sentences(50, 2)), np.arange(50), CPU)
    with pytest.raises(InputError, match="`accumulate` = 9 is more than the 1 batches"):
        feed.check(1)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


def gradient_step(task: Translation, batches: list) -> torch.Tensor:
    torch.manual_seed(0)
    model = task.build().double()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    train_step(model, optimizer, task, batches, Totals.zero(0, CPU.device), CPU)
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_accumulated_gradient_is_that_of_the_mean_over_all_tokens(root):
    task = Translation(load_recipe("numbers-transformer-tiny", ["label_smoothing=0.1"]), root)
    pairs, rows = task.encoded.splits["train"], np.arange(40)
    whole = gradient_step(task, [make_batch(*pairs, rows)])
    for parts in (2, 7):
        made = [make_batch(*pairs, part) for part in np.array_split(rows, parts)]
        torch.testing.assert_close(gradient_step(task, made), whole, rtol=1e-6, atol=1e-6)
