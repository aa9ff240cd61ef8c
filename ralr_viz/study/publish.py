"""Copy what a study's finished runs leave for others: their records, and last states as safetensors."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ralr_viz.errors import InputError
from ralr_viz.results.storage import write_bytes
from ralr_viz.study.grid import Study
from ralr_viz.study.protocol import check_protocol, protocol_path
from ralr_viz.study.state import run_state
from ralr_viz.train.checkpoint import export_checkpoint
from ralr_viz.train.prepare import check_prepared

# The result comes last: where it is, the run is whole.
_FILES = ("recipe.toml", "env.json", "metrics.jsonl", "result.json")


def publish_study(
    study: Study, runs: Path, out: Path, *, weights: Collection[int] | None = None
) -> list[Path]:
    """Copy the runs that are done into a folder of published runs; those there are left as they are.

    A copied run counts as done wherever it is copied back to. Of a study that decides the rule goes with them, and
    only the main arms have their weights.

    Args:
        study: Whose runs.
        runs: Folder of all runs.
        out: Folder of the published ones, in the same layout.
        weights: Seeds whose runs have their last states copied; all when left out. Of large networks a few say what
            the records of the others cannot.

    Returns:
        Run directories that were copied by this call.

    Raises:
        InputError: Another run is published under the same name, a run is of another training than its name says,
            or ``out`` cannot be made.
        CheckpointError: A last state is missing or damaged.
        StorageError: The disk is full or cannot be written.
    """
    rule = study.rule
    if rule is not None and check_protocol(study, runs):
        _write(protocol_path(study, out), protocol_path(study, runs).read_bytes())
    copied = []
    for cell, seed in study.trainings:
        source, target = study.directory(runs, cell, seed), study.directory(out, cell, seed)
        state = run_state(source)
        if not state.done:
            continue
        check_prepared(source, cell.recipe, cell.method, seed)
        if (target / "result.json").exists():
            if (target / "result.json").read_bytes() != (source / "result.json").read_bytes():
                raise InputError(f"`{target}` is another run than `{source}`: move one of them away")
            continue
        with_weights = state.status == "finished" and (rule is None or cell.name in rule.arms)
        with_weights &= weights is None or seed in weights
        if with_weights:
            export_checkpoint(source, target / "checkpoints" / "last.safetensors", force=True)
        for name in _FILES:
            if (source / name).is_file():
                _write(target / name, (source / name).read_bytes())
        copied.append(target)
    return copied


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"`{path.parent}` cannot be made ({error.strerror}): choose another --out") from None
    write_bytes(path, data)
