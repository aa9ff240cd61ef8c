"""``ralr-viz study run``: the executor that was asked for, and what is shown while it works."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.live import Live

from ralr_viz.cli.lines import print_note
from ralr_viz.cli.study_view import format_duration, render_plan
from ralr_viz.errors import InputError, RalrVizError, UnknownNameError
from ralr_viz.foreign import one_line

if TYPE_CHECKING:
    from ralr_viz.study.engine import Event, Outcome, Report
    from ralr_viz.study.execute import ExecuteOptions
    from ralr_viz.study.plan import Plan

ENGINES = ("local", "ray")
_ENDED = ("finished", "diverged", "failed", "killed", "interrupted")
# The live table is read anew every so many seconds, and never takes more than a twentieth of the time.
_REFRESH, _SHARE = 1.0, 20


def run_study(
    look: Callable[[], Plan],
    options: ExecuteOptions,
    *,
    engine: str,
    address: str | None,
    jobs: int | None,
    gpus_per_run: float | None,
    cpus_per_run: int | None,
    retry_failed: bool,
    quiet: bool,
) -> list[Outcome]:
    """Prepare and execute what a study still needs.

    Args:
        look: Returns the study's plan as its files are now.
        options: For every run.
        engine, address, jobs, gpus_per_run, cpus_per_run, retry_failed, quiet: Of the command line.

    Raises:
        InputError: Data are missing, or the engine cannot be had.
        RalrVizError: See `run_all`.
    """
    from ralr_viz.study.begun import as_begun
    from ralr_viz.study.engine import run_all
    from ralr_viz.study.plan import prepare_plan

    if engine not in ENGINES:
        raise UnknownNameError("engine", engine, ENGINES)
    if address is not None and engine != "ray":
        raise InputError(f"`--address {address}` is of a Ray cluster: add --engine ray")
    if cpus_per_run is not None and engine != "ray":
        raise InputError(
            f"`--cpus-per-run {cpus_per_run}` is of --engine ray: here `--jobs N` divides the machine's cores"
        )
    plan = look()
    for name, how in plan.missing_data.items():
        raise InputError(f"data set `{name}` is not there: {how}, or leave its cells out by --only")
    options, threads = as_begun(plan, options)
    directories = prepare_plan(plan)
    if not directories:
        return []
    if engine == "ray":  # its workers have another working directory
        directories = [directory.resolve() for directory in directories]
        options = replace(options, data=options.data.resolve() if options.data else None)
    if engine == "ray":
        executor: Executor = _open_ray(address, options.device, jobs, gpus_per_run, cpus_per_run or 1)
    else:
        executor = _open_local(plan, options, jobs, gpus_per_run, threads, quiet=quiet)
    with executor, _show(look, len(directories), quiet=quiet) as report:
        return run_all(directories, executor, options, retry_failed=retry_failed, report=report)


def check_outcomes(outcomes: Sequence[Outcome]) -> None:
    """Raises: RalrVizError naming the first run that has no result, if any."""
    from ralr_viz.study.attempt import DONE

    bad = [outcome for outcome in outcomes if outcome.status not in DONE]
    if bad:
        first = bad[0]
        again = " (--retry-failed executes it again)" if first.status == "failed" else ""
        raise RalrVizError(
            f"{len(bad)} of {len(outcomes)} runs have no result; `{first.directory}` {first.status}: "
            f"{first.error}{again}"
        )


def _open_ray(
    address: str | None, device: str, jobs: int | None, gpus_per_run: float | None, cpus_per_run: int
) -> Executor:
    from ralr_viz.study.ray_engine import RayExecutor

    share = gpus_per_run if gpus_per_run is not None else float(device != "cpu")
    return RayExecutor(address, gpus_per_run=share, cpus_per_run=cpus_per_run, jobs=jobs)


def _open_local(
    plan: Plan,
    options: ExecuteOptions,
    jobs: int | None,
    gpus_per_run: float | None,
    threads: int | None,
    *,
    quiet: bool,
) -> Executor:
    from ralr_viz.data import data_root
    from ralr_viz.study.packing import pack_slots
    from ralr_viz.study.slots import LocalExecutor

    return LocalExecutor(
        pack_slots(
            plan,
            data_root(options.data),
            options,
            jobs=jobs,
            gpus_per_run=gpus_per_run,
            threads=threads,
            say=(lambda _: None) if quiet else print_note,
        )
    )


@contextlib.contextmanager
def _show(look: Callable[[], Plan], count: int, *, quiet: bool) -> Iterator[Report | None]:
    """Yield what `run_all` reports to: a live table on a terminal, else a line an event."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        table = _LiveTable(look)
        with Live(
            console=Console(stderr=True), get_renderable=table.render, refresh_per_second=1 / _REFRESH
        ) as live:

            def show(event: Event) -> None:
                if event.message:
                    live.console.print(one_line(_line(event), None), markup=False, highlight=False)

            yield show
    else:
        ended: list[Event] = []
        start = time.monotonic()

        def say(event: Event) -> None:
            print_note(_line(event))
            if event.status not in _ENDED:
                return
            ended.append(event)
            tried, left = sum(e.attempt > 0 for e in ended), count - len(ended)
            if tried and left:  # what was settled before took no time
                seconds = (time.monotonic() - start) / tried * left
                print_note(f"{len(ended)} of {count} runs, about {format_duration(seconds)} left")

        yield say


class _LiveTable:
    """The plan as it is now, read again when it is old enough."""

    def __init__(self, look: Callable[[], Plan]) -> None:
        self._look, self._shown, self._next = look, render_plan(look()), 0.0

    def render(self) -> RenderableType:
        begin = time.monotonic()
        if begin >= self._next:
            self._shown = render_plan(self._look())
            end = time.monotonic()
            self._next = end + max(_REFRESH, _SHARE * (end - begin))
        return self._shown


def _line(event: Event) -> str:
    """``finished runs/x/ralr/seed0: test accuracy 71.20 % (last epoch)``."""
    parts = [event.status] if event.directory is None else [f"{event.status} {event.directory}"]
    message = event.message or (_score(event.directory) if event.status == "finished" else "")
    return ": ".join([*parts, message] if message else parts)


def _score(directory: Path | None) -> str:
    from ralr_viz.results.run import read_about
    from ralr_viz.study.state import run_state

    score = None if directory is None else read_about(directory).score
    if directory is None or score is None:
        return ""
    last = (run_state(directory).result or {}).get("last")
    value = last.get(f"test_{score.key}") if isinstance(last, dict) else None
    return f"test {score.title} {score.show(value)} (last epoch)" if isinstance(value, int | float) else ""
