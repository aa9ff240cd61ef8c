"""Make published tables and figures anew, and hold their numbers against those that were published."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ralr_viz.errors import InputError
from ralr_viz.foreign import one_line
from ralr_viz.results.table_difference import compare_tables
from ralr_viz.workflows.replay import replay_run

LIST = "verify.toml"
"""Names every published CSV, once: with the command that makes it, or the reason why none does."""
Run = Callable[[Sequence[str], Path], str]
"""Runs a command, its words without ``ralr-viz``, in a folder; returns the last line of its errors, empty where it went well."""


@dataclass(frozen=True)
class Made:
    """A command and the files that it makes.

    Attributes:
        command: Its words; ``--out`` is added.
        files: Published file, relative to the list, and where it lies in ``--out``.
        tolerance: As `compare_tables` takes it.
        quick: Takes seconds and no data.
    """

    command: tuple[str, ...]
    files: dict[str, str]
    tolerance: float = 0.0
    quick: bool = False


@dataclass(frozen=True)
class Replayed:
    """A published run whose first epochs are trained again."""

    run: str
    epochs: int


@dataclass(frozen=True)
class VerifyList:
    """Content of a `LIST`.

    Attributes:
        root: Folder in which the commands are run, relative to the list.
        made: What is made anew.
        replayed: Runs.
        left: Patterns of files that nothing makes, and why.
    """

    root: str
    made: tuple[Made, ...]
    replayed: tuple[Replayed, ...]
    left: dict[str, str]


@dataclass(frozen=True)
class Verified:
    """What became of a published file, run or pattern: ``equal``, ``differs``, ``failed`` or ``left out``, with a sentence."""

    name: str
    outcome: str
    note: str

    @property
    def line(self) -> str:
        return f"{self.outcome}: {one_line(self.name)}: {self.note}"


def read_list(folder: Path) -> VerifyList:
    """The list of a folder of published results.

    Raises:
        InputError: There is none, or it is damaged.
    """
    path = folder / LIST
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
        return VerifyList(
            str(found.get("root", ".")),
            tuple(_made(entry) for entry in found.get("made", ())),
            tuple(Replayed(str(e["run"]), int(e["epochs"])) for e in found.get("replayed", ())),
            {str(file): str(entry["reason"]) for entry in found.get("left", ()) for file in entry["files"]},
        )
    except OSError as error:
        raise InputError(
            f"`{path}` cannot be read ({error.strerror}): give a folder of published results"
        ) from None
    except (
        tomllib.TOMLDecodeError,
        UnicodeDecodeError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        raise InputError(
            f"`{path}` is damaged ({one_line(error, 200)}): compare it with figures/{LIST}"
        ) from None


def find_unlisted(folder: Path, listed: VerifyList) -> list[str]:
    """Published CSV files that the list does not name, and names of it that no file has, a sentence each."""
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*.csv")}
    made = [file for entry in listed.made for file in entry.files]
    left = {
        pattern: {p.relative_to(folder).as_posix() for p in folder.glob(pattern)} for pattern in listed.left
    }
    named = set(made).union(*left.values())
    return [
        *(
            f"`{file}` is not in {LIST}: name its command, or why none makes it"
            for file in sorted(there - named)
        ),
        *(f"`{file}` of {LIST} is not there" for file in sorted(set(made) - there)),
        *(f"`{pattern}` of {LIST} fits no file" for pattern, found in left.items() if not found),
        *(f"`{file}` is in {LIST} twice" for file in sorted({f for f in made if made.count(f) > 1})),
    ]


def verify(
    folder: Path,
    *,
    data: Path | None = None,
    device: str = "auto",
    quick: bool = False,
    run: Run | None = None,
) -> Iterator[Verified]:
    """Make what a folder of published results lists, file after file; nothing in it is changed.

    Args:
        folder: With a `LIST`.
        data: Folder of the ingested data sets.
        device: Where.
        quick: Only what takes seconds and no data.
        run: In place of a process of its own.

    Yields:
        What became of each file and run, at last what nothing makes.

    Raises:
        InputError: No list, or a damaged one.
    """
    listed = read_list(folder)
    root = (folder / listed.root).resolve()
    start = run or _process(data, device)
    for entry in listed.made:
        if quick and not entry.quick:
            yield Verified(", ".join(entry.files), "left out", "takes data and time: leave out --quick")
        else:
            yield from _verify_made(folder, root, entry, start)
    for replayed in listed.replayed:
        name = f"{replayed.run}, first {replayed.epochs} epoch{'s' * (replayed.epochs > 1)}"
        if quick:
            yield Verified(name, "left out", "is a training: leave out --quick")
            continue
        try:
            found = replay_run(root / replayed.run, replayed.epochs, root=data, device=device)
        except InputError as error:
            yield Verified(name, "failed", one_line(error, None))
        else:
            yield Verified(name, {"reproduced": "equal"}.get(found.outcome, "differs"), found.note)
    for reason in dict.fromkeys(listed.left.values()):
        patterns = [pattern for pattern, why in listed.left.items() if why == reason]
        count = sum(len(list(folder.glob(pattern))) for pattern in patterns)
        yield Verified(", ".join(patterns), "left out", f"{count} file{'s' * (count > 1)}: {reason}")


def _made(entry: dict[str, Any]) -> Made:
    words = tuple(str(entry["command"]).split())
    return Made(
        words,
        {str(k): str(v) for k, v in entry["files"].items()},
        float(entry.get("tolerance", 0.0)),
        bool(entry.get("quick", False)),
    )


def _verify_made(folder: Path, root: Path, entry: Made, run: Run) -> Iterator[Verified]:
    with tempfile.TemporaryDirectory(prefix="ralr-viz-verify-") as out:
        failed = run([*entry.command, "--out", out], root)
        for file, lies in entry.files.items():
            made = Path(out) / lies
            if failed or not made.is_file():
                yield Verified(
                    file, "failed", failed or f"`ralr-viz {' '.join(entry.command)}` made no {lies}"
                )
                continue
            found = compare_tables(_read(folder / file), _read(made), entry.tolerance)
            if found.where:
                more = f" (largest difference {found.largest:.2g})" if math.isfinite(found.largest) else ""
                yield Verified(file, "differs", f"{found.where}{more}")
            else:
                how = (
                    "to the bit"
                    if not found.largest
                    else f"within {entry.tolerance:g} (largest {found.largest:.2g})"
                )
                yield Verified(file, "equal", f"{found.numbers:,} numbers {how}")


def _read(path: Path) -> str:
    with path.open(encoding="utf-8", newline="") as file:
        return file.read()


def _process(data: Path | None, device: str) -> Run:
    """Commands as processes of their own, which find data and device where they are told."""

    def run(words: Sequence[str], cwd: Path) -> str:
        more = [] if data is None else [("RALR_VIZ_DATA", str(data.resolve()))]
        where = (
            ["--device", device]
            if device != "auto" and words[0] not in ("study", "schedule", "curves")
            else []
        )
        done = subprocess.run(
            [sys.executable, "-m", "ralr_viz", *words, *where],
            cwd=cwd, env=os.environ | dict(more), capture_output=True, text=True, check=False,
        )  # fmt: skip
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return "" if done.returncode == 0 else (lines or [f"ended with {done.returncode}"])[-1]

    return run
