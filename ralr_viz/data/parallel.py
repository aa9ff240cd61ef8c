"""Parallel text: sentences of one language and their translations, line by line, as a store of the data root.

    ROOT/<name>/text.json      languages, numbers of pairs, content hash, where it came from; written last
    ROOT/<name>/train.en …     UTF-8, a sentence a line, "\\n" alone between them

There may be more test text beside the splits, which no training sees: the content hash is without it.

Training pairs stand in an order that only their content decides, so that two copies give the same split and the same
"seed 0"; those of validation and test stand as they were published.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from ralr_viz.data.workspace import lock_root, open_workspace, publish_folder, write_errors
from ralr_viz.errors import DataError
from ralr_viz.foreign import describe_error, is_one_line, one_line
from ralr_viz.results.document import parse_json
from ralr_viz.results.storage import write_synced

TEXT_MANIFEST = "text.json"
TEXT_SPLITS = ("train", "val", "test")
_SCHEMA = 1

Lines = tuple[list[str], list[str]]
"""Sentences and their translations, equally many."""


@dataclass(frozen=True)
class ParallelText:
    """A store of parallel text; sentences are read when they are asked for.

    Attributes:
        name, root: Of the store.
        source, target: Two-letter codes of the languages.
        counts: Pairs of each of `TEXT_SPLITS`.
        content_hash: SHA-256 over all pairs.
        notes: What was left out, a sentence each.
        more: Pairs of further test text, by name.
    """

    name: str
    root: Path
    source: str
    target: str
    counts: Mapping[str, int]
    content_hash: str
    notes: tuple[str, ...] = ()
    more: Mapping[str, int] = field(default_factory=dict)

    def read(self, split: str) -> Lines:
        """The sentences of a split, or of more test text.

        Raises:
            DataError: A file is missing or is not what was stored.
        """
        found, count = [], {**self.counts, **self.more}[split]
        for language in (self.source, self.target):
            path = self.root / f"{split}.{language}"
            try:
                lines = split_lines(path.read_bytes(), path.name)
            except OSError as error:
                raise _damaged(self.root, f"`{path.name}` cannot be read ({one_line(error)})") from None
            if len(lines) != count:
                raise _damaged(self.root, f"`{path.name}` has {len(lines):,} lines, not {count:,}")
            found.append(lines)
        return found[0], found[1]


def read_lines(path: Path) -> list[str]:
    """Sentences of somebody's file, one a line.

    Raises:
        DataError: It cannot be read, or is not UTF-8.
    """
    try:
        return split_lines(path.read_bytes(), path.name)
    except OSError as error:
        raise DataError(f"`{path}` cannot be read ({one_line(error.strerror or error)})") from None


def split_lines(content: bytes, name: str) -> list[str]:
    """Sentences of a file; other characters that Unicode takes for ends of lines stay within them.

    Raises:
        DataError: It is not UTF-8.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"`{name}` is not UTF-8 in line {line} (byte {error.start}): convert it, e.g. by iconv -t utf-8"
        ) from None
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if lines and not lines[-1] else lines


def check_pairs(pairs: Lines, names: tuple[str, str]) -> None:
    """Refuse files of unequal length, and sentences without text.

    Raises:
        DataError: The first such, by file and line.
    """
    first, second = pairs
    if len(first) != len(second):
        raise DataError(
            f"`{names[0]}` has {len(first):,} lines, `{names[1]}` {len(second):,}: "
            "line n of one must be the translation of line n of the other"
        )
    if not first:
        raise DataError(f"`{names[0]}` has no lines: give a sentence a line")
    for name, lines in zip(names, pairs, strict=True):
        for number, line in enumerate(lines, 1):
            if not line.strip():
                raise DataError(f"`{name}` is empty in line {number}: take the pair out of both files")


def write_text(
    name: str,
    root: Path,
    languages: tuple[str, str],
    pairs: Mapping[str, Lines],
    *,
    origin: str,
    notes: tuple[str, ...] = (),
    more: Mapping[str, Lines] = MappingProxyType({}),
    force: bool = False,
) -> ParallelText:
    """Store pairs as ``root/name``, whole or not at all.

    Args:
        name: Of the store.
        root: The data root.
        languages: Of the sentences and of the translations.
        pairs: Of each of `TEXT_SPLITS`; those of training in any order.
        origin: Where they came from, for the record.
        notes: What was left out.
        more: Further test text, by name.
        force: Replace what has the name.

    Raises:
        DataError: The name is taken.
        StorageError: The root cannot be written; nothing is left behind.
    """
    ordered = {split: pairs[split] for split in TEXT_SPLITS}
    ordered["train"] = _canonical(pairs["train"])
    manifest = {
        "schema": _SCHEMA,
        "name": name,
        "languages": list(languages),
        "n": {split: len(lines) for split, (lines, _) in ordered.items()},
        "content_hash": _hash(languages, ordered),
        "origin": origin,
        "notes": list(notes),
    }
    if more:
        manifest["more"] = {name: len(lines) for name, (lines, _) in more.items()}
    with open_workspace(root) as folder:
        with write_errors(root):
            for split, both in {**ordered, **more}.items():
                for language, lines in zip(languages, both, strict=True):
                    write_synced(
                        folder / f"{split}.{language}", "".join(f"{line}\n" for line in lines).encode()
                    )
            write_synced(folder / TEXT_MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False).encode())
        with write_errors(root), lock_root(root):
            if (root / name).exists() and not force:
                stored = read_text(root / name)
                if stored.content_hash == manifest["content_hash"]:
                    return stored
                raise DataError(f"dataset `{name}` was stored by another process: add --force to replace it")
            publish_folder(folder, root / name)
    return read_text(root / name)


def read_text(folder: Path) -> ParallelText:
    """Open the store in ``folder``.

    Raises:
        DataError: It is damaged, or of a newer schema.
    """
    try:
        manifest = parse_json((folder / TEXT_MANIFEST).read_text(encoding="utf-8"))
        if manifest["schema"] != _SCHEMA:
            raise DataError(
                f"text `{folder.name}` has schema {manifest['schema']}, this version of ralr-viz reads {_SCHEMA}: "
                "update ralr-viz or import it again with --force"
            )
        source, target = (str(language) for language in manifest["languages"])
        counts = {split: int(manifest["n"][split]) for split in TEXT_SPLITS}
        found = str(manifest["content_hash"]), tuple(str(note) for note in manifest["notes"])
        more = {str(name): int(n) for name, n in dict(manifest.get("more", {})).items()}
        if not all(is_one_line(name) and "/" not in name for name in more):
            raise ValueError("more text has no name")
    except DataError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, f"`{TEXT_MANIFEST}` cannot be read ({describe_error(error)})") from None
    if not (is_one_line(source) and is_one_line(target)):
        raise _damaged(folder, "its languages are no names")
    return ParallelText(folder.name, folder, source, target, counts, *found, more)


def is_text(folder: Path) -> bool:
    """Whether there is such a store."""
    return (folder / TEXT_MANIFEST).is_file()


def text_names(root: Path) -> list[str]:
    """Sorted names of such stores in the data root."""
    return sorted(path.parent.name for path in root.glob(f"*/{TEXT_MANIFEST}")) if root.is_dir() else []


def _canonical(pairs: Lines) -> Lines:
    keys = [_digest(*pair) for pair in zip(*pairs, strict=True)]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return [pairs[0][i] for i in order], [pairs[1][i] for i in order]


def _hash(languages: tuple[str, str], pairs: Mapping[str, Lines]) -> str:
    whole = hashlib.sha256("\n".join(languages).encode())
    for split, both in pairs.items():
        whole.update(f"\n{split} {len(both[0])}\n".encode())
        for pair in zip(*both, strict=True):
            whole.update(_digest(*pair))
    return whole.hexdigest()


def _digest(sentence: str, translation: str) -> bytes:
    return hashlib.sha256(f"{sentence}\n{translation}".encode()).digest()  # neither has that character


def _damaged(folder: Path, what: str) -> DataError:
    return DataError(f"text store `{folder}` is damaged: {what}; import it again with --force")
