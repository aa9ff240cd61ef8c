import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ralr_viz.errors import InputError
from ralr_viz.study.grid_file import build_study
from ralr_viz.study.plan import Rate, RateKey, compute_plan, describe_counts, prepare_plan

VALUES = {
    "base": {"recipe": "digits-resnet20", "dataset": "squares", "batch": 16, "epochs": 6, "validation": 0.25},
    "axes": [
        {"name": "Method", "values": [{"label": "B", "method": "baseline"}, {"label": "R", "method": "ralr"}]}
    ],
    "seeds": [0, 1],
}
KEY = RateKey("squares", "resnet20", 16)


@pytest.fixture
def study():
    return build_study(VALUES, "mine", "mine.toml")


def finish(directory: Path, speed: float = 100.0, status: str = "finished") -> None:
    (directory / "checkpoints").mkdir(parents=True, exist_ok=True)
    (directory / "checkpoints" / "last.pt").write_bytes(b"x" * 1000)
    (directory / "result.json").write_text(json.dumps({"status": status, "images_per_second": speed}))
    (directory / "env.json").write_text(json.dumps({"device": "cpu", "precision": "fp32", "threads": 1}))


def test_compute_plan_counts_and_writes_nothing(study, squares_root, tmp_path):
    plan = compute_plan(study, tmp_path / "runs", squares_root)
    assert plan.counts == {"pending": 4}
    assert len(plan.unknown) == 4
    assert not (tmp_path / "runs").exists()


def test_compute_plan_estimates_from_a_finished_run_of_the_same_kind(study, squares_root, tmp_path):
    directories = prepare_plan(compute_plan(study, tmp_path, squares_root))
    finish(directories[0], speed=50.0)
    (directories[1] / "metrics.jsonl").write_text('{"epoch": 2}\n')
    plan = compute_plan(study, tmp_path, squares_root)
    assert describe_counts(plan.counts) == "1 finished, 1 stopped, 2 pending"
    # 96 training images, a quarter held out; evaluated: 24 held out, 24 test, all 72 that are trained on
    epoch = (72 + (24 + 24 + 72) / 3) / 50
    assert [e.seconds for e in plan.entries] == pytest.approx([0, 4 * epoch, 6 * epoch, 6 * epoch])
    kept = len(study.cells[0].recipe.kept_epochs)
    assert [e.bytes for e in plan.entries] == [0] + 3 * [1000 * (3 + kept)]
    assert "on cpu, fp32, 1 threads" in plan.rates[KEY].source


def test_compute_plan_prefers_a_pilot_and_leaves_other_kinds_unknown(study, squares_root, tmp_path):
    rate = Rate(10.0, None, "20 steps")
    plan = compute_plan(study, tmp_path, squares_root, rates={KEY: rate})
    assert plan.seconds == pytest.approx(4 * 6 * (72 + 120 / 3) / 10)
    other = compute_plan(study, tmp_path, squares_root, rates={KEY._replace(batch=32): rate})
    assert len(other.unknown) == 4


def test_compute_plan_leaves_out_images_that_are_scored_once(study, squares_root, tmp_path):
    """The 24 test images, in every epoch or at the end only."""
    cells = [replace(c, recipe=replace(c.recipe, evaluate_test="end")) for c in study.cells]
    plan = compute_plan(
        replace(study, cells=tuple(cells)), tmp_path, squares_root, rates={KEY: Rate(10.0, None, "")}
    )
    assert plan.seconds == pytest.approx(4 * 6 * (72 + (24 + 72) / 3) / 10)


def test_compute_plan_counts_a_divergence_as_done(study, squares_root, tmp_path):
    directories = prepare_plan(compute_plan(study, tmp_path, squares_root))
    for directory in directories:
        finish(directory, status="diverged")
    plan = compute_plan(study, tmp_path, squares_root)
    assert (plan.counts, plan.seconds, plan.bytes) == ({"diverged": 4}, 0, 0)
    assert all(entry.done for entry in plan.entries)


def test_compute_plan_says_how_to_get_missing_data(squares_root, tmp_path):
    values = VALUES | {"base": VALUES["base"] | {"dataset": "cifar10"}}
    plan = compute_plan(build_study(values, "mine", "m"), tmp_path, squares_root)
    assert "ralr-viz data download cifar10" in plan.missing_data["cifar10"]
    values = VALUES | {"base": VALUES["base"] | {"dataset": "mine"}}
    plan = compute_plan(build_study(values, "mine", "m"), tmp_path, squares_root)
    assert "data import mine" in plan.missing_data["mine"]


def test_compute_plan_survives_damaged_runs_beside_it(study, squares_root, tmp_path):
    for name, text in (("a", "{"), ("b", '{"images_per_second": "fast"}'), ("c", "{}")):
        directory = tmp_path / name / "m" / "seed0"
        directory.mkdir(parents=True)
        (directory / "result.json").write_text(text)
        if name != "a":
            (directory / "recipe.toml").write_text(
                'recipe = "x"\nmethod = "m"\nseed = 0\ndataset = "squares"\nmodel = "resnet20"\nbatch = 16\n'
            )
    assert compute_plan(study, tmp_path, squares_root).rates == {}


def test_prepare_plan_writes_each_run_once_and_leaves_what_is_there(study, squares_root, tmp_path):
    first = prepare_plan(compute_plan(study, tmp_path, squares_root))
    before = [(d / "recipe.toml").stat().st_mtime_ns for d in first]
    finish(first[2])
    again = prepare_plan(compute_plan(study, tmp_path, squares_root))
    assert again == [first[0], first[1], first[3]]
    assert [(d / "recipe.toml").stat().st_mtime_ns for d in first] == before


def test_prepare_plan_refuses_a_run_whose_recipe_was_changed(study, squares_root, tmp_path):
    first = prepare_plan(compute_plan(study, tmp_path, squares_root))[0]
    text = (first / "recipe.toml").read_text()
    (first / "recipe.toml").write_text(text.replace("lr = 0.05", "lr = 5.0"))
    with pytest.raises(InputError, match="was trained with other settings"):
        prepare_plan(compute_plan(study, tmp_path, squares_root))
    (first / "recipe.toml").write_text(text.replace('method = "baseline"', 'method = "ralr"'))
    with pytest.raises(InputError, match="was trained with other settings"):
        prepare_plan(compute_plan(study, tmp_path, squares_root))
    (first / "recipe.toml").write_text("# mine\n" + text)  # the same training, written otherwise
    assert prepare_plan(compute_plan(study, tmp_path, squares_root))[0] == first


def test_prepare_plan_writes_again_what_a_dead_machine_left_empty(study, squares_root, tmp_path):
    first = prepare_plan(compute_plan(study, tmp_path, squares_root))[0]
    text = (first / "recipe.toml").read_text()
    (first / "recipe.toml").write_text("")
    prepare_plan(compute_plan(study, tmp_path, squares_root))
    assert (first / "recipe.toml").read_text() == text


def test_prepare_plan_by_two_at_once_writes_every_run(study, squares_root, tmp_path):
    import os
    import threading

    study = study.with_seeds(range(60))
    pids = iter(range(10_000, 20_000))
    failed = []

    def prepare():
        try:
            prepare_plan(compute_plan(study, tmp_path, squares_root))
        except Exception as error:
            failed.append(error)

    real = os.getpid
    try:  # two threads stand for two processes
        local = threading.local()
        os.getpid = lambda: local.__dict__.setdefault("pid", next(pids))
        threads = [threading.Thread(target=prepare) for _ in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    finally:
        os.getpid = real
    assert failed == []
    assert len(list(tmp_path.glob("*/*/seed*/recipe.toml"))) == 120
    assert not list(tmp_path.glob("*/*/seed*/*.tmp"))


def test_prepare_plan_refuses_a_folder_that_cannot_be_made(study, squares_root, tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(InputError, match="cannot make the run directory"):
        prepare_plan(compute_plan(study, tmp_path / "runs", squares_root))


def test_measure_rate_counts_steps_and_leaves_no_file(study, squares_root, tmp_path, monkeypatch):
    from ralr_viz.study.pilot import measure_rate

    monkeypatch.chdir(tmp_path)
    rate = measure_rate(study.cells[0].recipe, squares_root, device="cpu")
    assert rate.images_per_second > 0
    # an epoch has 4 steps (the smaller batch is left out): 2 warm up, and before the last one it stops
    assert rate.source.startswith("1 step, on cpu")
    assert rate.checkpoint_bytes > 2_000_000  # 270,000 weights and their momentum, 4 bytes each
    assert not list(tmp_path.iterdir())


def test_planning_imports_no_torch(tmp_path):
    import subprocess

    code = (
        "import sys; from pathlib import Path; from ralr_viz.study.grid_file import load_study; "
        "from ralr_viz.study.plan import compute_plan; "
        f"compute_plan(load_study('table1'), Path({str(tmp_path)!r}), Path({str(tmp_path)!r})); "
        "assert 'torch' not in sys.modules and 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
