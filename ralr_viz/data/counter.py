"""Random numbers by their place, not by their turn: a pure function of (seed, epoch, use, sample, block).

A draw of one sample therefore depends on no other sample, on no thread, batch, rank or resume. The generator is Philox
4×32 with 10 rounds, one block of four words for each sample and block number.

References:
    Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011.
"""

from __future__ import annotations

import hashlib

import numpy as np

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def draw_uniforms(
    seed: int, epoch: int, use: str, samples: np.ndarray, block: int | np.ndarray = 0
) -> np.ndarray:
    """Four numbers for each sample.

    Args:
        seed: Training seed.
        epoch: 0-based index of the epoch.
        use: What they are for; other uses have other numbers.
        samples: ``(n,)`` integer, which samples, by their place in the split: 0 or more.
        block: Which four of the sample's; one for all, or ``(n,)``.

    Returns:
        ``(n, 4)`` float64 in [0, 1), multiples of 2⁻³².
    """
    digest = hashlib.blake2b(f"{use}/{seed}/{epoch}".encode(), digest_size=8).digest()
    key = (int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little"))
    index = samples.astype(np.uint64)
    counter = np.stack([np.full_like(index, block), index & _LOW, index >> _HALF, np.zeros_like(index)])
    return philox(counter, key).T / 2.0**32


def philox(counter: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Philox 4×32-10.

    Args:
        counter: ``(4, n)`` uint64, each of 32 bits.
        key: Two numbers of 32 bits.

    Returns:
        ``(4, n)`` uint64, each of 32 bits.
    """
    a, b, c, d = counter
    for turn in range(_ROUNDS):
        first, second = (np.uint64((k + turn * w) & 0xFFFFFFFF) for k, w in zip(key, _WEYL, strict=True))
        p, q = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, b, c, d = (q >> _HALF) ^ b ^ first, q & _LOW, (p >> _HALF) ^ d ^ second, p & _LOW
    return np.stack([a, b, c, d])
