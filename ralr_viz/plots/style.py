"""The look of all figures, and the one way to write them.

    with style("icml"):
        figure = draw_curves(result)
        save_figure(figure, Path("out/curves"), curves_table(result), result.provenance)

Figures are plain `matplotlib.figure.Figure` objects: pyplot and its state are not used, so nothing has to be
closed and nothing that the caller has open is touched.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
import matplotlib.style
import numpy as np
from cycler import cycler
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from tueplots import bundles

from ralr_viz._version import __version__
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.foreign import one_line
from ralr_viz.plots.letters import LiteralFigure
from ralr_viz.results.bundle import without_paths
from ralr_viz.results.latex import escape_latex
from ralr_viz.results.names import method_name
from ralr_viz.results.storage import write_files
from ralr_viz.results.table_csv import Table, write_table

# Okabe & Ito, "Color Universal Design" (2008); its yellow is left out, which is too light on white paper.
COLORS = {
    "baseline": "#0072B2",
    "ralr": "#D55E00",
    "scaled": "#009E73",
    "matched": "#A6761D",
    "noise": "#CC79A7",
}
EXTRA_COLORS = ("#CC79A7", "#E69F00", "#56B4E9", "#000000")
# RALR is solid: its LR jumps, and dashes would hide the jumps.
LINE_STYLES: dict[str, Any] = {
    "ralr": "-",
    "baseline": (0, (5, 1.2)),
    "scaled": (0, (5, 1, 1, 1)),
    "matched": (0, (8, 1, 1, 1, 1, 1)),
    "noise": (0, (2, 0.8)),
}
EXTRA_LINE_STYLES = ((0, (2, 0.8)), (0, (8, 1, 1, 1, 1, 1)), (0, (1, 0.7)), (0, (10, 1.5)))
GREY = "#666666"
_METHOD = re.compile(rf"(?<![^ ])({'|'.join(COLORS)})(?![^ ,])")
PNG_DPI = 300
_MOST_PIXELS = 100e6  # of all canvases of a file together, at four bytes each
_LONGEST_SIDE = 60_000  # pixels; matplotlib's canvas ends at 2¹⁶
LEGEND_LINE = 5.0  # what stands before and after a legend's text, in units of its size

_STYLES = ("icml", "neurips", "iclr", "cvpr", "ieee")
_IEEE_WIDTHS = {"full": 7.16, "half": 3.5}  # inches: two columns, one column
_LONGEST_NAME = 48  # characters
_SMALLEST_TEXT = 7  # points; STIX has a small x-height
_CAPTIONS: ContextVar[bool] = ContextVar("captions", default=False)
CAPTION_SUFFIXES = (".caption.txt", ".caption.tex")
_CHOSEN: ContextVar[bool] = ContextVar("chosen", default=False)
_LOCK = threading.RLock()  # rcParams are global to the process, so one thread at a time may change them


class Look(NamedTuple):
    """How the lines of one method are drawn: never by colour alone."""

    color: str
    linestyle: Any


@contextlib.contextmanager
def style(
    name: str = "icml", *, column: Literal["full", "half"] = "full", caption: bool | None = None
) -> Iterator[None]:
    """Draw and save in the sizes of a venue; matplotlib's settings are as before afterwards.

    Fonts are STIXGeneral (Times-like, ships with matplotlib, so no TeX and no system font) and embedded as
    Type 42. ``figure.figsize`` gets the venue's exact width. Other threads wait until the block ends.

    Args:
        name: One of ``icml``, ``neurips``, ``iclr``, ``cvpr``, ``ieee``.
        column: Width of the whole text or of half of it (one column where the venue has two).
        caption: Whether a figure has its caption below the panels, in the place of the line that says what it is of;
            None as around the block (`captions`), else not.

    Raises:
        UnknownNameError: No style of that name.

    References:
        Widths and font sizes: the tueplots package; IEEE: its author centre's guide to graphics.
    """
    if name not in _STYLES:
        raise UnknownNameError("style", name, _STYLES)
    settings: dict[Any, Any] = {**_venue(name, column), **_ours()}
    for key in ("legend.fontsize", "xtick.labelsize", "ytick.labelsize"):
        settings[key] = max(settings[key], _SMALLEST_TEXT)
    # "default" first: the caller's own matplotlibrc must not change a figure
    shown = shows_captions() if caption is None else caption
    with captions(shown), _LOCK, mpl.style.context(["default", settings]):
        before = _CHOSEN.set(True)
        try:
            yield
        finally:
            _CHOSEN.reset(before)


def in_style() -> bool:
    """Whether a block of `style` is open."""
    return _CHOSEN.get()


@contextlib.contextmanager
def captions(shown: bool = True) -> Iterator[None]:
    """Whether figures that are drawn in the block have their captions in the picture."""
    token = _CAPTIONS.set(shown)
    try:
        yield
    finally:
        _CAPTIONS.reset(token)


def shows_captions() -> bool:
    """Whether a figure that is drawn now has its caption in the picture."""
    return _CAPTIONS.get()


class _SteadyLayout(ConstrainedLayoutEngine):
    """Constrained layout to the same bits each time: its solver goes by addresses in memory, so last digits vary."""

    def execute(self, fig: Any) -> Any:
        done = super().execute(fig)
        for axes in fig.axes:
            bounds = np.round(axes.get_position(original=True).bounds, 7)
            axes._set_position(bounds)  # the public one would take the axes out of the layout
        return done


def new_figure(height: float, *, width: float | None = None) -> Figure:
    """An empty figure with constrained layout.

    Args:
        height: Inches.
        width: Inches; the style's width when left out.
    """
    size = (width or mpl.rcParams["figure.figsize"][0], height)
    return LiteralFigure(figsize=size, layout=_SteadyLayout())


def method_looks(methods: Sequence[str]) -> dict[str, Look]:
    """Colour and line style of each method.

    ``baseline``, ``ralr``, ``scaled``, ``matched`` and ``noise`` look the same in all figures; a name with one of them in it,
    such as ``cifar10-resnet20 ralr, batch = 64``, has its hue, in another shade and line where that method is there
    already. Others take what is free, in order, and then shades of it.
    """
    names = list(dict.fromkeys(methods))
    looks = {name: Look(COLORS[name], LINE_STYLES[name]) for name in names if name in COLORS}
    rest = [name for name in names if name not in looks]
    for name in [name for name in rest if _method_in(name)]:
        base = _method_in(name)
        if Look(COLORS[base], LINE_STYLES[base]) not in looks.values():
            looks[name] = Look(COLORS[base], LINE_STYLES[base])
    used = {look.color for look in looks.values()} | {look.linestyle for look in looks.values()}
    colors = [color for color in EXTRA_COLORS if color not in used]
    every = dict.fromkeys([*LINE_STYLES.values(), *EXTRA_LINE_STYLES])
    lines = [line for line in every if line not in used]
    others = 0
    for i, name in enumerate(name for name in rest if name not in looks):
        base = _method_in(name)
        if base:
            k = sum(_method_in(other) == base or other == base for other in looks)
            color = _shade(COLORS[base], k)
        else:
            color = _shade(colors[others % len(colors)], others // len(colors))
            others += 1
        looks[name] = Look(color, lines[i % len(lines)])
    return {name: looks[name] for name in names}


def _method_in(name: str) -> str:
    """The one method whose name is a word of this one; empty where there is none, or several."""
    found = set(_METHOD.findall(name.lower()))
    return found.pop() if len(found) == 1 else ""


def _shade(color: str, k: int) -> str:
    """The colour itself, then darker and lighter ones in turn."""
    towards, share = ("black", "white")[(k + 1) % 2], min(0.4 * ((k + 1) // 2), 0.8)
    red, green, blue = (
        (1 - share) * a + share * b for a, b in zip(to_rgb(color), to_rgb(towards), strict=True)
    )
    return to_hex((red, green, blue)) if k else color


def legend_name(method: str) -> str:
    """A method as the paper writes it (see `method_name`), in one line and short enough for a legend."""
    method = method_name(method)
    if len(method) > _LONGEST_NAME:
        method = f"{method[: _LONGEST_NAME // 2]}…{method[-_LONGEST_NAME // 3 :]}"
    return one_line(method, None)


def legend_text_size() -> float:
    """Points."""
    return FontProperties(size=mpl.rcParams["legend.fontsize"]).get_size_in_points()


def save_figure(
    figure: Figure, stem: Path, table: Table, provenance: Mapping[str, Any], *, force: bool = False
) -> list[Path]:
    """Write a figure as PDF, PNG and the CSV of its numbers, with its caption where it has one, all or none.

    Call it inside the `style` that the figure was drawn in. Equal input gives equal bytes: no time and
    no absolute path in the files. The page is exactly the figure's size.

    Args:
        figure: What a ``draw_`` function returned.
        stem: Path without suffix; ``.pdf``, ``.png`` (300 dpi, fewer where it would exceed 100 million pixels) and
            ``.csv`` are appended; ``.caption.txt`` has the caption as it is, ``.caption.tex`` is for ``\\input`` in a figure.
        table: The plotted numbers, as columns (``{"epoch": [1, 2]}``) or as rows (``[{"epoch": 1}]``); see
            `write_table`.
        provenance: Recipe, run ids, seeds, versions; JSON text in both files' metadata, as the caption is.
        force: Replace existing files.

    Returns:
        The three paths, and those of the caption's two files.

    Raises:
        InputError: A file exists and ``force`` is not set, or a folder is in the way.
        StorageError: The disk is full or cannot be written; no file was changed.
    """
    stem = Path(stem)
    caption = getattr(figure, "caption", "")
    suffixes = (".pdf", ".png", ".csv", *(CAPTION_SUFFIXES if caption else ()))
    paths = [stem.with_name(stem.name + suffix) for suffix in suffixes]
    for path in paths:
        if path.is_dir():
            raise InputError(f"`{path}` is a folder where a file belongs: choose another --out")
        if path.exists() and not force:
            raise InputError(f"`{path}` exists: choose another --out or pass --force to replace it")
    source = json.dumps(without_paths(dict(provenance)), sort_keys=True, default=_plain_number)
    software = f"ralr-viz {__version__}"
    text = write_table(table).encode(
        "utf-8", "backslashreplace"
    )  # first: a bad table is found before the slow part
    document = {
        "Title": one_line(stem.name, None),
        "Subject": caption or None,
        "Keywords": source,
        "Creator": software,
        "CreationDate": None,
    }
    pdf = _render(figure, "pdf", document)
    said = {"Title": one_line(stem.name, None), "Source": source, "Software": software}
    png = _render(figure, "png", said | ({"Description": caption} if caption else {}))
    if isinstance(figure, LiteralFigure) and figure.missing_letters:
        letters = " ".join(sorted(figure.missing_letters))
        warnings.warn(f"no font has {letters}: drawn as □, install a font that has them", stacklevel=2)
    beside = (f"{caption}\n", _latex_caption(figure)) if isinstance(figure, LiteralFigure) and caption else ()
    contents = (pdf, png, text, *(words.encode() for words in beside))
    write_files(dict(zip(paths, contents, strict=True)), stem, replace=force)
    return paths


def _latex_caption(figure: LiteralFigure) -> str:
    """For ``\\input`` in a figure; what it is of goes into the list of figures."""
    short = f"[{{{escape_latex(figure.origin)}}}]" if figure.origin else ""
    return f"\\caption{short}{{{escape_latex(figure.caption)}}}\n"


def _venue(name: str, column: str) -> dict[str, Any]:
    if name == "icml":
        return bundles.icml2024(column=column, usetex=False)
    if name == "cvpr":
        return bundles.cvpr2024(column=column, usetex=False)
    if name == "ieee":
        width, sizes = (
            _IEEE_WIDTHS[column],
            ("font.size", "axes.labelsize", "axes.titlesize", "legend.fontsize"),
        )
        ticks = {"xtick.labelsize": 8, "ytick.labelsize": 8}
        return {"figure.figsize": (width, width * 0.62), **dict.fromkeys(sizes, 8), **ticks}
    single_column = {"neurips": bundles.neurips2024, "iclr": bundles.iclr2024}[name]
    return single_column(usetex=False, rel_width=1.0 if column == "full" else 0.5)


def _ours() -> dict[str, Any]:
    colors = [*COLORS.values(), *EXTRA_COLORS]
    return {
        "text.usetex": False,
        "font.family": ["STIXGeneral", "DejaVu Sans"],  # the second for glyphs that STIX lacks, such as ✓
        "mathtext.fontset": "stix",
        "axes.formatter.use_mathtext": True,
        "pdf.fonttype": 42,
        "ps.fonttype": 42,
        "figure.autolayout": False,
        "figure.constrained_layout.use": True,
        "figure.constrained_layout.w_pad": 0.06,  # inches
        "savefig.bbox": None,  # "tight" would change the width
        "savefig.dpi": PNG_DPI,
        "axes.prop_cycle": cycler(color=colors),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "axes.titlelocation": "left",
        "axes.titlepad": 4,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#dddddd",
        "grid.linewidth": 0.4,
        "lines.linewidth": 1.1,
        "lines.markersize": 4,
        "legend.frameon": False,
        "legend.handlelength": 2.4,
        "legend.columnspacing": 1.4,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "xtick.minor.size": 1.5,
        "ytick.minor.size": 1.5,
        "image.cmap": "viridis",
    }


def _render(figure: Figure, file_format: str, metadata: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    with _LOCK, mpl.rc_context({"pdf.fonttype": 42, "savefig.bbox": None}):
        dpi = _fitting_dpi(figure, file_format)
        figure.savefig(buffer, format=file_format, dpi=dpi, metadata=metadata)
    return buffer.getvalue()


def _fitting_dpi(figure: Figure, file_format: str) -> float:
    """300, or as many as keep a long figure in memory: a PNG is one canvas, a PDF one for each rasterised part.

    matplotlib keeps all of a page's canvases until the PDF is closed.
    """
    inches = figure.get_size_inches()
    canvases = 1
    if file_format == "pdf":
        canvases = max(1, len(figure.findobj(lambda artist: bool(artist.get_rasterized()))))
    most = math.sqrt(_MOST_PIXELS / canvases / float(inches[0] * inches[1]))
    return min(PNG_DPI, most, _LONGEST_SIDE / float(inches.max()))


def _plain_number(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"provenance holds a {type(value).__name__}, which JSON cannot keep")
