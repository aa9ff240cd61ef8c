"""An option serves function and command: one default, one range."""

from __future__ import annotations

import pytest

from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.nouns import Option, check

COUNT = Option("count", 3, "Things.", least=1, most=5000)
WORD = Option("word", "a", "A word.", among=("a", "b"), called="kind of word")
SHARES = Option("shares", (0.1, 0.2), "Shares.", kind=float, many="comma", may_be_empty=True)
MAYBE = Option("maybe", None, "A number.", kind=float, least=0)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        (COUNT, 0, "`count` = 0 must be 1 or more"),
        (COUNT, 5001, "`count` = 5001 must be 5,000 or less"),
        (COUNT, 2.5, "`count` = 2.5 must be an integer"),
        (MAYBE, float("nan"), "`maybe` = nan must be 0 or more"),
    ],
)
def test_check_refuses_what_is_out_of_the_range(option: Option, value: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check((option,), **{option.name: value})
    check((COUNT, MAYBE), count=1, maybe=None, other=-1)


def test_check_refuses_a_word_that_is_none_of_them() -> None:
    with pytest.raises(UnknownNameError, match="unknown kind of word `c`"):
        WORD.check("c")
    WORD.check("b")


def test_read_makes_numbers_of_what_stands_between_commas() -> None:
    assert SHARES.read("0.5, 1") == (0.5, 1.0)
    assert SHARES.read("none") == ()
    with pytest.raises(InputError, match="`--shares 0.1;2` must be numbers such as 0.1,0.2"):
        SHARES.read("0.1;2")
    assert COUNT.read(4) == 4
