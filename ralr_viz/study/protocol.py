"""What a study that decides has promised: kept beside its runs from before the first, and held against its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ralr_viz.errors import InputError
from ralr_viz.foreign import one_line
from ralr_viz.results.document import parse_json
from ralr_viz.results.storage import write_json
from ralr_viz.study.grid import Study
from ralr_viz.train.prepare import has_progress


def protocol_path(study: Study, runs: Path) -> Path:
    """Where the protocol of a study lies: ``RUNS/NAME.protocol.json``."""
    return runs / f"{study.name}.protocol.json"


def record_protocol(study: Study, runs: Path) -> None:
    """Keep the rule before the first run; nothing is written where it is kept already.

    Args:
        study: One that has a rule.
        runs: Folder of all runs.

    Raises:
        InputError: See `check_protocol`.
        StorageError: It cannot be written.
    """
    if check_protocol(study, runs):
        return
    try:
        runs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make the folder `{runs}` ({error.strerror}): choose another --runs"
        ) from None
    write_json(protocol_path(study, runs), _of(study))


def check_protocol(study: Study, runs: Path) -> bool:
    """Whether the rule is kept beside the runs.

    Args:
        study: One that has a rule.
        runs: Folder of all runs.

    Raises:
        InputError: What is kept is another rule, or there is none beside runs that have begun.
    """
    path, now = protocol_path(study, runs), _of(study)
    try:
        kept = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        begun = [d for d in _directories(study, runs) if has_progress(d)]
        if begun:
            raise InputError(
                f"`{begun[0]}` was begun, but no rule is kept beside it (`{path}`): what decides must be written down "
                "before the first run; copy the file that belongs to these runs, or train in another --runs folder"
            ) from None
        return False
    except (OSError, ValueError) as error:
        raise InputError(
            f"`{path}` cannot be read ({one_line(error)}): restore it, or use another --runs folder"
        ) from None
    changed = [name for name in now if not isinstance(kept, dict) or kept.get(name) != now[name]]
    if changed:
        raise InputError(
            f"the rule of `{study.name}` is not the one that its runs were begun under (`{path}` has other "
            f"{', '.join(changed)}): a rule is not changed after the first run; give the study a new name and other runs"
        )
    return True


def _of(study: Study) -> dict[str, Any]:
    assert study.rule is not None
    return {"study": study.name, **study.rule.protocol}


def _directories(study: Study, runs: Path) -> list[Path]:
    assert study.rule is not None
    main = [cell for cell in study.cells if cell.name in study.rule.arms]
    return [study.directory(runs, cell, seed) for cell in main for seed in study.rule.seeds]
