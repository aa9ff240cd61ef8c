"""The figure of distances: what is drawn, and that it fits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from matplotlib.lines import Line2D

from ralr_viz.plots.distance import distance_note, distance_table, draw_distance
from ralr_viz.results.bundle import load_result, save_result
from ralr_viz.results.distance import DistanceResult


def result(names=("baseline → RALR", "null: baseline"), layers=9, n=60) -> DistanceResult:
    rng, m = np.random.default_rng(0), len(names)
    return DistanceResult(
        models=tuple(names),
        states=(("baseline, epoch 20", "RALR, epoch 20"),) * m,
        null=(False,) * (m - 1) + (m > 1,),
        layers=tuple(f"layer{1 + i // 3}.{i % 3}" for i in range(layers)),
        norms=np.full((m, 2), 10.0),
        distances=np.arange(1.0, m + 1),
        angles=10.0 * np.arange(1, m + 1),
        layer_norms=np.full((m, 2, layers), 2.0),
        layer_distances=rng.uniform(0.1, 1, (m, layers)),
        layer_angles=rng.uniform(5, 60, (m, layers)),
        indices=np.arange(n),
        labels=rng.integers(0, 3, n),
        predicted=rng.integers(0, 3, (m, 2, n)),
        divergence=rng.uniform(0, 0.2, (m, n)),
        dataset="cifar10",
        split="test",
        device="cpu",
        precision="fp32",
    )


def test_draw_distance_shows_measures_and_layers_of_every_pair(find, read_note):
    shown = result()
    figure = draw_distance(shown)
    for quantity, values in (("relative", shown.layer_relative), ("angle", shown.layer_angles)):
        drawn = find(figure, f"{quantity}:*", Line2D)
        np.testing.assert_allclose([line.get_ydata() for line in drawn], values)
        assert [line.get_linestyle() for line in drawn] == ["-", "--"]
    measures = {m.name: m.values for m in shown.measures()}
    drawn = [line.get_xdata()[0] for line in find(figure.axes[0], "value:null*", Line2D)]
    wanted = ("disagreement", "error_agreement", "expected_agreement")
    assert drawn == [measures[name][1] for name in wanted]
    assert [line.get_xdata()[0] for line in find(figure.axes[1], "value:*", Line2D)] == list(
        measures["divergence"]
    )
    note = read_note(figure)
    assert "60 cifar10 test images" in note and "BatchNorm in eval mode, cpu, fp32" in note
    assert "beyond the null" in note
    assert "No null pair" in distance_note(dataclasses.replace(shown, null=(False, False)))


@pytest.mark.parametrize(("name", "column"), [("icml", "full"), ("neurips", "full"), ("ieee", "half")])
@pytest.mark.parametrize(("count", "layers"), [(1, 3), (4, 54)])
def test_draw_distance_keeps_to_the_page(check_layout, read_note, name, column, count, layers):
    names = tuple(f"a-very-long-recipe-name RALR → scaled, seed {i}" for i in range(count))
    figure = check_layout(draw_distance, result(names, layers), name, column=column)
    assert figure.legends and read_note(figure)


def test_distance_table_holds_the_drawn_numbers():
    shown = result()
    rows = distance_table(shown)
    by_place = {(row["pair"], row["layer"], row["quantity"]): row for row in rows}
    assert by_place["null: baseline", "layer1.2", "angle"]["value"] == shown.layer_angles[1, 2]
    low, high = (by_place["baseline → RALR", None, "divergence"][end] for end in ("low", "high"))
    assert low < shown.divergence[0].mean() < high
    assert len({tuple(row) for row in rows}) == 1


def test_distance_result_comes_back_from_disk_and_is_drawn_alike(tmp_path, check_same_bytes):
    shown = result()
    assert load_result(save_result(shown, tmp_path / "distance")) == shown
    check_same_bytes(draw_distance, distance_table, result)
