"""The first epochs of a run, trained again and held against what it recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ralr_viz.analysis.fork.branch import BranchOutcome, digest_state
from ralr_viz.analysis.fork.reproduction import Reproduction, compare_with_run, recorded_epochs, settings_of
from ralr_viz.data import data_root
from ralr_viz.errors import InputError
from ralr_viz.results.run import load_run
from ralr_viz.runtime.device import configured, describe_processor, resolve_runtime
from ralr_viz.runtime.stop import catch_stop_signals
from ralr_viz.tasks.opening import open_task
from ralr_viz.train.prepare import read_prepared_run
from ralr_viz.train.training import Training


def replay_run(
    directory: Path, epochs: int, *, root: Path | None = None, device: str = "auto"
) -> Reproduction:
    """Train the first epochs of a run again, with its recipe, seed and settings; the directory is not changed.

    Args:
        directory: A run of ralr-viz's own training.
        epochs: ≥ 1; at most as many as it has.
        root: Folder of the ingested data sets.
        device: Where.

    Returns:
        Whether every number and kept weight is the run's to the bit; where not, what else differs, the processor too.

    Raises:
        InputError: No such run, or data that are not there.
    """
    record = load_run(directory)
    recipe, method, seed = read_prepared_run(directory)
    env = record.env or {}
    recorded = recorded_epochs(directory, 0)[:epochs]
    if not recorded:
        raise InputError(f"`{directory}` has no record of its first epoch: there is nothing to compare with")
    runtime = resolve_runtime(
        device,
        str(env.get("precision", recipe.precision)),
        deterministic=bool(env.get("deterministic", True)),
        compile=bool(env.get("compile", False)),
        threads=int(env.get("threads", 0) or 0),
    )
    records, digests = [], []
    with configured(runtime), catch_stop_signals() as stop:
        training = Training(open_task(recipe, data_root(root)), method, seed, runtime)
        for _ in recorded:
            found = training.next_epoch(stop)
            records.append({name: np.nan if value is None else float(value) for name, value in found.items()})
            digests.append(digest_state(training.model.state_dict()))
    outcome = BranchOutcome(tuple(records), tuple(digests), "finished")
    result = compare_with_run(outcome, recorded, directory, settings_of(runtime))
    processors = env.get("processor"), describe_processor()
    if result.outcome == "differs" and processors[0] != processors[1]:
        ours, theirs = (p.get("name") if isinstance(p, dict) else p for p in (processors[1], processors[0]))
        named = f"on {ours}, and the run on {theirs or 'a processor that it does not name'}"
        return Reproduction("not comparable", f"{result.note}; it was made {named}")
    return result
