"""``ralr-viz effect`` as a user meets it."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from ralr_viz import compute_effect
from ralr_viz.errors import InputError
from ralr_viz.results.bundle import load_result
from ralr_viz.results.run import load_run
from ralr_viz.schedule.factors import amplification_factors


def write_run(directory: Path, method: str, seed: int, epochs: int = 20) -> Path:
    rng = np.random.default_rng(seed)
    factors = amplification_factors(seed, epochs) if method == "ralr" else np.ones(epochs)
    directory.mkdir(parents=True)
    settings = {
        "recipe": "demo", "method": method, "seed": seed, "dataset": "squares", "model": "resnet20",
        "low": 1.0, "high": 3.0, "probability": 0.5, "draw": "uniform", "interval": 1,
    }  # fmt: skip
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    (directory / "recipe.toml").write_text("\n".join(lines) + "\n")
    records = []
    for i, factor in enumerate(factors):
        base = 0.1 if i < epochs // 2 else 0.01
        loss = 1 / (1 + i) + 0.1 * (factor - 1) + 0.02 * rng.standard_normal()
        values = {
            "train_loss_eval": loss,
            "val_loss": loss + 0.1,
            "val_acc": 90 - loss,
            "step_length": factor,
        }
        records.append({"epoch": i + 1, "base_lr": base, "factor": factor, "lr": base * factor, **values})
    (directory / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return directory


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two seeds of ``ralr`` and one of ``baseline``."""
    for method, seed in (("ralr", 0), ("ralr", 1), ("baseline", 0)):
        write_run(tmp_path / "demo" / method / f"seed{seed}", method, seed)
    return tmp_path / "demo"


def test_effect_pools_the_ralr_runs_of_a_folder(cli, folder, tmp_path) -> None:
    out = tmp_path / "out"
    done = cli("effect", "--run", folder, "--horizon", 2, "--resamples", 199, "--out", out).succeeded()
    assert "demo/baseline/seed0: left out, no random flips" in done.err
    assert done.lines[0].startswith("2 run(s), 40 draws of law low 1, high 3, probability 0.5 (uniform)")
    assert (
        done.lines[1].startswith("training loss, lag 0: +0.") and "minimum detectable effect" in done.lines[1]
    )
    assert (
        len([line for line in done.lines if ", lag " in line]) == 4 * 3 * 3
    )  # of all phases, and of each of two
    result = load_result(out / "effect")
    assert result.runs == ("demo/ralr/seed0", "demo/ralr/seed1") and result.resamples == 199
    with (out / "effect.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 36 and float(rows[0]["estimate"]) == result.estimate[0, 0]
    assert (out / "effect.pdf").exists() and (out / "effect.png").exists()


def test_compute_effect_reads_folders_and_says_what_it_leaves_out(folder) -> None:
    result = compute_effect(folder, horizon=1, resamples=99)
    assert result.runs == ("demo/ralr/seed0", "demo/ralr/seed1")
    assert result.notes[0] == "demo/baseline/seed0: left out, no random flips"
    records = [load_run(folder / "ralr" / f"seed{seed}") for seed in (0, 1)]
    mine = [dataclasses.replace(record, method="mine") for record in records]
    again = compute_effect(mine, horizon=1, resamples=99)  # whoever read them knows what they are
    np.testing.assert_array_equal(again.estimate, result.estimate)
    assert compute_effect([folder / "ralr", *records], horizon=1, resamples=99).runs == result.runs
    with pytest.raises(InputError, match="no run of method `ralr` in `.*baseline`"):
        compute_effect(folder / "baseline")


def test_effect_counts_a_run_once_and_redraws(cli, folder, tmp_path) -> None:
    run, out = folder / "ralr" / "seed0", tmp_path / "out"
    done = cli("effect", "--run", run, "--run", folder / "ralr", "--resamples", 99, "--out", out).succeeded()
    assert done.lines[0].startswith("2 run(s)")
    cli("draw", out / "effect", "--style", "ieee", "--out", tmp_path / "again").succeeded()


def test_effect_names_what_is_wrong(cli, folder, tmp_path) -> None:
    out = tmp_path / "out"
    cli("effect", "--run", folder / "baseline", "--out", out).failed(
        2, "no run of method `ralr`", "RUNS/RECIPE/ralr"
    )
    cli("effect", "--run", tmp_path / "none", "--out", out).failed(2, "does not exist")
    short = write_run(tmp_path / "short", "ralr", 0, epochs=4)
    cli("effect", "--run", short, "--out", out, "-q").failed(2, "too few", "more runs")
    cli("effect", "--run", folder, "--horizon", -1, "--out", out).failed(2, "horizon")


def test_effect_keeps_what_is_there(cli, folder, tmp_path) -> None:
    arguments = (
        "effect",
        "--run",
        folder / "ralr",
        "--resamples",
        99,
        "--horizon",
        0,
        "--out",
        tmp_path / "out",
    )
    first = cli(*arguments).succeeded()
    cli(*arguments).failed(2, "--force")
    assert cli(*arguments, "--force").succeeded().out == first.out
