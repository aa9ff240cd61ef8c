"""BLEU of sums is sacreBLEU's; groups, measures and changed sentences follow from what is kept."""

from __future__ import annotations

import numpy as np
import pytest

from ralr_viz.plots.bleu import bleu_table, draw_bleu
from ralr_viz.results.bleu import BleuResult, bleu_of
from ralr_viz.results.bundle import load_result, save_result


def make(seed: int = 0, n: int = 60, **more) -> BleuResult:
    rng = np.random.default_rng(seed)
    totals = rng.integers(4, 12, (2, n, 1)) - np.arange(4)
    right = (totals * rng.uniform(0.3, 1, (2, n, 1))).astype(np.int64)
    lengths = np.stack([totals[:, :, 0], np.broadcast_to(totals[:1, :, 0], (2, n))], 2)
    given = {
        "models": ("baseline", "RALR"),
        "counts": np.concatenate([lengths, right, totals], 2),
        "chrf": rng.uniform(30, 70, (2, n)),
        "lengths": rng.integers(3, 12, n),
        "rows": np.arange(n),
        "starts": np.array([0, 6, 9]),
        "signature": "nrefs:1",
        "resamples": 50,
    }
    return BleuResult(**given | more)


def test_groups_hold_every_sentence_once_and_their_names_its_length():
    result = make()
    assert result.sizes.sum() == 60
    for group, length in zip(result.groups, result.lengths, strict=True):
        low, high = ((3, 5), (6, 8), (9, 99))[group]
        assert low <= length <= high
    assert [result.group_name(i) for i in range(3)] == ["3–5", "6–8", "9 or more"]


def test_measures_are_bleu_of_the_sums_with_draws_that_networks_share():
    result = make()
    found = {measure.name: measure for measure in result.measures()}
    assert found["bleu"].values == pytest.approx(bleu_of(result.counts.sum(1)))
    inside = result.groups == 1
    assert found["bleu_2"].values == pytest.approx(bleu_of(result.counts[:, inside].sum(1)))
    twins = make(counts=np.repeat(result.counts[:1], 2, axis=0))
    assert all((m.draws[0] == m.draws[1]).all() for m in twins.measures() if m.name.startswith("bleu"))
    low, value, high = (found["bleu"].interval(0)[i] for i in (1, 0, 2))
    assert low < value < high


def test_fixed_and_broken_are_those_that_changed_by_ten_points_the_most_first():
    chrf = np.array([[50.0, 50, 50, 50, 50], [61, 59, 80, 39, 41]])
    n = 5
    result = make(n=n, chrf=chrf, lengths=np.full(n, 7), starts=np.array([0]))
    assert result.fixed(1).tolist() == [2, 0] and result.broken(1).tolist() == [3]


def test_a_result_cites_what_is_kept_and_is_saved_and_drawn(tmp_path):
    result = make(cited=(4,), texts=(("a dog", "ein Hund", "ein Kater", "ein Hund"),))
    (line,) = result.cite(np.array([4, 5]), 1)
    assert line == "a dog | ein Hund | baseline: ein [Kater] | RALR: ein [Hund]"
    save_result(result, tmp_path / "bleu")
    assert load_result(tmp_path / "bleu") == result
    figure = draw_bleu(result)
    assert [len(axes.get_xticks()) for axes in figure.axes] == [4, 4]
    rows = bleu_table(result)
    assert len([row for row in rows if row["measure"] == "fixed"]) == len(result.fixed(1))
    assert {len(row) for row in rows} == {len(rows[0])}
    alone = make(models=("a",), counts=result.counts[:1], chrf=result.chrf[:1])
    assert len(draw_bleu(alone).axes) == 1 and len(alone.describe()) == 6


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"starts": np.array([1, 3])}, "must ascend from 0"),
        ({"cited": (1,), "texts": (("a", "b"),)}, "a translation by each network"),
        ({"cited": (60,), "texts": (("a",) * 4,)}, "a place on axis sentences"),
    ],
)
def test_a_result_refuses_what_does_not_fit(given, message):
    with pytest.raises(ValueError, match=message):
        make(**given)
