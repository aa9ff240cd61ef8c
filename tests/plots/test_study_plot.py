"""The dot plot of a study: what is drawn where, and that all of it can be read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ralr_viz.errors import UnknownNameError
from ralr_viz.plots.study import draw_study, row_colors, study_table
from ralr_viz.plots.style import COLORS, EXTRA_COLORS, style
from ralr_viz.results.study import StudyResult
from ralr_viz.study.grid_file import build_study
from ralr_viz.study.table import tabulate

ROWS = ("network", "method")
LONG = "a very long label of a $row_1$ that fits nowhere, not even on two lines, number"


def _result(
    nets: int = 2, methods: int = 2, seeds: int = 4, *, step: float = 1.0, spread: float = 0.3,
    states: dict[tuple[int, int], str] | None = None, paper: float | None = 70.2, label: str = "net",
    rows: tuple[str, ...] = ("network",),
) -> StudyResult:  # fmt: skip
    """Cells whose networks are ``step`` apart."""
    names = [("baseline", "ralr", "scaled")[i % 3] for i in range(methods)]
    columns = [axis for axis in ("network", "method") if axis not in rows]
    values: dict[str, Any] = {
        "title": "Mine",
        "seeds": list(range(seeds)),
        "base": {"recipe": "cifar10-resnet20-tiny"},
        "axes": [
            {"name": "network", "values": [{"label": f"{label} {i}", "epochs": 24 + i} for i in range(nets)]},
            {
                "name": "method",
                "values": [{"label": f"{n} {i}", "method": n, "lr": 0.1 + i} for i, n in enumerate(names)],
            },
        ],
        "table": {"rows": list(rows), "columns": columns, "reference": {"method": "baseline 0"}},
    }
    if paper is not None:
        values["paper"] = [{"network": f"{label} 0", "method": "baseline 0", "mean": paper, "std": 0.2}]
    study = build_study(values, "mine", "mine.toml")
    rng = np.random.default_rng(0)
    centre = 70 + step * np.repeat(np.arange(nets), methods)
    accuracy = centre[:, None, None] + rng.normal(0, spread, (nets * methods, seeds, 3))
    given = np.full((nets * methods, seeds), "finished", dtype="<U8")
    for place, state in (states or {}).items():
        given[place], accuracy[place] = state, np.nan
    conditions = {"dataset": ("cifar10",), "device": ("cpu", "NVIDIA H100 80GB HBM3"), "precision": ("bf16",)}
    return tabulate(study, accuracy, given, conditions=conditions)


def _draw(result: StudyResult, metric: str = "last") -> Figure:
    with style("icml"):
        return draw_study(result, metric)


def _empty() -> StudyResult:
    return _result(states={(c, k): "pending" for c in range(4) for k in range(4)})


def test_figure_draws_every_seed_the_mean_and_the_interval(find):
    result = _result()
    figure = _draw(result, "median_last5")
    for cell in range(4):
        (dots,) = find(figure, f"values:{cell}", Line2D)
        assert dots.get_xdata().tolist() == result.values[cell, :, 1].tolist()
        assert len(set(dots.get_ydata())) == 4  # fanned out, in the order of the seeds
        (interval,), (mean,) = find(figure, f"interval:{cell}"), find(figure, f"mean:{cell}")
        found = result.summary(cell, "median_last5")
        assert interval.get_xdata().tolist() == [found["low"], found["high"]]
        assert mean.get_xdata() == [found["mean"]]
    assert [find(figure, f"values:{c}")[0].get_color() for c in (0, 1)] == [
        COLORS["baseline"],
        COLORS["ralr"],
    ]


def test_figure_draws_differences_full_only_where_the_interval_excludes_zero(find):
    result = _result(spread=0.02, paper=None)
    values = result.values.copy()
    values[1] += 1.0  # far from its reference; the other is not
    study = tabulate(_study_of(result), values, result.states)
    figure = _draw(study)
    for cell, full in ((1, True), (3, False)):
        (mark,), (line,) = find(figure, f"difference:{cell}"), find(figure, f"welch:{cell}")
        found = study.comparison(cell, "last")
        assert study.excludes_zero(cell, "last") is full
        assert (mark.get_markerfacecolor() == "white") is not full
        assert line.get_xdata() == pytest.approx([found["low"], found["high"]])
    assert not find(figure, "difference:0")


def _study_of(result: StudyResult) -> Any:
    """A study of the same cells."""
    values = {
        "title": result.title, "seeds": list(result.seeds), "base": {"recipe": "cifar10-resnet20-tiny"},
        "axes": [
            {"name": "network", "values": [{"label": f"net {i}", "epochs": 24 + i} for i in range(2)]},
            {"name": "method", "values": [{"label": f"{n} {i}", "method": n} for i, n in
                                          enumerate(("baseline", "ralr"))]},
        ],
        "table": {"rows": ["network"], "columns": ["method"], "reference": {"method": "baseline 0"}},
    }  # fmt: skip
    return build_study(values, "mine", "mine.toml")


def test_figure_draws_the_paper_only_on_the_same_scale(find, read_note):
    near, far = _draw(_result(paper=70.2)), _draw(_result(paper=92.0))
    assert find(near, "paper:0")[0].get_xdata() == [70.2] and not find(far, "paper:*")
    assert "as it prints them" in read_note(near)
    assert "Off the scale and not drawn: 1 of the paper's means" in read_note(far)
    legend = [text.get_text() for text in far.legends[0].get_texts()]
    assert not any("paper" in text for text in legend)


def test_figure_names_rows_by_group_and_counts_what_is_missing():
    states = {(0, 1): "diverged", (1, 2): "failed", (1, 3): "pending", (3, 0): "running"}
    result = _result(states=states)
    figure = _draw(result)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == [
        "net 0",
        "baseline 0 (3/4, 1†)",
        "ralr 1 (2/4, 1†)",
        "net 1",
        "baseline 0",
        "ralr 1 (3/4)",
    ]


def test_figure_withholds_the_difference_from_a_diverged_run(find, read_note):
    figure = _draw(_result(states={(0, 1): "diverged"}))
    (gone,) = find(figure, "difference:1")
    assert np.isnan(gone.get_xdata()).all()
    assert "compared with nothing" in read_note(figure)


def test_figure_gives_groups_that_lie_apart_their_own_scale(read_note):
    together, apart = _draw(_result(step=0.5)), _draw(_result(step=20.0))
    assert len(together.axes) == 2 and len(apart.axes) == 4
    assert "scale of their own" in read_note(apart) and "scale of their own" not in read_note(together)
    first, _, second, _ = apart.axes
    assert first.get_xlim()[1] < second.get_xlim()[0]
    assert apart.axes[1].get_xlim() == apart.axes[3].get_xlim()  # differences can be compared


def test_figure_of_rows_without_columns_has_no_group_names():
    figure = _draw(_result(rows=ROWS))
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == [f"net {i}, {m}" for i in range(2) for m in ("baseline 0", "ralr 1")]


def test_figure_cuts_a_wide_interval_with_an_arrow(find):
    result = _result(seeds=2, nets=3, spread=0.5)
    figure = _draw(result)
    cut = find(figure, "cut:interval:*")
    assert cut  # of two seeds: 12.7 standard errors
    for axes in figure.axes[:1]:
        low, high = axes.get_xlim()
        assert all(low <= line.get_xdata()[0] <= high for line in find(axes, "cut:*"))
        dots = np.concatenate([line.get_xdata() for line in find(axes, "values:*")])
        assert low < dots.min() and dots.max() < high


def test_figure_of_one_seed_has_no_interval(find, read_note):
    figure = _draw(_result(seeds=1))
    assert all(np.isnan(line.get_xdata()).all() for line in find(figure, "interval:*"))
    assert find(figure, "difference:1")[0].get_marker() == "x" and "×: a side has one run" in read_note(
        figure
    )


def test_figure_of_no_finished_run_says_so():
    figure = _draw(_empty())
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["no finished run"]


def test_figure_of_many_cells_draws_the_first_and_says_so(find, read_note):
    figure = _draw(_result(nets=24, methods=3, step=0.1))
    assert len(find(figure, "values:*")) == 60
    assert "The first 60 of 72 cells." in read_note(figure)


def test_figure_refuses_an_unknown_metric():
    with pytest.raises(UnknownNameError, match="unknown metric"):
        draw_study(_result(), "best_on_test")


@pytest.mark.parametrize(
    ("name", "column", "make"),
    [
        ("icml", "full", lambda: _result(step=20.0)),
        ("ieee", "half", lambda: _result(seeds=10, states={(3, 1): "diverged", (2, 0): "pending"})),
        ("ieee", "half", _empty),
        ("icml", "full", lambda: _result(nets=3, label=LONG, states={(0, 0): "failed"})),
        ("neurips", "full", lambda: _result(nets=2, label=LONG, rows=ROWS)),
        ("ieee", "half", lambda: _result(methods=1, label=LONG, states={(0, 0): "failed"}, rows=ROWS)),
        ("ieee", "half", lambda: _result(nets=10, methods=4, seeds=2)),
        ("icml", "full", lambda: _result(nets=1, methods=1, seeds=1, paper=None)),
    ],
    ids=["apart", "many seeds", "empty", "long", "long rows", "long broken rows", "forty", "one"],
)
def test_figure_can_be_read(check_layout, name, column, make):
    check_layout(draw_study, make(), name, column=column)


def test_figure_is_the_same_each_time(check_same_bytes):
    check_same_bytes(draw_study, study_table, lambda: _result(nets=1, states={(1, 0): "diverged"}))


def test_study_table_has_a_row_for_each_cell_and_metric():
    result = _result()
    rows = study_table(result)
    assert len(rows) == 12 and rows[0]["seed0"] == result.values[0, 0, 0]


def test_colour_means_the_row_and_not_the_method_that_it_was_trained_by():
    result = _result()
    methods = ("baseline", "baseline", "ralr", "ralr")
    labels = tuple(("net 0", name) for name in ("Baseline", "SGDR", "[1, 3]", "[1, 7]"))
    colors = row_colors(replace(result, methods=methods, labels=labels))
    assert colors[0] == COLORS["baseline"] and colors[2] == COLORS["ralr"]
    assert len(set(colors)) == 4 and colors[1] == EXTRA_COLORS[0]
