"""Text that keeps to its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ralr_viz.plots.fit_text import fit_text, measure_text, wrap_text
from ralr_viz.plots.style import style

words = st.text(
    st.characters(categories=["Ll", "Lu", "Nd"], max_codepoint=127) | st.sampled_from(" _-"), max_size=40
)


@pytest.fixture(autouse=True)
def icml() -> object:
    with style("icml"):
        yield


def test_measure_text_grows_with_length_and_size() -> None:
    assert measure_text("retriever", 7) == pytest.approx(measure_text("retriever", 14) / 2, rel=0.02)
    assert measure_text("ii", 7) == pytest.approx(2 * measure_text("i", 7), rel=0.05)
    assert measure_text("retriever", 7, bold=True) > measure_text("retriever", 7)


@given(text=words, width=st.floats(0.2, 2))
def test_fit_text_keeps_to_the_width_and_cuts_only_the_end(text: str, width: float) -> None:
    with style("icml"):
        fitted = fit_text(text, 7, width)
        assert measure_text(fitted, 7) <= width
    assert fitted == text or (fitted.endswith("…") and text.startswith(fitted[:-1]))


def test_fit_text_leaves_what_fits() -> None:
    assert fit_text("sock", 7, 0.7) == "sock"
    assert fit_text("standard schnauzer of the alps", 7, 0.7) == "standard schna…"


@given(text=words, width=st.floats(0.3, 2), lines=st.integers(1, 3))
def test_wrap_text_keeps_to_the_width_and_the_number_of_lines(text: str, width: float, lines: int) -> None:
    with style("icml"):
        wrapped = wrap_text(text, 7, width, lines=lines).split("\n")
        assert max(measure_text(line, 7) for line in wrapped) <= width
    assert len(wrapped) <= lines


def test_wrap_text_breaks_between_words() -> None:
    assert wrap_text("American Staffordshire terrier", 7, 0.6, lines=3) == "American\nStaffordshire\nterrier"
    assert wrap_text("resnet20_tiny_ralr", 7, 0.6, lines=2) == "resnet20_tiny_\nralr"
