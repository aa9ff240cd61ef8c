"""Pieces of words: a byte-pair encoding that both languages share, made once for a text and kept beside it."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ralr_viz.data import ParallelText
from ralr_viz.data.parallel import TEXT_SPLITS
from ralr_viz.data.workspace import lock_root, open_workspace, publish_folder, write_errors
from ralr_viz.errors import DataError, InputError
from ralr_viz.foreign import describe_error, one_line
from ralr_viz.results.document import parse_json
from ralr_viz.results.storage import write_synced

PAD, UNKNOWN, BEGIN, END = range(4)
_ABOUT, _MODEL = "pieces.json", "pieces.model"
_SCHEMA = 1
_SPACE = "▁"  # begins a word


@dataclass(frozen=True, eq=False)
class Sentences:
    """Pieces of n sentences, one sentence after the other.

    Attributes:
        pieces: (total,) uint16.
        offsets: (n + 1,) int64, where each begins.
    """

    pieces: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> np.ndarray:
        return self.pieces[self.offsets[i] : self.offsets[i + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """(n,) int64 pieces of each."""
        return np.diff(self.offsets)


class Words(NamedTuple):
    """Words of a sentence.

    Attributes:
        names: What they are; ``(end)`` for the mark that ends it.
        starts: The piece that each begins with.
    """

    names: list[str]
    starts: list[int]


@dataclass(frozen=True, eq=False)
class Encoded:
    """A text in pieces.

    Attributes:
        splits: Sentences and translations of each of `TEXT_SPLITS`.
        pieces: The encoding itself, of its texts as bytes.
        fingerprint: SHA-256 of the pieces; the library's own file has settings in it that differ by version.
    """

    splits: Mapping[str, tuple[Sentences, Sentences]]
    pieces: Any
    fingerprint: str

    @property
    def size(self) -> int:
        """Pieces that there are."""
        return int(self.pieces.get_piece_size())

    def encode(self, lines: Iterable[str]) -> list[list[int]]:
        """Pieces of sentences."""
        found: list[list[int]] = self.pieces.encode(list(lines))
        return found

    def words(self, pieces: Sequence[int]) -> Words:
        """Words of a sentence, ended by its mark or not."""
        found = Words([], [])
        for i, piece in enumerate(pieces):
            name = "(end)" if piece == END else str(self.pieces.id_to_piece(int(piece)))
            if not i or piece == END or name.startswith(_SPACE):
                found.names.append("")
                found.starts.append(i)
            found.names[-1] += name.removeprefix(_SPACE)
        return found

    def decode(self, pieces: Iterable[int]) -> str:
        """A sentence; what only marks its ends is left out."""
        return str(self.pieces.decode([int(p) for p in pieces if p not in (PAD, BEGIN, END)]))


def require_libraries() -> None:
    """Refuse at once what would fail when the training is over.

    Raises:
        InputError: The extra is not installed.
    """
    for name in ("sentencepiece", "sacrebleu"):
        if importlib.util.find_spec(name) is None:
            raise InputError(f"the task translation needs `{name}`: pip install 'ralr-viz[translation]'")


def load_encoded(text: ParallelText, vocabulary: int) -> Encoded:
    """The text in pieces, which are found and stored at the first use of this vocabulary.

    Args:
        text: Whose training sentences, of both languages, the pieces are found in.
        vocabulary: Pieces, among them those of padding, the unknown, begin and end (0 to 3).

    Raises:
        InputError: The text has fewer different pieces.
        DataError: What is stored is damaged.
        StorageError: It cannot be stored.
    """
    folder = text.root / f"bpe-{vocabulary}"
    if not _is_of(folder, text):
        _build(text, vocabulary, folder)
    try:
        pieces = _open((folder / _MODEL).read_bytes())
        splits = {
            split: (_load(folder, f"{split}.{text.source}"), _load(folder, f"{split}.{text.target}"))
            for split in TEXT_SPLITS
        }
        for split, both in splits.items():
            if {len(both[0]), len(both[1])} != {text.counts[split]}:
                raise ValueError(f"{split} has another number of sentences")
    except (OSError, ValueError, EOFError, RuntimeError) as error:
        raise DataError(f"`{folder}` is damaged ({one_line(error)}): remove it, it is made again") from None
    return Encoded(splits, pieces, _fingerprint(pieces))


def _is_of(folder: Path, text: ParallelText) -> bool:
    try:
        about = parse_json((folder / _ABOUT).read_text(encoding="utf-8"))
        return bool(about == {"schema": _SCHEMA, "content_hash": text.content_hash})
    except (OSError, ValueError):
        return False


def _build(text: ParallelText, vocabulary: int, folder: Path) -> None:
    pairs = {split: text.read(split) for split in TEXT_SPLITS}
    model = _train([*pairs["train"][0], *pairs["train"][1]], vocabulary, text.name)
    pieces = _open(model)
    with open_workspace(text.root) as made:
        with write_errors(text.root):
            write_synced(made / _MODEL, model)
            for split, both in pairs.items():
                for language, lines in zip((text.source, text.target), both, strict=True):
                    _store(made, f"{split}.{language}", pieces.encode(lines))
            about = {"schema": _SCHEMA, "content_hash": text.content_hash}
            write_synced(made / _ABOUT, json.dumps(about).encode())
        with write_errors(text.root), lock_root(text.root):
            if not _is_of(folder, text):
                publish_folder(made, folder)


def _train(lines: list[str], vocabulary: int, name: str) -> bytes:
    sentencepiece, model = importlib.import_module("sentencepiece"), io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocabulary,
            character_coverage=1.0,
            normalization_rule_name="identity",
            pad_id=PAD,
            unk_id=UNKNOWN,
            bos_id=BEGIN,
            eos_id=END,
            num_threads=1,
            max_sentence_length=1_000_000,
            minloglevel=2,
        )
    except (RuntimeError, OSError, ValueError) as error:
        raise InputError(
            f"`vocabulary` = {vocabulary} does not fit text `{name}` ({describe_error(error)}): choose another by --set"
        ) from None
    return model.getvalue()


def _open(model: bytes) -> Any:
    processor = importlib.import_module("sentencepiece").SentencePieceProcessor()
    processor.load_from_serialized_proto(model)
    return processor


def _fingerprint(pieces: Any) -> str:
    names = "\n".join(pieces.id_to_piece(i) for i in range(pieces.get_piece_size()))
    return hashlib.sha256(names.encode()).hexdigest()


def join_pieces(sentences: Sequence[Sequence[int]]) -> Sentences:
    """Sentences of their pieces."""
    offsets = np.cumsum([0, *map(len, sentences)], dtype=np.int64)
    flat = np.fromiter((piece for sentence in sentences for piece in sentence), np.uint16, count=offsets[-1])
    return Sentences(flat, offsets)


def _store(folder: Path, name: str, sentences: list[list[int]]) -> None:
    joined = join_pieces(sentences)
    for kind, array in (("pieces", joined.pieces), ("offsets", joined.offsets)):
        file = io.BytesIO()
        np.save(file, array, allow_pickle=False)
        write_synced(folder / f"{name}.{kind}.npy", file.getvalue())


def _load(folder: Path, name: str) -> Sentences:
    flat = np.load(folder / f"{name}.pieces.npy", mmap_mode="r", allow_pickle=False)
    offsets = np.load(folder / f"{name}.offsets.npy", allow_pickle=False)
    if (
        flat.dtype != np.uint16
        or flat.ndim != 1
        or offsets.ndim != 1
        or not len(offsets)
        or offsets[-1] != len(flat)
    ):
        raise ValueError(f"{name} is of another shape")
    return Sentences(flat, offsets)
