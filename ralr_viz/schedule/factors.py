"""The factors of RALR and of LR noise: a pure function of (seed, index), without torch.

Draw number ``index`` hashes (seed, index) into two independent uniforms on [0, 1), Algorithm 1's ``p_e`` and
the position ``u`` of the rate in [low, high]. There is no generator whose state could be lost or shared, so a
resumed run, another process and a preview all see the same sequence. A hash, unlike a generator seeded with
``seed + index``, gives neighbouring seeds unrelated sequences.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from hashlib import blake2b
from numbers import Integral, Real
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from ralr_viz.errors import InputError

# Part of every hash. Changing one, or the encoding below, changes every published run.
_TAG, _NOISE_TAG = "ralr-viz/amplification/1", "ralr-viz/noise/1"
_DRAWS = ("uniform", "integer")


class Draw(NamedTuple):
    """One draw: was the LR multiplied, and by how much (1.0 if it was not)."""

    amplified: bool
    factor: float


@dataclass(frozen=True)
class Amplification:
    """The law from which the factors are drawn, checked.

    Args:
        low: Smallest amplification, finite, > 0.
        high: Largest amplification, finite, >= ``low``.
        probability: The paper's p_r in [0, 1]: the share of draws that amplify.
        draw: How the paper's ``random_rate`` is drawn: ``"uniform"`` (continuous on [low, high]) or
            ``"integer"`` (uniform on the integers of [low, high]).

    Raises:
        InputError: A value outside these rules.
    """

    low: float = 1.0
    high: float = 3.0
    probability: float = 0.5
    draw: str = "uniform"

    def __post_init__(self) -> None:
        for name in ("low", "high", "probability"):
            object.__setattr__(self, name, _check_number(name, getattr(self, name)))
        if self.low <= 0:
            raise InputError(f"`low` is {self.low}: it must be > 0; the paper uses 1")
        if self.low > self.high:
            raise InputError(
                f"`low` is {self.low} and `high` is {self.high}: `low` must be <= `high`; swap them"
            )
        if not 0 <= self.probability <= 1:
            raise InputError(f"`probability` is {self.probability}: it must be in [0, 1]; the paper uses 0.5")
        if self.draw not in _DRAWS:
            raise InputError(
                f'`draw` is {self.draw!r}: it must be "uniform" or "integer"; the default is "uniform"'
            )
        if self.draw == "integer" and math.ceil(self.low) > math.floor(self.high):
            raise InputError(
                f'`draw` is "integer" and [`low`, `high`] is [{self.low}, {self.high}]: it must contain an '
                'integer; widen it or use draw="uniform"'
            )

    def at(self, seed: int, index: int) -> Draw:
        """Returns draw number ``index`` (>= 0) of ``seed`` (>= 0, of any size)."""
        p_e, u = _uniforms(seed, index)  # at most 1 − 2⁻⁵³: rounding cannot take a rate above `high`
        # `<`, as in the paper's text: p_e is in [0, 1), so p_r = 0 never and p_r = 1 always amplifies.
        if p_e >= self.probability:
            return Draw(False, 1.0)
        if self.draw == "integer":
            first, last = math.ceil(self.low), math.floor(self.high)
            return Draw(True, float(first + int(u * (last - first + 1))))
        return Draw(True, self.low + u * (self.high - self.low))

    @property
    def mean(self) -> float:
        """The mean factor 1 + p (E[λ] − 1)."""
        low, high = self.low, self.high
        if self.draw == "integer":
            low, high = math.ceil(low), math.floor(high)
        return 1.0 + self.probability * ((low + high) / 2 - 1.0)


@dataclass(frozen=True)
class Noise:
    """The law of `LRNoise`: 1 + a standard normal number that is drawn again until it is within ± ``pct``.

    Args:
        pct: Bound of the noise, in (0, 1), so that the factor is > 0.
        start: Index of the first draw with noise, >= 0. Draw 0 never has any: timm's scheduler sets the base values
            when it is made, and noise comes with its first ``step``.
        stop: Index after the last one, >= ``start``; None for no end.

    Raises:
        InputError: A value outside these rules.
    """

    pct: float = 0.67
    start: int = 0
    stop: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "pct", _check_number("pct", self.pct))
        object.__setattr__(self, "start", check_count("start", self.start))
        if not 0 < self.pct < 1:
            raise InputError(
                f"`pct` is {self.pct}: it must be in (0, 1), so that the LR stays > 0; timm: 0.67"
            )
        if self.stop is not None:
            object.__setattr__(self, "stop", check_count("stop", self.stop, minimum=self.start))

    def at(self, seed: int, index: int) -> Draw:
        """Returns draw number ``index`` (>= 0) of ``seed`` (>= 0, of any size)."""
        if index < max(self.start, 1) or (self.stop is not None and index >= self.stop):
            return Draw(False, 1.0)
        # Drawing until it is within the bounds gives the normal law between them; so does its quantile
        # function at one uniform number, which needs no second draw.
        normal = NormalDist()
        lowest, highest = normal.cdf(-self.pct), normal.cdf(self.pct)
        _, u = _uniforms(seed, index, _NOISE_TAG)
        return Draw(True, 1.0 + normal.inv_cdf(lowest + u * (highest - lowest)))


def amplification_factors(
    seed: int,
    n: int,
    *,
    low: float = 1.0,
    high: float = 3.0,
    probability: float = 0.5,
    draw: str = "uniform",
    start: int = 0,
    amplify_from: int = 0,
) -> np.ndarray:
    """The factors that ``RALR`` multiplies into the scheduled LR, without torch.

    With ``RALR(interval=1)`` stepped once an epoch, element e is the factor of epoch ``start + e``, counted
    from 0. Draws that do not amplify are 1.

    Args:
        seed: Any integer >= 0.
        n: Number of draws, >= 0.
        low: Smallest amplification, finite, > 0.
        high: Largest amplification, finite, >= ``low``.
        probability: The paper's p_r, in [0, 1].
        draw: ``"uniform"`` or ``"integer"``.
        start: Index of the first draw, >= 0.
        amplify_from: Index before which draws are left out: their factor is 1, whatever ``start`` is.

    Returns:
        float64 of shape (n,).

    Raises:
        InputError: A value outside these rules.

    References:
        Section 4.2, Algorithm 1, lines 5–7.

    Example:
        >>> amplification_factors(0, 4).round(3).tolist()
        [1.0, 1.0, 2.651, 2.645]
    """
    law = Amplification(low, high, probability, draw)
    seed, n, start = check_count("seed", seed), check_count("n", n), check_count("start", start)
    amplify_from = check_count("amplify_from", amplify_from)
    factors = [law.at(seed, i).factor if i >= amplify_from else 1.0 for i in range(start, start + n)]
    return np.array(factors, dtype=np.float64)


def mean_factor(
    low: float = 1.0, high: float = 3.0, probability: float = 0.5, draw: str = "uniform"
) -> float:
    """The mean of the factors, 1 + p (E[λ] − 1): the constant of the `scaled` control.

    RALR also raises the mean LR (by half at the paper's setting). The control multiplies every epoch by this
    constant, so that what is left between the two is the randomness.

    Args:
        low: Smallest amplification, finite, > 0.
        high: Largest amplification, finite, >= ``low``.
        probability: The paper's p_r, in [0, 1].
        draw: ``"uniform"`` or ``"integer"``.

    Raises:
        InputError: A value outside these rules.

    Example:
        >>> mean_factor()
        1.5
    """
    return Amplification(low, high, probability, draw).mean


def check_count(name: str, value: object, minimum: int = 0) -> int:
    """Returns ``value`` as a Python int, or raises InputError if it is none or smaller than ``minimum``."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InputError(f"`{name}` is {value!r}: it must be an integer >= {minimum}; pass an int")
    if value < minimum:
        raise InputError(f"`{name}` is {value}: it must be an integer >= {minimum}; pass {minimum} or more")
    return int(value)


def _check_number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError(f"`{name}` is {value!r}: it must be a number; pass a float")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InputError(f"`{name}` is {number}: it must be finite; pass an ordinary number")
    return number


def _uniforms(seed: int, index: int, tag: str = _TAG) -> tuple[float, float]:
    # Hexadecimal, because Python refuses to print very large integers in decimal.
    digest = blake2b(f"{tag} seed={seed:x} index={index:x}".encode(), digest_size=16).digest()
    first, second = int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")
    # The upper 53 bits: the float is exact, and the largest is 1 − 2⁻⁵³ < 1.
    return (first >> 11) * 2.0**-53, (second >> 11) * 2.0**-53
