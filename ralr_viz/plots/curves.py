"""Draw learning curves: the paper's Figure 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ralr_viz.plots.curve_ends import ENDS, draw_inset, write_ends
from ralr_viz.plots.fit_text import break_axis_name, measure_text
from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.letters import escape_labels
from ralr_viz.plots.style import (
    GREY,
    LEGEND_LINE,
    Look,
    legend_name,
    legend_text_size,
    method_looks,
    new_figure,
)
from ralr_viz.results.columns import BY_NAME, CURVES, SELECTING
from ralr_viz.results.curves import CurvesResult

_FINE = 0.4  # points: one run of several
_TRAINING = 0.7
_MANY_EPOCHS = 100  # from here on the wide lines are narrower, or neighbouring epochs would run together
_NARROW = 5.0  # inches: below this width the panels stand one above another
_TALL = 1.45  # inches: longer names of scores, beside a panel, would run into its letter
_SPLIT_NAMES = {"validation": "validation", "test": "test", "": "evaluation"}
_BEST_NAMES = {name: BY_NAME[name].title.removesuffix(" loss") for name in SELECTING}
_BEST: dict[str, Any] = {"marker": "*", "ms": 6.5, "mec": "white", "mew": 0.5, "ls": ""}
_DIVERGED: dict[str, Any] = {"marker": "X", "ms": 5, "mec": "white", "mew": 0.5, "ls": ""}
_SCHEDULED: dict[str, Any] = {"color": "#bbbbbb", "lw": 2.2}


def draw_curves(result: CurvesResult, axes: Sequence[Axes] | None = None) -> Figure:
    """Draw loss, accuracy, learning rate and overfitting gap over the epochs.

    Of these, what was recorded: (a) running training loss (fine, pale) and loss on `CurvesResult.split` (wide); (b) accuracy on that
    split, a star at the best epoch of each method; (c) scheduled LR (grey) and LR in use, a dot at each amplified
    epoch; (d) `CurvesResult.gap`. The last values stand at the right, and the last third is drawn larger where there is
    room. Methods differ in colour and line style. Of several
    seeds each run is a fine line, their mean, as far as all of them measured, a wide one, and their standard
    deviation (n − 1) a band. A run that diverged ends in a cross.

    Args:
        result: What `compute_curves` returned.
        axes: Three axes to draw (a), (b) and (c) into, or four with (d); when left out, a figure of the style's
            width is made. On your own axes the methods get no legend; their lines are labelled for
            ``figure.legend()``.

    Returns:
        The figure.

    References:
        Figure 1.
    """
    looks = method_looks(result.group)
    draw = {"loss": _draw_loss, "score": _draw_accuracy, "rate": _draw_rate, "gap": _draw_gap}
    if axes is None:
        shown = dict(zip(_with_data(result), _new_panels(result, looks), strict=True))
    else:
        shown = dict(zip(draw, axes, strict=False))
    for letter, (name, panel) in zip("abcd", shown.items(), strict=False):
        draw[name](panel, result, looks)
        _finish_panel(panel, letter, result.epoch)
        if axes is not None:
            escape_labels(panel)
        elif name in ENDS:
            write_ends(panel, result, looks, name)
            draw_inset(panel, result)
    figure = next(iter(shown.values())).figure.figure
    if axes is None:
        add_foot(figure, result, curves_note(result))
    return figure


def curves_table(result: CurvesResult) -> list[dict[str, Any]]:
    """The drawn numbers, one row for each run and epoch (epochs that a run has not measured are left out)."""
    rows = []
    for i, run in enumerate(result.run):
        for j, epoch in enumerate(result.epoch):
            values = {name: float(getattr(result, name)[i, j]) for name in CURVES}
            if not np.isnan(list(values.values())).all():
                head: dict[str, Any] = {
                    "run": run,
                    "recipe": result.recipe[i],
                    "method": result.method[i],
                    "seed": result.seed[i],
                }
                best = bool(epoch == result.best_epoch[i])
                gap = float(result.gap[i, j])
                rows.append({**head, "epoch": int(epoch), **values, "gap": gap, "best": best})
    return rows


def curves_note(result: CurvesResult) -> str:
    """What the marks mean, and what the numbers are of."""
    several = len(result.run) > len(set(result.group))
    split = _SPLIT_NAMES[result.split]
    said = {
        "loss": f"running training loss, with augmentation (fine, pale), and loss on the {split} images (wide).",
        "score": f"{result.score_label} on these, a star at the best epoch of each.",
        "rate": "scheduled learning rate (grey) and the one in use, a dot at each amplified epoch.",
        "gap": f"overfitting gap, loss on the {split} images minus training loss in eval mode."
        + _describe_training_losses(result),
    }
    sentences = [
        *(
            f"({letter}) {said[name][:1].upper()}{said[name][1:]}"
            for letter, name in zip("abcd", _with_data(result), strict=False)
        ),
        "At the right: values of the last epoch; insets: the last third of the epochs.",
        "Fine lines: each run; wide: their mean; bands: ± one standard deviation (n − 1) over seeds."
        if several
        else "One run of each: no spread between trainings is shown.",
        "A cross ends a run that diverged." if "diverged" in result.status else "",
        *(f"{note.rstrip('.')}." for note in result.notes),
    ]
    return " ".join(filter(None, sentences))


def _describe_training_losses(result: CurvesResult) -> str:
    """What the gap must be read with: a run that underfits has less of it."""
    rows = result.summary()
    ends = []
    for group in dict.fromkeys(result.group):
        losses = [r["gap_train_loss"] for r, g in zip(rows, result.group, strict=True) if g == group]
        known = [loss for loss in losses if np.isfinite(loss)]
        ends += [f"{legend_name(group)} {np.mean(known):.2f}"] if known else []
    return f" It ends at a training loss of {', '.join(ends)}." if ends else ""


def _with_data(result: CurvesResult) -> list[str]:
    """Panels that there are numbers for; of nothing at all, the loss."""
    measured = {
        "loss": (result.loss, result.train_loss, result.train_loss_eval),
        "score": (result.acc,),
        "rate": (result.lr, result.base_lr),
        "gap": (result.gap,),
    }
    return [name for name, arrays in measured.items() if any(np.isfinite(a).any() for a in arrays)] or [
        "loss"
    ]


def _new_panels(result: CurvesResult, looks: Mapping[str, Look]) -> list[Axes]:
    """As many panels as there is data for in a figure of their own, the methods' legend above them."""
    count, beside = len(_with_data(result)), mpl.rcParams["figure.figsize"][0] >= _NARROW
    rows, columns = ((2, 2) if count == 4 else (1, count)) if beside else (count, 1)
    figure = new_figure(0.4 + (1.9 if beside else 1.55) * rows)
    handles = []
    for group, (color, linestyle) in looks.items():
        count = result.group.count(group)
        label = legend_name(group) + (f" (mean ± SD of {count} runs)" if count > 1 else "")
        handles.append(Line2D([], [], color=color, ls=linestyle, lw=_wide(result), label=label))
    if len(result.run) > len(looks):
        handles.append(Line2D([], [], color=GREY, lw=_FINE, label="each run"))
    if "diverged" in result.status:
        handles.append(Line2D([], [], color=GREY, label="diverged", **_DIVERGED))
    size = legend_text_size()
    longest = max(measure_text(str(handle.get_label()), size) for handle in handles)
    fitting = int(figure.get_figwidth() / (longest + LEGEND_LINE * size / 72))
    figure.legend(handles=handles, loc="outside upper center", ncols=min(max(fitting, 1), len(handles)))
    return list(figure.subplots(rows, columns, squeeze=False).flat)


def _finish_panel(panel: Axes, letter: str, epoch: np.ndarray) -> None:
    panel.set_title(f"({letter})", fontweight="bold", x=-0.1)  # left of the legend
    panel.set_xlabel("epoch")
    margin = 0.02 * (epoch[-1] - epoch[0]) or 0.5
    panel.set_xlim(epoch[0] - margin, epoch[-1] + margin)
    panel.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    if not panel.lines:
        panel.text(0.5, 0.5, "not recorded", transform=panel.transAxes, ha="center", color=GREY)
        panel.set_yticks([])
        panel.grid(False)
        return
    # above the panel, never over the data: one entry for each kind of line or mark that is drawn in grey
    kinds = [line for line in panel.lines if str(line.get_gid()).startswith("kind:")]
    panel.legend(
        handles=kinds,
        loc="lower right",
        bbox_to_anchor=(1.02, 1.0),
        ncols=len(kinds),
        borderpad=0,
        borderaxespad=0.4,
        handlelength=1.2,
        handletextpad=0.4,
        columnspacing=0.8,
    )


def _draw_loss(panel: Axes, result: CurvesResult, looks: Mapping[str, Look]) -> None:
    training = result.train_loss if np.isfinite(result.train_loss).any() else result.train_loss_eval
    pale = {group: Look(_pale(look.color), look.linestyle) for group, look in looks.items()}
    if _draw_runs(panel, result, training, pale, name="train_loss", width=_TRAINING):
        _add_kind(panel, "training", color=_pale(GREY), lw=_TRAINING)
    if _draw_runs(panel, result, result.loss, looks, name="loss", width=_wide(result)):
        _add_kind(panel, _SPLIT_NAMES[result.split], lw=_wide(result))
    panel.set_ylabel("loss")
    _cut_explosion(panel, np.concatenate([training, result.loss]))
    _mark_diverged(panel, result, result.loss if np.isfinite(result.loss).any() else training, looks)


def _draw_accuracy(panel: Axes, result: CurvesResult, looks: Mapping[str, Look]) -> None:
    _draw_runs(panel, result, result.acc, looks, name="acc", width=_wide(result))
    name = f"{_SPLIT_NAMES[result.split]} {result.score_label}"
    panel.set_ylabel(break_axis_name(name, _TALL))
    marked = []
    for group in looks:
        rows = [i for i, other in enumerate(result.group) if other == group and result.best_by[i]]
        mean = result.acc[rows].mean(axis=0) if rows else np.zeros(0)
        at = _best_place(result, rows) if rows else -1
        if at >= 0 and np.isfinite(mean[at]):
            name = result.run[rows[0]] if len(rows) == 1 else f"mean of {group}"
            panel.plot(
                [result.epoch[at]],
                [mean[at]],
                color=looks[group].color,
                gid=f"best:{name}",
                zorder=4,
                **_BEST,
            )
            marked += [_BEST_NAMES[result.best_by[i]] for i in rows]
    if marked:
        rule = f"lowest {marked[0]} loss" if len(set(marked)) == 1 else "best epoch"
        _add_kind(panel, rule, **_BEST)
    _mark_diverged(panel, result, result.acc, looks)


def _draw_rate(panel: Axes, result: CurvesResult, looks: Mapping[str, Look]) -> None:
    for base in np.unique(result.base_lr[np.isfinite(result.base_lr).any(axis=1)], axis=0):
        panel.plot(result.epoch, base, drawstyle="steps-mid", gid="base_lr", zorder=1.5, **_SCHEDULED)
    if panel.lines:
        _add_kind(panel, "scheduled", **_SCHEDULED)
    look: dict[str, Any] = {"width": _wide(result) - 0.4, "drawstyle": "steps-mid", "band": False}
    _draw_runs(panel, result, result.lr, looks, name="lr", **look)
    size = float(np.clip(90 / len(result.epoch), 1.6, 3.5))
    for i, group in enumerate(result.group):
        at = result.amplified[i] & np.isfinite(result.lr[i])
        if at.any():
            x, y, color = result.epoch[at], result.lr[i, at], looks[group].color
            panel.plot(x, y, color=color, gid=f"amplified:{result.run[i]}", ls="", marker="o", ms=size, mew=0)
    if result.amplified.any():
        lowered = np.any(result.factor[result.amplified] < 1)
        _add_kind(panel, "multiplied" if lowered else "amplified", ls="", marker="o", ms=3, mew=0)
    panel.set_ylabel("learning rate")
    if np.any(result.lr > 0):
        panel.set_yscale("log")


def _draw_gap(panel: Axes, result: CurvesResult, looks: Mapping[str, Look]) -> None:
    if _draw_runs(panel, result, result.gap, looks, name="gap", width=_wide(result)):
        _add_kind(panel, f"{_SPLIT_NAMES[result.split]} − training loss", lw=_wide(result))
        panel.axhline(0, color=GREY, lw=0.6, zorder=1.5)
    panel.set_ylabel(result.in_unit("overfitting gap"))
    if np.isfinite(result.gap).any():
        _mark_diverged(panel, result, result.gap, looks)


def _best_place(result: CurvesResult, rows: list[int]) -> int:
    """Where in the epochs a run is best, or the mean of several by what selected them; −1 where nothing did."""
    if len(rows) == 1:
        found = np.flatnonzero(result.epoch == result.best_epoch[rows[0]])
        return int(found[0]) if found.size else -1
    selecting = getattr(result, result.best_by[rows[0]])[rows].mean(axis=0)
    if not np.isfinite(selecting).any():
        return -1
    return int(
        np.nanargmin(selecting) if result.best_by[rows[0]].endswith("loss") else np.nanargmax(selecting)
    )


def _draw_runs(
    panel: Axes,
    result: CurvesResult,
    values: np.ndarray,
    looks: Mapping[str, Look],
    *,
    name: str,
    width: float,
    drawstyle: str = "default",
    band: bool = True,
) -> bool:
    """Every run of a group as a fine line, their mean as a wide one and, if asked, their SD as a band.

    A run that is alone is wide.

    Returns:
        Whether anything was measured.
    """

    def plot(y: np.ndarray, gid: str, **look: Any) -> None:
        measured = np.isfinite(y)  # a quantity that is measured every few epochs is still one line
        dot = "o" if measured.sum() == 1 else ""  # a line of one point cannot be seen
        look |= {"marker": dot, "ms": 3, "gid": f"{name}:{gid}", "drawstyle": drawstyle}
        panel.plot(result.epoch[measured], y[measured], **look)

    drawn = False
    for group, (color, linestyle) in looks.items():
        rows = [i for i, other in enumerate(result.group) if other == group and np.isfinite(values[i]).any()]
        wide = {"color": color, "ls": linestyle, "lw": width, "label": legend_name(group)}
        if len(rows) == 1:
            plot(values[rows[0]], result.run[rows[0]], **wide)
        elif rows:
            for i in rows:
                plot(values[i], result.run[i], color=color, lw=_FINE, alpha=0.5, zorder=1.8)
            mean = values[rows].mean(axis=0)
            plot(mean, f"mean of {group}", **wide)
            if band:
                common, spread = np.isfinite(mean), values[rows].std(axis=0, ddof=1)
                low, high = (mean - spread)[common], (mean + spread)[common]
                look: dict[str, Any] = {
                    "color": color,
                    "alpha": 0.18,
                    "lw": 0,
                    "zorder": 1.7,
                    "gid": f"{name}:band of {group}",
                }
                panel.fill_between(result.epoch[common], low, high, **look)
        drawn |= bool(rows)
    return drawn


def _add_kind(panel: Axes, label: str, **look: Any) -> None:
    """An entry of the panel's legend: an empty line in grey."""
    panel.plot([], [], gid=f"kind:{label}", label=label, **{"color": GREY, **look})


def _cut_explosion(panel: Axes, losses: np.ndarray) -> None:
    """Cut the axis off above a loss that explodes, which would flatten all others."""
    finite = losses[np.isfinite(losses)]
    if not finite.size:
        return
    first = [row[np.isfinite(row)][0] for row in losses if np.isfinite(row).any()]
    top = max(5 * np.percentile(finite, 75), 2 * np.median(first))
    if finite.max() > top:
        panel.set_ylim(finite.min() - 0.05 * (top - finite.min()), top)
        panel.set_ylabel("loss (axis cut)")


def _mark_diverged(panel: Axes, result: CurvesResult, values: np.ndarray, looks: Mapping[str, Look]) -> None:
    for i, status in enumerate(result.status):
        measured = np.flatnonzero(np.isfinite(values[i]))
        if status == "diverged" and measured.size:
            last = measured[-1]
            y = min(values[i, last], panel.get_ylim()[1])
            look = {"color": looks[result.group[i]].color, "zorder": 5, "clip_on": False, **_DIVERGED}
            panel.plot(result.epoch[last], y, gid=f"diverged:{result.run[i]}", **look)


def _wide(result: CurvesResult) -> float:
    """Points: the mean of several runs, or a run that is alone."""
    return 1.3 if len(result.epoch) < _MANY_EPOCHS else 0.9


def _pale(color: str) -> str:
    red, green, blue = to_rgb(color)
    return to_hex(((1 + red) / 2, (1 + green) / 2, (1 + blue) / 2))
