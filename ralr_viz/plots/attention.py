"""Cross-attention drawn: a row for each sentence, a map for each network, and the entropy of each layer."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure

from ralr_viz.plots.fit_text import fit_text
from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.measure_panels import add_model_legend, draw_measures, split_name
from ralr_viz.plots.style import legend_name, new_figure
from ralr_viz.results.attention import AttentionResult

_TITLE, _WORD = 7.5, 6.5  # points
_LINE = 0.088  # inches that a word needs across its line
_LONGEST_WORD = 0.75  # inches
_MAP, _CHANGE = "Blues", "RdBu_r"
_BAR = 0.55  # inches


def draw_attention(result: AttentionResult) -> Figure:
    """Draw the maps of each chosen sentence, of two networks their difference too; below, the entropies.

    Target words from top to bottom, source words from left to right; each row of a map sums to 1.

    Returns:
        A figure of the current style's width, as high as the sentences are long.
    """
    columns = len(result.models) + (len(result.models) == 2)
    width = mpl.rcParams["figure.figsize"][0]
    heights = [max(_LINE * len(words), 0.7) + _LONGEST_WORD + 0.15 for words in result.targets]
    below = 0.35 + 0.26 * len(result.measures()[:-1]) * max(len(result.models), 2) / 2
    figure = new_figure(sum(heights) + below + 1.0)
    parts = figure.subfigures(2, 1, height_ratios=[sum(heights), below + 0.3], squeeze=False)[:, 0]
    panels = parts[0].subplots(len(heights), columns, squeeze=False, gridspec_kw={"height_ratios": heights})
    room = (width - _LONGEST_WORD - _BAR * (1 + (columns == 3))) / columns
    largest = (
        max(float(np.abs(_change(result, k)).max()) for k in range(len(heights)))
        if columns > len(result.models)
        else 1.0
    )
    for k, row in enumerate(panels):
        for i, name in enumerate(result.models):
            _draw_map(row[i], result, k, result.word_map(i, k), room, _MAP, (0, 1), left=not i)
            if not k:
                row[i].set_title(fit_text(legend_name(name), _TITLE, room), fontsize=_TITLE)
        if columns > len(result.models):
            _draw_map(row[-1], result, k, _change(result, k), room, _CHANGE, (-largest, largest), left=False)
            if not k:
                title = f"{legend_name(result.models[1])} minus {legend_name(result.models[0])}"
                row[-1].set_title(fit_text(title, _TITLE, room), fontsize=_TITLE)
    _add_bars(parts[0], panels, result, largest)
    _draw_entropies(parts[1], result)
    add_model_legend(figure, result.models)
    add_foot(figure, result, _note(result))
    return figure


def attention_table(result: AttentionResult) -> list[dict[str, Any]]:
    """Measures, then the weights of the drawn maps; words by their number, from 1."""
    rows: list[dict[str, Any]] = []
    for measure in result.measures():
        for i, model in enumerate(result.models):
            value, low, high = measure.interval(i)
            rows.append(_row(measure.name, model) | {"value": value, "low": low, "high": high})
    for i, model in enumerate(result.models):
        for k, place in enumerate(result.drawn):
            weights = result.word_map(i, k)
            for t, s in np.ndindex(*weights.shape):
                where = {"row": int(result.rows[place]), "target_word": t + 1, "source_word": s + 1}
                rows.append(_row("weight", model) | where | {"value": float(weights[t, s])})
    return rows


def _row(what: str, model: str) -> dict[str, Any]:
    names = ("row", "target_word", "source_word", "value", "low", "high")
    return {"measure": what, "model": model} | dict.fromkeys(names)


def _change(result: AttentionResult, k: int) -> np.ndarray:
    return result.word_map(1, k) - result.word_map(0, k)


def _draw_map(
    panel: Axes,
    result: AttentionResult,
    k: int,
    values: np.ndarray,
    room: float,
    colors: str,
    ends: tuple[float, float],
    *,
    left: bool,
) -> None:
    panel.imshow(values, cmap=colors, vmin=ends[0], vmax=ends[1], aspect="auto", interpolation="nearest")
    panel.grid(False)
    panel.tick_params(length=0, pad=1.5)
    sources, targets = result.sources[k], result.targets[k]
    step = max(1, int(np.ceil(len(sources) * _LINE / room)))
    at = np.arange(0, len(sources), step)
    panel.set_xticks(
        at, [fit_text(sources[i], _WORD, _LONGEST_WORD) for i in at], rotation=90, fontsize=_WORD
    )
    names = [fit_text(word, _WORD, _LONGEST_WORD) if left else "" for word in targets]
    panel.set_yticks(np.arange(len(targets)), names, fontsize=_WORD)


def _add_bars(part: SubFigure, panels: np.ndarray, result: AttentionResult, largest: float) -> None:
    """A scale for the maps and, where there is one, for their difference."""
    m = len(result.models)
    look: dict[str, Any] = {"fraction": 0.05, "pad": 0.02, "aspect": 30}
    whole = part.colorbar(ScalarMappable(Normalize(0, 1), _MAP), ax=panels[:, :m].ravel().tolist(), **look)
    bars = [whole]
    if panels.shape[1] > m:
        scale = ScalarMappable(Normalize(-largest, largest), _CHANGE)
        bars.append(part.colorbar(scale, ax=panels[:, m:].ravel().tolist(), **(look | {"fraction": 0.1})))
    for bar in bars:
        bar.ax.tick_params(labelsize=_WORD)


def _draw_entropies(part: SubFigure, result: AttentionResult) -> None:
    panel = part.subplots()
    measures = result.measures()[:-1]
    draw_measures(panel, [(f"layer {i + 1}", measure) for i, measure in enumerate(measures)], result.models)
    panel.set_xlabel("entropy of the alignment (nats)")


def _note(result: AttentionResult) -> str:
    where = " ".join(filter(None, (result.dataset, split_name(result.split))))
    run = ", ".join(filter(None, (result.device, result.precision)))
    return (
        f"Maps: layer {result.layer + 1} of {result.num_layers}, mean of its heads, while the reference is read (from top "
        f"to bottom); {result.selection}. Entropy: mean over the references' pieces of {len(result.rows):,} "
        f"{where + ' ' if where else ''}sentences, 0 where a decoder looks at one piece, {result.even_entropy:.2f} where it "
        f"looks at all alike; intervals: 95 % of {result.resamples:,} bootstraps over sentences, not over training seeds"
        f"{'. ' + run if run else ''}."
    )
