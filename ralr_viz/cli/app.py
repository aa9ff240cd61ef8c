"""The command line: ``ralr-viz COMMAND``. Parsing and one call each; torch is imported inside commands."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
import warnings
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer

from ralr_viz._version import __version__
from ralr_viz.cli import (
    average,
    data,
    demo,
    dose,
    draw,
    evaluate,
    export,
    figures,
    over_time,
    report,
    run,
    schedule,
    study,
    train,
    translate,
    verify,
    why,
)
from ralr_viz.cli.lines import print_line, print_note
from ralr_viz.cli.noun_command import make_command
from ralr_viz.errors import RalrVizError
from ralr_viz.foreign import LONGEST_MESSAGE, one_line
from ralr_viz.nouns import NOUNS

app = typer.Typer(
    name="ralr-viz",
    help="Train, draw and measure why randomly amplified learning rates (RALR) change a network.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # in "rich" a `[default: …]` is taken for a tag and vanishes
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        print_line(f"ralr-viz {__version__}")
        raise typer.Exit()


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options that come before the command."""


app.command("demo")(demo.demo)
app.command("recipes")(train.recipes)
app.command("train")(train.train)
app.command("pair")(train.pair)
app.command("run")(run.run)
app.command("eval")(evaluate.evaluate)
app.command("translate")(translate.translate)
app.command("schedule")(schedule.schedule)
app.add_typer(data.app, name="data", help="List, check, import and download data sets.")
app.add_typer(study.app, name="study", help="Plan, run and tabulate grids of trainings: the paper's tables.")
app.command("why")(why.why)
app.command("verify")(verify.verify)
app.command("average")(average.average)
app.command("over-time")(over_time.over_time)
app.command("dose")(dose.dose)
for noun in NOUNS.values():
    app.command(noun.command_name)(make_command(noun))
app.command("report")(report.report)
app.command("figures")(figures.figures)
app.command("draw")(draw.draw)
app.command("export")(export.export)


def main() -> None:
    """Entry point: an expected failure is one line on stderr and its exit code, never a traceback."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed, as under some service managers
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no `×` must not end a training
    warnings.formatwarning = _format_warning
    sys.exit(_run())


# Typer bundles click or depends on it, by version; this is click's UsageError in both.
_UsageError: Any = typer.BadParameter.__base__
# What the user named does not exist, is something else or may not be used: exit code 2, not 1.
_BAD_INPUT = {
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ELOOP,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
}


_LIBRARY = re.compile(r"([\w.+-]+\.so[\w.]*): ")
_NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "failed to map segment",
    "error return without exception set",  # CPython, while it imports
)
# What lowers the need for memory, by the options that a command must have for it.
_MEMORY_REMEDIES = (
    ({"--batch"}, "lower --batch"),
    ({"--jobs"}, "lower --jobs"),
    ({"--set", "--device"}, "lower the batch by --set batch=N"),
    ({"--workers"}, "lower --workers"),
    ({"--device"}, "choose another --device"),
    ({"--limit"}, "lower --limit"),
    ({"--resamples"}, "lower --resamples"),
)


@cache
def _command() -> Any:
    """All commands as click has them: made once a process."""
    return typer.main.get_command(app)


def _run() -> int:
    """Run the command; return its exit code."""
    try:
        code = _command()(prog_name="ralr-viz", standalone_mode=False)
    except RalrVizError as error:
        return _fail(str(error), error.exit_code)
    except _UsageError as error:
        return _fail_usage(error)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except (MemoryError, ImportError, OSError, RuntimeError, SystemError) as error:
        return _fail_system(error)
    if code == 130:
        return _fail("interrupted", 130)
    return code or 0


def _format_warning(message: Warning | str, *_: object, **__: object) -> str:
    """One line: where in the code it was raised helps no user, and what is warned of may be somebody's name."""
    return f"ralr-viz: warning: {one_line(message, LONGEST_MESSAGE)}\n"


def _fail_system(error: MemoryError | ImportError | OSError | RuntimeError | SystemError) -> int:
    """One line for what the machine lacks; a bug is raised again."""
    if _is_out_of_memory(error):
        if isinstance(error, ImportError | OSError | SystemError):  # of a library, while it is loaded
            library = _LIBRARY.search(str(error))
            what = f"load `{library[1]}`" if library else "start"
            return _fail(f"too little memory to {what}: raise the limit (`ulimit -v`) or free some", 1)
        return _fail(f"out of memory: {_memory_remedy()}", 1)
    if isinstance(
        error, OSError
    ):  # a name that is too long, a folder that may not be read, a disk that is gone
        where = f"`{error.filename}`: " if error.filename else ""
        what = (error.strerror or str(error)).lower()
        return _fail(f"{where}{what}", 2 if error.errno in _BAD_INPUT else 1)
    raise error


def _memory_remedy() -> str:
    """What the command that was called can do about it: only options that it has."""
    command = _command()
    for word in sys.argv[1:]:
        command = getattr(command, "commands", {}).get(word, command)
    options = {name for parameter in command.params for name in parameter.opts}
    found = [remedy for names, remedy in _MEMORY_REMEDIES if names <= options]
    return " or ".join(found[:2]) or "free some"


def _fail(message: str, code: int) -> int:
    print_note(f"ralr-viz: {message}")
    return code


def _fail_usage(error: Any) -> int:
    message = " ".join(error.format_message().split()).rstrip(".")
    if not message:  # no arguments at all: the help is printed already
        return int(error.exit_code)
    path = error.ctx.command_path if error.ctx is not None else "ralr-viz"
    return _fail(f"{message[0].lower()}{message[1:]} (see `{path} --help`)", int(error.exit_code))


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether NumPy, CUDA, torch's CPU allocator or the loader has run out; there is no one class for it."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in _NO_MEMORY)


if __name__ == "__main__":
    main()
