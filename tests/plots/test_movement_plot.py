"""The figure of movement: what is drawn, and that it fits."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.lines import Line2D

from ralr_viz.plots.movement import draw_movement, movement_table
from ralr_viz.results.movement import MovementResult


def result(methods=("baseline", "ralr", "scaled"), epochs=20, layers=20, n=300, **changes) -> MovementResult:
    rng, m = np.random.default_rng(0), len(methods)
    steps = rng.uniform(0.1, 20, (m, epochs))
    values = {
        "models": tuple(f"{method} ({i})" for i, method in enumerate(methods)),
        "methods": tuple(methods),
        "epoch": np.arange(1, epochs + 1),
        "step_length": steps,
        "distance": steps.cumsum(axis=1) / 2,
        "weight_norm": np.full((m, epochs), 40.0),
        "lr": np.full((m, epochs), 0.1),
        "angle": np.full((m, epochs), np.nan),
        "late_after": np.full(m, 13),
        "last_epoch": np.full(m, epochs),
        "late_net": np.full(m, 2.0),
        "late_norm": np.full(m, 40.0),
        "layers": tuple(f"layer{i // 6}.{i % 6}.conv" for i in range(layers)),
        "layer_net": rng.uniform(1, 2, (m, layers)),
        "layer_norm": np.full((m, layers), 20.0),
        "filter_angle": rng.uniform(0, 5, (m, 2 * layers)).astype(np.float32),
        "filter_layer": np.repeat(np.arange(layers), 2),
        "changed": (rng.uniform(size=(m, n)) < 0.1).astype(np.int8),
        "dataset": "cifar10",
        "split": "test",
    }
    return MovementResult(**(values | changes))


def test_draw_movement_shows_raw_path_beside_path_per_lr(find, read_note):
    shown = result()
    figure = draw_movement(shown)
    measures = {m.name: m for m in shown.measures()}
    for name in ("late_path", "late_path_per_lr", "churn"):
        dots = find(figure, f"{name}:*", Line2D)
        np.testing.assert_allclose([d.get_ydata()[0] for d in dots], measures[name].values)
    raw, per_lr = (find(figure, f"{n}:*", Line2D)[0].axes for n in ("late_path", "late_path_per_lr"))
    assert figure.axes.index(per_lr) == figure.axes.index(raw) + 1
    low, high = find(figure, "interval:churn:*", Line2D)[1].get_ydata()
    assert (low, high) == measures["churn"].interval(1)[1:]
    note = read_note(figure)
    assert "Late: after epoch 13 of 20" in note and "300 cifar10 test images" in note
    assert "by construction" in note and "lower bound" in note


NEW = {
    "angular_path": np.arange(120, dtype=np.float32).reshape(3, 40),
    "normalised": np.arange(20) < 19,
    "late_steps": np.array([7, 7, 7]),
    "function_change": np.random.default_rng(1).uniform(size=(3, 300)).astype(np.float32),
}


def test_draw_movement_shows_what_no_rescaling_moves_and_says_what_path_per_lr_cannot(find, read_note):
    shown = result(**NEW)
    figure = draw_movement(shown)
    measures = {m.name: m for m in shown.measures()}
    for name in ("late_angular_path", "function_change", "late_path_per_lr"):
        dots = find(figure, f"{name}:*", Line2D)
        np.testing.assert_allclose([d.get_ydata()[0] for d in dots], measures[name].values)
    assert not find(figure, "late_path:*", Line2D) and not find(figure, "churn:*", Line2D)
    note = read_note(figure)
    assert "the 19 of 20 layers that a normalisation follows" in note and "`matched`" in note
    assert "cannot tell how much the network changes" in note and "two states only" not in note
    one = draw_movement(result(**NEW | {"late_steps": np.array([1, 1, 1])}))
    assert "the angle between them (keep_every = 1 keeps all)" in read_note(one)


def test_draw_movement_leaves_out_what_is_not_known(find):
    bare = result(layers=0, n=0, late_net=np.full(3, np.nan))
    figure = draw_movement(bare)
    assert len(figure.axes) == 4 and all(panel.lines for panel in figure.axes)
    assert find(figure, "path_net_ratio:*", Line2D) and not find(figure, "layer:*", Line2D)


def test_draw_movement_joins_seeds_of_a_method_by_their_mean(find):
    shown = result(("baseline", "ralr") * 3)
    figure = draw_movement(shown)
    mean = find(figure, "step_length:mean of ralr*", Line2D)[0].get_ydata()
    np.testing.assert_allclose(mean, shown.step_length[1::2].mean(axis=0))
    bar = find(figure, "late_path_per_lr:mean of baseline*", Line2D)[0].get_ydata()
    np.testing.assert_allclose(
        bar, next(m for m in shown.measures() if m.name == "late_path_per_lr").values[::2].mean()
    )
    assert "RALR (mean of 3 runs)" in {t.get_text() for t in figure.legends[0].get_texts()}


@pytest.mark.parametrize(("name", "column"), [("icml", "full"), ("neurips", "full"), ("ieee", "half")])
@pytest.mark.parametrize("methods", [("baseline",), tuple(f"a-long-recipe-name-{i} ralr" for i in range(5))])
def test_draw_movement_keeps_to_the_page(check_layout, find, name, column, methods):
    m = len(methods)
    more = {n: np.resize(v, (m, *v.shape[1:])) if len(v) == 3 else v for n, v in NEW.items()} if m > 1 else {}
    figure = check_layout(draw_movement, result(methods, **more), name, column=column)
    (note,) = (text.get_window_extent() for text in find(figure, "note"))
    assert figure.legends and all(note.y1 <= panel.get_tightbbox().y0 for panel in figure.axes)


def test_draw_movement_leaves_no_trace_and_takes_hostile_names():
    before = mpl.rcParams.copy()
    draw_movement(result(("$\\frac{", "x" * 300, "_hidden")))
    assert mpl.rcParams.copy() == before


def test_movement_table_holds_the_drawn_numbers():
    shown = result()
    rows = movement_table(shown)
    found = {(r["quantity"], r["model"], r["epoch"], r["layer"]): r for r in rows}
    assert len(found) == len(rows)
    assert found["step_length", "ralr (1)", 7, None]["value"] == shown.step_length[1, 6]
    layer = found["relative_change_percent", "scaled (2)", None, shown.layers[3]]
    assert layer["value"] == shown.relative_change[2, 3]
    churn = found["churn", "baseline (0)", None, None]
    assert churn["low"] < churn["value"] < churn["high"]


def test_movement_result_refuses_other_shapes():
    with pytest.raises(ValueError, match="layer_net"):
        result(layer_net=np.zeros((3, 1)))
    with pytest.raises(ValueError, match="unique"):
        result(models=("a", "a", "b"))
