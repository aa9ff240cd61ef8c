"""Claims and what was measured: one forest plot, a block a claim, in standardised units."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ralr_viz.plots.fit_text import fit_text, wrap_text
from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.measure_panels import is_wide, model_marks
from ralr_viz.plots.style import GREY, legend_name, legend_text_size, new_figure
from ralr_viz.results.why import CLAIMS, WhyResult

_ROW = 0.165  # inches of a difference
_TITLE = 1.7  # rows of a claim's name
_MOST_ROWS = 8
_FURTHEST = 8.0  # of the axis, in its units: what lies beyond is an arrow
_NAMES, _VERDICT = (1.55, 1.15), 1.35  # inches of the names, wide and narrow, and of the verdict beside
_CLAIMED = "#eeeeee"
_BEHIND: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
"""Of a text that zero's line runs through."""


def draw_why(result: WhyResult) -> Figure:
    """Draw a block for each primary claim that was measured, else for the first measures.

    A row of a block is a difference of two arms with its 95 % interval, over seeds where there are two or more (a dot for
    each), else over images or directions of this pair of checkpoints, in units of the spread between seeds or of the
    standard error, so that all blocks share an axis; a difference without an interval is written. The side of zero
    that is claimed is shaded and has an arrow; the verdict stands beside the block, on narrow pages below it.

    Args:
        result: Of any number of measures and seeds.

    Returns:
        A figure of the current style's width.
    """
    measured = [m for m in range(len(result.names)) if np.isfinite(result.differences[m, :, 0]).any()]
    claimed = [m for k in range(len(CLAIMS)) for m in result.measures_of(k) if m in measured]
    shown = claimed or measured[:_MOST_ROWS] or [0]
    below = 0.3 if is_wide() else 0.3 + max(_lines_below(result, m).count("\n") + 1 for m in shown)
    rows = _TITLE + len(result.comparisons) + below
    figure = new_figure(_ROW * rows * len(shown) + 0.75)
    panel = figure.subplots()
    limit = _limit(result, shown)
    names: list[tuple[float, str, bool]] = []
    for block, m in enumerate(shown):
        names += _draw_block(panel, result, m, block * rows, limit)
        if block:
            panel.axhline(block * rows - 0.75, color="#bbbbbb", lw=0.5)
    panel.set_yticks([y for y, _, _ in names], [name for _, name, _ in names])
    for label, (_, _, bold) in zip(panel.get_yticklabels(), names, strict=True):
        label.set_fontweight("bold" if bold else "normal")
        label.set_linespacing(0.95)
    panel.tick_params(axis="y", length=0)
    panel.grid(False, axis="y")
    panel.axvline(0, color=GREY, lw=0.6, zorder=1.5)
    panel.set_ylim(rows * len(shown) - 0.7, -0.8)
    panel.set_xlim(-limit, limit)
    panel.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    unit = "standard deviations between seeds" if len(result.seeds) > 1 else "standard errors"
    panel.set_xlabel(f"difference ({unit})")
    handles = [Line2D([], [], color=GREY, marker="o", ms=3.5, lw=1.2, label="mean, 95 % interval")]
    if len(result.seeds) > 1:
        handles.append(Line2D([], [], color=GREY, marker="o", ms=2, alpha=0.6, lw=0, label="a seed"))
    handles.append(Line2D([], [], color=_CLAIMED, lw=5, label="as claimed"))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    add_foot(figure, result, why_note(result, claimed, shown))
    return figure


def why_table(result: WhyResult) -> list[dict[str, Any]]:
    """A row for each measure: its claim, the arms, the differences and what the tests say."""
    return [_row(result, m) for m in range(len(result.names))]


def _row(result: WhyResult, m: int) -> dict[str, Any]:
    claim = result.claim_of(m)
    row: dict[str, Any] = {
        "claim": "" if claim is None else CLAIMS[claim].text,
        "verdict": "exploratory" if claim is None else result.verdicts[claim],
        "diagnostic": result.diagnostics[m],
        "measure": result.labels[m],
        "name": result.names[m],
        "unit": result.units[m],
        "seeds": len(result.seeds),
    }
    for arm, values in zip(result.arms, result.values[m], strict=True):
        row[arm] = float(values.mean())
    for c, comparison in enumerate(result.comparisons):
        mean, low, high, over = result.interval(m, c)
        row |= {comparison: mean, f"{comparison} low": low, f"{comparison} high": high}
        row |= {f"{comparison} interval over": over, f"{comparison} p": float(result.p[m, c])}
        row |= {f"{comparison} sign-flip p": float(result.sign_flip_p[m, c])}
        ends = result.bootstrap[m, c].tolist()
        row |= dict(zip((f"{comparison} bootstrap low", f"{comparison} bootstrap high"), ends, strict=True))
    row["sign-flip floor"] = result.sign_flip_floor
    row["Holm p"] = None if claim is None else float(result.corrected_p[claim])
    for arm, values in zip(result.arms, result.values[m], strict=True):
        for seed, value in zip(result.seeds, values, strict=True):
            row[f"{arm} seed{seed}"] = float(value)
    return row


def _draw_block(
    panel: Axes, result: WhyResult, m: int, top: float, limit: float
) -> list[tuple[float, str, bool]]:
    """One measure; where its names stand, and which of them is bold."""
    size = legend_text_size()
    room = _NAMES[0 if is_wide() else 1]
    count, scale, claim = len(result.comparisons), result.scale(m), result.claim_of(m)
    names = [(top + 0.15, wrap_text(_title(result, m), size, room, lines=2, bold=True), True)]
    rows = top + _TITLE + np.arange(count)
    if claim is not None:
        sign = CLAIMS[claim].sign
        panel.fill_between(
            [0, sign * limit], top - 0.6, rows[-1] + 0.5, color=_CLAIMED, lw=0, zorder=0.5, gid=f"claimed:{m}"
        )
        arrow = {"arrowstyle": "-|>", "color": GREY, "lw": 0.8, "shrinkA": 0, "shrinkB": 0}
        panel.annotate("", (sign * 0.3 * limit, top), (0, top), arrowprops=arrow, gid=f"arrow:{m}")
    for c, y in enumerate(rows):
        names.append((float(y), _comparison_name(result, c), False))
        _draw_difference(panel, result, m, c, float(y), scale, limit)
    verdict = _verdict(result, m)
    if is_wide():
        lines = wrap_text(verdict, size, _VERDICT, lines=4)
        panel.annotate(
            lines, (1, (top + rows[-1]) / 2), (6, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
            va="center", size=size, annotation_clip=False, gid=f"verdict:{m}",
        )  # fmt: skip
    else:
        panel.text(
            0, rows[-1] + 0.5, _lines_below(result, m), ha="center", va="top", size=size, bbox=_BEHIND, gid=f"verdict:{m}"
        )  # fmt: skip
    return names


def _draw_difference(
    panel: Axes, result: WhyResult, m: int, c: int, y: float, scale: float, limit: float
) -> None:
    later, earlier = _arms_of(result)[c]
    color, marker = model_marks([legend_name(arm) for arm in result.arms])[legend_name(result.arms[later])]
    mean, low, high, _ = result.interval(m, c)
    if not np.isfinite(scale) or not np.isfinite(low):
        unit = f" {result.units[m]}" if result.units[m] else ""
        text = f"{mean:+.3g}{unit}, no interval".replace("-", "−") if np.isfinite(mean) else "not measured"
        panel.text(
            0, y, text, ha="center", va="center", size=6.5, color=GREY, bbox=_BEHIND, gid=f"written:{m}:{c}"
        )
        return
    each = (result.values[m, later] - result.values[m, earlier]) / scale
    if len(each) > 1:
        near = each[np.abs(each) < limit]
        panel.plot(
            near, np.full(len(near), y + 0.28), "o", ms=2, mew=0, color=color, alpha=0.6, gid=f"seeds:{m}:{c}"
        )
    ends = np.clip([low / scale, high / scale], -limit, limit)
    panel.plot(ends, [y, y], color=color, lw=1.2, solid_capstyle="butt", gid=f"interval:{m}:{c}")
    for end, whole, arrow in zip(ends, (low, high), "<>", strict=True):
        if end != whole / scale:
            panel.plot([end], [y], arrow, ms=3.5, mew=0, color=color, clip_on=False, gid=f"cut:{m}:{c}")
    if abs(mean / scale) < limit:
        panel.plot([mean / scale], [y], marker, ms=4, mew=0, color=color, gid=f"difference:{m}:{c}")


def _limit(result: WhyResult, shown: list[int]) -> float:
    """Of the axis, in both directions: around all intervals within `_FURTHEST`."""
    ends = [0.0]
    for m in shown:
        for c in range(len(result.comparisons)):
            _, low, high, _ = result.interval(m, c)
            ends += [abs(low / result.scale(m)), abs(high / result.scale(m))]
    known = np.array(ends)[np.isfinite(ends)]
    return float(min(1.06 * known.max(), _FURTHEST)) or 1.0


def _title(result: WhyResult, m: int) -> str:
    claim = result.claim_of(m)
    if claim is None:
        return result.labels[m]
    several = len(result.measures_of(claim)) > 1
    return f"{CLAIMS[claim].text}: {result.labels[m]}" if several else CLAIMS[claim].text


def _verdict(result: WhyResult, m: int) -> str:
    """In few words: of which checkpoints, and that one seed tests nothing, stands in the caption."""
    claim = result.claim_of(m)
    if claim is None:
        return "exploratory"
    return result.verdicts[claim].split("; ", 1)[-1].removeprefix("these checkpoints: ")


def _lines_below(result: WhyResult, m: int) -> str:
    """The verdict on a narrow page, where it stands below its block."""
    width = mpl.rcParams["figure.figsize"][0] - _NAMES[1] - 0.25
    return wrap_text(_verdict(result, m), legend_text_size(), width, lines=2)


def _arms_of(result: WhyResult) -> tuple[tuple[int, int], ...]:
    """Later and earlier arm of each comparison of `COMPARISONS`."""
    return ((1, 0), (1, 2), (2, 0))[: len(result.comparisons)]


def _comparison_name(result: WhyResult, c: int) -> str:
    later, earlier = _arms_of(result)[c]
    return f"{_short(result.arms[later])} − {_short(result.arms[earlier])}"


def _short(arm: str) -> str:
    return fit_text(legend_name(arm), legend_text_size(), 0.68 if is_wide() else 0.5)


def why_note(result: WhyResult, claimed: list[int], shown: list[int]) -> str:
    """What is drawn, in its own units, too, and what may be said of it."""
    n = len(result.seeds)
    seeds = (
        f"{n} training seeds ({', '.join(map(str, result.seeds))}), paired" if n > 1 else "One training seed"
    )
    over = (
        "over seeds (t)" if n > 1 else "over resampled images or directions of this one pair of checkpoints"
    )
    unit = (
        "the standard deviation between seeds of an arm"
        if n > 1
        else "the standard error of the first difference"
    )
    parts = [
        f"{seeds}. Differences over {unit}, so that all share an axis. Intervals: 95 %, {over}; an arrow where one goes on."
    ]
    parts.append(
        "Shaded, with an arrow: the direction of the claim. Dots: each seed."
        if n > 1
        else "Shaded, with an arrow: the direction of the claim."
    )
    parts += [_describe(result, m) for m in shown]
    if n < 3:
        parts.append(
            "They hold for these checkpoints only: one training of each says nothing of the method, and no "
            f"claim is testable at n = {n}."
        )
    elif claimed:
        parts.append("Verdict: paired t test, Holm over the four claims, and the sign against the control.")
        parts.append(f"The smallest possible exact sign-flip p is {result.sign_flip_floor:.3g}.")
    missing = [c.text for c, v in zip(CLAIMS, result.verdicts, strict=True) if v == "not measured"]
    if claimed and missing:
        parts.append(f"Not measured: {'; '.join(missing)}.")
    return " ".join([*parts, *(f"{note[:1].upper()}{note[1:].rstrip('.')}." for note in result.notes)])


def _describe(result: WhyResult, m: int) -> str:
    """The differences of a measure in its own unit."""
    unit = f" ({result.units[m]})" if result.units[m] else ""
    said = []
    for c in range(len(result.comparisons)):
        mean, low, high, _ = result.interval(m, c)
        ends = f" [{low:+.3g}, {high:+.3g}]" if np.isfinite(low) else ""
        said.append(f"{_comparison_name(result, c)} {mean:+.3g}{ends}".replace("-", "−"))
    claim = result.claim_of(m)
    verdict = "exploratory" if claim is None else result.verdicts[claim]
    return f"{_title(result, m)}: {result.labels[m]}{unit}, {', '.join(said)}; {verdict}."
