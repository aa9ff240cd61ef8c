"""Code of the user's own, imported because their command line or call names it, and for no other reason."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from ralr_viz.errors import InputError
from ralr_viz.foreign import describe_error

_allowed: ContextVar[frozenset[str]] = ContextVar("allowed", default=frozenset())


@contextmanager
def allow_code(names: Iterable[str]) -> Iterator[None]:
    """Let recipes and run directories that name this code have it imported within the block.

    Args:
        names: Each ``package.module:name``, as the user typed it. What only a file names is never imported.
    """
    token = _allowed.set(_allowed.get() | frozenset(names))
    try:
        yield
    finally:
        _allowed.reset(token)


def allowed_code() -> tuple[str, ...]:
    """What the user has named, for another process that works for him."""
    return tuple(sorted(_allowed.get()))


def names_code(value: object) -> bool:
    """Whether a setting is a name of the user's code and none of ours or torchvision's."""
    return isinstance(value, str) and ":" in value and not value.startswith("torchvision:")


def is_allowed(named: str) -> bool:
    """Whether the user has named it."""
    return named in _allowed.get()


def check_allowed(setting: str, named: str) -> None:
    """Refuse code that only a file names.

    Raises:
        InputError: Nobody has allowed it.
    """
    if not is_allowed(named):
        raise InputError(
            f"`{setting}` = `{named}` is code of somebody's own, which is imported only where the same command names it: "
            f"add --allow {named}"
        )


def import_named(named: str) -> Any:
    """What ``package.module:name`` is; under the conditions of `call_named`.

    Raises:
        InputError: It cannot be imported.
    """
    module, colon, name = named.partition(":")
    if not colon:
        raise InputError(f"`{named}` names no factory: write package.module:factory")
    with _working_directory_importable():
        try:
            return getattr(importlib.import_module(module), name)
        except (Exception, SystemExit) as error:
            raise InputError(f"`{named}` cannot be imported: {describe_error(error)}") from error


def call_named(named: str, **given: Any) -> Any:
    """Import ``package.module:factory`` and call it.

    Args:
        named: As the user typed it; a name read from a file must never come here.
        given: Arguments, of which it gets those that it takes.

    Raises:
        InputError: It cannot be imported, or fails. The code may be a script that parses arguments and exits, so all
            but an interrupt is told in one line.
    """
    factory, name = import_named(named), named.partition(":")[2]
    with _working_directory_importable():
        taken = _taken(factory, given)
        shown = ", ".join(f"{key}={_brief(value)}" for key, value in taken.items())
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


def _brief(value: Any) -> str:
    return str(value) if isinstance(value, str | int | float) else "…"


@contextmanager
def _working_directory_importable() -> Iterator[None]:
    """Lets `mynet.py` of the current folder be imported, as `python -m` would; it never shadows a package."""
    before = list(sys.path)
    sys.path.append(str(Path.cwd()))
    try:
        yield
    finally:
        sys.path[:] = before
