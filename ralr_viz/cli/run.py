"""``ralr-viz run``: execute one prepared run directory, by hand or as the child of a study's driver."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_json
from ralr_viz.cli.train import Compile, Deterministic, execute_all, joined_ranks


def run(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Prepared run directory.")],
    data: options.Data = None,
    allow: options.Allow = None,
    deterministic: Deterministic = True,
    compile: Compile = False,
    device: options.Device = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object at the end: directory, status, error.")
    ] = False,
    stop_at_eof: Annotated[
        bool, typer.Option("--stop-at-eof", help="Save and stop when stdin closes, as when a driver dies.")
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Execute or resume one prepared run directory (`train --prepare` writes one).

    Over several GPUs of a machine: torchrun --nproc-per-node 4 -m ralr_viz run DIR
    """
    from ralr_viz.data import data_root
    from ralr_viz.train.methods import check_runnable
    from ralr_viz.train.prepare import finished_result, read_prepared_run

    if stop_at_eof:
        from ralr_viz.runtime.stop import watch_stdin

        watch_stdin()

    def check() -> None:
        recipe, _, _ = read_prepared_run(directory)
        if finished_result(directory) is None:
            check_runnable(recipe, data_root(data), device, compile)

    with (
        _record_end(directory, wanted=not stop_at_eof and os.environ.get("RANK", "0") == "0"),
        joined_ranks(device) as ranks,
        _json_at_end(directory, wanted=as_json and ranks.rank == 0),
    ):
        ranks.lead(check)
        execute_all([directory], data, device, deterministic, compile, quiet, ranks, echo=not as_json)


@contextlib.contextmanager
def _record_end(directory: Path, *, wanted: bool) -> Iterator[None]:
    """Leave a trace of an end without a result, for `study status`; a driver does so for its children."""
    begin = time.monotonic()
    try:
        yield
    except SystemExit:  # of a rank that has said why it ends
        raise
    except BaseException as error:
        if wanted:
            from ralr_viz.study.execute import record_own_end

            record_own_end(directory, error, time.monotonic() - begin)
        raise


@contextlib.contextmanager
def _json_at_end(directory: Path, *, wanted: bool) -> Iterator[None]:
    """Say on stdout how the block ended, whatever the end, where wanted; its exception goes on."""
    if not wanted:
        yield
        return
    from ralr_viz.study.attempt import describe_end

    failure: BaseException | None = None
    try:
        yield
    except BaseException as error:
        failure = error
        raise
    finally:
        status, message = describe_end(failure)
        print_json({"directory": str(directory), "status": status, "error": message}, indent=None)
