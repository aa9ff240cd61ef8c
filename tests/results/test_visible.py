"""Names that no screen shows as they are."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ralr_viz.results.visible import visible


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain é 猫 ✓ $x$", "plain é 猫 ✓ $x$"),
        ("thin\u2009space", "thin\u2009space"),
        (os.fsdecode(b"caf\xe9"), r"caf\udce9"),
        ("a\nb\x1b[31m", r"a\nb\x1b[31m"),
        ("\u202eback", r"\u202eback"),
    ],
)
def test_visible_escapes_what_does_not_show(name: str, shown: str) -> None:
    assert visible(name) == shown


@given(st.text(st.characters()))
def test_visible_is_utf8_on_one_line_and_stays_as_it_is(text: str) -> None:
    shown = visible(text)
    shown.encode()
    assert visible(shown) == shown
    assert len(shown.splitlines()) <= 1
