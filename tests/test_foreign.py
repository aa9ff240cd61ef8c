"""Text that others wrote: one line, whatever is in it, and as it is where nothing is."""

import ast
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ralr_viz
from ralr_viz.errors import DataError, InterruptedRunError, UnknownNameError
from ralr_viz.foreign import LONGEST_MESSAGE, LONGEST_NAME, is_one_line, one_line

texts = st.text(st.characters()) | st.text(
    st.sampled_from("a\x1b\n\r\t\x9b\u202e\u2066\u200f\u061c\u200b\udcff\U000e0001")
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("\x1b[31m\x00\x7f\x9b", r"\x1b[31m\x00\x7f\x9b"),
        ("\u202a\u202e\u2066\u2069\u200e\u200f\u061c", r"\u202a\u202e\u2066\u2069\u200e\u200f\u061c"),
        ("\u200b\ufeff\u2028\u2029\x85\u0378", r"\u200b\ufeff\u2028\u2029\x85\u0378"),
        ("\udcff.png", r"\udcff.png"),
        ("[red]x[/red]", "[red]x[/red]"),
        ("naïve 犬\u3000×−… \\n", "naïve 犬\u3000×−… \\n"),
        (ValueError("Error(s):\n\tMissing  key"), "Error(s): Missing key"),
        (3, "3"),
    ],
)  # fmt: skip
def test_one_line_shows_what_cannot_be_seen_and_leaves_the_rest(text, shown):
    assert one_line(text) == shown


@given(texts, st.integers(2, 20) | st.none())
def test_one_line_is_printable_bounded_and_may_be_passed_again(text, longest):
    shown = one_line(text, longest)
    shown.encode()
    assert all(c.isprintable() or unicodedata.category(c) == "Zs" for c in shown)
    assert longest is None or len(shown) <= longest
    assert one_line(shown, longest) == shown
    if is_one_line(text) and text.isprintable() and longest is None:
        assert shown == text


def test_one_line_keeps_both_ends_of_a_long_name():
    shown = one_line("a" * 10**6 + ".png")
    assert len(shown) == LONGEST_NAME and shown.endswith("a.png") and shown.startswith("aaa") and "…" in shown


@pytest.mark.parametrize("text", ["a\nb", "\x1b", "\x7f", "\x85", "\u2028", "\udcff", "\t"])
def test_is_one_line_refuses_what_breaks_a_line(text):
    assert not is_one_line(text)


@pytest.mark.parametrize("text", ["", "tench, Tinca tinca", "می\u200cخواهم", "👩\u200d🔬", "\u200fשלום"])
def test_is_one_line_takes_every_script(text):
    assert is_one_line(text)


def test_errors_show_names_in_one_line_whoever_raises_them():
    name = "x\x1b[31m\ndone\u202e\udcff"
    for error in (
        DataError(f"`{name}`"),
        InterruptedRunError(name, 2),
        UnknownNameError("model", name, [name + "y"]),
    ):
        assert r"x\x1b[31m\ndone\u202e\udcff" in str(error)
        assert one_line(str(error), None) == str(error)
    assert len(str(DataError("x" * 10**6))) == LONGEST_MESSAGE
    assert len(str(UnknownNameError("model", "x" * 10**6, ["resnet20"]))) < LONGEST_MESSAGE


def test_package_has_one_function_that_makes_a_line_of_foreign_text():
    found = [
        f"{file.stem}.{node.name}"
        for file in Path(ralr_viz.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name in ("one_line", "_one_line")
    ]
    assert found == ["foreign.one_line"]
