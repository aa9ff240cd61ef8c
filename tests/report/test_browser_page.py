"""The curves' cursor, the classes' table and the page's state in a real browser, against the results."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ralr_viz.report.classes import build_classes
from ralr_viz.report.curves import build_curves
from ralr_viz.report.inputs import ReportInputs
from ralr_viz.report.page import assemble_page
from ralr_viz.report.verdict import build_verdict

CHARTS = ("curves-training", "curves-loss", "curves-accuracy", "curves-lr")


@pytest.fixture(scope="module")
def inputs(make_inputs: Callable[..., ReportInputs]) -> ReportInputs:
    return make_inputs(seeds=(0, 1))


@pytest.fixture(scope="module")
def path(inputs: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of the sections that are tested here, which opens faster than a whole one."""
    sections = [build(inputs) for build in (build_verdict, build_curves, build_classes)]
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(assemble_page(sections, inputs), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def opened(new_page: Callable[..., Any], path: Path) -> Iterator[Any]:
    page = new_page(path)
    yield page
    page.context.close()


def readout(opened: Any) -> list[list[str]]:
    """The table below the charts, without its head."""
    return opened.page.locator("#curves-caption").evaluate(
        "one => [...one.closest('table').tBodies[0].rows].map((row) => [...row.cells].map((c) => c.textContent))"
    )


def expected(inputs: ReportInputs, at: int) -> list[list[str]]:
    data, rows = build_curves(inputs).data, []
    for run, name in enumerate(data["runs"]):
        values = [float(np.array(of)[run, at]) for of in data["values"]]
        rows.append([name, *values])
    return rows


def check_readout(opened: Any, inputs: ReportInputs, at: int) -> None:
    curves = inputs.curves
    assert curves is not None
    assert opened.page.locator("#curves-caption").inner_text() == f"Epoch {curves.epoch[at]}"
    found, wanted = readout(opened), expected(inputs, at)
    assert len(found) == len(wanted) == 4
    for run, (row, values) in enumerate(zip(found, wanted, strict=True)):
        assert row[0] == values[0] and row[1] == str(curves.epoch[at])
        assert [float(cell) for cell in row[2:-1]] == pytest.approx(values[1:])
        assert row[-1] == ("yes" if curves.amplified[run, at] else "")
    cursors = opened.page.evaluate(
        "names => names.map((n) => report.model('cursor-' + n).location)", list(CHARTS)
    )
    assert cursors == [curves.epoch[at]] * 4


def test_mouse_over_any_chart_moves_one_cursor_through_all(opened: Any, inputs: ReportInputs) -> None:
    for chart, at in (("curves-loss", 4), ("curves-lr", 7)):
        opened.page.locator(f"#figure-{chart}").scroll_into_view_if_needed()
        x, y = opened.page.evaluate(
            """([name, epoch]) => {
              const view = Bokeh.index.find_one(report.model(name)), box = view.el.getBoundingClientRect();
              return [box.x + view.frame.x_scale.compute(epoch), box.y + box.height / 2];
            }""",
            [chart, int(inputs.curves.epoch[at])],  # type: ignore[union-attr]
        )
        opened.page.mouse.move(x - 90, y)
        opened.page.mouse.move(x + 3, y, steps=5)
        opened.wait(f"document.getElementById('curves-at').textContent === '{at + 1}'")
        check_readout(opened, inputs, at)


def test_keys_on_the_slider_move_the_cursor_and_are_in_the_address(opened: Any, inputs: ReportInputs) -> None:
    slider = opened.page.locator("#curves-epoch")
    slider.focus()
    opened.page.keyboard.press("Home")
    check_readout(opened, inputs, 0)
    opened.page.keyboard.press("ArrowRight")
    check_readout(opened, inputs, 1)
    assert slider.get_attribute("aria-valuetext") == "2" and "epoch=2" in opened.page.url


@pytest.mark.parametrize("shown", ["raw", "smoothed", "both"])
def test_lines_are_raw_or_smoothed_or_both(opened: Any, shown: str) -> None:
    opened.page.locator("#curves-lines").select_option(shown)
    visible = opened.page.evaluate(
        "() => report.model('curves-loss').renderers.map((one) => [one.name, one.visible])"
    )
    assert {name for name, on in visible if on} - {"amplified"} == {
        "raw": {"raw"},
        "smoothed": {"smoothed"},
        "both": {"raw", "smoothed"},
    }[shown]


def test_csv_and_table_of_the_curves_hold_every_epoch(
    opened: Any, inputs: ReportInputs, tmp_path: Path
) -> None:
    with opened.page.expect_download() as download:
        opened.page.locator("#curves-csv").click()
    download.value.save_as(tmp_path / "curves.csv")
    with (tmp_path / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    curves = inputs.curves
    assert curves is not None and len(rows) == curves.lr.size
    assert [float(row["LR"]) for row in rows] == pytest.approx(curves.lr.ravel())
    assert [float(row["test accuracy (%)"]) for row in rows] == pytest.approx(curves.test_acc.ravel())
    opened.page.locator("#curves-all summary").click()
    opened.wait(f"document.querySelectorAll('#curves-all tbody tr').length === {curves.lr.size}")


def test_csv_of_the_classes_has_the_shown_rows_in_their_order(
    opened: Any, inputs: ReportInputs, tmp_path: Path
) -> None:
    opened.page.locator("#classes-table thead button[data-column='name']").click()
    opened.page.locator("#classes-filter").fill("a")
    with opened.page.expect_download() as download:
        opened.page.locator("#classes-csv").click()
    download.value.save_as(tmp_path / "classes.csv")
    with (tmp_path / "classes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    scores = inputs.verdict.classes  # type: ignore[union-attr]
    names = sorted((n for n in inputs.class_names if "a" in n.lower()), key=str.lower)
    assert {row["class"] for row in rows} == set(names) and len(rows) == len(names) < 4
    for row in rows:
        i = int(row["label"])
        assert row["class"] == inputs.class_names[i]
        assert float(row["accuracy RALR (%)"]) == pytest.approx(scores.accuracy[1, i])
        assert float(row["low"]) == pytest.approx(scores.difference[i, 1])
    assert opened.page.locator("#classes-count").inner_text() == f"{len(names)} of 4 classes"
    opened.page.locator("#classes-filter").fill("")
    assert opened.page.locator("#classes-table th[aria-sort='ascending']").inner_text().startswith("class")


def test_csv_cells_that_look_like_formulas_are_text(opened: Any, tmp_path: Path) -> None:
    with opened.page.expect_download() as download:
        opened.page.evaluate(
            "report.downloadCsv('x.csv', ['a'], [['=1+1'], ['@x'], ['-y'], [-1.5], ['-1.5'], [\"'q\"], ['a=b'], [null]])"
        )
    download.value.save_as(tmp_path / "x.csv")
    lines = (tmp_path / "x.csv").read_text().split("\n")
    assert lines == ["a", "'=1+1", "'@x", "'-y", "-1.5", "-1.5", "''q", "a=b", "", ""]


def test_choosing_a_class_marks_it_and_can_be_taken_back(opened: Any, inputs: ReportInputs) -> None:
    row = opened.page.locator("#classes-table tr[data-label='1']")
    row.locator("button.choose").click()
    assert row.locator("button.choose").get_attribute("aria-pressed") == "true"
    assert (
        opened.page.locator("#filter-text").inner_text().strip()
        == f"Only class {inputs.class_names[1]} is shown."
    )
    assert "class=1" in opened.page.url
    opened.page.locator("#filter-clear").click()
    assert row.locator("button.choose").get_attribute("aria-pressed") == "false"
    assert opened.page.locator("#filter-clear").is_hidden() and "class=" not in opened.page.url


def test_links_to_sections_keep_the_state_and_move_the_focus(opened: Any) -> None:
    opened.page.evaluate("report.setClass(2)")
    opened.page.locator("nav a[href='#classes']").click()
    assert "class=2" in opened.page.url and "at=classes" in opened.page.url
    assert opened.page.evaluate("document.activeElement.id") == "heading-classes"
    opened.page.evaluate("report.setClass(null)")
    assert opened.errors == []


def test_mailed_address_restores_class_order_epoch_and_place(
    new_page: Callable[..., Any], path: Path
) -> None:
    state = "#class=1&sort=-accuracy1&epoch=3&lines=raw&at=classes"
    again = new_page(path, state, color_scheme="dark")
    page = again.page
    assert page.evaluate("report.classFilter") == 1
    assert page.locator("#classes-table th[aria-sort='descending']").inner_text().startswith("RALR")
    again.wait("document.getElementById('curves-at').textContent === '3'")
    assert page.locator("#curves-lines").input_value() == "raw"
    again.wait("document.activeElement.id === 'heading-classes'")
    assert -5 < page.evaluate("document.getElementById('classes').getBoundingClientRect().top") < 600
    # canvases know no CSS: their text has the dark page's colour
    text = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--text').trim()")
    assert page.evaluate("report.model('curves-loss').left[0].major_label_text_color") == text
    assert again.errors == []
    again.context.close()


@pytest.mark.parametrize(
    "state", ["#class=99999", "#class=x&epoch=nan&lines=<b>&sort=constructor", "#nowhere", "#%"]
)
def test_state_that_makes_no_sense_does_no_harm(opened: Any, state: str) -> None:
    opened.page.evaluate("state => { location.hash = state; }", state)
    assert opened.page.evaluate("report.classFilter") is None and opened.errors == []
