"""One comparison, one setting: chosen before its first run, taken by the others, refused where it differs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ralr_viz.errors import InputError
from ralr_viz.runtime.device import Runtime
from ralr_viz.runtime.ranks import ALONE, Ranks
from ralr_viz.study.begun import as_begun
from ralr_viz.study.execute import ExecuteOptions
from ralr_viz.train import choice
from ralr_viz.train.choice import choose_runtime
from ralr_viz.train.loop import train_run
from ralr_viz.train.methods import prepare_methods
from ralr_viz.train.prepare import prepare_run, read_prepared_run
from ralr_viz.train.setting import Setting, Wish, setting_path

CPU = Wish("cpu")


@pytest.fixture(autouse=True)
def a_processor_with_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "half_precision", lambda _: "bf16")


@pytest.fixture
def choose(squares_root: Path, prepare: Callable[..., Path]) -> Callable[..., Runtime]:
    """``choose("ralr", high=2.0)``: what a prepared run is to be trained in; precision ``auto``."""

    def make(method: str = "baseline", wish: Wish = CPU, **changes: Any) -> Runtime:
        directory = prepare(method, **({"precision": "auto"} | changes))
        return choose_runtime(directory, read_prepared_run(directory), squares_root, wish, ALONE)

    return make


@pytest.fixture
def kept(tmp_path: Path) -> Callable[[], list[Path]]:
    return lambda: sorted((tmp_path / "runs").glob("*/settings.json"))


def test_auto_takes_the_faster_precision_and_keeps_the_rates(
    choose: Callable[..., Runtime], kept: Callable[[], list[Path]], clock: dict[str, float]
) -> None:
    assert choose().precision == "bf16"
    (path,) = kept()
    assert (path.parent / "baseline").is_dir()
    found = json.loads(path.read_text())
    assert found["rates"] == {"fp32": 1.0, "bf16": 2.0} and found["of"] == ["squares", "resnet20", 16]
    assert (found["device"], found["threads"]) == ("cpu", torch.get_num_threads())


@pytest.mark.parametrize("rate", [0.3, 1.0, 1.04])
def test_auto_takes_fewer_bits_only_where_they_are_worth_it(
    choose: Callable[..., Runtime], clock: dict[str, float], rate: float
) -> None:
    clock["bf16"] = rate  # of depthwise convolutions on a CPU with AMX, it is below 1
    assert choose().precision == "fp32"


def test_all_that_is_compared_takes_what_was_chosen_and_times_nothing(
    choose: Callable[..., Runtime], kept: Callable[[], list[Path]], clock: dict[str, float]
) -> None:
    first = choose()
    clock["bf16"] = 0.5  # had it been timed again
    assert choose() == choose("ralr") == choose("ralr", high=2.0) == choose("ralr", seed=3) == first
    assert len(kept()) == 1  # the factors are another folder, and the same comparison
    assert choose(epochs=4).precision == first.precision  # the same work, in another one
    assert len(kept()) == 2
    assert choose(batch=8).precision == "fp32"


def test_threads_are_those_of_the_first_run(
    choose: Callable[..., Runtime], kept: Callable[[], list[Path]]
) -> None:
    choose()
    (path,) = kept()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"threads": 5}))
    assert choose("ralr").threads == 5


def test_pinned_precision_is_not_timed(
    choose: Callable[..., Runtime], kept: Callable[[], list[Path]]
) -> None:
    assert choose(precision="fp32").precision == "fp32"
    assert json.loads(kept()[0].read_text())["rates"] == {}


def test_auto_takes_what_the_published_runs_have_untimed_where_there_is_it(
    choose: Callable[..., Runtime],
    kept: Callable[[], list[Path]],
    clock: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock["bf16"] = 0.5
    assert choose(auto_precision="bf16").precision == "bf16"
    assert json.loads(kept()[0].read_text())["rates"] == {}
    monkeypatch.setattr(choice, "half_precision", lambda _: None)
    assert choose(auto_precision="bf16", seed=1, epochs=4).precision == "fp32"


@pytest.mark.parametrize(
    ("recorded", "wish", "remedy"),
    [
        ({}, Wish("cpu", compile=True), "no --compile .*: leave it out, or choose another --runs"),
        ({"device": "cuda"}, Wish("cpu"), "device cuda .*: --device cuda, or choose"),
        ({"device": "cuda", "deterministic": True}, Wish("auto", deterministic=False), "leave out --fast"),
    ],
)
def test_another_setting_is_refused_in_one_line(
    choose: Callable[..., Runtime], kept: Callable[[], list[Path]], recorded: Any, wish: Wish, remedy: str
) -> None:
    choose()
    (path,) = kept()
    path.write_text(json.dumps(json.loads(path.read_text()) | recorded))
    with pytest.raises(InputError, match=remedy) as found:
        choose("ralr", wish)
    assert "\n" not in str(found.value)


def test_the_device_that_a_rank_was_given_counts(
    choose: Callable[..., Runtime],
    kept: Callable[[], list[Path]],
    prepare: Callable[..., Path],
    squares_root: Path,
) -> None:
    choose()
    (path,) = kept()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"device": "cuda"}))

    class OnTheCPU(Ranks):
        device = "cpu"

    directory = prepare(precision="auto")
    with pytest.raises(InputError, match="these have device cuda"):
        choose_runtime(directory, read_prepared_run(directory), squares_root, Wish("auto"), OnTheCPU())


def test_a_device_that_is_not_here_is_named_with_the_file(
    choose: Callable[..., Runtime], kept: Callable[[], list[Path]]
) -> None:
    choose()
    (path,) = kept()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"device": "mps"}))
    with pytest.raises(InputError, match=r"settings\.json` have its setting, but here .*mps"):
        choose("ralr", Wish("auto"))


def test_what_was_begun_without_the_file_goes_on_without(
    choose: Callable[..., Runtime],
    prepare: Callable[..., Path],
    kept: Callable[[], list[Path]],
    clock: dict[str, float],
) -> None:
    (prepare(precision="auto") / "metrics.jsonl").write_text('{"epoch": 1}\n')
    clock["bf16"] = 0.5
    assert choose("ralr").precision == "bf16"  # what there is, as before
    assert kept() == []


def test_a_damaged_file_is_named(choose: Callable[..., Runtime], kept: Callable[[], list[Path]]) -> None:
    choose()
    kept()[0].write_text('{"device": 3')
    with pytest.raises(InputError, match="is damaged"):
        choose()


def test_a_directory_of_somebodys_own_has_no_setting(make_recipe: Callable[..., Any], tmp_path: Path) -> None:
    recipe = make_recipe()
    assert setting_path(tmp_path / "here", recipe, "ralr", 0) is None
    path = setting_path(prepare_run(recipe, "ralr", 0, tmp_path), recipe, "ralr", 0)
    assert path is not None and path.parents[1] == tmp_path


def test_force_lets_it_be_chosen_anew_unless_other_runs_stay(
    make_recipe: Callable[..., Any],
    choose: Callable[..., Runtime],
    kept: Callable[[], list[Path]],
    tmp_path: Path,
) -> None:
    recipe, runs, other = make_recipe(precision="auto"), tmp_path / "runs", Wish("cpu", compile=True)
    choose()
    first, second = (prepare_run(recipe, method, 0, runs) for method in ("baseline", "ralr"))
    for directory in (first, second):
        (directory / "metrics.jsonl").write_text('{"epoch": 1}\n')
    with pytest.raises(InputError, match="leave it out"):  # before anything is deleted
        prepare_methods(recipe, ["baseline"], [0], runs, force=True, wish=other)
    assert (first / "metrics.jsonl").exists()
    prepare_methods(recipe, ["baseline"], [0], runs, force=True, wish=CPU)
    assert len(kept()) == 1
    prepare_methods(recipe, ["baseline", "ralr"], [0], runs, force=True, wish=other)
    assert kept() == []


def test_a_study_that_was_begun_passes_its_setting_on(
    choose: Callable[..., Runtime], prepare: Callable[..., Path], kept: Callable[[], list[Path]]
) -> None:
    directory = prepare(precision="auto")
    recipe, method, seed = read_prepared_run(directory)

    class Plan:
        entries = (type("Entry", (), {"directory": directory, "seed": seed, "cell": None})(),)

    Plan.entries[0].cell = type("Cell", (), {"recipe": recipe, "method": method})()  # type: ignore[attr-defined]
    asked = ExecuteOptions(device="auto")
    assert as_begun(Plan(), asked) == (asked, None)  # type: ignore[arg-type]
    choose()
    (path,) = kept()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"threads": 3, "compile": True}))
    taken, threads = as_begun(Plan(), asked)  # type: ignore[arg-type]
    assert (taken.device, taken.compile, taken.deterministic, threads) == ("cpu", True, True, 3)
    with pytest.raises(InputError, match="--device cpu"):
        as_begun(Plan(), ExecuteOptions(device="cuda"))  # type: ignore[arg-type]


def test_check_compares_the_kind_of_device() -> None:
    setting = Setting("cuda", "bf16", 1, False, False)
    for device in ("auto", "cuda", "cuda:1"):
        setting.check(Wish(device, deterministic=False), Path("x"))


def test_a_training_is_as_its_setting_says(
    prepare: Callable[..., Path], squares_root: Path, kept: Callable[[], list[Path]]
) -> None:
    small = {"precision": "auto", "epochs": 1, "milestones": (), "subset": 32, "train_sample": 8}
    train_run(prepare(**small), squares_root, device="cpu")
    (path,) = kept()
    threads = torch.get_num_threads()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"precision": "fp32", "threads": threads + 1}))
    directory = prepare("ralr", **small)
    try:
        train_run(directory, squares_root, device="cpu")
    finally:
        torch.set_num_threads(threads)
    env = json.loads((directory / "env.json").read_text())
    assert (env["precision"], env["threads"]) == ("fp32", threads + 1)
