"""Names that no figure was made for: formulas, escape codes, bytes that are not UTF-8, letters of other scripts."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.text import Text

from ralr_viz.foreign import one_line
from ralr_viz.plots import letters
from ralr_viz.plots.drawing import find_drawing
from ralr_viz.plots.fit_text import fit_text, measure_text, wrap_text
from ralr_viz.plots.letters import FORMULA, LiteralFigure, letter
from ralr_viz.plots.style import new_figure, save_figure, style
from ralr_viz.results.bundle import load_result, save_result

HOSTILE = (r"$x_{$ $\frac$", "a_$b$", r"\frac", "_b\nc", "\x1b[31m\x00", "caf\udce9.png", "猫", "‮rtl\u200b")
NAMES = ("models", "class_names", "image_names", "layers", "rows", "checkpoints", "selection", "dataset")
# What else is a name, or words that hold some, in each kind of result.
KINDS: dict[str, tuple[str, ...]] = {
    "activations": (),
    "attention": (),
    "bleu": (),
    "barrier": ("states",),
    "calibration": ("notes",),
    "cam": (),
    "collapse": ("notes",),
    "curves": ("run", "recipe", "group"),
    "decision": ("title", "note", "notes"),
    "effect": ("runs", "notes"),
    "distance": ("states",),
    "embedding": (),
    "detect": (),
    "detection_errors": (),
    "fork": ("run",),
    "landscape": (),
    "learning": ("methods", "notes"),
    "localisation": ("notes",),
    "movement": ("methods", "notes"),
    "noise_scale": (),
    "over_time": ("columns", "groups", "notes"),
    "dose": ("labels", "notes"),
    "schedule": ("recipe", "method"),
    "sharpness": (),
    "similarity": ("states",),
    "spectrum": (),
    "study": ("title", "labels", "note"),
    "why": ("arms", "labels", "notes"),
}


def rename(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str):
        return names.setdefault(value, f"{HOSTILE[len(names) % len(HOSTILE)]} {value}")
    return tuple(rename(item, names) for item in value) if isinstance(value, tuple) else value


def name_badly(result: Any) -> Any:
    names = {"": ""}
    known = {field.name for field in fields(result)}
    assert set(KINDS[result.kind]) <= known
    wanted = known & {*NAMES, *KINDS[result.kind]} - ({"rows"} if result.kind == "study" else set())
    return replace(result, **{field: rename(getattr(result, field), names) for field in sorted(wanted)})


def test_kinds_are_all_that_have_a_figure() -> None:
    folder = Path(letters.__file__).parent
    assert set(KINDS) == {p.stem for p in folder.glob("*.py") if f"def draw_{p.stem}(" in p.read_text()}


@pytest.fixture
def no_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without fonts of its own."""
    monkeypatch.setattr(letters, "_other_families", lambda lacking: ((), lacking))


def check_texts(figure: Figure) -> None:
    assert isinstance(figure, LiteralFigure)
    for text in figure.findobj(Text):
        if text.get_parse_math() and "$" in text.get_text():
            assert text.get_gid() == FORMULA or "mathdefault" in text.get_text(), text


@pytest.mark.parametrize(
    "kind", [kind if i % 2 else pytest.param(kind, marks=pytest.mark.slow) for i, kind in enumerate(KINDS)]
)
def test_draw_takes_every_name(kind: str, no_fonts: None, make_result: Callable[[str], Any]) -> None:
    result = name_badly(make_result(kind))
    with style(), warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = find_drawing(result).draw(result)
        FigureCanvasAgg(figure).draw()
    check_texts(figure)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_save_figure_takes_every_name(kind: str, tmp_path: Path, make_result: Callable[[str], Any]) -> None:
    result = name_badly(make_result(kind))
    save_result(result, tmp_path / "saved")
    drawing = find_drawing(result)
    with style(), warnings.catch_warnings():
        warnings.simplefilter("error")
        # where there are no fonts but matplotlib's
        warnings.filterwarnings("ignore", "no font has", UserWarning)
        for folder in (tmp_path / "a", tmp_path / "b"):
            figure = drawing.draw(load_result(tmp_path / "saved"))
            save_figure(figure, folder / "caf\udce9", drawing.table(result), result.provenance)
    check_texts(figure)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    assert b"/Type3" not in (tmp_path / "a" / "caf\udce9.pdf").read_bytes()


def small_figure(name: str) -> Figure:
    figure = new_figure(1)
    panel = figure.subplots()
    panel.plot([0, 1], [1e-9, 2e-9], label=name)
    panel.set_title(name)
    panel.set_yticks([1e-9], [name])
    panel.legend()
    return figure


@pytest.mark.parametrize("name", ["$x_{$ $", r"$\frac$", "a_$b$", r"\$a"])
def test_literal_figure_reads_no_formula_in_a_name(name: str) -> None:
    with style():
        figure = small_figure(name)
        FigureCanvasAgg(figure).draw()
        panel = figure.axes[0]
        legend = panel.get_legend()
        assert legend is not None
        drawn = [panel.title, panel.yaxis.get_major_ticks()[0].label1, *legend.get_texts()]
        assert [(text.get_text(), text._preprocess_math(name)) for text in drawn[1:]] == [
            (name, (name, False))
        ] * 2
        numbers = [tick.label1 for tick in panel.xaxis.get_major_ticks()]
    assert all(text.get_parse_math() and "mathdefault" in text.get_text() for text in numbers)


def test_literal_figure_draws_what_does_not_show_as_escapes() -> None:
    with style():
        figure = small_figure("a\x1b[0m\udce9")
        FigureCanvasAgg(figure).draw()
    panel = figure.axes[0]
    names = {panel.get_title("left"), panel.yaxis.get_major_ticks()[0].label1.get_text()}
    assert names == {r"a\x1b[0m\udce9"}


def test_save_figure_names_the_letters_that_no_font_has(no_fonts: None, tmp_path: Path) -> None:
    with style(), pytest.warns(UserWarning) as notes:
        save_figure(small_figure("猫 と é"), tmp_path / "f", {}, {})
    assert [str(note.message) for note in notes] == [
        "no font has と 猫: drawn as □, install a font that has them"
    ]


def test_draw_into_the_callers_axes_leaves_no_formula_to_their_legend(
    make_result: Callable[[str], Any],
) -> None:
    panel = Figure().subplots()
    result = replace(make_result("schedule"), method=("$a$", "$x_{$ $", "b"))
    assert find_drawing(result).draw(result, panel) is panel.figure
    texts = [text._preprocess_math(text.get_text()) for text in panel.legend().get_texts()]
    assert [(words.partition(":")[0], math) for words, math in texts[1:3]] == [
        ("$a$", False),
        ("$x_{$ $, seed 7", False),
    ]


@pytest.mark.skipif(
    not any("CJK" in f.name for f in fontManager.ttflist), reason="needs a font of CJK letters"
)
def test_save_figure_takes_letters_from_the_fonts_of_the_system(tmp_path: Path) -> None:
    with style(), warnings.catch_warnings():
        warnings.simplefilter("error")
        for stem in ("a", "b"):
            save_figure(small_figure("猫と犬"), tmp_path / stem / "f", {}, {})
        assert measure_text("猫と犬", 8) == pytest.approx(24 / 72, rel=0.1)
    pdf = (tmp_path / "a" / "f.pdf").read_bytes()
    assert b"CJK" in pdf and len(pdf) < 100_000
    assert pdf == (tmp_path / "b" / "f.pdf").read_bytes()


@given(st.text(st.characters(), max_size=30))
def test_letter_gives_what_can_be_drawn(text: str) -> None:
    found = letter(text, ("STIXGeneral", "DejaVu Sans"))
    shown = found.text.replace("\n", "").replace(" ", "")
    shown.encode()
    assert all(c.isprintable() or c.isspace() for c in shown)
    assert found.families[:2] == ("STIXGeneral", "DejaVu Sans")
    if text.isascii():
        assert not found.missing and letter(found.text, found.families) == found


@settings(max_examples=30)
@given(st.text(st.characters(), max_size=20))
def test_fit_text_keeps_every_name_to_its_place(text: str) -> None:
    with style():
        for line in (fit_text(text, 7, 0.7), *wrap_text(text, 7, 0.7, lines=2).split("\n")):
            assert one_line(line, None) == line and (measure_text(line, 7) <= 0.7 or line == "…")
