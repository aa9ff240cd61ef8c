"""TOML and JSON of anybody: what cannot be taken is a ValueError, whatever the parser does with it."""

from __future__ import annotations

import pytest

from ralr_viz.results.document import MOST_NESTED, parse_json, parse_toml


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.mark.parametrize("levels", [MOST_NESTED + 1, 300, 5000, 100_000])
def test_parse_refuses_what_nests_too_deep(levels: int) -> None:
    with pytest.raises(ValueError, match="nests deeper than 64 levels"):
        parse_toml(f"a = {nested(levels - 1)}")
    with pytest.raises(ValueError, match="nests deeper than 64 levels"):
        parse_json(nested(levels))


def test_parse_takes_what_nests_less() -> None:
    assert parse_toml(f"a = {nested(MOST_NESTED - 1)}")
    assert parse_json(nested(MOST_NESTED))
    assert parse_json('{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}


def test_parse_refuses_integers_of_thousands_of_digits() -> None:
    for parse, text in ((parse_toml, "a = "), (parse_json, "")):
        with pytest.raises(ValueError, match="digits"):
            parse(text + "9" * 5000)
