import csv
import json
import shutil

import pytest

from ralr_viz.results.bundle import load_result


@pytest.fixture
def both(trained_pair):
    return [a for run in sorted(trained_pair.rglob("result.json")) for a in ("--run", run.parent)]


def test_movement_measures_runs_with_states_and_images(cli, both, squares_root, tmp_path):
    out = tmp_path / "out"
    outcome = cli("movement", *both, "--data", squares_root, "--out", out).succeeded()
    assert outcome.lines[0].startswith("angular path of filters, late, 1 kept step (degrees): baseline ")
    assert any(line.startswith("late path / Σ LR: baseline ") and "RALR" in line for line in outcome.lines)
    assert any(line.startswith("predictions changed, late (%): baseline ") for line in outcome.lines)
    assert "weights: 100 % (6 of 6)\n" in outcome.err
    result = load_result(out / "movement")
    assert (result.models, result.num_images) == (("baseline", "RALR"), 24)
    assert (result.late_after.tolist(), result.last_epoch.tolist()) == ([2, 2], [3, 3])
    # the path of one epoch is its net distance: the states say what the record says
    late = result.step_length[:, -1]
    assert result.late_net == pytest.approx(late, rel=1e-4)
    assert result.angle[:, 2].min() > 0
    assert result.layers[0] == "conv1" and len(result.layers) == 20
    assert str(tmp_path) not in str(result.provenance)
    with (out / "movement.csv").open() as file:
        assert {"churn", "late_path_per_lr"} <= {row["quantity"] for row in csv.DictReader(file)}


def test_movement_without_images_says_so_and_goes_on(cli, both, tmp_path):
    outcome = cli("movement", *both, "--data", tmp_path / "none", "--out", tmp_path / "out").succeeded()
    assert "churn is not measured: " in outcome.err and "--no-churn" in outcome.err
    quiet = cli("movement", *both, "--no-churn", "-q", "--out", tmp_path / "quiet").succeeded()
    assert quiet.err == "" and not any("predictions" in line for line in quiet.lines)
    assert load_result(tmp_path / "quiet" / "movement").num_images == 0


def test_movement_works_from_the_records_alone(cli, both, tmp_path):
    run = shutil.copytree(both[1], tmp_path / "run")
    shutil.rmtree(run / "checkpoints")
    outcome = cli("movement", "--run", run, "--out", tmp_path / "out").succeeded()
    assert not any(line.startswith("late net distance") for line in outcome.lines)
    assert "the states after 2 and 3 epochs are not kept" in outcome.err


def test_movement_refuses_bad_input_in_one_line(cli, both, tmp_path):
    out = ["--out", tmp_path / "out"]
    cli("movement", "--run", tmp_path / "nowhere", *out).failed(2, "no run directory")
    cli("movement", *both, "--split", "tset", *out).failed(2, "unknown split `tset`", "`test`")
    run = shutil.copytree(both[1], tmp_path / "run")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    bare = "\n".join(json.dumps({k: v for k, v in line.items() if k != "step_length"}) for line in lines)
    (run / "metrics.jsonl").write_text(bare + "\n")
    cli("movement", "--run", run, "--no-churn", "-q", *out).failed(2, "step_length")
    (tmp_path / "out" / "movement.csv").write_text("")
    cli("movement", *both, *out).failed(2, "exists", "--force")
