"""Several folders, archives and single files read as one: official data sets come in parts."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ralr_viz.data.archive import MAX_MEMBER_BYTES, FolderSource, Source, open_source
from ralr_viz.errors import DataError, InputError
from ralr_viz.foreign import one_line


@dataclass(frozen=True)
class JoinedSource:
    """Sources side by side. Names are whole: what encloses all files of a part tells it from the others."""

    parts: tuple[Source, ...]
    before: tuple[str, ...]
    label: str
    names: tuple[str, ...]
    folders: tuple[str, ...]
    prefix: str = ""

    @classmethod
    def of(cls, parts: Sequence[Source]) -> JoinedSource:
        # of a folder, whose own name stands in no name of its files, too: it may be `cars_train` itself
        before = [
            f"{part.label}/{part.prefix}"
            if isinstance(part, FolderSource) and part.names != (part.label,)
            else part.prefix
            for part in parts
        ]
        names = [b + name for part, b in zip(parts, before, strict=True) for name in part.names]
        folders = [b + name for part, b in zip(parts, before, strict=True) for name in part.folders]
        label = " + ".join(part.label for part in parts)
        seen: set[str] = set()
        for name in names:
            if name in seen:
                raise DataError(f"`{one_line(name)}` is in two of `{label}`: give each of them once")
            seen.add(name)
        return cls(tuple(parts), tuple(before), label, tuple(names), tuple(folders))

    def read(self, names: Collection[str], limit: int = MAX_MEMBER_BYTES) -> Iterator[tuple[str, bytes]]:
        wanted = frozenset(names)
        for part, before in zip(self.parts, self.before, strict=True):
            own = [name for name in part.names if before + name in wanted]
            for name, content in part.read(own, limit) if own else ():
                yield before + name, content


@contextlib.contextmanager
def open_sources(paths: Sequence[Path]) -> Iterator[Source]:
    """Open one source, or several as one.

    Raises:
        InputError: None is given.
        DataError: As `open_source`, or two of them hold a file of one name.
    """
    if not paths:
        raise InputError("no folder or archive is given: name one, or several that belong together")
    with contextlib.ExitStack() as stack:
        parts = [stack.enter_context(open_source(path)) for path in paths]
        yield parts[0] if len(parts) == 1 else JoinedSource.of(parts)
