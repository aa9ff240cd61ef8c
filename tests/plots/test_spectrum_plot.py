"""Spectra drawn: artists, text and places, not pixels."""

from __future__ import annotations

import numpy as np
import pytest

from ralr_viz.plots.spectrum import draw_spectrum, spectrum_table
from ralr_viz.results.spectrum import SpectrumResult

LONG = "vgg_without_any_pooling-and-a-very-long-name, seed 0, epoch 300"
STYLES = ("icml", "neurips", "ieee")


def make(m: int = 2, **changes) -> SpectrumResult:
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.r_[50, np.ones(9)], (m, 2))
    values = {
        "models": ("baseline", "RALR", "scaled", "fourth")[:m],
        "num_parameters": np.full(m, 270_000),
        "loss": np.full(m, 0.3),
        "gradient_norm": np.full(m, 0.2),
        "lambda_max": 40 + 10 * rng.random(m),
        "lambda_min": -3 - rng.random(m),
        "residual_max": np.full(m, 0.1),
        "residual_min": np.full(m, 1.0),
        "scaled_max": 300 + 10 * rng.random(m),
        "scaled_residual": np.full(m, 1.0),
        "overlap_max": np.full(m, 0.3),
        "overlap_min": np.full(m, 0.01),
        "learning_rate": np.full(m, 0.1),
        "trace_samples": 900 + 30 * rng.standard_normal((m, 6)),
        "nodes": np.sort(
            np.concatenate([np.zeros((m, 2, 1)), 50 * rng.random((m, 2, 9)) - 3], axis=2), axis=2
        ),
        "weights": weights,
        "products": np.full(m, 50),
        "num_images": 1024,
        "batch": 128,
        "seed": 0,
        "resamples": 300,
        "dataset": "cifar10",
        "split": "train",
    }
    return SpectrumResult(**(values | changes))


CASES = {
    "two": make(),
    "one": make(1),
    "three": make(3),
    "four": make(4),
    "long": make(2, models=(LONG, "$, seed 0$")),
    "flat": make(lambda_max=np.full(2, 0.3), lambda_min=np.full(2, 0.0), overlap_min=np.zeros(2)),
    "one probe": make(
        trace_samples=np.full((2, 1), 800.0), nodes=np.zeros((2, 1, 2)), weights=np.full((2, 1, 2), 0.5)
    ),
}


@pytest.mark.parametrize("name", STYLES)
@pytest.mark.parametrize("case", CASES)
def test_draw_spectrum_overlaps_no_text_and_stays_on_the_page(check_layout, case: str, name: str) -> None:
    figure = check_layout(draw_spectrum, CASES[case], name)
    assert all(axes.get_window_extent().height > 0.6 * figure.dpi for axes in figure.axes)


def test_draw_spectrum_shows_signed_values_and_is_hollow_where_not_converged(render) -> None:
    result = make(3)
    figure = render(draw_spectrum, result)
    for i, model in enumerate(result.models):
        panel = [a for a in figure.axes[1].lines if str(a.get_gid()).startswith(f"value:{model}:")]
        drawn = [a.get_ydata()[0] for a in panel]
        assert drawn == pytest.approx(
            [result.lambda_min[i], result.lambda_max[i], result.scaled_max[i], result.trace[i]]
        )
        assert [a.get_markerfacecolor() == "white" for a in panel] == [True, False, False, False]


def test_draw_spectrum_density_is_on_common_axes(render, find) -> None:
    result = make(2)
    figure = render(draw_spectrum, result)
    lines = find(figure, "density:*")
    assert len(lines) == 2 and np.array_equal(lines[0].get_xdata(), lines[1].get_xdata())
    grid = lines[0].get_xdata()
    width = (result.nodes.max() - result.nodes.min()) / 50
    expected = result.density(grid, width)[1]
    seen = ~np.isnan(lines[1].get_ydata())
    assert lines[1].get_ydata()[seen] == pytest.approx(expected[seen])
    assert lines[0].get_linestyle() != lines[1].get_linestyle()


def test_draw_spectrum_note_says_what_was_measured(render, read_note) -> None:
    said = read_note(render(draw_spectrum, make()))
    for part in (
        "1,024 cifar10 training images, unaugmented, BatchNorm's running statistics frozen, without weight decay",
        "10 steps from 2 probes",
        "mean ± standard error of 6 Rademacher probes, the same for all networks",
        "bounds even where hollow",
        "The negative gradient of these images stands for the next update; dashed: chance",
        "Loss: 0.300, 0.300",
    ):
        assert part in said, said


def test_spectrum_table_has_every_number() -> None:
    result = make()
    rows = spectrum_table(result)
    assert len(rows) == 2 * (15 + 6 + 20)
    found = {row["quantity"]: row["value"] for row in rows if row["model"] == "RALR" and row["probe"] is None}
    assert found["lambda_min"] == result.lambda_min[1] and found["trace"] == pytest.approx(result.trace[1])
    nodes = [row for row in rows if row["quantity"] == "density_node" and row["model"] == "baseline"]
    assert sum(row["weight"] for row in nodes) == pytest.approx(2)
