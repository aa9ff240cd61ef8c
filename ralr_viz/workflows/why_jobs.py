"""The diagnostics that ``why`` runs: what each needs, which are done already, how long the rest will take."""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ralr_viz._version import __version__
from ralr_viz.analysis.matching import amplified_epoch, check_equal_loss, match_training_loss
from ralr_viz.comparison import Progress
from ralr_viz.comparison.arms import Arms
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.nouns import NOUNS
from ralr_viz.results.bundle import Result, load_result
from ralr_viz.results.document import parse_json
from ralr_viz.results.movement import late_start
from ralr_viz.results.run import METRICS
from ralr_viz.results.storage import write_json
from ralr_viz.results.tasks import task_name
from ralr_viz.runtime.device import resolve_runtime
from ralr_viz.train.checkpoint import load_checkpoint, resolve_checkpoint
from ralr_viz.workflows.output import Say, save_output
from ralr_viz.workflows.subjects import Ears, run_noun
from ralr_viz.workflows.why_trainings import ANNEAL, ANNEALING, REPEATS, AnnealedEnds, plan_fork

COSTS = {noun.name: noun.cost for noun in NOUNS.values() if noun.cost}
"""Relative times of one network each, for the time that is left, and what there is to run."""
INDEX = "jobs.json"
AT_MATCHED_LOSS = ("sharpness", "collapse")
"""What falls with the training loss itself, and says something else than it only where the losses are equal."""


@dataclass(frozen=True)
class Job:
    """One noun with what it looks at.

    Attributes:
        title: Of its measures in the table, such as ``sharpness, matched loss``.
        command: The noun.
        folder: Where it is saved, relative to ``--out``.
        seed: Training seed; None where the job is of all of them.
        arguments: What `open_subject` takes.
        per_arm: Its measures have one value for each arm.
        note: What a reader of its numbers should know.
        own: Options of the noun itself.
    """

    title: str
    command: str
    folder: str
    seed: int | None
    arguments: dict[str, Any] = field(default_factory=dict)
    per_arm: bool = True
    note: str = ""
    own: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For progress and notes."""
        return self.title if self.seed is None else f"{self.title}, seed {self.seed}"

    @property
    def path(self) -> str:
        """Of its result, relative to ``--out``."""
        return (Path(self.folder) / self.command).as_posix()

    @functools.cached_property
    def key(self) -> str:
        """Hash of everything that decides its numbers: the arguments and the content of the files they name."""
        facts = {"ralr_viz": __version__, "command": self.command} | {
            name: self._identify(name, value) for name, value in self.arguments.items()
        }
        facts |= {"own": self.own} if self.own else {}
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def _identify(self, name: str, value: Any) -> Any:
        """What of an argument decides the numbers."""
        if name in ("ckpt", "run", "null"):
            return [_content(str(v)) for v in value]
        if (
            name == "device"
        ):  # `auto` is another on another machine; on the CPU the key says what it always did
            found = resolve_runtime(value, "fp32")
            return value if found.device.type == "cpu" else found.key
        return value.fingerprint(self.arguments.get("limit")) if name == "task" else value


def find_lacks(arms: Arms, network: Mapping[str, Any]) -> list[str]:
    """What the runs do not say that diagnostics of their networks need, a sentence each: said before the work.

    Args:
        arms: What is compared.
        network: ``arch`` and ``dataset``, where the caller names them.
    """
    lacks = []
    for run in (run for row in arms.runs for run in row):
        try:
            checkpoint = load_checkpoint(run.folder, arch=network.get("arch"), dataset=network.get("dataset"))
        except InputError as error:
            lacks.append(f"{run.record.label}: only its record can be read: {error}")
            continue
        missing = [name for name in ("dataset", "mean", "std") if getattr(checkpoint, name) is None]
        if missing and "task" not in network:
            lacks.append(
                f"{run.record.label} does not say its {', '.join(missing)}: diagnostics of its network on images are left "
                "out; write them by RunWriter(header=…), or name the data set by --dataset"
            )
    return list(dict.fromkeys(lacks))


def plan_jobs(
    arms: Arms,
    only: Sequence[str] | None,
    where: dict[str, Any],
    *,
    images: int | None,
    network: Mapping[str, Any] | None = None,
    annealed: Sequence[AnnealedEnds] | None = None,
) -> tuple[list[Job], list[str]]:
    """The jobs that these runs allow, the quick ones first, and why others are left out.

    Args:
        arms: What is compared.
        only: Diagnostics to run; when left out all but those that train.
        where: ``data``, ``device``, ``precision`` for each command.
        images: ``--limit`` of the diagnostics that move the weights; their own default when left out.
        network: ``arch``, ``dataset`` and ``task`` for the nouns that open networks, where the runs do not say them.
        annealed: Of each seed, what `anneal_ends` made: what is compared at equal training loss then, in place of kept
            states.

    Raises:
        UnknownNameError: ``only`` names no diagnostic.
        InputError: It names none that compares the arms.
    """
    for name in only or ():
        if name not in COSTS:
            raise UnknownNameError("diagnostic", name, [*COSTS, ANNEALING])
    jobs: list[Job] = []
    notes: list[tuple[str, str]] = []
    limit = {} if images is None else {"limit": images}
    if not only or "effect" in only:
        jobs.append(_plan_effect(arms))
    if "fork" in (only or ()):
        jobs += _plan_fork(arms, where, notes)
    for i, seed in enumerate(arms.seeds):
        jobs += _plan_seed(arms, i, seed, where, limit, notes)
        jobs += _plan_matched(arms, i, where, limit, notes, None if annealed is None else annealed[i])
    task = task_name(arms.runs[0][0].record.recipe)
    fitting = {name for name in COSTS if NOUNS[name].takes_task(task)}
    for name in COSTS.keys() - fitting:
        notes = [
            (name, f"{name} is not measured: it is not of `{task}`"),
            *(n for n in notes if n[0] != name),
        ]
    chosen = [job for job in jobs if job.command in (only or COSTS) and job.command in fitting]
    if chosen and not any(job.per_arm for job in chosen):
        raise InputError(
            f"{', '.join(dict.fromkeys(job.command for job in chosen))} compares no arms, so that the table would be empty: add "
            "another diagnostic, such as --only movement, or run the command itself"
        )
    chosen = [
        replace(job, arguments={**job.arguments, **(network or {})})
        if job.command not in ("effect", "fork")
        else job
        for job in chosen
    ]
    said = dict.fromkeys(text for command, text in notes if not only or command in only)
    return sorted(chosen, key=lambda job: COSTS[job.command]), list(said)


def _plan_effect(arms: Arms) -> Job:
    runs = [str(row[1].folder) for row in arms.runs]
    return Job("effect", "effect", ".", None, {"run": runs}, per_arm=False)


def _plan_fork(arms: Arms, where: dict[str, Any], notes: list[tuple[str, str]]) -> list[Job]:
    given, cost = plan_fork(arms)
    notes.append(("fork", cost))
    own = {"anneal": ANNEAL, "repeats": REPEATS}
    return (
        [Job("fork, annealed", "fork", ".", None, {**given, **where}, per_arm=False, own=own)]
        if given
        else []
    )


def _plan_seed(
    arms: Arms,
    i: int,
    seed: int,
    where: dict[str, Any],
    limit: dict[str, Any],
    notes: list[tuple[str, str]],
) -> list[Job]:
    """The jobs of one seed; what cannot be is added to ``notes``, with its diagnostic."""
    runs, folder = arms.runs[i], f"seed{seed}"
    last = min(run.last for run in runs)
    kept = set.intersection(*(run.saved for run in runs))
    ends = [str(run.folder) for run in runs]
    jobs = [
        Job("movement", "movement", folder, seed, {"run": ends, **where}),
        Job("collapse", "collapse", folder, seed, {"ckpt": ends, **where}),
        Job("calibration", "calibration", folder, seed, {"ckpt": ends, **where}),
        Job("localisation", "localisation", folder, seed, {"ckpt": ends, **where}),
        Job("sharpness", "sharpness", folder, seed, {"ckpt": ends, **where, **limit}),
        Job("spectrum", "spectrum", folder, seed, {"ckpt": ends, **where}),
        _between(arms, i, "barrier", where | limit),
        _between(arms, i, "similarity", where),
    ]
    start = late_start(last)
    if {start, last} <= kept:
        pairs = [run.at(epoch) for run in runs for epoch in (start, last)]
        late = f"{folder}/late"
        jobs.append(Job("activations, late", "activations", late, seed, {"ckpt": pairs, **where}))
        jobs.append(Job("barrier, late", "barrier", late, seed, {"ckpt": pairs, **where, **limit}))
        jobs.append(Job("similarity, late", "similarity", late, seed, {"ckpt": pairs, **where}))
    else:
        why = f"between epochs {start} and {last} is not measured: not every run kept both"
        notes += [(name, f"{name} {why}") for name in ("activations", "barrier", "similarity")]
    epoch = amplified_epoch(runs[1].record, kept)
    if epoch is None:
        why = "no run kept the states before and after one"
        notes.append(("barrier", f"barrier across an amplified epoch is not measured: {why}"))
    else:
        pairs = [run.at(e) for run in runs for e in (epoch - 1, epoch)]
        title = "barrier, amplified epoch"
        note = f"seed {seed}: the amplified epoch is {epoch}, of all arms"
        arguments = {"ckpt": pairs, **where, **limit}
        jobs.append(Job(title, "barrier", f"{folder}/amplified", seed, arguments, note=note))
    if i == 0:
        arguments = {
            "ckpt": ends,
            "precision": "fp32",
            **where,
        }  # said, because it was auto under the key without
        jobs.append(Job("landscape", "landscape", folder, seed, arguments, per_arm=False))
    return jobs


def _plan_matched(
    arms: Arms,
    i: int,
    where: dict[str, Any],
    limit: dict[str, Any],
    notes: list[tuple[str, str]],
    annealed: AnnealedEnds | None,
) -> list[Job]:
    """What is compared at equal training loss, of kept states or of annealed ends; why not is added to ``notes``."""
    runs, seed = arms.runs[i], arms.seeds[i]
    try:
        if annealed is None:
            epochs, ratio = match_training_loss([run.record for run in runs], [run.saved for run in runs])
            ckpt = [run.at(epoch) for run, epoch in zip(runs, epochs, strict=True)]
            states, folder = f"epochs {', '.join(map(str, epochs))}", "matched-loss"
        else:
            (files, ratio), folder = annealed, "annealed"
            ckpt, states = list(files), f"the ends, annealed for {sum(ANNEAL)} epochs"
            check_equal_loss(ratio, [run.record.label for run in runs])
    except InputError as error:
        notes += [
            (
                name,
                f"{name} at matched loss is not measured, and at equal epoch it mostly follows the loss: {error}",
            )
            for name in AT_MATCHED_LOSS
        ]
        return []
    jobs = []
    for name, more in (("sharpness", limit), ("collapse", {})):
        note = f"seed {seed}: {name} at matched training loss is of {states}, whose losses differ by a factor of {ratio:.2f} at most"
        arguments = {"ckpt": ckpt, **where, **more}
        title = f"{name}, matched loss"
        jobs.append(Job(title, name, f"seed{seed}/{folder}", seed, arguments, note=note))
    return jobs


def _between(arms: Arms, i: int, command: str, arguments: dict[str, Any]) -> Job:
    """A against B, and against the control, of one seed; A against A of the next seed is the null."""
    runs, title = arms.runs[i], f"{command}, between the arms"
    pairs = [(runs[0], other) for other in runs[1:]]
    given = {"ckpt": [str(run.folder) for pair in pairs for run in pair], **arguments}
    if len(arms.seeds) > 1:
        null = [str(run.folder) for run in (runs[0], arms.runs[(i + 1) % len(arms.seeds)][0])]
        if command == "similarity":
            given["null"] = null
        else:
            given["ckpt"] += null
    folder = f"seed{arms.seeds[i]}/between"
    return Job(title, command, folder, arms.seeds[i], given, per_arm=False)


class JobRunner:
    """Run jobs one after the other into a folder; what is done and of the same key is not run again.

    The folder's index says of each job what it was started with before it runs, so that a stop at any moment
    costs that job only, and nothing that somebody else left there is replaced without ``force``.
    """

    def __init__(
        self,
        out: Path,
        *,
        style: str,
        force: bool,
        provenance: Mapping[str, str],
        say: Say,
        progress: Progress | None,
        speaker: str = "why",
    ) -> None:
        self.speaker = speaker
        self.out, self.style, self.force = out, style, force
        self.provenance, self.say, self.progress = provenance, say, progress
        self._index = _read_index(out / INDEX)

    def run(self, jobs: Sequence[Job]) -> tuple[list[tuple[Job, Result]], list[str]]:
        """Results of the jobs that the data allow, in order, and why the others have none.

        Raises:
            InputError: A result of other runs or settings is where one belongs, and ``force`` is not set.
        """
        for job in jobs:
            self._refuse_to_replace(job)
        results, notes, spent, worked = [], [], 0.0, 0.0
        for number, job in enumerate(jobs, 1):
            begin = time.monotonic()
            found = self._reuse(job)
            if found is None:
                try:
                    found = self._run_one(job)
                except InputError as error:
                    notes.append(f"{job.name} was not measured: {error}")
                spent += time.monotonic() - begin
                worked += estimate_cost(job)
                left = sum(estimate_cost(other) for other in jobs[number:] if not self._is_done(other))
                self.say(
                    f"{self.speaker}: {number} of {len(jobs)} done ({job.name}); {_time_left(left * spent / worked)}"
                )
            else:
                self.say(f"{self.speaker}: {number} of {len(jobs)} done ({job.name}: as saved before)")
            if found is not None:
                results.append((job, found))
        return results, notes

    def _run_one(self, job: Job) -> Result:
        noun, folder = NOUNS[job.command], self.out / job.folder
        self._enter(job, done=False)
        found = run_noun(
            noun,
            job.arguments | ({"out": folder} if noun.takes == "state" else {}),
            job.own,
            provenance=self.provenance,
            ears=Ears(self.progress, self.say, self.say),
        )
        folder.mkdir(parents=True, exist_ok=True)
        save_output(found, folder, noun.name, style=self.style, force=True, note=self.say)
        self._enter(job, done=True)
        return found

    def _reuse(self, job: Job) -> Result | None:
        if not self._is_done(job):
            return None
        try:
            return load_result(self.out / job.folder / job.command)
        except InputError:  # damaged or deleted: run it again
            return None

    def _is_done(self, job: Job) -> bool:
        entry = self._index.get(job.path, {})
        return bool(entry.get("done")) and entry.get("key") == job.key

    def _refuse_to_replace(self, job: Job) -> None:
        entry = self._index.get(job.path)
        if self.force or not (self.out / job.path).exists() or (entry and entry.get("key") == job.key):
            return
        raise InputError(
            f"`{self.out / job.path}` is of other runs or settings: pass --force to replace it or another --out"
        )

    def _enter(self, job: Job, *, done: bool) -> None:
        self._index[job.path] = {"key": job.key, "done": done}
        self.out.mkdir(parents=True, exist_ok=True)
        write_json(self.out / INDEX, self._index)


def estimate_cost(job: Job) -> float:
    """Relative time of a job: its noun's for each network that it looks at, in proportion to the images asked for."""
    given, usual = job.arguments, NOUNS[job.command].spec.inputs.limit
    networks = sum(len(given.get(name) or ()) for name in ("ckpt", "run", "null"))
    share = given["limit"] / usual if given.get("limit") and usual else 1.0
    return max(NOUNS[job.command].cost, 1) * networks * share  # `over-time` has nouns that `why` has not


def _time_left(seconds: float) -> str:
    return f"about {seconds / 60:.0f} min left" if seconds >= 60 else "less than a minute left"


def _read_index(path: Path) -> dict[str, dict[str, Any]]:
    try:
        index = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # missing or damaged: no job is done
        return {}
    if not isinstance(index, dict):
        return {}
    return {name: entry for name, entry in index.items() if isinstance(entry, dict)}


def _content(spec: str) -> str:
    """Hash of what a run directory's record or a checkpoint holds, so that the same numbers have the same key."""
    folder = Path(spec)
    files = [resolve_checkpoint(spec)] + ([folder / METRICS] if (folder / METRICS).is_file() else [])
    return hashlib.sha256(b"".join(hashlib.sha256(f.read_bytes()).digest() for f in files)).hexdigest()
