"""The scripts of ``benchmarks/`` run at tiny sizes, and print ratios of what they measured; no time is asserted."""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ralr_viz.data import import_dataset
from ralr_viz.data.known import KNOWN
from ralr_viz.recipe import recipe_to_toml

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks"
VERDICT = re.compile(r"([\d.]+)(?:×| %| s); target (≥|<) ([\d.]+)(?:×| %| s): (reached|missed)")


@pytest.fixture(scope="session")
def tiny_cifar10(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data root with a ``cifar10`` of 160 training and 40 test images."""
    folder, rng = tmp_path_factory.mktemp("benchmarks"), np.random.default_rng(0)
    for name in KNOWN["cifar10"].class_ids or ():
        for split, n in (("train", 16), ("test", 4)):
            (folder / "tree" / split / name).mkdir(parents=True)
            for i in range(n):
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / "tree" / split / name / f"{i}.png")
    import_dataset("cifar10", folder / "tree", folder / "root", workers=1)
    return folder / "root"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """``load("cam")``: a script as a module."""
    threads = torch.get_num_threads()
    monkeypatch.syspath_prepend(str(FOLDER))

    def load_script(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses and DataLoader workers look there
        spec.loader.exec_module(module)
        return module

    yield load_script
    sys.modules.pop("timing", None)
    torch.set_num_threads(threads)


@pytest.fixture
def bench(
    load: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """``bench("cam", "--images", 8)``: what the script prints on stdout, on one thread."""

    def run(name: str, *options: object) -> str:
        module = load(name)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, options), "--threads=1"])
        capsys.readouterr()
        module.main()
        return capsys.readouterr().out

    return run


def read_table(out: str) -> list[dict[str, str]]:
    """Rows of the one Markdown table."""
    lines = [line.strip("| ").split(" | ") for line in out.splitlines() if line.startswith("|")]
    header, rule, *rows = lines
    assert set(rule) == {"---"} and rows
    return [dict(zip(header, row, strict=False)) for row in rows]


def number(text: str) -> float:
    return float(re.sub(r"[×%, ]", "", text))


def check_verdicts(out: str, count: int) -> list[float]:
    """What the lines with a target say follows from their numbers; returns the values."""
    found = VERDICT.findall(out)
    assert len(found) == count
    for value, sign, target, word in found:
        value, target = float(value), float(target)
        assert word == ("reached" if (value >= target if sign == "≥" else value < target) else "missed")
    return [float(value) for value, *_ in found]


def test_measure_runs_the_sides_in_turn(load):
    timing, order = load("timing"), []
    seconds = {"a": iter([4.0, 1.0, 2.0]), "b": iter([8.0, 10.0, 9.0])}
    sides = {name: lambda name=name: order.append(name) or next(seconds[name]) for name in seconds}
    found = timing.measure(sides, 3, work=18)
    assert order == ["a", "b"] * 3
    assert found["a"].median == 2 and found["b"].rate == 2
    assert timing.speedup(found["a"], found["b"]) == 4.5
    assert found["a"].show_seconds() == ("2", "1–4")
    assert found["b"].show_rate() == ("2", "1.8–2.25")


@pytest.mark.parametrize(
    ("value", "below", "word"),
    [(3.0, False, "reached"), (2.999, False, "missed"), (2.999, True, "reached"), (3.0, True, "missed")],
)
def test_verdict_compares_the_value_with_the_target(load, value, below, word):
    line = load("timing").verdict("A against B", value, 3, below=below)
    assert line == f"A against B: {value:.4g}×; target {'<' if below else '≥'} 3×: {word}"


def test_cpu_time_is_what_all_sides_are_timed_by(load, capsys):
    timing = load("timing")
    timing.make_parser("").parse_args([])
    assert timing.stopwatch(lambda: time.sleep(0.2))() > 0.19
    timing.make_parser("").parse_args(["--cpu-time"])
    assert timing.stopwatch(lambda: time.sleep(0.2))() < 0.1
    timing.print_machine(1)
    assert "time on the processor" in capsys.readouterr().out


def test_print_machine_does_not_name_the_host(load, capsys):
    load("timing").print_machine(1, "pillow")
    out = capsys.readouterr().out
    assert platform.node() not in out and f"torch {torch.__version__.split('+')[0]}" in out
    assert "threads 1" in out and "pillow" in out


def test_script_ends_in_one_line_without_the_data(load, monkeypatch, tmp_path):
    module = load("cam")
    monkeypatch.setattr(sys, "argv", ["cam.py", "--data", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"^cam\.py: dataset `cifar10` is not in [^\n]*$"):
        module.run(module.main)


def check_speed(out: str) -> None:
    """Ratios and shares of the table of training.py."""
    rows = read_table(out)
    peak = number(re.search(r"peak: ([\d.]+) GFLOP/s", out).group(1))
    for network in {row["network"] for row in rows}:
        plain, *others = [row for row in rows if row["network"] == network]
        assert plain["side"].startswith("plain") and plain["against plain"] == "1.00×"
        for row in (plain, *others):
            ratio = number(row["images/s"]) / number(plain["images/s"])
            assert number(row["against plain"]) == pytest.approx(ratio, rel=2e-3, abs=0.006)
            ratio = number(row["images/s"]) / number(others[0]["images/s"])
            assert number(row["expert's"]) == pytest.approx(ratio, rel=2e-3, abs=0.006)
            share = 100 * number(row["GFLOP/s"]) / peak
            assert number(row["of the bf16 peak"]) == pytest.approx(share, rel=2e-3, abs=0.06)
            cost = number(row["GFLOP/s"]) / number(row["images/s"])
            assert cost == pytest.approx(number(plain["GFLOP/s"]) / number(plain["images/s"]), rel=2e-3)


def test_training_prints_the_ratios_of_its_speeds(bench, tiny_cifar10):
    out = bench(
        "training", "--data", tiny_cifar10, "--networks", "resnet20", "resnet32", "--steps=2", "--repeats=2",
        "--batch=4", "--matmul=64", "--workers=0", "--precision=fp32", "--no-compile",
    )  # fmt: skip
    assert [row["network"] for row in read_table(out)] == ["resnet20"] * 3 + ["resnet32"] * 3
    check_speed(out)
    check_verdicts(out, 0)


def test_count_flops_is_three_forward_passes_but_for_the_first_gradient(load):
    # 3×3 convolutions: 3→16 and 6 of 16→16 at 32², 16→32 and 5 of 32→32 at 16², 32→64 and 5 of 64→64 at 8²
    stages = 16 * 6 * 16 * 32**2, 32 * (16 + 5 * 32) * 16**2, 64 * (32 + 5 * 64) * 8**2
    first, rest = 9 * 3 * 16 * 32**2, 9 * sum(stages) + 64 * 10
    assert load("training").count_flops("resnet20", 10, 32) == 2 * (2 * first + 3 * rest)


@pytest.mark.slow
def test_package_loop_trains_as_train_run_does(load, tiny_cifar10, tmp_path):
    from dataclasses import replace

    from ralr_viz.recipe import load_recipe
    from ralr_viz.runtime.device import resolve_runtime
    from ralr_viz.train.loop import train_run
    from ralr_viz.train.prepare import prepare_run

    module = load("training")
    recipe = replace(
        load_recipe(module.RECIPE),
        epochs=1,
        milestones=(),
        keep=(),
        validation=0.0,
        batch=80,
        precision="fp32",
    )
    directory = prepare_run(recipe, "baseline", 0, tmp_path)
    train_run(directory, tiny_cifar10, device="cpu")
    trained = torch.load(directory / "checkpoints" / "last.pt", weights_only=True)["model"]
    # the two steps of its warm-up are that epoch: the same seed, plan and batches
    loop = module.PackageLoop(recipe, tiny_cifar10, resolve_runtime("cpu", "fp32"))
    for name, values in loop.model.state_dict().items():
        assert torch.equal(values, trained[name]), name


def test_training_accuracy_compares_both_precisions(bench, tiny_cifar10):
    out = bench(
        "training", "--data", tiny_cifar10, "--accuracy", "--epochs=1", "--subset=40", "--batch=20"
    )  # fmt: skip
    rows = read_table(out)
    assert [row["precision"] for row in rows] == ["fp32", "bf16"]
    shares = []
    for row in rows:
        share, error = (float(v) / 100 for v in row["test accuracy, %"].split(" ± "))
        assert error == pytest.approx((share * (1 - share) / 40) ** 0.5, abs=1e-4)
        shares.append(share)
    difference, error = re.search(r"bf16 minus fp32: ([+-][\d.]+) ± ([\d.]+) points", out).groups()
    assert float(difference) == pytest.approx(100 * (shares[1] - shares[0]), abs=0.006)
    assert float(error) == pytest.approx(100 * sum(p * (1 - p) / 40 for p in shares) ** 0.5, abs=0.006)


def test_cam_prints_the_ratios_of_its_speeds(bench, tiny_cifar10):
    out = bench("cam", "--data", tiny_cifar10, "--images=10", "--repeats=2", "--package-batch=4")
    rows = read_table(out)
    package, full, half = (number(row["images/s"]) for row in rows)
    assert [number(row["against grad-cam"]) for row in rows] == pytest.approx(
        [1, full / package, half / package], rel=2e-3, abs=0.006
    )
    assert check_verdicts(out, 1) == pytest.approx([half / package], rel=2e-3)
    assert float(re.search(r"largest difference of the fp32 maps.*: ([\d.e-]+)", out).group(1)) < 1e-4


def test_activations_prints_the_ratios_of_time_and_memory(
    load, monkeypatch: pytest.MonkeyPatch, capsys, tiny_cifar10
):
    module = load("activations")
    peaks = {(module.HOOKS, 2): 150, (module.HOOKS, 8): 300, (module.HOOKS, 32): 900}
    peaks |= {(module.OURS, 2): 140, (module.OURS, 8): 150, (module.OURS, 32): 160}

    def run_here(args: argparse.Namespace, side: str, n: int) -> dict[str, Any]:
        options = {"child": side, "images": n, "data": tiny_cifar10}
        capsys.readouterr()
        module.report(argparse.Namespace(**vars(args) | options))
        found = json.loads(capsys.readouterr().out)
        assert found["n"] == n and found["peak"] >= found["start"] > 0
        return found | {"start": 100 << 20, "peak": peaks[side, n] << 20}

    monkeypatch.setattr(module, "run_process", run_here)
    monkeypatch.setattr(sys, "argv", ["activations.py", "--images=32", "--batch=8", "--threads=1"])
    module.main()
    out = capsys.readouterr().out
    rows = read_table(out)
    assert [row["images"] for row in rows] == ["2", "8", "32"] * 2
    assert [number(row["above the start, MiB"]) for row in rows] == [50, 200, 800, 40, 50, 60]
    assert "hooks and numpy.histogram: 16× the memory above the start for 16× the images" in out
    assert "ralr-viz: 1.5× the memory above the start for 16× the images" in out
    assert "memory above the start at the most images, hooks over ralr-viz: 13.33×" in out
    ratio = number(rows[2]["seconds"]) / number(rows[5]["seconds"])
    printed = re.search(r"time at the most images, hooks over ralr-viz: ([\d.]+)×", out).group(1)
    assert float(printed) == pytest.approx(ratio, rel=2e-3)


def test_activations_keeps_the_hooks_within_the_memory(load, monkeypatch, capsys, tiny_cifar10):
    module = load("activations")
    parsed = argparse.Namespace(
        child=module.HOOKS, images=40, data=tiny_cifar10, batch=8, bins=10, threads=1,
        ckpt=[f"{ROOT}/checkpoints/cifar10-resnet20-short/baseline/seed0@{epoch}" for epoch in (13, 20)],
    )  # fmt: skip
    units = 16 * 32**2 + 32 * 16**2 + 64 * 8**2
    monkeypatch.setattr(module, "_available_bytes", lambda: 10.5 * 8 * (units + 16 * 32**2))
    module.report(parsed)
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == 10 and found["values"] == 2 * units * 10


def test_tsne_prints_the_ratio_of_its_times(bench, tiny_cifar10):
    for data, source in ((tiny_cifar10, "features of baseline"), (tiny_cifar10 / "none", "a seeded mixture")):
        out = bench("tsne", "--data", data, "--images=40", "--perplexity=5")
        assert out.splitlines()[1].startswith(source)
        sklearn, ours = read_table(out)
        ratio = number(sklearn["seconds"]) / number(ours["seconds"])
        assert number(ours["against scikit-learn"]) == pytest.approx(ratio, rel=2e-3, abs=0.006)
        assert check_verdicts(out, 1) == pytest.approx([ratio], rel=2e-3)
        recalls = [number(side["kNN recall, k = 20"]) for side in (sklearn, ours)]
        assert all(50 < recall <= 100 for recall in recalls)  # 20 of 39 by chance


def test_ingest_prints_the_ratios_of_its_speeds(bench):
    out = bench("ingest", "--images=120", "--repeats=2", "--starts=2")
    loop, one, two, start = read_table(out)
    assert loop["side"] == "PIL loop" and start["unit"] == "s"
    for row in (loop, one, two):
        ratio = number(row["median"]) / number(loop["median"])
        assert number(row["against the loop"]) == pytest.approx(ratio, rel=2e-3, abs=0.006)
    assert check_verdicts(out, 1) == pytest.approx([number(start["median"])], rel=2e-3)


def test_ingest_takes_an_archive(bench, load, tmp_path):
    archive = load("ingest").write_images(tmp_path / "mine.zip", 60)
    assert "60 images of mine.zip" in bench("ingest", "--from", archive, "--repeats=1", "--starts=1")


def test_crops_prints_the_ratios_of_its_speeds(bench):
    out = bench("crops", "--images=6", "--repeats=1", "--epochs=2", "--batch=4", "--threads=1")
    rows = read_table(out)
    assert [row["side"] for row in rows] == ["Pillow + DataLoader", "ralr-viz"] * 2
    found = []
    for usual, ours in (rows[:2], rows[2:]):
        fast = number(ours["images per CPU-second"])
        ratio = fast / number(usual["images per CPU-second"])
        assert number(ours["against the usual way"]) == pytest.approx(ratio, rel=2e-3, abs=0.006)
        found += [fast, ratio]
    printed = [float(value) for value in re.findall(r": ([\d.]+)×?; target ≥ (?:1500|500|5)", out)]
    assert printed == pytest.approx(found, rel=2e-3)


def test_hessian_prints_the_ratios_of_its_times(bench, tiny_cifar10):
    out = bench("hessian", "--data", tiny_cifar10, "--images=6", "--batch=4", "--repeats=2")
    rows = read_table(out)
    forward, package, again, kept = (number(row["seconds"]) for row in rows)
    for row, seconds in zip(rows, (forward, package, again, kept), strict=True):
        assert number(row["against curvlinops"]) == pytest.approx(seconds / package, rel=3e-3, abs=6e-4)
        assert number(row["forward passes"]) == pytest.approx(seconds / forward, rel=3e-3, abs=6e-3)
    assert check_verdicts(out, 1) == pytest.approx([package / kept], rel=3e-3)
    assert float(re.search(r"largest difference of the products.*: ([\d.e-]+)", out).group(1)) < 1e-2


def test_study_table_prints_the_ratio_of_its_times(bench):
    out = bench("study_table", "--runs=16", "--repeats=1")
    plain, ours, _, planning = (number(row["seconds"]) for row in read_table(out))
    assert "16 runs, 4 cells, 3 comparisons" in out
    ratio = float(re.search(r"over ralr-viz: ([\d.]+)×", out).group(1))
    assert ratio == pytest.approx(plain / ours, rel=2e-3)
    assert check_verdicts(out, 2) == pytest.approx([ours, planning], rel=2e-3)


@pytest.mark.slow
def test_study_overhead_is_what_is_left_of_the_engines_time(bench, tmp_path):
    out = bench("study_overhead", "--data", tmp_path, "--count=1", "--repeats=1")
    engine, here, imports = (number(row["seconds a run"]) for row in read_table(out))
    value = float(re.search(r"overhead of a run: (-?[\d.]+) s", out).group(1))
    assert value == pytest.approx(engine - here - imports, abs=0.02)


def test_examples_prints_the_ratio_of_its_times(bench, tiny_cifar10):
    out = bench("examples", "--data", tiny_cifar10, "--subset=0", "--repeats=1")
    recorded, plain = (number(row["seconds of two epochs"]) for row in read_table(out))
    value = float(re.search(r"time with a record: ([\d.]+)", out).group(1))
    assert value == pytest.approx(recorded / plain, rel=2e-3)


def test_gpu_prints_the_ratios_of_its_speeds_on_the_cpu(bench, tiny_cifar10):
    out = bench(
        "gpu", "--data", tiny_cifar10, "--device=cpu", "--networks=resnet20", "--batch=4", "--steps=1", "--images=8",
        "--points=60", "--repeats=1", "--no-compile",
    )  # fmt: skip
    rows = read_table(out)
    tasks = dict.fromkeys(row["task"] for row in rows)
    assert [task.split(",")[0].split(" of")[0] for task in tasks] == [
        "training", "maps", "Hessian-vector product", "t-SNE",
    ]  # fmt: skip
    for task in tasks:
        first, *others = [row for row in rows if row["task"] == task]
        assert first["against the user's"] == "1.00×" and others
        for row in others:
            ratio = number(row["speed"].split()[0]) / number(first["speed"].split()[0])
            assert number(row["against the user's"]) == pytest.approx(ratio, rel=4e-3, abs=0.006)


@pytest.mark.slow
@pytest.mark.timeout(900)  # it compiles
def test_training_compiled_prints_its_share_and_targets(bench, tiny_cifar10):
    out = bench(
        "training", "--data", tiny_cifar10, "--networks", "resnet20", "--steps=2", "--repeats=1", "--batch=4",
        "--matmul=64", "--workers=1", "--precision=bf16",
    )  # fmt: skip
    check_speed(out)
    compiled = read_table(out)[3]
    ratio, _, share = check_verdicts(out, 3)
    assert number(compiled["against plain"]) == pytest.approx(ratio, rel=2e-3, abs=0.006)
    assert number(compiled["of the bf16 peak"]) == pytest.approx(share, rel=2e-3, abs=0.06)


@pytest.mark.slow
def test_activations_measures_fresh_processes(tiny_cifar10):
    command = [sys.executable, str(FOLDER / "activations.py"), "--data", str(tiny_cifar10), "--images=32"]
    done = subprocess.run([*command, "--batch=2", "--threads=1"], capture_output=True, text=True, check=True)
    assert all(number(row["peak, MiB"]) > 100 for row in read_table(done.stdout))


def test_readme_names_every_script_and_its_options(load, capsys, monkeypatch):
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    scripts = {path.stem for path in FOLDER.glob("*.py")} - {"timing"}
    commands = re.findall(r"^python benchmarks/(\w+)\.py(.*?)(?: +#.*)?$", text, re.MULTILINE)
    assert {name for name, _ in commands} == scripts
    for name in sorted(scripts):
        module = load(name)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
        with pytest.raises(SystemExit):
            module.main()
        known = capsys.readouterr().out
        for option in re.findall(r"--[\w-]+", " ".join(rest for which, rest in commands if which == name)):
            assert option in known


def test_wheel_has_no_benchmarks():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert settings["packages"]["find"]["include"] == ["ralr_viz*"]
    assert not (FOLDER / "__init__.py").exists()


def test_digest_prints_the_price_of_its_check(bench):
    out = bench("digest", "--weights=40000", "--tensors=4", "--repeats=2")
    rows = read_table(out)
    sides = ["load_checkpoint", "read and parse", "check the digest", "SHA-256"]
    assert [row["side"] for row in rows] == sides * 4
    prices = []
    for load, *others in (rows[i : i + 4] for i in range(0, 16, 4)):
        for row in others:
            share = 100 * number(row["median, s"]) / number(load["median, s"])
            assert number(row["of load_checkpoint"]) == pytest.approx(share, rel=1e-2)
        prices.append(number(others[1]["of load_checkpoint"]))
    assert check_verdicts(out, 4) == pytest.approx(prices, rel=1e-2)


def test_translation_prints_the_ratios_of_training_and_of_the_search(bench, tmp_path):
    out = bench(
        "translation", "--recipe", "numbers-transformer-tiny", "--data", tmp_path, "--tokens=2000", "--sentences=6",
        "--extra=4", "--repeats=1", "--precision=fp32",
    )  # fmt: skip
    # the networks have the same weights and search alike
    assert "beam 4: 6 of 6 translations are equal" in out
    ratios = [number(ratio) for ratio in re.findall(r"\| ralr-viz[^|]*\|[^|]*\|[^|]*\| ([\d.]+×) \|", out)]
    assert len(ratios) == 2
    values = check_verdicts(out, 2)
    assert values == pytest.approx(ratios, rel=2e-3, abs=0.006)


def test_detection_trains_the_same_network_on_both_sides(bench, blobs_root, make_detector, tmp_path):
    settings = make_detector().to_dict()
    del settings["name"]
    recipe = tmp_path / "blobs.toml"
    recipe.write_text(recipe_to_toml(settings))
    given = {"recipe": recipe, "data": blobs_root, "steps": 1, "batch": 4, "repeats": 2, "workers": 0}
    out = bench("detection", *(f"--{name}={value}" for name, value in given.items()))
    rows = read_table(out)
    assert [row["side"] for row in rows] == ["torchvision's reference loop", "ralr-viz"]
    (value,) = check_verdicts(out, 1)
    assert number(rows[1]["against torchvision"]) == pytest.approx(value, rel=1e-2)
