"""What `ralr-viz study` shows of a plan: a table of its cells, what runs now, and what is left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ralr_viz.cli.lines import print_json, print_line
from ralr_viz.foreign import one_line

if TYPE_CHECKING:
    from ralr_viz.study.plan import Plan, PlannedRun

# Seconds between two looks at the files of a study.
_REFRESH = 2.0


def print_plan(plan: Plan, *, as_json: bool) -> None:
    """The plan on stdout."""
    if as_json:
        print_json(_to_dict(plan))
        return
    rows = _cell_rows(plan)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print_line("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    for line in (*_running(plan), *summary_lines(plan)):
        print_line(line)


def watch(look: Callable[[], Plan]) -> None:
    """Show what ``look`` finds, again and again, until every run has ended."""
    with Live(refresh_per_second=4) as live:
        while True:
            plan = look()
            live.update(render_plan(plan), refresh=True)
            if not set(plan.counts) & {"running", "stopped", "pending"}:
                return
            time.sleep(_REFRESH)


def render_plan(plan: Plan) -> RenderableType:
    """The plan for a terminal."""
    heads, *rows = _cell_rows(plan)
    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(Text(head), no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    lines = (*_running(plan), *summary_lines(plan))
    return Group(table, *(Text(one_line(line, None)) for line in lines))


def summary_lines(plan: Plan) -> list[str]:
    """Number of runs in each state, cost of the rest, what it rests on, and data that are missing."""
    from ralr_viz.study.plan import describe_counts

    lines = [f"{len(plan.entries)} runs: {describe_counts(plan.counts)}"]
    waiting = [entry for entry in plan.entries if not entry.done]
    if waiting:
        unknown = len(plan.unknown)
        parts = []
        if unknown < len(waiting):
            parts.append(f"{format_duration(plan.seconds)} one after another")
            parts.append(f"up to {plan.bytes / 1e9:.2g} GB of checkpoints" if plan.bytes else "")
            parts.append(f"{plan.free_bytes / 1e9:.3g} GB are free" if plan.bytes else "")
        if unknown:
            parts.append(f"{unknown} runs of unknown speed (measure it: study plan --pilot)")
        lines.append("still needs: " + ", ".join(part for part in parts if part))
    lines += [
        f"speed of {key.model} on {key.dataset}, batch {key.batch}: "
        f"{rate.images_per_second:.0f} images/s ({rate.source})"
        for key, rate in plan.rates.items()
    ]
    for failed in (entry for entry in plan.entries if entry.state.status in ("failed", "diverged")):
        lines.append(f"{failed.state.status}: {failed.directory}: {failed.state.message}".rstrip(": "))
    lines += [f"data set {name} is not there: {how}" for name, how in plan.missing_data.items()]
    return lines


def format_duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3.5 h``, ``2.1 days``."""
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size or (unit == "min" and seconds >= size):
            value = seconds / size
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{seconds:.0f} s"


def _cell_rows(plan: Plan) -> list[tuple[str, ...]]:
    """Heading and one row a cell: labels, runs in each state, cost of what is left."""
    from ralr_viz.study.plan import describe_counts

    entries = {entry.directory: entry for entry in plan.entries}
    axes = [axis.name for axis in plan.study.axes]
    rows = [(*map(one_line, axes), "runs", "still needs")]
    for cell in plan.study.cells:
        of_cell = [entries[plan.study.directory(plan.runs, cell, seed)] for seed in cell.seeds]
        counts = Counter(entry.state.status for entry in of_cell)
        left = [entry.seconds for entry in of_cell if not entry.done]
        cost = "" if not left else "unknown"
        if left and None not in left:
            cost = format_duration(sum(seconds or 0.0 for seconds in left))
        rows.append((*(one_line(cell.labels[axis]) for axis in axes), describe_counts(counts), cost))
    return rows


def _running(plan: Plan) -> list[str]:
    return [_progress(entry) for entry in plan.entries if entry.state.status == "running"]


def _progress(entry: PlannedRun) -> str:
    """Directory, epoch and score of a run that somebody works on."""
    from ralr_viz.results.columns import speed_of
    from ralr_viz.results.run import read_about
    from ralr_viz.study.state import last_record

    record = last_record(entry.directory)
    where = f"running: {entry.directory}"
    if record is None:
        return f"{where}: epoch 1/{entry.cell.recipe.epochs}"
    parts = [f"{record['epoch']}/{entry.cell.recipe.epochs} epochs"]
    about = read_about(entry.directory)
    if (score := about.score) is not None:
        values = {split: record.get(f"{split}_{score.key}") for split in ("val", "test")}
        parts += [f"{s} {score.show(v, 1)}" for s, v in values.items() if isinstance(v, int | float)]
    if isinstance(speed := speed_of(record), int | float):
        parts.append(f"{speed:.0f} {about.samples}/s")
    if entry.seconds is not None:
        parts.append(f"{format_duration(entry.seconds)} left")
    return f"{where}: {', '.join(parts)}"


def _to_dict(plan: Plan) -> dict[str, Any]:
    return {
        "study": plan.study.name,
        "counts": dict(plan.counts),
        "seconds": plan.seconds,
        "unknown": len(plan.unknown),
        "bytes": plan.bytes,
        "free_bytes": plan.free_bytes,
        "missing_data": dict(plan.missing_data),
        "rates": [{**key._asdict(), **rate._asdict()} for key, rate in plan.rates.items()],
        "runs": [
            {
                "directory": str(entry.directory),
                "labels": dict(entry.cell.labels),
                "seed": entry.seed,
                "status": entry.state.status,
                "message": entry.state.message,
                "seconds": entry.seconds,
            }
            for entry in plan.entries
        ],
    }
