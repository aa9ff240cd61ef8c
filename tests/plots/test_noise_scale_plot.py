"""Noise scales drawn: artists, text and places, not pixels."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from ralr_viz.plots.noise_scale import draw_noise_scale, noise_scale_table
from ralr_viz.plots.style import style
from ralr_viz.results.noise_scale import NoiseScaleResult

LONG = "vgg_without_any_pooling-and-a-very-long-name, seed 0, epoch 300"
STYLES = ("icml", "neurips", "ieee")


def make(m: int = 2, *, signal: float = 0.5, **changes) -> NoiseScaleResult:
    """Networks of |G|² around ``signal`` and tr Σ around 720, in ten draws of 2,048."""
    rng = np.random.default_rng(0)
    squares = signal + 0.05 * rng.standard_normal((m, 10))
    traces = 720 + 40 * rng.standard_normal((m, 10))
    values = {
        "models": ("baseline", "RALR", "scaled", "fourth")[:m],
        "small_squares": squares + traces / 32,
        "big_squares": squares + traces / 2048,
        "loss": np.full(m, 0.3),
        "small": 32,
        "big": 2048,
        "recipe_batch": (128,) * m,
        "num_images": 20480,
        "seed": 0,
        "resamples": 300,
        "dataset": "cifar10",
        "split": "train",
        "augmentation": "mirrored at random as in training, once",
    }
    return NoiseScaleResult(**(values | changes))


CASES = {
    "two": make(),
    "one": make(1, recipe_batch=(None,)),
    "three": make(3, recipe_batch=(128, 64, None)),
    "four": make(4),
    "long": make(models=(LONG, "$, seed 0$")),
    "open": make(signal=0.02),
    "below 0": make(signal=-0.1),
    "nothing": make(small_squares=np.zeros((2, 10)), big_squares=np.zeros((2, 10)), recipe_batch=(None, None)),
    "no noise": make(small_squares=np.ones((2, 10)), big_squares=np.ones((2, 10))),
}  # fmt: skip


@pytest.mark.parametrize("name", STYLES)
@pytest.mark.parametrize("case", CASES)
def test_draw_noise_scale_overlaps_no_text_and_stays_on_the_page(check_layout, case: str, name: str) -> None:
    figure = check_layout(draw_noise_scale, CASES[case], name)
    assert all(axes.get_window_extent().height > 0.6 * figure.dpi for axes in figure.axes)


def test_draw_noise_scale_shows_values_intervals_draws_and_the_batch_of_training(render, find) -> None:
    result = make(3, recipe_batch=(128, 64, None))
    figure = render(draw_noise_scale, result)
    for panel, measure in zip(figure.axes, result.measures(), strict=False):
        for i, model in enumerate(result.models):
            value, low, high = measure.interval(i)
            assert find(panel, f"value:{model}")[0].get_ydata() == pytest.approx([value])
            assert find(panel, f"interval:{model}")[0].get_ydata() == pytest.approx([low, high])
    assert find(figure.axes[1], "draws:RALR")[0].get_ydata() == pytest.approx(result.squares[1])
    assert find(figure.axes[2], "draws:RALR")[0].get_ydata() == pytest.approx(result.traces[1])
    assert [line.get_ydata()[0] for line in find(figure.axes[0], "batch")] == [64, 128]
    assert figure.axes[0].get_yscale() == "log" and figure.axes[0].get_ylim()[0] < 64
    assert "batch in training: 64, 128" in [t.get_text() for t in figure.legends[0].get_texts()]


def test_draw_noise_scale_has_an_arrow_and_no_mark_where_there_is_no_upper_end(
    render, find, read_note
) -> None:
    result = make(signal=0.02)
    _, low, high = result.measures()[0].interval(0)
    assert np.isinf(high)
    figure = render(draw_noise_scale, result)
    panel = figure.axes[0]
    assert find(panel, "open:baseline") and not find(panel, "value:*") and not find(panel, "interval:*")
    assert find(panel, "least:baseline")[0].get_ydata() == pytest.approx([low])
    assert "Arrow: (b) cannot be told from 0" in read_note(figure)
    assert panel.get_ylim()[1] > 2 * low  # room to be an arrow
    assert "Arrow" not in read_note(render(draw_noise_scale, make()))


def test_draw_noise_scale_says_none_where_there_is_not_even_a_lower_end(render, find, read_note) -> None:
    figure = render(draw_noise_scale, CASES["below 0"])
    panel = figure.axes[0]
    assert [t.get_text() for t in find(panel, "none:*")] == ["none", "none"]
    assert not find(panel, "open:*") and not find(panel, "value:*")
    note = read_note(figure)
    assert "None: (b) is below 0" in note and "Arrow" not in note


def test_draw_noise_scale_draws_into_the_axes_of_the_caller(find) -> None:
    with style("icml"):
        figure = Figure()
        axes = figure.subplots(1, 2)
        assert draw_noise_scale(make(), axes[1]) is figure
    assert len(find(axes[1], "value:*")) == 2 and not axes[0].lines and not figure.legends
    assert axes[1].get_legend_handles_labels()[1] == ["baseline", "RALR"]


def test_draw_noise_scale_note_says_what_was_measured(render, read_note) -> None:
    said = read_note(render(draw_noise_scale, make()))
    for part in (
        "10 disjoint draws of 2,048 of 20,480 cifar10 training images, mirrored at random as in training, once",
        "each of 64 batches of 32; cross-entropy without weight decay, BatchNorm's running statistics",
        "95 % t intervals over draws, of (a) by the jackknife",
        "Loss: 0.300, 0.300",
    ):
        assert part in said, said


def test_noise_scale_table_has_every_number() -> None:
    result = make()
    rows = noise_scale_table(result)
    assert len(rows) == 2 * (5 + 2 * 10) and len({tuple(row) for row in rows}) == 1
    found = {row["measure"]: row for row in rows if row["model"] == "RALR" and row["draw"] is None}
    assert [found["noise_scale"][k] for k in ("value", "low", "high")] == pytest.approx(
        result.measures()[0].interval(1)
    )
    draws = [r["value"] for r in rows if r["measure"] == "gradient_square" and r["model"] == "RALR"][1:]
    assert draws == pytest.approx(result.squares[1])
    (open_end,) = {row["high"] for row in noise_scale_table(make(1, signal=0.02))[:1]}
    assert open_end is None
