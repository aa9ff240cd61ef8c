"""Reading the files of a folder, zip or tar one after the other, without extracting anything.

Names come out relative, with ``/``, and without the folders that enclose everything. Archives are untrusted:
a name that would leave the archive, a link, a device, an encrypted or an oversized member refuses the whole
archive, naming the member.
"""

from __future__ import annotations

import contextlib
import lzma
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, Self

from ralr_viz.errors import DataError
from ralr_viz.foreign import one_line

MAX_TOTAL_BYTES = 20 * 2**30
MAX_MEMBER_BYTES = 64 * 2**20
_PIECE = 2**16
_LONGEST_EXTENSION = 2**20
_EXTENSIONS = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip
_SPLIT_FOLDERS = frozenset({"train", "test", "val"})
_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error,
    EOFError, OSError, ValueError, RuntimeError,
)  # fmt: skip


class Source(Protocol):
    """Files to import: a folder or an archive."""

    @property
    def label(self) -> str:
        """File or folder name, without its path."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """The files, in the order in which they are read fastest."""
        ...

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders; of an archive only those that have an entry of their own. Empty ones are among them."""
        ...

    @property
    def prefix(self) -> str:
        """What enclosed all files and is taken off their names, ending in ``/`` or empty."""
        ...

    def read(self, names: Collection[str], limit: int = MAX_MEMBER_BYTES) -> Iterator[tuple[str, bytes]]:
        """The content of the files ``names``, in the source's order.

        Raises:
            DataError: A file is larger than ``limit`` bytes or cannot be read.
        """
        ...


@dataclass(frozen=True)
class FolderSource:
    """All files below a folder; hidden ones are left out."""

    folder: Path
    label: str
    names: tuple[str, ...]
    folders: tuple[str, ...]
    prefix: str

    @classmethod
    def open(cls, folder: Path) -> FolderSource:
        found, parents = [], []
        seen: set[str] = set()
        for parent, folders, files in os.walk(folder, followlinks=True, onerror=_unreadable_folder):
            real = os.path.realpath(parent)
            if real in seen:  # a link back up the tree
                folders.clear()
                continue
            seen.add(real)
            folders.sort()
            parents.append(Path(parent).relative_to(folder).as_posix())
            found += [Path(parent, file).relative_to(folder).as_posix() for file in sorted(files)]
        names, subfolders, prefix = strip_enclosing(found, parents)
        return cls(folder, folder.resolve().name, names, subfolders, prefix)

    def read(self, names: Collection[str], limit: int = MAX_MEMBER_BYTES) -> Iterator[tuple[str, bytes]]:
        wanted = frozenset(names)
        for name in filter(wanted.__contains__, self.names):
            path = self.folder / (self.prefix + name)
            try:
                if not path.is_file():
                    raise DataError(f"`{path}` is not a regular file: remove it or replace it with the file")
                with path.open("rb") as file:
                    content = _read(file, name, path.stat().st_size, limit)
                yield name, content
            except (OSError, EOFError) as error:
                reason = getattr(error, "strerror", None) or error
                raise DataError(f"`{path}` cannot be read: {reason}") from error


@dataclass(frozen=True)
class ZipSource:
    """The members of a zip file."""

    archive: zipfile.ZipFile
    label: str
    names: tuple[str, ...]
    folders: tuple[str, ...]
    prefix: str

    @classmethod
    def open(cls, archive: zipfile.ZipFile, label: str) -> ZipSource:
        found: list[str] = []
        parents: list[str] = []
        total = 0
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(label, info.filename, "is a link or a device")
            if info.flag_bits & 0x1:
                raise _refused(label, info.filename, "is encrypted")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                # zipfile unpacks all of a piece of bzip2, of which 200 bytes may hold 300 MB
                raise _refused(label, info.filename, "is packed in another way than deflate")
            name = check_member_name(label, info.orig_filename)
            total = _check_total(label, total + info.file_size)
            (parents if info.is_dir() else found).append(name)
        names, folders, prefix = strip_enclosing(_unique(label, found), parents)
        return cls(archive, label, names, folders, prefix)

    def read(self, names: Collection[str], limit: int = MAX_MEMBER_BYTES) -> Iterator[tuple[str, bytes]]:
        wanted = frozenset(self.prefix + name for name in names)
        for info in self.archive.infolist():
            full = _normalized(info.filename)
            if full not in wanted or info.is_dir():
                continue
            name = full.removeprefix(self.prefix)
            with _damage(self.label, name), self.archive.open(info) as file:
                content = _read(file, name, info.file_size, limit)
            yield name, content


@dataclass(frozen=True)
class TarSource:
    """The members of a tar file, compressed or not; read front to back."""

    archive: tarfile.TarFile
    label: str
    members: tuple[tarfile.TarInfo, ...]
    names: tuple[str, ...]
    folders: tuple[str, ...]
    prefix: str

    @classmethod
    def open(cls, archive: tarfile.TarFile, label: str) -> TarSource:
        members: list[tarfile.TarInfo] = []
        parents: list[str] = []
        total = 0
        with _damage(label, ""):
            for member in archive:
                if not (member.isreg() or member.isdir()):
                    raise _refused(label, member.name, "is a link or a device")
                if member.size < 0:  # the next header would be one that was read already, without end
                    raise _refused(label, member.name, "has a negative size")
                name = check_member_name(label, member.name)
                # The size stands in the header: a bomb is refused before its content is decompressed.
                total = _check_total(label, total + member.size)
                if member.isreg():
                    members.append(member)
                else:
                    parents.append(name)
            _check_end_mark(archive)
        found = _unique(label, [_normalized(member.name) for member in members])
        names, folders, prefix = strip_enclosing(found, parents)
        return cls(archive, label, tuple(members), names, folders, prefix)

    def read(self, names: Collection[str], limit: int = MAX_MEMBER_BYTES) -> Iterator[tuple[str, bytes]]:
        wanted = frozenset(self.prefix + name for name in names)
        for member in self.members:
            full = _normalized(member.name)
            if full not in wanted:
                continue
            name = full.removeprefix(self.prefix)
            with _damage(self.label, name):
                file = self.archive.extractfile(member)
                assert file is not None, "only regular members are kept"
                content = _read(file, name, member.size, limit)
            yield name, content


@contextlib.contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a folder, zip or tar for reading.

    Raises:
        DataError: No such path, empty, neither a folder nor an archive, damaged, or unsafe.
    """
    path = Path(path).expanduser()
    with contextlib.ExitStack() as stack:
        source = _open(path, stack)
        if not source.names:
            raise DataError(f"`{path}` has no files in it: give the folder or archive that holds the images")
        yield source


def _unreadable_folder(error: OSError) -> None:
    raise DataError(f"folder `{error.filename}` cannot be read: {error.strerror}") from error


def _open(path: Path, stack: contextlib.ExitStack) -> Source:
    if path.is_dir():
        return FolderSource.open(path)
    if not path.exists():
        raise DataError(f"`{path}` does not exist: give a folder, zip or tar with the dataset")
    if not path.is_file():
        raise DataError(f"`{path}` is neither a folder nor a file: give a folder, zip or tar")
    if path.suffix == ".mat":  # a list of an official data set that comes beside its archives
        return FolderSource(path.parent, path.name, (path.name,), (), "")
    with _damage(path.name, ""):
        if zipfile.is_zipfile(path):
            return ZipSource.open(stack.enter_context(zipfile.ZipFile(path)), path.name)
        try:
            archive = tarfile.open(path, tarinfo=_Header)  # noqa: SIM115
        except tarfile.TarError:  # it is none
            pass
        else:
            return TarSource.open(stack.enter_context(archive), path.name)
    raise DataError(
        f"`{path}` is not a readable zip or tar (damaged, cut off, or of another kind): get it again"
    )


def check_member_name(label: str, name: str) -> str:
    """The member name, normalized; raises :class:`DataError` if it may lead out of the archive."""
    if "\0" in name or "\\" in name or name.startswith("/") or re.match(r"[A-Za-z]:", name):
        raise _refused(label, name, "has an absolute or malformed name")
    if ".." in name.split("/"):
        raise _refused(label, name, "leads out of the archive")
    return _normalized(name)


def strip_enclosing(names: list[str], folders: list[str]) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Drop what is hidden, then the folders that enclose all files.

    Returns:
        The shortened names of files and folders, and the prefix taken off, ending in ``/`` or empty.
    """
    names = [name for name in names if not _is_hidden(name)]
    prefix = ""
    while names:
        first, separator, _ = names[0].partition("/")
        top = first + separator
        if not separator or first in _SPLIT_FOLDERS or not all(name.startswith(top) for name in names):
            break
        names = [name.removeprefix(top) for name in names]
        prefix += top
    inside = (folder.removeprefix(prefix) for folder in folders if folder.startswith(prefix))
    return tuple(names), tuple(folder for folder in inside if not _is_hidden(folder)), prefix


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part in ("__MACOSX", "Thumbs.db") for part in name.split("/"))


def _normalized(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _unique(label: str, names: list[str]) -> list[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise _refused(label, name, "is there twice")
        seen.add(name)
    return names


def _check_total(label: str, total: int) -> int:
    if total > MAX_TOTAL_BYTES:
        raise DataError(
            f"archive `{label}` unpacks to more than {MAX_TOTAL_BYTES >> 30} GiB: unpack it yourself and "
            f"import the folder"
        )
    return total


def _read(file: IO[bytes], name: str, size: int, limit: int) -> bytes:
    """The content of a file of ``size`` bytes, as far as its folder or archive knows.

    Read piece by piece, since an archive may lie: asked for all, `zipfile` unpacks whatever is packed.
    """
    if size > limit:
        raise DataError(
            f"file `{one_line(name)}` has {size:,} bytes, at most {limit:,} are read: shrink or remove it"
        )
    pieces, left = [], limit
    while left >= 0 and (piece := file.read(_PIECE)):
        pieces.append(piece)
        left -= len(piece)
    content = b"".join(pieces)
    if len(content) != size:
        raise EOFError(f"{len(content):,} bytes where {size:,} are stated")
    return content


class _Header(tarfile.TarInfo):
    """A header whose extension (a long name, pax values), which `tarfile` takes into memory whole, is short."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.type in _EXTENSIONS and not 0 <= header.size <= _LONGEST_EXTENSION:
            raise ValueError(f"a header is followed by {header.size:,} bytes of names")
        return header


def _check_end_mark(archive: tarfile.TarFile) -> None:
    """After the last member there must be zeros: ``tarfile`` takes a cut between members for the end."""
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    if not archive.fileobj.read(1):
        raise tarfile.ReadError("cut off")


def _refused(label: str, name: str, why: str) -> DataError:
    return DataError(
        f"archive `{label}` is refused: member `{one_line(name)}` {why}; pack the plain files again"
    )


@contextlib.contextmanager
def _damage(label: str, name: str) -> Iterator[None]:
    try:
        yield
    except DataError:  # a ValueError, too, which has said what it is
        raise
    except _DAMAGE as error:
        where = f" at `{one_line(name)}`" if name else ""
        raise DataError(f"archive `{label}` is damaged{where} ({one_line(error)}): get it again") from error
