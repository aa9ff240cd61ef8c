"""A study's table as Markdown, LaTeX, HTML or CSV, all from one frame."""

from __future__ import annotations

import html
import itertools
import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from ralr_viz.errors import UnknownNameError
from ralr_viz.foreign import one_line
from ralr_viz.results.latex import escape_latex
from ralr_viz.results.study import StudyResult, metric_index
from ralr_viz.results.study_caption import describe_study
from ralr_viz.results.table_csv import write_table

FORMATS = ("md", "latex", "csv", "html")

_RUNS, _WITHOUT, _PAPER, _DIFFERENCE, _P = "runs", "without †", "paper", "difference [95 %]", "p (Holm)"
_MOST_COLUMNS = 6  # beside the labels: in LaTeX's footnotesize they fit an article's text block
_BOLD = "font-weight: bold;"
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|])")


class StudyFrame(NamedTuple):
    """A table as text.

    Attributes:
        cells: Columns by the labels of the column axes and what stands there; first those of the rows' labels.
        bold: Of the same shape, bool: where the data speak against no difference.
        num_labels: Columns that hold the rows' labels.
    """

    cells: pd.DataFrame
    bold: pd.DataFrame
    num_labels: int


def render_study(result: StudyResult, format: str = "md", metric: str = "last") -> str:
    """The table as text, with a caption that says what may be read from it.

    Args:
        result: Empty, partial or full.
        format: ``md``, ``latex`` (booktabs, no other package), ``html`` (a page) or ``csv`` (a line for each
            cell and each metric, with every number at full precision).
        metric: Of `METRICS`; the CSV has all.

    Raises:
        UnknownNameError: No such format or metric.
    """
    if format not in FORMATS:
        raise UnknownNameError("format", format, FORMATS)
    metric_index(metric)
    if format == "csv":
        return write_table(result.records())
    frame, caption = study_frame(result, metric), describe_study(result, metric)
    render = {"md": _markdown, "latex": _latex, "html": _html}[format]
    return render(result, frame, " ".join(caption))


def study_frame(result: StudyResult, metric: str = "last") -> StudyFrame:
    """The table that all formats show.

    A cell is ``92.13 ± 0.30``, ``92.1 ± 0.3 (3/4)`` while runs are missing, ``–`` where none has finished, with
    ``†`` where one diverged or failed. Columns that would be empty are left out. Where more than six would
    be left, the labels of the column axes become rows: a page has no room for more.

    Args:
        result: Of any state.
        metric: Of `METRICS`.
    """
    frame = _lay_out(result, metric, result.rows, result.columns)
    if len(frame.cells.columns) - frame.num_labels > _MOST_COLUMNS:
        return _lay_out(result, metric, result.rows + result.columns, ())
    return frame


def _lay_out(
    result: StudyResult, metric: str, row_axes: tuple[str, ...], column_axes: tuple[str, ...]
) -> StudyFrame:
    first = dict.fromkeys(result.label(c, result.rows) for c in range(len(result.labels)))
    order = {label: i for i, label in enumerate(first)}
    cells = sorted(range(len(result.labels)), key=lambda c: order[result.label(c, result.rows)])
    rows = list(dict.fromkeys(result.label(c, row_axes) for c in cells))
    groups = list(dict.fromkeys(result.label(c, column_axes) for c in range(len(result.labels))))
    heads = [(*group, kind) for group in groups for kind in (_RUNS, _WITHOUT, _PAPER, _DIFFERENCE, _P)]
    texts, bold = {}, {}
    for c in cells:
        for kind, (text, strong) in _entries(result, c, metric).items():
            place = result.label(c, row_axes), (*result.label(c, column_axes), kind)
            texts[place], bold[place] = text, strong
    used = {head for _, head in texts}
    shown = [head for head in heads if head in used]
    labels = [("",) * len(column_axes) + (axis,) for axis in row_axes]
    columns = _header([_one_lines(column) for column in labels + shown])
    return StudyFrame(
        pd.DataFrame(
            [[*_one_lines(row), *(texts.get((row, h), "") for h in shown)] for row in rows], columns=columns
        ),
        pd.DataFrame(
            [[False] * len(labels) + [bold.get((row, h), False) for h in shown] for row in rows],
            columns=columns,
        ),
        len(labels),
    )


def _one_lines(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(one_line(text, None) for text in texts)


def _header(columns: Sequence[tuple[str, ...]]) -> pd.Index:
    if all(len(column) == 1 for column in columns):  # pandas would show an index of one level as tuples
        return pd.Index([text for (text,) in columns])
    return pd.MultiIndex.from_tuples(columns)


def _levels(frame: pd.DataFrame) -> list[tuple[str, ...]]:
    """The header of each column, inverse of `_header`."""
    return [column if isinstance(column, tuple) else (column,) for column in frame.columns]


def _entries(result: StudyResult, cell: int, metric: str) -> dict[str, tuple[str, bool]]:
    entries = {_RUNS: (_runs_text(result, cell, metric), False)}
    if result.scored_diverged[cell].any():
        n, mean, std = result.without_diverged(cell, metric)
        entries[_WITHOUT] = (f"{_plus_minus(mean, std, 2)} ({n}/{result.planned(cell)})" if n else "–", False)
    mean, std = result.paper[cell].tolist()
    if math.isfinite(mean):
        entries[_PAPER] = (_plus_minus(mean, std, 2), False)
    if result.references[cell] >= 0:
        found = result.comparison(cell, metric)
        text, p = _difference_text(found), _p_text(found)
        if result.withheld[cell]:
            text, p = "not compared †", ""
        entries[_DIFFERENCE] = (text, result.excludes_zero(cell, metric))
        entries[_P] = (p, result.survives_holm(cell, metric))
    return entries


def _runs_text(result: StudyResult, cell: int, metric: str) -> str:
    found, seeds = result.summary(cell, metric), result.planned(cell)
    n = int(found["n"])
    mark = "†" if result.count(cell, "diverged") + result.count(cell, "failed") else ""
    if not n:
        return f"– (0/{seeds})†" if mark else "–"
    if n == seeds:
        return _plus_minus(found["mean"], found["std"], 2) + mark
    return f"{_plus_minus(found['mean'], found['std'], 1)} ({n}/{seeds}){mark}"


def _plus_minus(mean: float, std: float, digits: int) -> str:
    return f"{mean:.{digits}f} ± {std:.{digits}f}" if math.isfinite(std) else f"{mean:.{digits}f}"


def _difference_text(found: dict[str, float]) -> str:
    if not math.isfinite(found["difference"]):
        return "–"
    text = _signed(found["difference"])
    return (
        f"{text} [{_signed(found['low'])}, {_signed(found['high'])}]" if math.isfinite(found["low"]) else text
    )


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _p_text(found: dict[str, float]) -> str:
    p, holm = found["p"], found["holm_p"]
    return f"{_p(p)} ({_p(holm)})" if math.isfinite(p) else "–"


def _p(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _markdown(result: StudyResult, frame: StudyFrame, caption: str) -> str:
    cells = frame.cells.map(escape_markdown)
    cells = cells.where(~frame.bold, "**" + cells + "**")
    header = [escape_markdown(" · ".join(filter(None, levels))) for levels in _levels(cells)]
    rules = ["---"] * frame.num_labels + ["---:"] * (len(header) - frame.num_labels)
    table = "\n".join(f"| {' | '.join(row)} |" for row in (header, rules, *cells.to_numpy().tolist()))
    return f"**{escape_markdown(result.title)}**\n\n{table}\n\n{escape_markdown(caption)}\n"


def escape_markdown(text: str) -> str:
    """One line that Markdown shows as it is."""
    return _MARKDOWN.sub(r"\\\1", one_line(" ".join(text.split()), None))


def _latex(result: StudyResult, frame: StudyFrame, caption: str) -> str:
    cells = frame.cells.map(escape_latex)
    cells.columns = _header([tuple(map(escape_latex, levels)) for levels in _levels(cells)])
    text = _styled(cells, frame).to_latex(
        hrules=True,
        convert_css=True,
        multicol_align="c",
        column_format="l" * frame.num_labels + "r" * (len(cells.columns) - frame.num_labels),
        position="t",
        position_float="centering",
        caption=f"{escape_latex(result.title)}. {escape_latex(caption)}",
        label=f"tab:{re.sub(r'[^A-Za-z0-9-]', '-', result.name)}",
    )
    text = text.replace("\\begin{tabular}", "\\footnotesize\n\\begin{tabular}", 1)
    if not (rules := _column_rules(frame)):
        return text
    begin, header, rest = text.partition("\\toprule\n")
    first, newline, rest = rest.partition("\n")
    return f"{begin}{header}{first}\n{rules}{newline}{rest}"


def _column_rules(frame: StudyFrame) -> str:
    """A rule below each group of columns, which the Styler does not draw."""
    levels, first, rules = _levels(frame.cells), frame.num_labels, []
    if len(levels[0]) < 2:
        return ""
    for _, group in itertools.groupby(levels[first:], key=lambda column: column[0]):
        last = first + len(list(group))
        rules.append(rf"\cmidrule(lr){{{first + 1}-{last}}}")
        first = last
    return " ".join(rules)


def escape_html(text: str) -> str:
    """One line that HTML shows as it is."""
    return html.escape(one_line(" ".join(text.split()), None))


def _html(result: StudyResult, frame: StudyFrame, caption: str) -> str:
    styler = _styled(frame.cells, frame).format(escape="html").format_index(escape="html", axis=1)
    styler = styler.set_uuid("study").set_caption(
        f"<b>{escape_html(result.title)}.</b> {escape_html(caption)}"
    )
    styles = [
        *_HTML_STYLES,
        {"selector": f"td:nth-child(-n + {frame.num_labels})", "props": "text-align: left;"},
    ]
    return styler.set_table_styles(styles).to_html(doctype_html=True, cell_ids=False)


def _styled(cells: pd.DataFrame, frame: StudyFrame) -> pd.io.formats.style.Styler:
    """Bold where the frame says so, and a label only where it changes."""
    labels = cells.iloc[:, : frame.num_labels]
    changes = (
        (labels != labels.shift()).T.cummax().T
    )  # an outer label that changes shows the inner ones again
    cells = pd.concat([labels.where(changes, ""), cells.iloc[:, frame.num_labels :]], axis=1)
    css = frame.bold.map(lambda strong: _BOLD if strong else "").set_axis(cells.columns, axis=1)
    return cells.style.hide(axis="index").apply(lambda _: css, axis=None)


_HTML_STYLES = [
    {"selector": "", "props": "border-collapse: collapse; font: 15px/1.4 sans-serif; margin: 2em;"},
    {
        "selector": "caption",
        "props": "caption-side: bottom; text-align: left; padding-top: 1em; color: #444;",
    },
    {"selector": "th, td", "props": "padding: .25em .8em; text-align: right; white-space: nowrap;"},
    {"selector": "thead th.col_heading", "props": "text-align: center;"},
    {"selector": "thead tr:last-child th, tbody tr:last-child td", "props": "border-bottom: 1px solid #444;"},
]
