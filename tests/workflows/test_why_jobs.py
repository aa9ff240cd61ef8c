"""How long `why` still takes: what each diagnostic costs, and what is said of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ralr_viz.workflows import why_jobs
from ralr_viz.workflows.why_jobs import COSTS, Job, JobRunner, estimate_cost

NETWORKS = {
    "effect": 3, "similarity": 10, "activations": 6, "movement": 3, "collapse": 3, "calibration": 3, "localisation": 3,
    "barrier": 10, "sharpness": 3, "landscape": 3, "spectrum": 3,
}  # fmt: skip
"""That the jobs of the published CIFAR-10 triple look at."""


def test_costs_are_in_the_proportion_of_what_was_measured() -> None:
    whole = sum(COSTS[name] * count for name, count in NETWORKS.items())
    assert 0.45 < COSTS["spectrum"] * NETWORKS["spectrum"] / whole < 0.7  # 17 of 30 minutes
    assert COSTS["sharpness"] / COSTS["landscape"] == pytest.approx(116 / 152, rel=0.2)  # seconds a network
    assert NETWORKS.keys() | {"fork"} == COSTS.keys()  # which trains


def test_a_job_costs_as_many_networks_and_images_as_it_looks_at() -> None:
    def cost(command: str, **arguments: object) -> float:
        return estimate_cost(Job(command, command, ".", 0, arguments))

    assert cost("similarity", ckpt=["a", "b"], null=["a", "c"]) == 4 * COSTS["similarity"]
    assert cost("sharpness", ckpt=["a"], limit=250) == COSTS["sharpness"] / 4  # of 1,000
    assert cost("movement", run=["a", "b", "c"]) == 3 * COSTS["movement"]


def test_the_time_left_is_that_of_the_jobs_that_are_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock, said = [0.0], []
    jobs = [
        Job(name, name, ".", 0, {"ckpt": ["a"] * n})
        for name, n in (("calibration", 3), ("barrier", 4), ("spectrum", 3))
    ]

    def run_one(runner: JobRunner, job: Job) -> None:
        clock[0] += 3 * estimate_cost(job)  # a slow machine

    monkeypatch.setattr(why_jobs.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(JobRunner, "_run_one", run_one)
    runner = JobRunner(
        tmp_path,
        style="icml",
        force=False,
        provenance={},
        say=lambda line: said.append(str(line)),
        progress=None,
    )
    runner.run(jobs)
    minutes = [int(found[1]) if (found := re.search(r"about (\d+) min left", line)) else 0 for line in said]
    lengths = [3 * estimate_cost(job) / 60 for job in jobs]
    assert minutes == [round(lengths[1] + lengths[2]), round(lengths[2]), 0]
