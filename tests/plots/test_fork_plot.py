"""The fork's figure: its artists, not its pixels."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ralr_viz.plots.fork import draw_fork, factor_looks, fork_note, fork_table
from ralr_viz.plots.style import save_figure, style
from ralr_viz.results.fork import CURVES, ForkResult

NAN = np.nan


@pytest.fixture(autouse=True)
def in_style() -> Iterator[None]:
    with style():
        yield


def make(
    factors: tuple[float, ...] = (1, 2, 3),
    repeats: int = 3,
    k: int = 2,
    *,
    recorded: bool = True,
    decays: bool = True,
    probes: bool = True,
    **changes: Any,
) -> ForkResult:
    rng = np.random.default_rng(0)
    branches = [(f, r) for r in range(repeats) for f in factors] + [(NAN, 0)] * recorded
    base = np.where(np.arange(2 * k) < k, 0.1, 0.01 if decays else 0.1)
    curves = {name: rng.uniform(0.5, 1, (len(branches), 2 * k + 1)) for name in CURVES}
    for i, (factor, _) in enumerate(branches):
        lr = base * np.where(np.arange(2 * k) < k, 1.5 if np.isnan(factor) else factor, 1)
        curves["lr"][i] = [NAN, *lr]
        curves["sum_lr"][i] = [0, *np.cumsum(lr)]
    shape = (len(branches), 2 if probes else 0)
    values: dict[str, Any] = {
        "run": "ralr, seed 0, epoch 3",
        "start_epoch": 3,
        "amplified_epochs": k,
        "factor": np.array([f for f, _ in branches], float),
        "repeat": np.array([r for _, r in branches]),
        "status": ("finished",) * len(branches),
        "base_lr": base,
        **curves,
        "sharpness": rng.uniform(0.1, 0.3, shape),
        "barrier": rng.uniform(0, 0.1, shape),
        "start_sharpness": 0.2 if probes else NAN,
        "probe": ("Sharpness: how it was measured.",) if probes else (),
        "images": {"train": 2000, "test": 10000, "val": 2000},
        "dataset": "cifar10",
        "reproduction": "reproduced",
        "reproduction_note": "every number of epochs 4 to 7: equal to the last bit",
        "notes": ("A note.",),
    }
    return ForkResult(**(values | changes))


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_draw_fork_draws_each_repeat_and_their_mean(find) -> None:
    result = make()
    panel = draw_fork(result).axes[0]
    assert panel.get_ylabel() == "validation loss (nats)"
    for i, factor in enumerate(result.factors):
        (mean,) = find(panel, f"val_loss:{factor:g}", Line2D)
        np.testing.assert_allclose(mean.get_ydata(), result.outcome("val_loss")[i].mean(axis=0))
        for repeat in range(3):
            (one,) = find(panel, f"val_loss:{factor:g}:{repeat}*", Line2D)
            np.testing.assert_array_equal(one.get_ydata(), result.outcome("val_loss")[i, repeat])
            assert one.get_linewidth() < mean.get_linewidth()
    (crosses,) = find(panel, "val_loss:recorded*", Line2D)
    np.testing.assert_array_equal(crosses.get_ydata(), result.val_loss[result.row(None), 1:])


def test_draw_fork_shades_the_amplified_epochs_and_marks_decays(find) -> None:
    figure = draw_fork(make())
    for panel in figure.axes[:4]:
        (shade,) = [patch for patch in panel.patches if patch.get_gid() == "amplified"]
        assert (shade.get_x(), shade.get_width()) == (0, 2)
        (decay,) = find(panel, "decay*", Line2D)
        assert list(decay.get_xdata()) == [2, 2]
    assert {"amplified epochs", "decay of the base LR", "each repeat"} <= set(labels(figure))
    without = draw_fork(make(decays=False, repeats=1, recorded=False))
    assert not find(without.axes[0], "decay*", Line2D)
    assert not {"decay of the base LR", "each repeat", "the run's own factors"} & set(labels(without))


def test_draw_fork_shows_the_common_sum_of_lr(find) -> None:
    result = make()
    panel = draw_fork(result).axes[4]
    assert panel.get_xlabel() == "Σ LR since the fork"
    (common,) = find(panel, "common*", Line2D)
    assert common.get_xdata()[0] == pytest.approx(0.22)  # factor 1: 2·0.1 + 2·0.01
    (three,) = find(panel, "sum_lr:3", Line2D)
    np.testing.assert_allclose(three.get_xdata(), [0, 0.3, 0.6, 0.61, 0.62])
    (end,) = find(panel, "sum_lr:end of 3*", Line2D)
    assert end.get_xdata()[0] == pytest.approx(0.6)


def test_draw_fork_shows_paired_differences_with_intervals(find) -> None:
    result = make()
    panel = draw_fork(result).axes[5]
    rows = {(r["at"], r["factor"]): r for r in result.summary() if r["quantity"] == "val_loss"}
    for at in ("after the amplified epochs", "at the end", "at equal sum of LR"):
        for factor in (2.0, 3.0):
            gid = f"{factor:g}:{at}"
            (mark,) = find(panel, f"difference:{gid}*", Line2D)
            (interval,) = find(panel, f"interval difference:{gid}*", Line2D)
            row = rows[at, factor]
            assert mark.get_ydata()[0] == pytest.approx(row["difference"])
            np.testing.assert_allclose(interval.get_ydata(), [row["low"], row["high"]])
            (each,) = find(panel, f"each difference:{gid}*", Line2D)
            assert len(each.get_ydata()) == 3
    assert not find(draw_fork(make(repeats=1)).axes[5], "interval*", Line2D)


def test_draw_fork_draws_probes_where_there_are_any(find) -> None:
    result = make()
    figure = draw_fork(result)
    assert [p.get_ylabel() for p in figure.axes[6:8]] == ["sharpness (nats)", "barrier (nats)"]
    (one,) = find(figure.axes[6], "sharpness:1", Line2D)
    assert one.get_xdata().tolist() == [0, 2, 4] and one.get_ydata()[0] == pytest.approx(0.2)
    (barrier,) = find(figure.axes[7], "barrier:1", Line2D)
    assert barrier.get_ydata()[0] == 0
    assert len(draw_fork(make(probes=False)).axes) == 6


def test_factors_differ_in_line_style_and_darken() -> None:
    looks = factor_looks((0.5, 1.0, 1.5, 2.0, 3.0))
    assert looks[1.0].linestyle == "-"
    assert len({str(look.linestyle) for look in looks.values()}) == 5
    light = [sum(mpl.colors.to_rgb(look.color)) for look in looks.values()]
    assert light == sorted(light)


def test_note_says_what_cannot_be_concluded(read_note) -> None:
    note = read_note(draw_fork(make()))
    for fragment in (
        "2 epochs at the scheduled LR times each factor",
        "decayed to 0.01 after 2 epochs",
        "paired 95 % t over the repeats",
        "larger steps cannot be told from fewer steps",
        "would have had more epochs",
        "reproduced (every number of epochs 4 to 7",
        "One checkpoint of one training",
        "2,000 train, 10,000 test, 2,000 val",
        "0.22, after 4 (×1), 1.1 (×2), 0.733 (×3) epochs",
        "A note. ",
    ):
        assert fragment in note
    assert "no interval" in fork_note(make(repeats=1))


def test_table_holds_the_drawn_numbers() -> None:
    result = make()
    rows = fork_table(result)
    curve = [r for r in rows if r["quantity"] == "val_loss" and r["factor"] == 3 and r["repeat"] == 2]
    assert [r["value"] for r in curve] == result.outcome("val_loss")[2, 2].tolist()
    means = [r for r in rows if r["quantity"] == "val_loss minus factor 1" and r["repeat"] is None]
    assert len(means) == 6 and all(r["low"] < r["value"] < r["high"] for r in means)
    assert sum(r["quantity"] == "barrier" for r in rows) == result.barrier.size
    assert any(r["factor"] is None and r["quantity"] == "val_acc" for r in rows)  # the recorded branch


@pytest.mark.parametrize(("name", "column"), [("icml", "full"), ("ieee", "half"), ("neurips", "half")])
def test_draw_fork_has_no_text_over_data_or_off_the_page(check_layout, name: str, column: Any) -> None:
    result = make((0.5, 1, 1.5, 2, 3))
    check_layout(draw_fork, result, name, column=column)


def test_draw_fork_of_one_factor_and_a_diverged_one(tmp_path) -> None:
    one = make((1,), 1, 1, probes=False, recorded=False)
    assert draw_fork(one).axes[5].get_ylabel() == "epoch step ‖Δw‖"
    loss = make().val_loss.copy()
    loss[2, 1:] = NAN
    diverged = make(val_loss=loss)
    save_figure(draw_fork(diverged), tmp_path / "f", fork_table(diverged), {})


@pytest.mark.slow
def test_draw_fork_is_byte_stable_and_leaves_no_trace(check_same_bytes) -> None:
    check_same_bytes(draw_fork, fork_table, make)


def test_fork_breaks_the_long_name_of_a_score_beside_its_panel():
    result = dataclasses.replace(make(), score_name="mAP@.5 (VOC07)")
    with style():
        figure = draw_fork(result)
    assert "\n" in figure.axes[1].get_ylabel() and "\n" not in figure.axes[0].get_ylabel()


def annealed(
    factors: tuple[float, ...] = (1, 2, 3), repeats: int = 2, states: int = 3, **changes: Any
) -> ForkResult:
    """K = 1, then 2 and 2 epochs at low rates, of several seeds."""
    rng = np.random.default_rng(1)
    branches = [(f, r, s) for s in range(states) for r in range(repeats) for f in factors]
    base = np.array([0.1, 0.01, 0.01, 0.001, 0.001])
    one = make(factors, 1, 1, recorded=False)
    shared = {name: rng.uniform(0.5, 1, (len(branches), 6)) for name in CURVES}
    given: dict[str, Any] = {
        **shared,
        "run": "baseline, seeds 0, 1, 2, epoch 3",
        "amplified_epochs": 1,
        "factor": np.array([f for f, _, _ in branches], float),
        "repeat": np.array([r for _, r, _ in branches]),
        "state": np.array([s for _, _, s in branches]),
        "anneal": (2, 2),
        "status": ("finished",) * len(branches),
        "base_lr": base,
        "sharpness": rng.uniform(0.1, 0.3, (len(branches), 2)),
        "barrier": rng.uniform(0, 0.1, (len(branches), 2)),
        "child_barrier": rng.uniform(0, 0.1, len(branches)),
    }
    return dataclasses.replace(one, **(given | changes))


def test_draw_annealed_fork_shows_what_is_left_at_the_end(find, read_note, check_layout) -> None:
    result = annealed()
    figure = check_layout(draw_fork, result, "icml", column="full")
    names = [panel.get_ylabel().replace("\n", " ") for panel in figure.axes]
    assert names[0] == "training loss (nats)" and "child barrier (nats)" in names and len(names) == 9
    losses = figure.axes[names.index("Δ training loss (nats)")]
    children = figure.axes[names.index("child barrier (nats)")]
    for factor in (2, 3):
        (mark,) = find(losses, f"train_loss:{factor}", Line2D)
        expected = result.differences(result.outcome("train_loss")[..., -1])[result.factors.index(factor)]
        assert mark.get_ydata()[0] == pytest.approx(expected.mean())
        (dots,) = find(losses, f"each train_loss:{factor}", Line2D)
        np.testing.assert_allclose(dots.get_ydata(), expected)  # a dot for each seed
    assert not find(losses, "train_loss:1", Line2D)
    (order,) = find(children, "child_barrier:1", Line2D)
    assert order.get_ydata()[0] == pytest.approx(result.outcome("child_barrier")[0].mean())
    assert [t.get_text() for t in children.get_xticklabels()] == ["×1", "×2", "×3"]
    note = read_note(figure)
    for part in (
        "then all annealed for 2 and 2",
        "3 training seeds, each the mean of 2 data orders",
        "basin that SGD's noise",
    ):
        assert part in note
    assert (
        "Dashed" not in note
        and "at equal Σ LR" not in labels(figure)
        and "each seed and order" in labels(figure)
    )


def test_annealed_fork_table_has_the_drawn_numbers() -> None:
    result = annealed()
    rows = fork_table(result)
    found = [r for r in rows if r["quantity"] == "child_barrier" and r["repeat"] is None]
    assert [r["factor"] for r in found] == [1, 2, 3] and all(r["low"] < r["value"] < r["high"] for r in found)
    ends = [r for r in rows if r["quantity"] == "val_acc minus factor 1" and r["factor"] == 2]
    assert len(ends) == 4  # three seeds and their mean
    assert not any("equal sum" in r["at"] for r in rows)
