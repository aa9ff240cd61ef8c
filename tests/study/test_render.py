"""One frame as Markdown, LaTeX, HTML and CSV: full, partial and empty, with names that need escaping."""

from __future__ import annotations

import csv
import html.parser
import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ralr_viz.errors import UnknownNameError
from ralr_viz.results.study import METRICS, StudyResult
from ralr_viz.results.table_csv import read_table
from ralr_viz.study.grid_file import build_study
from ralr_viz.study.render import FORMATS, render_study, study_frame
from ralr_viz.study.table import tabulate

NASTY = r"a_b & 50 % of {x} #1 $y$ ~ ^ \z <b>|*"


def _result(
    *, methods: int = 2, nets: tuple[str, ...] = ("A", "B"), states: dict[tuple[int, int], str] | None = None,
    shift: float = 0.0, paper: bool = True, title: str = "Mine", seeds: int = 4,
) -> StudyResult:  # fmt: skip
    names = ("baseline", "ralr", "scaled", "noise")[:methods]
    values: dict[str, Any] = {
        "title": title,
        "seeds": list(range(seeds)),
        "base": {"recipe": "cifar10-resnet20-tiny"},
        "axes": [
            {"name": "network", "values": [{"label": n, "epochs": 24 + i} for i, n in enumerate(nets)]},
            {"name": "method", "values": [{"label": n.upper(), "method": n} for n in names]},
        ],
        "table": {"rows": ["network"], "columns": ["method"], "reference": {"method": "BASELINE"}},
    }
    if paper:
        values["paper"] = [{"network": nets[0], "method": "RALR", "mean": 92.1, "std": 0.2}]
    study = build_study(values, "mine_1", "mine.toml")
    cells = len(study.cells)
    accuracy = 70 + np.arange(seeds)[:, None] * 0.1 + np.array([0.0, 0.01, 0.02]) + np.zeros((cells, 1, 1))
    accuracy[np.arange(cells) % methods > 0] += shift + 0.04 * np.arange(seeds)[:, None] ** 2
    given = np.full((cells, seeds), "finished", dtype="<U8")
    for place, state in (states or {}).items():
        given[place], accuracy[place] = state, np.nan
    return tabulate(study, accuracy, given, conditions={"dataset": ("cifar10",)})


def _empty() -> StudyResult:
    return _result(states={(c, k): "pending" for c in range(4) for k in range(4)})


def _text(result: StudyResult, *column: str, row: int = 0) -> str:
    return study_frame(result).cells[column].iloc[row]


def test_frame_of_a_full_cell_has_two_digits_and_the_std_of_a_sample():
    result = _result()
    std = np.std([0, 0.1, 0.2, 0.3], ddof=1)
    assert _text(result, "BASELINE", "runs") == f"70.15 ± {std:.2f}"
    assert _text(result, "RALR", "paper") == "92.10 ± 0.20"


@pytest.mark.parametrize(
    ("missing", "text"),
    [
        ({0: "pending"}, "70.2 ± 0.1 (3/4)"),
        ({0: "failed"}, "70.2 ± 0.1 (3/4)†"),
        ({0: "diverged", 1: "running"}, "70.2 ± 0.1 (2/4)†"),
        ({0: "pending", 1: "pending", 2: "stopped"}, "70.3 (1/4)"),
        (dict.fromkeys(range(4), "pending"), "–"),
        (dict.fromkeys(range(4), "diverged"), "– (0/4)†"),
    ],
)
def test_frame_of_a_partial_cell_says_what_it_is_of(missing, text):
    assert _text(_result(states={(0, k): state for k, state in missing.items()}), "BASELINE", "runs") == text


def test_frame_of_one_seed_has_no_spread_and_no_interval():
    result = _result(seeds=1)
    assert _text(result, "BASELINE", "runs") == "70.00"
    assert _text(result, "RALR", "difference [95 %]") == "+0.00"
    assert _text(result, "RALR", "p (Holm)") == "–"


def test_frame_shows_the_difference_its_interval_and_both_p():
    result = _result(shift=-1.0)
    found = result.comparison(1, "last")
    low, high = (f"{found[end]:+.2f}".replace("-", "−") for end in ("low", "high"))
    assert _text(result, "RALR", "difference [95 %]") == f"−0.86 [{low}, {high}]"
    assert _text(result, "RALR", "p (Holm)") == f"{found['p']:.3f} ({found['holm_p']:.3f})"


def test_frame_is_bold_only_where_the_interval_excludes_zero():
    clear, unclear = _result(shift=-1.0), _result(shift=-0.1)
    assert clear.excludes_zero(1, "last") and not unclear.excludes_zero(1, "last")
    columns = ("RALR", "difference [95 %]"), ("RALR", "p (Holm)")
    for result, strong in ((clear, True), (unclear, False)):
        bold = study_frame(result).bold
        assert [bool(bold[c].iloc[0]) for c in columns] == [
            strong,
            strong and result.survives_holm(1, "last"),
        ]
        assert not bold.drop(columns=list(columns)).to_numpy().any()


def test_frame_marks_holm_apart_from_the_interval():
    # p of 0.03 in each of two comparisons: the interval excludes 0, Holm does not
    result = next(
        r for shift in np.linspace(-0.2, -1.0, 60)
        if (r := _result(shift=shift)).excludes_zero(1, "last") and not r.survives_holm(1, "last")
    )  # fmt: skip
    bold = study_frame(result).bold
    assert bool(bold["RALR", "difference [95 %]"].iloc[0]) and not bool(bold["RALR", "p (Holm)"].iloc[0])


def test_frame_withholds_the_comparison_with_a_diverged_run():
    result = _result(shift=-1.0, states={(0, 1): "diverged"})
    assert _text(result, "RALR", "difference [95 %]") == "not compared †"
    assert _text(result, "RALR", "p (Holm)") == ""
    assert not study_frame(result).bold.iloc[0].any() and study_frame(result).bold.iloc[1].any()


def test_frame_leaves_out_empty_columns():
    assert ("BASELINE", "paper") not in study_frame(_result()).cells
    assert not any("paper" in column for column in study_frame(_result(paper=False)).cells)


def test_frame_with_many_columns_puts_the_cells_below_each_other():
    frame = study_frame(_result(methods=4, nets=("A", "B", "C")))
    assert list(frame.cells) == ["network", "method", "runs", "paper", "difference [95 %]", "p (Holm)"]
    assert frame.cells["network"].tolist() == [n for n in "ABC" for _ in range(4)]
    assert frame.cells["method"].tolist() == ["BASELINE", "RALR", "SCALED", "NOISE"] * 3


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "make",
    [
        _result,
        _empty,
        lambda: _result(states={(1, 0): "diverged", (2, 1): "failed", (3, 2): "running"}),
        lambda: _result(methods=4, nets=("A", "B", "C")),
        lambda: _result(nets=(NASTY, "[1, 2]"), title=NASTY),
        lambda: _result(nets=("A",), seeds=1),
    ],
    ids=["full", "empty", "partial", "long", "nasty", "one"],
)
def test_render_study_is_the_same_each_time_in_all_formats(format: str, make: Callable[[], StudyResult]):
    text = render_study(make(), format)
    assert text == render_study(make(), format) and text.endswith("\n")


def test_render_study_refuses_what_it_does_not_know():
    with pytest.raises(UnknownNameError, match="unknown format `pdf`"):
        render_study(_empty(), "pdf")
    for format in FORMATS:
        with pytest.raises(UnknownNameError, match="unknown metric `best_on_test`"):
            render_study(_empty(), format, "best_on_test")


def test_markdown_is_a_table_with_bold_and_a_caption():
    lines = render_study(_result(shift=-1.0), "md").splitlines()
    table = [line for line in lines if line.startswith("|")]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table]
    assert len(table) == 4 and len({len(row) for row in cells}) == 1
    assert cells[0][1].strip() == "BASELINE · runs"
    assert cells[2][4].strip().startswith(r"**−0.86 \[")
    assert lines[0] == "**Mine**" and lines[-1].startswith("Test accuracy (%) after the last epoch")


def test_markdown_escapes_what_would_break_the_table():
    text = render_study(_result(nets=(NASTY, "B"), title=NASTY), "md")
    row = next(line for line in text.splitlines() if r"a\_b" in line and line.startswith("|"))
    assert r"\<b\>\|\*" in row
    assert len(re.split(r"(?<!\\)\|", row)) == 8  # six columns


def test_latex_is_booktabs_with_groups():
    text = render_study(_result(shift=-1.0), "latex")
    for part in (
        r"\toprule",
        r"\midrule",
        r"\bottomrule",
        r"\multicolumn{4}{c}{RALR}",
        r"\label{tab:mine-1}",
        r"\footnotesize",
    ):
        assert text.count(part) == 1
    # one column of labels, the runs alone, then runs, paper, difference and p
    assert r"\begin{tabular}{lrrrrr}" in text and r"\cmidrule(lr){2-2} \cmidrule(lr){3-6}" in text
    assert re.search(r"\\bfseries ?\$-\$0\.86 ", text) and r"70.15 $\pm$ 0.13" in text
    assert r"\multirow" not in text and r"\cline" not in text


@pytest.mark.parametrize("methods", [2, 4])
def test_latex_compiles_as_far_as_characters_can_tell(methods):
    result = _result(
        methods=methods, nets=(NASTY, "[1, 2]"), title=NASTY, states={(0, 0): "failed", (1, 0): "diverged"}
    )
    text = render_study(result, "latex")
    assert text.isascii(), sorted({c for c in text if not c.isascii()})
    body = re.sub(r"\\[\\&%$#_{}]", "", text)  # escaped characters
    assert not re.search(r"[#%~^]", re.sub(r"\^\\dagger", "", body)) and body.count("$") % 2 == 0
    assert body.count("{") == body.count("}")
    # a row that starts with a bracket would be read as the argument of the line break before it
    assert not re.search(r"\\\\\s*\[", text)
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    widths = {row.replace(r"\&", "").count("&") for row in rows if r"\multicolumn" not in row}
    assert len(widths) == 1


class _Cells(html.parser.HTMLParser):
    """Text of each cell and the caption."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tags, self.cells, self.caption = "", [], [], ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open = tag if tag in ("td", "th", "caption") else self.open
        self.tags.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self.open = "" if tag == self.open else self.open

    def handle_data(self, data: str) -> None:
        if self.open in ("td", "th"):
            self.cells[-1] += data
        elif self.open == "caption":
            self.caption += data


def test_html_is_a_page_with_every_text_escaped():
    page = render_study(_result(nets=(NASTY, "B"), title=NASTY, shift=-1.0), "html")
    found = _Cells(page)
    assert NASTY in found.cells and found.caption.startswith(NASTY)
    assert found.tags.count("b") == 1  # the title's own, not the label's
    assert page.startswith("<!DOCTYPE html>") and 'charset="utf-8"' in page
    assert "font-weight: bold" in page and "not compared" not in page
    assert not re.search(r"https?://|<script", page)


def test_csv_reads_back_to_every_number():
    result = _result(shift=-1.0, states={(2, 1): "failed"})
    rows = list(csv.DictReader(io.StringIO(render_study(result, "csv"))))
    assert len(rows) == 4 * len(METRICS)
    last = [row for row in rows if row["metric"] == "last"]
    seeds = [[float(row[f"seed{k}"] or "nan") for k in range(4)] for row in last]
    assert np.array_equal(seeds, result.values[:, :, 0], equal_nan=True)
    for name in ("p", "holm_p", "paired_p", "permutation_p", "permutation_floor", "g", "correlation", "df"):
        for cell in (1, 3):
            assert float(last[cell][name]) == result.comparison(cell, "last")[name], name
        assert last[0][name] == ""
    assert last[1]["paper mean"] == "92.1" and last[2]["seed1 state"] == "failed"
    assert [row["n"] for row in last] == ["4", "4", "3", "4"]


def test_csv_of_a_label_that_is_a_formula_is_text_and_reads_back():
    text = render_study(_result(nets=("=cmd|' /C calc'!A0", "@SUM(1)"), title="Mine"), "csv")
    assert {row["network"] for row in csv.DictReader(io.StringIO(text))} == {
        "'=cmd|' /C calc'!A0",
        "'@SUM(1)",
    }
    assert {row["network"] for row in read_table(text)} == {"=cmd|' /C calc'!A0", "@SUM(1)"}


def test_csv_has_all_metrics_and_the_tables_one():
    result = _result()
    assert render_study(result, "csv", "best") == render_study(result, "csv", "last")
    assert render_study(result, "md", "best") != render_study(result, "md", "last")
