"""The report's claims: what `ralr-viz why` found, and whether it is of what the page shows."""

from __future__ import annotations

import shlex
from pathlib import Path

from ralr_viz.errors import InputError
from ralr_viz.results.bundle import load_result
from ralr_viz.results.why import WhyResult
from ralr_viz.workflows.report.gathering import Gathering


def load_why(folder: Path | None, now: Gathering) -> WhyResult | None:
    """What ``--why`` names; without it, which command makes it is noted in ``now.missing``.

    Raises:
        InputError: Another kind of result, or one side only.
    """
    if folder is not None and len(now.sources) < 2:
        raise InputError(f"`--why {folder}` needs --b: the claims are of two methods")
    if folder is None:
        if len(now.sources) > 1:
            now.missing["why"] = _why_command(now)
        return None
    inner = folder / "why"  # of `ralr-viz why --out folder`
    found = load_result(inner if (inner / "manifest.json").is_file() else folder)
    if not isinstance(found, WhyResult):
        raise InputError(
            f"`--why {folder}` holds a result of kind `{found.kind}`: give the folder that `ralr-viz why --out` wrote"
        )
    methods = [source.method for source in now.sources[:2]]
    if all(methods) and list(found.arms[:2]) != methods:
        now.notes.append(
            f"The claims were tested on {found.arms[0]} and {found.arms[1]}, this page compares {methods[0]} and "
            f"{methods[1]}"
        )
    tested = {run.get("run") for run in found.provenance.get("runs", ())}
    shown = {run.record.label for source in now.sources for run in source.runs.values()}
    if tested and not tested & shown:
        now.notes.append(f"The claims were tested on other runs than this page shows, such as {min(tested)}")
    return found


def _why_command(now: Gathering) -> str:
    methods = [source.method for source in now.sources]
    if not all(methods):
        return "the claims are tested on training runs, not on weights alone"
    arms = shlex.join(word for source in now.sources for word in (source.option, source.text))
    return f"run `ralr-viz why {arms} --out out/why`, then `ralr-viz report` again with `--why out/why`"
