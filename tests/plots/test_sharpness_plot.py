"""Sharpness drawn: artists, text and places, not pixels."""

from __future__ import annotations

import numpy as np
import pytest

from ralr_viz.plots.sharpness import draw_sharpness, sharpness_table
from ralr_viz.results.sharpness import SharpnessResult
from ralr_viz.results.table_csv import write_table

LONG = "vgg_without_any_pooling-and-a-very-long-name, seed 0, epoch 300"
STYLES = ("icml", "neurips", "ieee")


def make(m: int = 2, worst: tuple[float, ...] = (0.005,), **changes) -> SharpnessResult:
    rng = np.random.default_rng(0)
    radii = np.array([0.1, 0.2, 0.4])
    values = {
        "models": ("baseline", "RALR", "scaled", "fourth")[:m],
        "radii": radii,
        "losses": 0.3 + (2 * radii**2)[:, None, None] * (0.7 + 0.6 * rng.random((m, 3, 8, 2))),
        "accuracies": 90 - 5 * rng.random((m, 3, 8, 2)),
        "centre_loss": np.full(m, 0.3),
        "centre_accuracy": np.full(m, 90.0),
        "given_loss": np.full(m, 0.31),
        "worst_radii": np.array(worst),
        "worst_losses": 0.4 + 0.1 * rng.random((m, len(worst), 2)),
        "worst_accuracies": np.full((m, len(worst)), 85.0),
        "worst_steps": 3,
        "batchnorm": "batch",
        "common": True,
        "num_images": 1000,
        "batch": 500,
        "seed": 0,
        "resamples": 300,
        "dataset": "cifar10",
        "split": "train",
        "augmentation": "cropped after padding by 4 and mirrored at random as in training, once",
    }
    return SharpnessResult(**(values | changes))


NORMALISED = {"normalised_centre": np.full(2, 0.4), "normalised_losses": 0.45 + np.zeros((2, 8, 2))}
CASES = {
    "normalised": make(**NORMALISED),
    "two": make(),
    "one": make(1),
    "three": make(3),
    "four": make(4),
    "no worst": make(2, ()),
    "several worst": make(3, (0.002, 0.005)),
    "long": make(2, models=(LONG, "$, seed 0$")),
    "falling": make(losses=0.2 + 0.2 * np.random.default_rng(1).random((2, 3, 8, 2)), batchnorm="frozen"),
}


@pytest.mark.parametrize("name", STYLES)
@pytest.mark.parametrize("case", CASES)
def test_draw_sharpness_overlaps_no_text_and_stays_on_the_page(check_layout, case: str, name: str) -> None:
    figure = check_layout(draw_sharpness, CASES[case], name)
    assert all(axes.get_window_extent().height > 0.6 * figure.dpi for axes in figure.axes)


def test_draw_sharpness_shows_the_means_and_every_direction(render, find) -> None:
    result = make(3)
    figure = render(draw_sharpness, result)
    for i, model in enumerate(result.models):
        line = find(figure, f"average:{model}*")[0]
        assert line.get_ydata()[0] == pytest.approx(result.rises[i, 1].mean())
        best = find(figure, f"worst:{model}*")[0]
        assert best.get_ydata()[0] == pytest.approx(result.worst_rises[i, 0])
    drawn = [c.lines[0].get_ydata() for c in figure.axes[0].containers]
    assert np.allclose(drawn, result.rises.mean(axis=2))
    assert len(figure.axes[1].lines) == 8 + 2 * 3
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["(a)", "(b)", "(c)"]


def test_draw_sharpness_computes_nothing(render, find, monkeypatch: pytest.MonkeyPatch) -> None:
    result, m, w, s = make(), 2, 1, 2
    told = {
        "rises": np.full((m, 3, 8), 7.0),
        "signed_rises": np.full((m, 3, 8, 2), 6.0),
        "mean_rises": np.full((m, 3), 5.0),
        "rise_intervals": (np.full((m, 3), 4.0), np.full((m, 3), 8.0)),
        "start_rises": np.full((m, w, s), 3.0),
        "worst_rises": np.full((m, w), 2.0),
        "worst_start": np.zeros((m, w), dtype=np.int64),
    }
    for name, values in told.items():
        monkeypatch.setattr(SharpnessResult, name, property(lambda _, values=values: values))
    figure = render(draw_sharpness, result)
    (bars,) = figure.axes[0].containers[0].lines[2]
    assert {y for segment in bars.get_segments() for _, y in segment} == {4.0, 8.0}
    assert find(figure, "mean:RALR")[0].get_ydata().tolist() == [5.0] * 3
    assert find(figure, "average:RALR")[0].get_ydata()[0] == 5
    assert figure.axes[1].lines[0].get_ydata().tolist() == [7, 7]
    assert find(figure, "worst:RALR*")[0].get_ydata()[0] == 2
    assert figure.axes[2].lines[0].get_ydata().tolist() == [3, 3]
    rows = sharpness_table(result)
    assert {row["kind"]: row["rise"] for row in rows} == {"average": 6, "worst": 3}
    assert [row["accuracy"] for row in rows if row["kind"] == "worst"] == [85, None] * m


def test_draw_sharpness_note_says_what_was_measured(render, read_note) -> None:
    said = read_note(render(draw_sharpness, make()))
    for part in (
        "1,000 cifar10 training images, cropped after padding by 4 and mirrored",
        "each batch of 500 by its own statistics at the moved weights",
        "8 random directions and their opposites, the same for all networks",
        "95 % t intervals over the directions",
        "3 gradient steps from 2 starts (grey), the highest drawn: a lower bound",
        "Loss at the centre: 0.300, 0.300. These checkpoints only",
    ):
        assert part in said, said
    assert "the running statistics frozen" in read_note(render(draw_sharpness, CASES["falling"]))
    assert "Worst case" not in read_note(render(draw_sharpness, CASES["no worst"]))


def test_draw_sharpness_is_logarithmic_only_where_all_is_positive(render) -> None:
    assert render(draw_sharpness, make()).axes[0].get_yscale() == "log"
    assert render(draw_sharpness, CASES["falling"]).axes[0].get_yscale() == "linear"


def test_sharpness_table_has_every_point() -> None:
    result = make()
    rows = sharpness_table(result)
    assert len(rows) == 2 * (3 * 8 * 2 + 2)
    assert len({tuple(row) for row in rows}) == 1
    first, second = rows[0], rows[1]
    assert (first["radius"], second["radius"]) == (0.1, -0.1) and first["loss"] == result.losses[0, 0, 0, 0]
    assert first["rise"] == pytest.approx(first["loss"] - 0.3)
    worst = [row for row in rows if row["kind"] == "worst" and row["model"] == "RALR"]
    assert sum(row["accuracy"] is not None for row in worst) == 1
    assert max(row["loss"] for row in worst) == next(
        row["loss"] for row in worst if row["accuracy"] is not None
    )


def test_sharpness_table_of_normalised_logits_can_be_written() -> None:
    table = sharpness_table(make(**NORMALISED))
    rows = [row for row in table if row["kind"] == "normalised"]
    assert [row["rise"] for row in rows] == pytest.approx([0.05] * (2 * 8 * 2))
    assert write_table(table).count("\n") == 1 + len(table)
