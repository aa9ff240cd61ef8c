"""One option of a noun, declared once: its default and range in the function, its help in the command."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal

from ralr_viz.errors import InputError, UnknownNameError


@dataclass(frozen=True)
class Option:
    """A parameter of a ``compute_`` function that is an option of its command too.

    Attributes:
        name: Of the parameter; the command's is ``--name``, or what `flag` says.
        default: Of both.
        help: For ``--help``, a phrase that ends in a full stop.
        least, most: Ends of the range of a number, included; None for no end.
        among: The words that are allowed; empty for any.
        called: What an error calls one of them; the name where left out.
        metavar: What the help shows for the value.
        flag: Names on the command line where they are not ``--name``; empty where the command does not show it, and what
            opens its inputs may set it.
        kind: Type of one value; the default's where left out.
        many: ``repeated`` where the command takes it several times, ``comma`` where it takes ``A,B,C``; the function
            takes a sequence. ``comma`` may be left empty by the word ``none`` where the default is.
        may_be_empty: Of ``comma``.
    """

    name: str
    default: Any
    help: str
    least: float | None = None
    most: float | None = None
    among: tuple[str, ...] = ()
    called: str = ""
    metavar: str | None = None
    flag: str | None = None
    kind: type | None = None
    many: Literal["", "repeated", "comma"] = ""
    may_be_empty: bool = False

    @property
    def shown(self) -> bool:
        """Whether it is an option of the command."""
        return self.flag != ""

    @property
    def flags(self) -> str:
        """As the command declares it."""
        if self.flag is not None:
            return self.flag
        name = self.name.replace("_", "-")
        return f"--{name}/--no-{name}" if self.default is True else f"--{name}"

    @property
    def of_one(self) -> type:
        """Type of one value."""
        return self.kind or type(self.default)

    def check(self, value: Any) -> None:
        """Refuse a value that is out of the range or none of the words.

        Raises:
            InputError: Out of the range, or not a number, or not an integer, where one belongs.
            UnknownNameError: None of the words.
        """
        if self.many:
            for one in () if value is None else value:
                self._check_one(one)
        elif value is not None or self.default is not None:
            self._check_one(value)

    def _check_one(self, value: Any) -> None:
        if self.among and value not in self.among:
            raise UnknownNameError(self.called or self.name, str(value), self.among)
        if self.of_one not in (int, float):
            return
        if self.of_one is int and not isinstance(value, Integral):
            raise InputError(f"`{self.name}` = {value!r} must be an integer")
        if self.least is not None and not value >= self.least:  # NaN is not
            raise InputError(f"`{self.name}` = {value} must be {self.least:g} or more")
        if self.most is not None and not value <= self.most:
            raise InputError(f"`{self.name}` = {value} must be {self.most:,g} or less")

    def read(self, text: Any) -> Any:
        """What the command was given, as the function takes it.

        Raises:
            InputError: ``comma`` without numbers.
        """
        if self.many != "comma" or text is None:
            return text
        if self.may_be_empty and text == "none":
            return ()
        try:
            return tuple(self.of_one(part) for part in text.split(","))
        except ValueError:
            shown = ",".join(f"{v:g}" for v in self.default) or "1,2"
            raise InputError(f"`{self.flags} {text}` must be numbers such as {shown}") from None


def check(options: tuple[Option, ...], **values: Any) -> None:
    """`Option.check` of each of the options that is among the values, by name; errors as there."""
    for option in options:
        if option.name in values:
            option.check(values[option.name])


SEED = Option("seed", 0, "Of the bootstrap over images.", least=0, most=2**32 - 2)
RESAMPLES = Option("resamples", 1000, "Of the bootstrap over images.", least=2, most=1_000_000)
NULL_PAIRS = Option("null_pairs", 0, "Pairs at the end that differ by the seed only.", least=0, flag="")
BATCHNORM = Option(
    "batchnorm",
    "batch",
    "batch (each batch by its own statistics, as in training) or frozen (running statistics).",
    among=("batch", "frozen"),
    called="BatchNorm mode",
)
