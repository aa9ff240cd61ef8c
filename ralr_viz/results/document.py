"""TOML, JSON and zips that anybody may have written: the one place where they are parsed or measured."""

from __future__ import annotations

import json
import tomllib
import zipfile
from collections.abc import Callable
from typing import IO, Any

MOST_NESTED = 64
"""Levels of tables and lists. Ours have six; of hundreds, whatever walks through them later runs out of stack."""

MOST_UNPACKED = 256 * 2**20
"""Bytes of a zip's members; more only where the file itself is as large."""


def parse_toml(text: str) -> dict[str, Any]:
    """Content of a TOML document.

    Raises:
        ValueError: It is none, nests deeper than `MOST_NESTED`, or has an integer of thousands of digits.
    """
    return _parse(tomllib.loads, text)


def parse_json(text: str | bytes) -> Any:
    """Content of a JSON document; raises as `parse_toml`."""
    return _parse(json.loads, text)


def _parse(loads: Callable[[Any], Any], text: str | bytes) -> Any:
    try:
        content = loads(text)
    except RecursionError:
        raise _too_deep() from None
    _check_depth(content)
    return content


def check_unpacked_size(file: IO[bytes]) -> None:
    """Refuse a zip that unpacks to far more than it is: NumPy and torch write plainly, and read what is stated.

    Args:
        file: Open, and left at its beginning.

    Raises:
        ValueError: It unpacks to more than the file and `MOST_UNPACKED`, or is packed in another way than deflate.
        zipfile.BadZipFile: It is none.
    """
    size = file.seek(0, 2)
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    file.seek(0)
    if (total := sum(member.file_size for member in members)) > max(size, MOST_UNPACKED):
        raise ValueError(f"it has {size:,} bytes and unpacks to {total:,}")
    # of bzip2, zipfile unpacks all of a piece, whatever size is stated
    if any(member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for member in members):
        raise ValueError("it is packed in another way than deflate")


def _check_depth(content: Any) -> None:
    level = [content]
    for _ in range(MOST_NESTED):
        level = [
            item
            for value in level
            if isinstance(value, dict | list)
            for item in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> ValueError:
    return ValueError(f"it nests deeper than {MOST_NESTED} levels")
