"""A study that decides as Markdown, LaTeX, HTML or CSV: its rule, its runs and, when all are there, its verdict."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from ralr_viz.errors import UnknownNameError
from ralr_viz.results.decision import ESTIMATE, DecisionResult
from ralr_viz.results.decision_caption import (
    describe_decision,
    describe_progress,
    describe_rule,
    describe_verdict,
    signed,
    with_interval,
)
from ralr_viz.results.latex import escape_latex
from ralr_viz.results.table_csv import write_table
from ralr_viz.study.render import FORMATS, escape_html, escape_markdown


class _Section(NamedTuple):
    """A heading, sentences below it and a table, which may be empty."""

    heading: str
    sentences: list[str]
    table: pd.DataFrame


def render_decision(result: DecisionResult, format: str = "md") -> str:
    """The rule, the progress, every run and, when nothing is withheld, tests and verdict, as text.

    Args:
        result: Of any state.
        format: ``md``, ``latex`` (booktabs), ``html`` (a page) or ``csv`` (a line for each run, test and exploratory
            difference, with every number at full precision).

    Raises:
        UnknownNameError: No such format.
    """
    if format not in FORMATS:
        raise UnknownNameError("format", format, FORMATS)
    if format == "csv":
        return write_table(result.records())
    return {"md": _markdown, "latex": _latex, "html": _html}[format](result, _sections(result))


def _sections(result: DecisionResult) -> list[_Section]:
    sections = [
        _Section("Rule, written before the first run", describe_rule(result), pd.DataFrame()),
        _Section(
            "Runs that decide", [*describe_progress(result), _explain(result)], _runs(result, result.main)
        ),
    ]
    if result.complete:
        sections.append(_Section("Verdict", describe_verdict(result), _tests(result)))
    if (~result.main).any():
        said = "Exploratory: intervals only, over few seeds; nothing is concluded from them."
        sections.append(_Section("Exploratory runs", [said], _runs(result, ~result.main)))
    if result.complete and np.isfinite(result.explored).any():
        sections.append(_Section("Exploratory differences", [], _explored(result)))
    rest = [s for s in describe_decision(result) if s not in describe_verdict(result)]
    return [*sections, _Section("How they were trained", rest, pd.DataFrame())]


def _explain(result: DecisionResult) -> str:
    what = "accuracy, official test images in brackets" if result.complete else "state"
    return f"Each run: {what}; then the factor of its first and of its last epoch."


def _runs(result: DecisionResult, rows: np.ndarray) -> pd.DataFrame:
    """A row for each seed, a column for each arm."""
    arms = np.flatnonzero(rows).tolist()
    table = [
        [str(seed), *(_run(result, arm, s) for arm in arms)]
        for s, seed in enumerate(result.seeds)
        if result.planned[arms, s].any()
    ]
    if result.complete:
        table.append(["mean ± SD", *(_mean(result.value("outcome")[arm]) for arm in arms)])
    return pd.DataFrame(table, columns=["seed", *(result.arms[arm] for arm in arms)])


def _run(result: DecisionResult, arm: int, s: int) -> str:
    if not result.planned[arm, s]:
        return ""
    state, (first, last) = (
        str(result.states[arm, s]),
        (result.value(n)[arm, s] for n in ("first_factor", "last_factor")),
    )
    text = state
    if result.complete and result.done[arm, s]:
        text = f"{result.value('outcome')[arm, s]:.2f} ({result.value('official')[arm, s]:.2f})"
        text += " diverged" * (state == "diverged") + " collapsed" * bool(result.collapsed[arm, s])
    return f"{text}; ×{first:.2f}, ×{last:.2f}" if math.isfinite(first) else text


def _mean(values: np.ndarray) -> str:
    found = values[np.isfinite(values)]
    if not len(found):
        return "–"
    return f"{found.mean():.2f}" + (f" ± {found.std(ddof=1):.2f}" if len(found) > 1 else "")


def _tests(result: DecisionResult) -> pd.DataFrame:
    rows = []
    for test, family in enumerate(result.families):
        found = result.estimate(test)
        rows.append(
            {
                "difference (points)": result.contrast(test),
                "family": f"{family}, {result.levels[test]:g}",
                "mean [95 %]": with_interval(found["mean"], found["low"], found["high"]),
                "Hodges–Lehmann [95 %]": with_interval(
                    found["hodges_lehmann"], found["hl_low"], found["hl_high"]
                ),
                "p": f"{found['p']:.4f}",
                "answer": result.answers[test],
                "90 % interval": f"[{signed(found['narrow_low'])}, {signed(found['narrow_high'])}]",
                f"within ± {result.band:.2f}": "yes" if result.equivalent[test] else "no",
            }
        )
    return pd.DataFrame(rows)


def _explored(result: DecisionResult) -> pd.DataFrame:
    rows = []
    for arm in np.flatnonzero(np.isfinite(result.explored[:, 0])):
        found = dict(zip(ESTIMATE, result.explored[arm].tolist(), strict=True))
        interval = with_interval(found["mean"], found["low"], found["high"])
        name = f"{result.arms[arm]} − {result.arms[result.baseline]}"
        rows.append({"difference (points)": name, "pairs": f"{found['pairs']:.0f}", "mean [95 %]": interval})
    return pd.DataFrame(rows)


def _markdown(result: DecisionResult, sections: list[_Section]) -> str:
    parts = [f"**{escape_markdown(result.title)}**"]
    for heading, sentences, table in sections:
        parts += [f"**{heading}**", "\n".join(f"- {escape_markdown(s)}" for s in sentences)]
        if len(table):
            header = [escape_markdown(str(name)) for name in table.columns]
            body = table.map(escape_markdown).to_numpy().tolist()
            parts.append(
                "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *body))
            )
    return "\n\n".join(filter(None, parts)) + "\n"


def _latex(result: DecisionResult, sections: list[_Section]) -> str:
    parts = [rf"\textbf{{{escape_latex(result.title)}}}"]
    for heading, sentences, table in sections:
        parts.append(rf"\textbf{{{escape_latex(heading)}}}")
        if sentences:
            items = "\n".join(rf"\item {escape_latex(s)}" for s in sentences)
            parts.append(f"\\begin{{itemize}}\n{items}\n\\end{{itemize}}")
        if len(table):
            cells = _escaped(table, escape_latex).style.hide(axis="index")
            text = cells.to_latex(hrules=True, column_format="l" * len(table.columns))
            parts.append(f"{{\\footnotesize\n{text}}}")
    return "\n\n".join(parts) + "\n"


def _html(result: DecisionResult, sections: list[_Section]) -> str:
    body = [f"<h1>{escape_html(result.title)}</h1>"]
    for heading, sentences, table in sections:
        body.append(f"<h2>{escape_html(heading)}</h2>")
        if sentences:
            body.append("<ul>" + "".join(f"<li>{escape_html(s)}</li>" for s in sentences) + "</ul>")
        if len(table):
            body.append(table.to_html(index=False, border=0))
    style = (
        "body { font: 15px/1.5 sans-serif; margin: 2em; max-width: 80em; } h1 { font-size: 1.3em; } h2 { font-size: 1.1em; }"
        " table { border-collapse: collapse; display: block; overflow-x: auto; }"
        " th, td { padding: .25em .8em; text-align: left; border-bottom: 1px solid #ccc; white-space: nowrap; }"
    )
    head = f'<meta charset="utf-8"><title>{escape_html(result.title)}</title><style>{style}</style>'
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n'
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _escaped(table: pd.DataFrame, escape: Callable[[str], str]) -> pd.DataFrame:
    cells = table.map(escape)
    cells.columns = [escape(str(name)) for name in table.columns]
    return cells
