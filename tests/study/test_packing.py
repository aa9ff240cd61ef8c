"""How many runs a study trains at once: measured where nobody has said, and kept beside its runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ralr_viz.errors import InputError, RalrVizError
from ralr_viz.study import packing, slots
from ralr_viz.study.execute import ExecuteOptions
from ralr_viz.study.packing import Load, Packing, choose_packing, measure_load, pack_slots
from ralr_viz.study.slots import Slot

CPU = ExecuteOptions(device="cpu")
FREE = 10_000_000_000


@pytest.fixture(autouse=True)
def a_machine_of_eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for module in (packing, slots):
        monkeypatch.setattr(module, "count_cores", lambda: 8)
    monkeypatch.setattr(packing, "_free_bytes", lambda: FREE)


class Clock:
    """What so many runs at once are measured at; which were asked for. Of a GPU's 80 GB, each takes ``on_gpu``."""

    def __init__(self, rates: dict[int, float], bytes: int = 1, on_gpu: int = 0) -> None:
        self.rates, self.bytes, self.on_gpu, self.asked = rates, bytes, on_gpu, []
        self.environments: list[dict[str, str]] = []

    def __call__(self, recipe: Any, root: Path, options: Any, jobs: int, threads: int) -> Load:
        self.asked.append((jobs, threads))
        self.environments.append(dict(options.environment))
        if jobs not in self.rates:
            raise RalrVizError("cuda is out of memory")
        return Load(self.rates[jobs], self.bytes, self.on_gpu, 80_000_000_000 if self.on_gpu else 0)


@pytest.fixture
def choose(make_recipe: Callable[..., Any], tmp_path: Path) -> Callable[..., Packing]:
    def run(clock: Clock, runs: int = 20, cores: int = 8, **settings: Any) -> Packing:
        recipe = make_recipe(**settings)
        return choose_packing(recipe, tmp_path, CPU, runs=runs, cores=cores, measure=clock)

    return run


@pytest.mark.parametrize(("rate", "expected"), [(106.0, (8, 1)), (104.0, (1, 8)), (50.0, (1, 8))])
def test_several_runs_at_once_where_they_are_faster_together(
    choose: Callable[..., Packing], rate: float, expected: tuple[int, int]
) -> None:
    clock = Clock({1: 100.0, 8: rate})
    found = choose(clock)
    assert (found.jobs, found.threads) == expected
    assert clock.asked == [(1, 8), (8, 1)] and found.rates == clock.rates


def test_there_are_no_more_than_the_runs_and_the_memory(choose: Callable[..., Packing]) -> None:
    clock = Clock({1: 100.0, 3: 150.0})
    assert choose(clock, runs=3)[:2] == (3, 2)
    assert choose(Clock({1: 100.0, 3: 150.0}, bytes=FREE // 5))[:2] == (3, 2)  # 60 % of it is taken
    alone = Clock({1: 100.0}, bytes=FREE // 3)
    assert choose(alone) == (1, 8, {1: 100.0}) and alone.asked == [(1, 8)]
    nothing = Clock({})
    assert choose(nothing, runs=1) == (1, 8, {}) and choose(nothing, cores=1) == (1, 1, {})


def test_threads_of_a_recipe_are_those_of_each_run(choose: Callable[..., Packing]) -> None:
    clock = Clock({1: 100.0, 4: 300.0})
    assert choose(clock, threads=2)[:2] == (4, 2)
    assert clock.asked == [(1, 2), (4, 2)]


@pytest.fixture
def pack(make_recipe: Callable[..., Any], tmp_path: Path) -> Callable[..., list[Slot]]:
    """``pack(clock, …)`` of a study with 20 runs of which 15 are left."""
    entries = [SimpleNamespace(done=i < 5, cell=SimpleNamespace(recipe=make_recipe())) for i in range(20)]
    plan: Any = SimpleNamespace(entries=entries, runs=tmp_path, study=SimpleNamespace(name="many"))

    def run(clock: Clock, **options: Any) -> list[Slot]:
        return pack_slots(plan, tmp_path, CPU, measure=clock, **options)

    return run


def test_the_slots_are_what_was_measured_and_it_is_said(pack: Callable[..., list[Slot]]) -> None:
    said: list[str] = []
    assert pack(Clock({1: 855.0, 8: 990.0}), say=said.append) == [Slot("cpu", 1)] * 8
    assert said == [
        "8 runs at once, of 1 thread each: measured 990 samples/s, against 855 of 1 (--jobs N chooses)"
    ]


def test_what_was_measured_is_kept_for_the_study_s_next_start(
    pack: Callable[..., list[Slot]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chosen = pack(Clock({1: 855.0, 8: 990.0}))
    assert pack(Clock({})) == chosen  # nothing is measured again
    kept = json.loads((tmp_path / "many.packing.json").read_text())
    assert (kept["jobs"], kept["threads"], kept["rates"]) == (8, 1, {"1": 855.0, "8": 990.0})
    assert pack(Clock({}), threads=2) == [Slot("cpu", 2)] * 4  # the runs' own threads count more
    for module in (packing, slots):
        monkeypatch.setattr(module, "count_cores", lambda: 2)
    assert pack(Clock({1: 100.0, 2: 90.0})) == [Slot("cpu", 2)]  # another machine


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    places = [Slot("cuda", 4, "0"), Slot("cuda", 4, "3")]
    monkeypatch.setattr(packing, "find_slots", lambda *_: places)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("rates", "on_gpu", "jobs", "asked"),
    [
        ({1: 100.0, 2: 190.0, 4: 300.0}, 2, 4, [(1, 4), (2, 2), (4, 1)]),  # 8 runs left on it, but 4 cores
        ({1: 100.0, 2: 104.0}, 2, 1, [(1, 4), (2, 2)]),
        ({1: 100.0, 2: 190.0}, 2, 2, [(1, 4), (2, 2), (4, 1)]),  # four do not fit after all
        ({1: 100.0, 2: 190.0}, 20, 2, [(1, 4), (2, 2)]),  # nor are they tried: 60 % of 80 GB is taken
        ({1: 100.0}, 40, 1, [(1, 4)]),
    ],
)
def test_a_gpu_is_shared_by_as_many_runs_as_are_faster_and_fit(
    pack: Callable[..., list[Slot]], rates: dict[int, float], on_gpu: int, jobs: int, asked: list[Any]
) -> None:
    clock = Clock(rates, on_gpu=on_gpu * 10**9)
    found = pack(clock)
    assert found == [Slot("cuda", 4 // jobs, gpu) for _ in range(jobs) for gpu in ("0", "3")]
    assert clock.asked == asked
    assert {environment["CUDA_VISIBLE_DEVICES"] for environment in clock.environments} == {"0"}
    assert pack(Clock({})) == found


def test_nothing_is_measured_where_somebody_has_said(
    pack: Callable[..., list[Slot]], monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = Clock({})
    assert pack(nothing, jobs=2) == [Slot("cpu", 4)] * 2
    assert pack(nothing, threads=2) == [Slot("cpu", 2)] * 4  # of the study's first runs
    assert pack(nothing, threads=2, jobs=1) == [Slot("cpu", 2)]
    assert pack(nothing, threads=16) == [Slot("cpu", 16)]
    with pytest.raises(InputError, match=r"`--gpus-per-run 0.5`: torch sees no CUDA device here"):
        pack(nothing, gpus_per_run=0.5)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert pack(nothing) == [Slot("cpu", 3)]


def test_processes_at_once_are_measured_with_their_threads(
    make_recipe: Callable[..., Any], squares_root: Path
) -> None:
    found = measure_load(make_recipe(precision="fp32"), squares_root, CPU, 2, 1)
    assert found.samples_per_second > 0 and found.bytes > 50e6


def test_a_process_that_fails_ends_the_others_with_its_reason(
    make_recipe: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="squares"):
        measure_load(make_recipe(precision="fp32"), tmp_path, CPU, 2, 1)
