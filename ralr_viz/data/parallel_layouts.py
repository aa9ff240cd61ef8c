"""Parallel text as it is published: which files of a folder or archive are which split, and of which language."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from ralr_viz.data.archive import Source
from ralr_viz.data.known import Download
from ralr_viz.data.parallel import Lines, ParallelText, check_pairs, split_lines, write_text
from ralr_viz.errors import DataError

# Of the user's own text, Multi30k and WMT 2014's English-German archives; parts of one split are joined.
_STEMS = {
    "train": ("train", "europarl-v7.de-en", "commoncrawl.de-en", "news-commentary-v9.de-en"),
    "val": ("val", "newstest2013"),
    "test": ("test", "test_2016_flickr", "newstest2014"),
}
_MORE = ("test_2017_flickr", "test_2017_mscoco", "test_2018_flickr")
"""Of Multi30k: test text that is kept beside the splits."""
_CRAWLED = _STEMS["train"][1]
_FILE = re.compile(r"(.+)\.([a-z]{2})")
_LARGEST = 2**30
KNOWN_TEXTS = {
    "multi30k": "get data/task1/raw of github.com/multi30k/dataset (for non-commercial research and education), unpack it, "
    "and give the folder by --from",
    "wmt14-en-de": "run `ralr-viz data download wmt14-en-de`, or get training-parallel-europarl-v7.tgz, training-parallel-commoncrawl.tgz, training-parallel-nc-v9.tgz "
    "and dev.tgz of statmt.org, and a folder with newstest2014.en and newstest2014.de (3,003 lines: sacrebleu -t wmt14/full "
    "-l en-de --echo src, and ref), and give each by one --from",
}
"""How to get text; of Multi30k no checksums are published."""

_STATMT = "http://www.statmt.org"
TEXT_DOWNLOADS: Mapping[str, Sequence[Download]] = {
    "wmt14-en-de": (
        Download(
            f"{_STATMT}/wmt13/training-parallel-europarl-v7.tgz",
            sha256="0224c7c710c8a063dfd893b0cc0830202d61f4c75c17eb8e31836103d27d96e7",
        ),
        Download(
            f"{_STATMT}/wmt13/training-parallel-commoncrawl.tgz",
            sha256="c7a74e2ea01ac6c920123108627e35278d4ccb5701e15428ffa34de86fa3a9e5",
        ),
        Download(
            f"{_STATMT}/wmt14/training-parallel-nc-v9.tgz",
            sha256="cb8953f292298e6877ae433c98912b927cb0766b303f4540512ddd286c748485",
        ),
        # newstest2013 as plain text
        Download(
            "http://data.statmt.org/wmt17/translation-task/dev.tgz",
            sha256="9d5ff04a28496b7796904ea65e50e3837bab14dbdca88b1e063105f17513dca9",
        ),
        # newstest2014 likewise, all of it: statmt.org has it in SGML alone
        Download(
            "https://storage.googleapis.com/tf-perf-public/official_transformer/test_data/newstest2014.tgz",
            sha256="1d07bf20db2f4607bb5f3c228e24c1fa17bdfb66d650cc5e713353606fde0800",
        ),
    )
}
"""SHA-256 as TensorFlow Datasets (the training archives) and public builds of its official Transformer have them."""


def has_parallel_text(source: Source) -> bool:
    """Whether it holds training sentences in two languages."""
    found = _find(source)
    return any(len(found.get(stem, {})) > 1 for stem in _STEMS["train"])


def import_text(name: str, source: Source, root: Path, *, force: bool = False) -> ParallelText:
    """Read parallel text into the store ``root/name``.

    Crawled training text (WMT's) may have empty lines, whose pairs are left out; any other may not.

    Raises:
        DataError: A split is missing, files do not belong together, or a line is no sentence in UTF-8.
        StorageError: The store cannot be written.
    """
    found = _find(source)
    languages = _languages(name, source, found)
    pairs, notes = {}, []
    for split, stems in _STEMS.items():
        parts = [_read(source, found[stem], languages) for stem in stems if stem in found]
        if not parts:
            raise DataError(
                f"`{source.label}` has no {split} text: add {_FILES.format(stems[0], *languages)}, a sentence a line"
            )
        joined = [line for part in parts for line in part[0]], [line for part in parts for line in part[1]]
        pairs[split] = joined
    if _CRAWLED in found:
        pairs["train"], left_out = _drop_empty(pairs["train"])
        notes += [f"{left_out:,} training pairs with an empty line are left out"] * bool(left_out)
    for split, both in pairs.items():
        check_pairs(both, (f"{split}.{languages[0]}", f"{split}.{languages[1]}"))
    more = {stem: _read(source, found[stem], languages) for stem in _MORE if stem in found}
    for stem, both in more.items():
        check_pairs(both, (f"{stem}.{languages[0]}", f"{stem}.{languages[1]}"))
    return write_text(
        name, root, languages, pairs, origin=source.label, notes=tuple(notes), more=more, force=force
    )


_FILES = "`{0}.{1}` and `{0}.{2}`"


def _find(source: Source) -> dict[str, dict[str, str]]:
    """Files by stem and language."""
    found: dict[str, dict[str, str]] = {}
    known = {*_MORE, *(stem for stems in _STEMS.values() for stem in stems)}
    for name in source.names:
        match = _FILE.fullmatch(PurePosixPath(name).name)
        if match is None or match[1] not in known:
            continue
        if match[2] in found.setdefault(match[1], {}):
            raise DataError(f"`{source.label}` has two files `{match[0]}`: give the folder of one of them")
        found[match[1]][match[2]] = name
    return found


def _languages(name: str, source: Source, found: dict[str, dict[str, str]]) -> tuple[str, str]:
    """From and to: as the name ends, else from English."""
    there = sorted(set.union(*(set(found[stem]) for stem in _STEMS["train"] if stem in found)))
    named = tuple(name.split("-")[-2:])
    if len(named) == 2 and set(named) <= set(there):
        return named[0], named[1]
    if len(there) == 2 and "en" in there:
        return "en", next(language for language in there if language != "en")
    raise DataError(
        f"`{source.label}` has text in {', '.join(there)}: end the name with the two languages, from and to, "
        f"such as `{name}-{there[0]}-{there[1]}`"
    )


def _read(source: Source, files: dict[str, str], languages: tuple[str, str]) -> Lines:
    for language in languages:
        if language not in files:
            other = next(iter(files.values()))
            raise DataError(f"`{source.label}` has `{other}` but not the same in `{language}`: add it")
    names = [files[language] for language in languages]
    content = dict(source.read(names, limit=_LARGEST))
    first, second = (split_lines(content[name], name) for name in names)
    if len(first) != len(second):
        check_pairs((first, second), (names[0], names[1]))
    return first, second


def _drop_empty(pairs: Lines) -> tuple[Lines, int]:
    kept = [i for i, pair in enumerate(zip(*pairs, strict=True)) if all(line.strip() for line in pair)]
    left_out = len(pairs[0]) - len(kept)
    return ([pairs[0][i] for i in kept], [pairs[1][i] for i in kept]) if left_out else pairs, left_out
