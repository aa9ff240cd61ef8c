"""Diagnostics of `why` that train: said with their cost, run where they are asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

import ralr_viz as rv
from ralr_viz.comparison.arms import Arms, find_arms
from ralr_viz.errors import InputError
from ralr_viz.results.bundle import load_result
from ralr_viz.workflows import why, why_jobs
from ralr_viz.workflows.why_jobs import JobRunner, plan_jobs
from ralr_viz.workflows.why_trainings import TRAININGS, AnnealedEnds, list_trainings, plan_fork


@pytest.fixture
def runs(trained_pair: Path) -> dict[str, Path]:
    recipe = next(path for path in trained_pair.iterdir() if path.is_dir())
    return {"SGD": recipe / "baseline", "mine": recipe / "ralr"}


@pytest.fixture
def arms(runs: dict[str, Path]) -> Arms:
    return find_arms(runs, names=tuple(runs))


def test_what_trains_is_listed_with_its_cost_and_not_run_by_default(arms: Arms) -> None:
    assert TRAININGS == ("fork",)
    jobs, notes = plan_jobs(arms, None, {}, images=None)
    assert (
        jobs
        and not {job.command for job in jobs} & set(TRAININGS)
        and not any("fork" in note for note in notes)
    )
    said, annealing = list_trainings(arms, [])
    # 4 factors, 2 orders, 1 + 5 + 5 epochs; of the 3 epochs of these runs
    assert said.startswith(
        "fork, annealed, from epoch 1 of SGD trains 88 epochs of each of 1 seed, as much as 29.3 trainings"
    )
    assert said.endswith("it is run only by --only fork")
    assert annealing == (
        "annealing, for flatness at equal training loss, trains the ends of 2 runs for 10 epochs each, as much as 6.7 trainings: "
        "it is run only by --only annealing"
    )
    assert list_trainings(arms, ["fork", "annealing"]) == []


def test_fork_is_planned_of_the_first_arm_where_it_is_asked_for(arms: Arms) -> None:
    jobs, notes = plan_jobs(arms, ["movement", "fork"], {"device": "cpu"}, images=None)
    (job,) = (job for job in jobs if job.command == "fork")
    assert jobs[-1] is job  # the dearest comes last
    assert job.arguments["ckpt"] == [f"{arms.runs[0][0].folder}@1"]
    assert job.own == {"anneal": (5, 5), "repeats": 2} and not job.per_arm
    assert any("trains 88 epochs" in note for note in notes)


def test_fork_alone_is_refused_before_the_work(arms: Arms) -> None:
    with pytest.raises(
        InputError, match="fork compares no arms, so that the table would be empty: add another"
    ):
        plan_jobs(arms, ["fork"], {}, images=None)


def test_fork_needs_a_state_before_the_end(arms: Arms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(arms.runs[0][0]), "saved", {3})
    given, reason = plan_fork(arms)
    assert given == {} and "train with --set keep_every=N" in reason
    assert list_trainings(arms, ["annealing"]) == []


def test_annealed_ends_stand_in_place_of_kept_states_where_their_losses_are_equal(arms: Arms) -> None:
    files = ("a.safetensors", "b.safetensors")
    for ratio in (1.05, 1.2):
        jobs, notes = plan_jobs(arms, ["sharpness"], {}, images=8, annealed=[AnnealedEnds(files, ratio)])
        matched = [job for job in jobs if job.title == "sharpness, matched loss"]
        if ratio < 1.1:
            assert [job.arguments["ckpt"] for job in matched] == [list(files)]
            assert (
                "the ends, annealed for 10 epochs, whose losses differ by a factor of 1.05" in matched[0].note
            )
        else:
            assert not matched and any(
                "differ by a factor of 1.20, and must be within a tenth" in n for n in notes
            )


def test_why_anneals_the_ends_where_it_is_asked_to(
    arms: Arms, runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def anneal(arms, out, **where):
        asked.append(where["device"])
        raise InputError("enough")

    monkeypatch.setattr(why, "anneal_ends", anneal)
    options = rv.WhyOptions(only=["annealing"], device="cpu")
    with pytest.raises(InputError, match="enough"):
        rv.why(runs, tmp_path, options=options)
    assert asked == ["cpu"]


def test_a_planned_fork_keeps_its_branches_in_the_folder_of_its_result(
    arms: Arms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict] = []

    def run(noun, given, own, **more):
        seen.append(given)
        raise InputError("enough")

    monkeypatch.setattr(why_jobs, "run_noun", run)
    jobs = [job for job in plan_jobs(arms, ["movement", "fork"], {}, images=None)[0] if job.command == "fork"]
    runner = JobRunner(tmp_path, style="icml", force=False, provenance={}, say=print, progress=None)
    _, notes = runner.run(jobs)
    assert seen[0]["out"] == tmp_path and notes == ["fork, annealed was not measured: enough"]


@pytest.mark.slow
def test_why_makes_the_fork_into_its_folder(
    runs: dict[str, Path], squares_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(why_jobs, "ANNEAL", (1,))
    monkeypatch.setattr(why_jobs, "REPEATS", 1)
    options = rv.WhyOptions(only=["calibration", "fork"], data=squares_root, device="cpu")
    rv.why(runs, tmp_path, options=options)
    found = load_result(tmp_path / "fork")
    assert (
        found.anneal == (1,) and (tmp_path / "fork.pdf").is_file() and (tmp_path / "fork-branches").is_dir()
    )
