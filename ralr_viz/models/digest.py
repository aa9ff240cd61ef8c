"""A digest that a file carries of itself, so that bits which flip on a disk or on the way are not taken silently.

It stands in the file after `MARK`, as 64 hexadecimal digits, and is of all the file's bytes but these: it cannot be
separated from what it is of, and nothing is left out. It is against accidents, not attackers.
"""

from __future__ import annotations

import hashlib
import io

import numpy as np

MARK = b"ralr_viz digest 1: "
PLACE = MARK + b"0" * 64
"""What a file is to hold, once, before it is sealed."""
# Words of 8 bytes that are summed apart, and sums that are hashed together. The first is a prime: what damages
# memory or disks at steps of a power of two never meets itself in one sum.
_WIDTH, _ROWS = 2039, 128
# The last record of a zip archive, 22 bytes: what it begins with, and the length of the comment behind it.
_END_OF_ZIP, _COMMENT_LENGTH = b"PK\x05\x06", len(PLACE).to_bytes(2, "little")


def compute_digest(data: bytes | bytearray | memoryview, at: int) -> bytes:
    """64 digits for a file.

    SHA-256 takes about as long as a large checkpoint takes to load, so it gets the sums modulo 2⁶⁴ of every
    2039th word in 2 MB, a 128th of the bytes, in a tenth of its time. Whatever changes within 16 KB changes the
    digest, and so do any single words, but for two or more that lie a multiple of 16,312 bytes apart in the same
    2 MB and differ by what cancels: of two bits that flip anywhere in a file of 1 MB, one pair in some 250,000.

    Args:
        data: The file.
        at: Where its `MARK` begins.
    """
    digest = hashlib.sha256(len(data).to_bytes(8, "little"))
    first, last = at + len(MARK), at + len(PLACE)
    aligned = -(-last // 8) * 8  # sums of words that lie across two are slow
    whole = memoryview(data)
    _add_sums(digest, whole[:first])
    digest.update(whole[last:aligned])
    _add_sums(digest, whole[aligned:])
    return digest.hexdigest().encode()


def _add_sums(digest: hashlib._Hash, part: memoryview) -> None:
    step = 8 * _WIDTH * _ROWS
    for start in range(0, len(part), step):
        block = part[start : start + step]
        rows = len(block) // (8 * _WIDTH)
        words = np.frombuffer(block, "<u8", rows * _WIDTH).reshape(rows, _WIDTH)
        if rows:
            digest.update(np.add.reduce(words, axis=0).astype("<u8", copy=False).tobytes())
        digest.update(block[8 * rows * _WIDTH :])


def seal(data: bytearray | memoryview, at: int) -> None:
    """Write the digest of a file into it, where its `PLACE` begins."""
    data[at + len(MARK) : at + len(PLACE)] = compute_digest(data, at)


def is_whole(data: bytes, at: int) -> bool:
    """Whether a file is as it was when it was sealed; ``at`` is where its `MARK` begins."""
    return data[at + len(MARK) : at + len(PLACE)] == compute_digest(data, at)


def seal_archive(buffer: io.BytesIO) -> bytes:
    """Content of a zip archive without a comment (a ``.pt``, an ``.npz``), sealed by one.

    The sums that an archive has by itself leave out its directory, thus names and sizes, and torch reads past them.
    """
    buffer.seek(-len(_COMMENT_LENGTH), io.SEEK_END)
    buffer.write(_COMMENT_LENGTH + PLACE)
    with buffer.getbuffer() as data:
        seal(data, len(data) - len(PLACE))
    return buffer.getvalue()


def find_in_archive(data: bytes) -> int | None:
    """Where the `MARK` of an archive begins that was sealed; None in any other file."""
    at = len(data) - len(PLACE)
    if at < 22:
        return None
    # either will do, lest a bit of the one turns the other off
    ends_in_ours = data.startswith(_END_OF_ZIP, at - 22) and data.startswith(_COMMENT_LENGTH, at - 2)
    return at if ends_in_ours or data.startswith(MARK, at) else None
