"""Options of a diagnostic, given by name to a command that runs any."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.nouns import Noun

OwnOptions = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="Option of the diagnostic itself; repeatable."),
]


def parse_own(noun: Noun, texts: list[str] | tuple[()]) -> dict[str, Any]:
    known = {option.name: option for option in noun.spec.options}
    found: dict[str, Any] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not separator:
            raise InputError(f"`--option {text}` has no `=`: write --option directions=4")
        if name not in known:
            raise UnknownNameError(f"option of {noun.command_name}", name, known)
        option = known[name]
        try:
            if option.many:
                found[name] = option.read(value)
            elif option.of_one is bool:
                found[name] = {"true": True, "false": False}[value]
            else:
                found[name] = option.of_one(value)
        except (KeyError, ValueError):
            raise InputError(f"`--option {text}` must be of type {option.of_one.__name__}") from None
    return found
