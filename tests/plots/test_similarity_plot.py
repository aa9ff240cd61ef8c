"""The figure of similarity: what is drawn, and that it fits."""

from __future__ import annotations

import numpy as np
import pytest

from ralr_viz.plots.similarity import draw_similarity, similarity_note, similarity_table
from ralr_viz.results.bundle import load_result, save_result
from ralr_viz.results.similarity import SimilarityResult


def result(names=("baseline → RALR", "null: baseline"), layers=9, batches=5, **changes) -> SimilarityResult:
    rng, m = np.random.default_rng(0), len(names)
    values = {
        "models": tuple(names),
        "states": (("baseline, epoch 20", "RALR, epoch 20"),) * m,
        "null": (False,) * (m - 1) + (m > 1,),
        "layers": tuple(f"layer{1 + i // 3}.{i % 3}" for i in range(layers)),
        "cross": rng.uniform(0.1, 0.9, (m, batches, layers, layers)),
        "first_self": np.ones((m, batches, layers)),
        "second_self": np.ones((m, batches, layers)),
        "minibatch": 10,
        "indices": np.arange(10 * batches),
        "dataset": "cifar10",
        "split": "test",
    }
    return SimilarityResult(**(values | changes))


def test_draw_similarity_has_one_scale_for_all_maps():
    shown = result()
    figure = draw_similarity(shown)
    images = [image for panel in figure.axes for image in panel.images]
    for image, cka in zip(images, shown.cka, strict=True):
        np.testing.assert_array_equal(image.get_array(), cka)
        assert image.get_clim() == (0, 1)
        assert image.get_cmap().name == "viridis"
    lines = {str(line.get_gid()): line for panel in figure.axes for line in panel.lines}
    np.testing.assert_array_equal(lines["diagonal:null: baseline"].get_ydata(), 1 - shown.diagonal[1])
    assert lines["diagonal:null: baseline"].get_linestyle() == "--"
    assert lines["diagonal:baseline → RALR"].get_linestyle() == "-"


def test_similarity_note_says_whether_there_is_a_null():
    assert "below the null" in similarity_note(result())
    assert "No null pair" in similarity_note(result(("a",), null=(False,)))
    assert "50 cifar10 test images" in similarity_note(result())


@pytest.mark.parametrize(("name", "column"), [("icml", "full"), ("neurips", "full"), ("ieee", "half")])
@pytest.mark.parametrize(("count", "layers"), [(1, 3), (4, 54)])
def test_draw_similarity_keeps_to_the_page(check_layout, read_note, name, column, count, layers):
    names = tuple(f"a-very-long-recipe-name RALR → scaled, seed {i}" for i in range(count))
    figure = check_layout(draw_similarity, result(names, layers), name, column=column)
    assert figure.legends and read_note(figure)


def test_similarity_table_holds_the_drawn_numbers():
    shown = result()
    rows = similarity_table(shown)
    assert len(rows) == 2 * 9 * 9
    low, _ = shown.diagonal_interval()
    row = rows[81 + 9 * 4 + 4]
    assert (row["pair"], row["first_layer"], row["second_layer"]) == (
        "null: baseline",
        "layer2.1",
        "layer2.1",
    )
    assert (row["cka"], row["low"]) == (shown.cka[1, 4, 4], low[1, 4])
    assert np.isnan(rows[1]["low"])


def test_similarity_result_survives_saving_and_refuses_other_shapes(tmp_path):
    shown = result()
    assert load_result(save_result(shown, tmp_path / "r")) == shown
    with pytest.raises(ValueError, match="first_self"):
        result(first_self=np.ones((2, 5, 3)))
    with pytest.raises(ValueError, match="unique"):
        result(("a", "a"))
    with pytest.raises(ValueError, match="indices"):
        result(minibatch=7)


def test_similarity_measures_have_common_draws_and_no_value_of_a_dead_layer():
    cross = np.full((2, 5, 2, 2), 0.5) + np.arange(5)[None, :, None, None] / 100
    selves = np.ones((2, 5, 2))
    selves[1, :, 1] = 0
    shown = result(("a", "b"), 2, cross=cross, first_self=selves, second_self=selves)
    first, last = shown.measures()[2], shown.measures()[1]
    assert first.difference(0, 1) == (0, 0, 0)
    assert first.values[0] == pytest.approx(0.52)
    assert np.isnan(last.values[1])
