"""A study that was begun goes on with the setting of its first runs. Imports no torch."""

from __future__ import annotations

from dataclasses import replace

from ralr_viz.study.execute import ExecuteOptions
from ralr_viz.study.plan import Plan
from ralr_viz.train.setting import Setting, Wish, read_setting, setting_path


def as_begun(plan: Plan, options: ExecuteOptions) -> tuple[ExecuteOptions, int | None]:
    """The options with the setting that is kept beside the study's runs, and its threads; None where none is yet.

    Args:
        plan: Of the study.
        options: What is asked for; what is not is as it was.

    Raises:
        InputError: Something else is asked for than what one of its comparisons has.
    """
    wish, first = Wish(options.device, options.compile, options.deterministic), None
    for path in dict.fromkeys(
        setting_path(entry.directory, entry.cell.recipe, entry.cell.method, entry.seed)
        for entry in plan.entries
    ):
        kept: Setting | None = None if path is None else read_setting(path)
        if path is not None and kept is not None:
            kept.check(wish, path)
            first = first or kept
    if first is None:
        return options, None
    taken = replace(
        options,
        device=first.device if options.device == "auto" else options.device,
        compile=first.compile,
        # of the CPU it says nothing
        deterministic=first.deterministic if first.device == "cuda" else options.deterministic,
    )
    return taken, first.threads
