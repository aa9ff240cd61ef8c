"""The curves figure: its artists, not its pixels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from ralr_viz.analysis.curves import compute_curves
from ralr_viz.plots.curves import curves_note, curves_table, draw_curves
from ralr_viz.plots.style import COLORS, PNG_DPI, save_figure, style
from ralr_viz.results.curves import CurvesResult
from ralr_viz.results.run import RunRecord

NAN = math.nan


@pytest.fixture(autouse=True)
def in_style() -> Iterator[None]:
    with style():
        yield


def run(
    method: str, seed: int | None = 0, num_epochs: int = 8, split: str = "val", **changes: Any
) -> RunRecord:
    rng = np.random.default_rng([seed or 0, len(method)])
    epoch = np.arange(1, num_epochs + 1)
    base = np.where(epoch <= num_epochs / 2, 0.1, 0.01)
    factor = {"scaled": np.full(num_epochs, 1.5), "ralr": 1 + rng.integers(0, 3, num_epochs)}.get(
        method, np.ones(num_epochs)
    )
    loss = 2 / epoch + rng.uniform(0, 0.1, num_epochs)
    metrics: dict[str, Any] = {"base_lr": base, "factor": factor, "lr": base * factor, "train_loss": loss}
    if split:
        metrics |= {f"{split}_loss": loss + 0.2, f"{split}_acc": 80 - 20 * loss}
        metrics["train_loss_eval"] = loss * 0.9
    metrics |= {name: np.asarray(value, float) for name, value in changes.items() if name != "status"}
    kept = {name: value.astype(float) for name, value in metrics.items() if value.size == num_epochs}
    status = {"status": changes.get("status", "finished")}
    return RunRecord("demo", method, seed, epoch, kept, recipe={"name": "demo"}, result=status)


def lines(panel: Axes, gid: str) -> list[Line2D]:
    return [line for line in panel.lines if str(line.get_gid()).startswith(gid)]


def texts(figure: Figure) -> set[str]:
    legends = [*figure.legends, *(panel.get_legend() for panel in figure.axes if panel.get_legend())]
    return {text.get_text() for legend in legends for text in legend.get_texts()}


def test_draw_curves_draws_one_run() -> None:
    result = compute_curves([run("ralr")])
    figure = draw_curves(result)
    loss, accuracy, rate, gap = figure.axes
    assert [panel.get_ylabel() for panel in figure.axes] == [
        "loss",
        "validation accuracy (%)",
        "learning rate",
        "overfitting gap (nats)",
    ]
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["(a)", "(b)", "(c)", "(d)"]
    for panel, gid, values in [
        (loss, "train_loss:", result.train_loss),
        (loss, "loss:", result.val_loss),
        (accuracy, "acc:", result.val_acc),
        (rate, "lr:", result.lr),
        (gap, "gap:", result.val_loss - result.train_loss_eval),
    ]:
        (line,) = lines(panel, gid)
        np.testing.assert_array_equal(line.get_xydata(), np.column_stack([result.epoch, values[0]]))
    (validation,), (training,) = lines(loss, "loss:"), lines(loss, "train_loss:")
    assert validation.get_linewidth() > training.get_linewidth()
    assert validation.get_color() == COLORS["ralr"]
    assert rate.get_yscale() == "log"
    assert f"It ends at a training loss of RALR {result.train_loss_eval[0, -1]:.2f}." in curves_note(result)
    expected = {"RALR", "training", "validation", "lowest validation loss", "scheduled", "amplified"}
    assert texts(figure) == expected | {"validation − training loss"}


def test_draw_curves_marks_best_and_amplified_epochs() -> None:
    result = compute_curves([run("baseline"), run("ralr"), run("scaled")])
    _, accuracy, rate, _ = draw_curves(result).axes
    for i, name in enumerate(result.run):
        (star,) = lines(accuracy, f"best:{name}")
        best = int(np.argmin(result.val_loss[i]))
        assert star.get_xydata().tolist() == [[best + 1, result.val_acc[i, best]]]
    (dots,) = lines(rate, "amplified:")
    at = result.factor[1] > 1
    assert dots.get_gid() == "amplified:demo/ralr/seed0"
    np.testing.assert_array_equal(dots.get_xydata(), np.column_stack([result.epoch, result.lr[1]])[at])


def test_draw_curves_draws_every_seed_and_the_mean() -> None:
    runs = [run(method, seed) for method in ("baseline", "ralr") for seed in range(3)]
    result = compute_curves(runs)
    figure = draw_curves(result)
    for panel, gid, values in zip(
        figure.axes,
        ("loss:", "acc:", "lr:", "gap:"),
        (result.loss, result.acc, result.lr, result.gap),
        strict=True,
    ):
        drawn = {line.get_gid(): line for line in lines(panel, gid)}
        assert set(drawn) == {gid + r for r in result.run} | {f"{gid}mean of baseline", f"{gid}mean of ralr"}
        mean = drawn[f"{gid}mean of ralr"]
        np.testing.assert_allclose(mean.get_ydata(), values[3:].mean(axis=0))
        assert mean.get_linewidth() > drawn[gid + result.run[3]].get_linewidth()
        assert mean.get_zorder() > drawn[gid + result.run[3]].get_zorder()
        baseline = drawn[f"{gid}mean of baseline"]
        assert baseline.get_color() != mean.get_color()
        assert baseline.get_linestyle() != mean.get_linestyle()
        bands = [c for c in panel.collections if c.get_gid() == f"{gid}band of ralr"]
        if gid == "lr:":  # on a logarithmic axis, and its jumps are drawn one by one
            assert not bands
            continue
        corners = bands[0].get_paths()[0].vertices
        spread = values[3:].std(axis=0, ddof=1)
        for epoch, low, high in zip(
            result.epoch, *(values[3:].mean(axis=0) + s * spread for s in (-1, 1)), strict=True
        ):
            np.testing.assert_allclose(sorted(set(corners[corners[:, 0] == epoch, 1])), [low, high])
    assert {"baseline (mean ± SD of 3 runs)", "RALR (mean ± SD of 3 runs)", "each run"} <= texts(figure)


def test_draw_curves_writes_the_ends_and_enlarges_the_last_third(find) -> None:
    runs = [run(method, seed, 12) for method in ("baseline", "ralr") for seed in range(3)]
    result = compute_curves(runs)
    figure = draw_curves(result)
    for name, values, digits in (("loss", result.loss, 3), ("score", result.acc, 1), ("gap", result.gap, 3)):
        for group, rows in (("baseline", slice(0, 3)), ("ralr", slice(3, 6))):
            (end,) = find(figure, f"end:{name}:{group}")
            assert end.get_text() == f"{values[rows, -1].mean():.{digits}f}".replace("-", "−")
    (inset,) = [child for child in figure.axes[1].child_axes if child.get_gid() == "inset"]
    assert inset.get_xlim() == (pytest.approx(12 - 11 / 3), 12)
    assert len(lines(figure.axes[1], "best:")) == 2  # one star a method


def test_draw_curves_never_averages_over_a_changing_number_of_runs() -> None:
    result = compute_curves([run("ralr", 0, 8), run("ralr", 1, 5)])
    (mean,) = lines(draw_curves(result).axes[1], "acc:mean")
    assert mean.get_xdata().tolist() == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(mean.get_ydata(), result.acc[:, :5].mean(axis=0))


def test_draw_curves_says_test_where_there_is_no_validation() -> None:
    figure = draw_curves(compute_curves([run("ralr", split="test")]))
    assert figure.axes[1].get_ylabel() == "test accuracy (%)"
    assert {"test", "lowest training loss"} <= texts(figure)
    assert not any("validation" in text for text in texts(figure))


def test_draw_curves_leaves_out_what_was_not_recorded() -> None:
    without = compute_curves([run("mine", None, split="", lr=[], base_lr=[], factor=[])])
    figure = draw_curves(without)
    assert [panel.get_ylabel() for panel in figure.axes] == ["loss"]
    assert texts(figure) == {"mine", "training"}
    mine = Figure()
    draw_curves(without, mine.subplots(1, 3))  # whoever gives axes gets them all
    assert [[t.get_text() for t in panel.texts] for panel in mine.axes] == [
        [],
        ["not recorded"],
        ["not recorded"],
    ]


def test_draw_curves_does_not_call_noise_an_amplification() -> None:
    noise = run("noise", factor=[1.2, 0.6, 1, 1.4, 1, 0.5, 0.9, 1.1])
    shown = texts(draw_curves(compute_curves([run("baseline"), noise])))
    assert {"noise", "multiplied"} <= shown
    assert "amplified" not in shown


def test_draw_curves_joins_values_of_every_few_epochs() -> None:
    sparse = np.array([NAN, 10, NAN, 30, NAN, 50, NAN, 70])
    (line,) = lines(draw_curves(compute_curves([run("ralr", val_acc=sparse)])).axes[1], "acc:")
    assert line.get_xydata().tolist() == [[2, 10], [4, 30], [6, 50], [8, 70]]


def test_draw_curves_shows_where_a_run_diverged() -> None:
    loss = np.array([2, 1.5, 900, 1e30, math.inf, NAN, NAN, NAN])
    bad = run(
        "ralr", status="diverged", val_loss=loss, train_loss=loss, val_acc=np.where(loss < 1e3, 50, NAN)
    )
    result = compute_curves([run("baseline"), bad])
    figure = draw_curves(result)
    panel = figure.axes[0]
    (cross,) = lines(panel, "diverged:")
    bottom, top = panel.get_ylim()
    assert cross.get_xydata().tolist() == [[4, top]]
    assert panel.get_ylabel() == "loss (axis cut)"
    healthy = result.val_loss[0]
    assert bottom < healthy.min()
    assert healthy.max() < top < 5 * healthy.max()  # the healthy run can still be read
    assert lines(figure.axes[1], "diverged:")[0].get_xydata().tolist() == [[3, 50]]
    assert "diverged" in texts(figure)


def test_draw_curves_does_not_cut_an_ordinary_loss() -> None:
    falling = np.geomspace(4.6, 1e-4, 300)  # cross-entropy of 100 classes, then overfitting
    for split in ("val", "test"):
        figure = draw_curves(compute_curves([run("ralr", num_epochs=300, split=split, train_loss=falling)]))
        assert figure.axes[0].get_ylabel() == "loss"
        assert figure.axes[0].get_ylim()[1] > 4.6


@pytest.mark.parametrize("num_epochs", [1, 2, 300])
def test_draw_curves_takes_any_number_of_epochs(tmp_path: Path, num_epochs: int) -> None:
    result = compute_curves([run(method, s, num_epochs) for method in ("baseline", "ralr") for s in range(2)])
    figure = draw_curves(result)
    for panel in figure.axes:
        left, right = panel.get_xlim()
        assert left < 1 <= num_epochs < right
        assert all(float(tick).is_integer() for tick in panel.get_xticks())
    save_figure(figure, tmp_path / "f", curves_table(result), result.provenance)


def test_draw_curves_shows_a_line_of_one_point() -> None:
    figure = draw_curves(compute_curves([run("ralr", num_epochs=1)]))
    for panel, gid in zip(figure.axes, ("loss:", "acc:", "lr:", "gap:"), strict=True):
        assert [line.get_marker() for line in lines(panel, gid)] == ["o"]


def test_draw_curves_takes_axes_of_the_callers() -> None:
    mine = Figure(figsize=(9, 3))
    panels = mine.subplots(1, 4)
    result = compute_curves([run("baseline"), run("ralr")])
    assert draw_curves(result, panels[1:]) is mine  # without the gap
    assert not panels[0].lines
    assert not mine.legends
    handles, labels = panels[2].get_legend_handles_labels()
    assert {"baseline", "RALR"} <= set(labels)
    assert len(handles) == len(labels)
    sub = mine.subfigures(1, 1)
    assert draw_curves(result, sub.subplots(1, 3)) is mine


def test_draw_curves_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = mpl.rcParams.copy()
    result = compute_curves([run("ralr")])
    values = result.val_loss.copy()
    draw_curves(result)
    assert mpl.rcParams.copy() == before
    assert not list(tmp_path.iterdir())
    np.testing.assert_array_equal(result.val_loss, values)


def test_draw_curves_takes_hostile_names(tmp_path: Path) -> None:
    names = ["$\\frac{", "x" * 300, "_hidden", "%s", "日本"]
    result = compute_curves(
        [RunRecord("", n, None, np.array([1, 2]), {"val_acc": np.ones(2)}) for n in names[:4]]
    )
    save_figure(draw_curves(result), tmp_path / "f", curves_table(result), result.provenance)


def overlaps(boxes: list[Bbox]) -> bool:
    return any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])


@pytest.mark.parametrize("name", ["icml", "neurips", "iclr", "cvpr", "ieee"])
@pytest.mark.parametrize("column", ["full", "half"])
def test_draw_curves_has_no_text_over_data_or_off_the_page(name: str, column: Any) -> None:
    runs = [run(method, seed) for method in ("baseline", "ralr", "scaled") for seed in range(2)]
    with style(name, column=column):
        figure = draw_curves(compute_curves([*runs, run("ralr", 7, status="diverged")]))
        figure.set_dpi(PNG_DPI)  # the screen dpi hints letters to other widths
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        page = figure.bbox
        panels = [panel.get_window_extent(renderer) for panel in figure.axes]
        outside = [legend.get_window_extent(renderer) for legend in figure.legends]
        for panel in figure.axes:
            legend = panel.get_legend()
            assert legend is not None
            letter = panel._left_title.get_window_extent(renderer)  # type: ignore[attr-defined]
            outside += [legend.get_window_extent(renderer), letter]
        assert not overlaps(outside)
        for box in outside:
            assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
            assert not any(box.shrunk(0.98, 0.98).overlaps(panel) for panel in panels)
        for panel in figure.axes:
            ticks = [t.get_window_extent(renderer) for t in panel.get_xticklabels() if t.get_text()]
            inside = [b for b in ticks if page.x0 <= b.x0 and b.x1 <= page.x1]
            assert not any(a.x1 > b.x0 for a, b in pairwise(inside))


def test_curves_table_holds_every_drawn_number() -> None:
    result = compute_curves([run("baseline", 0, 3), run("ralr", None, 5)])
    rows = curves_table(result)
    assert len(rows) == 3 + 5  # not the epochs that the first run has not reached
    for row in rows:
        i, j = result.run.index(row["run"]), int(np.flatnonzero(result.epoch == row["epoch"])[0])
        assert (row["method"], row["seed"]) == (result.method[i], result.seed[i])
        for quantity in ("base_lr", "factor", "lr", "train_loss", "val_loss", "val_acc"):
            assert row[quantity] == getattr(result, quantity)[i, j]
        assert row["gap"] == row["val_loss"] - row["train_loss_eval"]
        assert math.isnan(row["test_acc"])
        assert row["best"] == (row["epoch"] == result.best_epoch[i])
    assert sum(row["best"] for row in rows) == 2


def test_curves_figure_is_byte_stable_and_survives_saving(tmp_path: Path) -> None:
    from ralr_viz.results.bundle import load_result, save_result

    result = compute_curves([run("baseline"), run("ralr")])
    again = load_result(save_result(result, tmp_path / "r"))
    assert isinstance(again, CurvesResult)
    files = []
    for name, r in (("a", result), ("b", again)):
        files.append(save_figure(draw_curves(r), tmp_path / name / "curves", curves_table(r), r.provenance))
    for first, second in zip(*files, strict=True):
        assert first.read_bytes() == second.read_bytes()


def test_curves_break_the_long_name_of_a_score_beside_its_panel():
    result = dataclasses.replace(compute_curves([run("baseline"), run("ralr")]), score_name="mAP@.5 (VOC07)")
    with style():
        figure = draw_curves(result)
    label = figure.axes[1].get_ylabel()
    assert label.count("\n") == 1 and label.replace("\n", " ") == f"validation {result.score_label}"
