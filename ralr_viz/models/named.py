"""Code of the user's own, imported because their command line or call names it, and for no other reason."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ralr_viz.errors import InputError
from ralr_viz.foreign import describe_error


def call_named(named: str, **given: Any) -> Any:
    """Import ``package.module:factory`` and call it.

    Args:
        named: As the user typed it; a name read from a file must never come here.
        given: Arguments, of which it gets those that it takes.

    Raises:
        InputError: It cannot be imported, or fails. The code may be a script that parses arguments and exits, so all
            but an interrupt is told in one line.
    """
    module, colon, name = named.partition(":")
    if not colon:
        raise InputError(f"`{named}` names no factory: write package.module:factory")
    with _working_directory_importable():
        try:
            factory = getattr(importlib.import_module(module), name)
        except (Exception, SystemExit) as error:
            raise InputError(f"`{named}` cannot be imported: {describe_error(error)}") from error
        taken = _taken(factory, given)
        shown = ", ".join(f"{key}={value}" for key, value in taken.items())
        try:
            return factory(**taken)
        except (Exception, SystemExit) as error:
            raise InputError(f"`{named}` failed: `{name}({shown})` raised {describe_error(error)}") from error


def _taken(factory: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    """Arguments that a callable takes; all of them where its signature is not known."""
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return given
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return given
    return {key: value for key, value in given.items() if key in parameters}


@contextmanager
def _working_directory_importable() -> Iterator[None]:
    """Lets `mynet.py` of the current folder be imported, as `python -m` would; it never shadows a package."""
    before = list(sys.path)
    sys.path.append(str(Path.cwd()))
    try:
        yield
    finally:
        sys.path[:] = before
