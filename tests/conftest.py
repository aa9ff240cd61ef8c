"""A data set that trains in a blink: 4 classes of 16×16 images with a coloured square on noise."""

from __future__ import annotations

import importlib.util
import os
import runpy
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from ralr_viz.data import import_dataset
from ralr_viz.data.ingest import Intake, write_store
from ralr_viz.data.ragged import DIFFICULT, join_boxes
from ralr_viz.recipe import Recipe
from ralr_viz.tasks.classification.recipe import ClassificationRecipe
from ralr_viz.tasks.detection.recipe import DetectionRecipe

# One thread, here and in the processes that tests start: two of them slow to a fiftieth beside another busy process.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A deadline of 200 ms says how busy the machine is, not whether the code is right.
settings.register_profile("ralr-viz", deadline=None)
settings.load_profile("ralr-viz")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``-n``: neighbours stay on one worker, which makes their fixtures once, until one runs out of work."""
    if config.getvalue("dist") != "load":
        return None  # somebody has asked for another
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


@pytest.fixture(scope="session", params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    """Where a test runs: the CPU, always; and, of ``-m gpu``, CUDA."""
    import torch

    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    if request.param == "cuda":  # read when the first product is made, and deterministic ones need it
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return str(request.param)


@pytest.fixture(autouse=True)
def as_torch_has_it(request: pytest.FixtureRequest) -> Iterator[None]:
    """A training leaves torch deterministic, which the next test on CUDA has not asked for."""
    yield
    if request.node.get_closest_marker("gpu"):
        import torch

        torch.use_deterministic_algorithms(False)


@pytest.fixture
def waiting_is_an_error(device: str) -> Callable[[], AbstractContextManager[None]]:
    """``with waiting_is_an_error():`` what makes the host wait for a CUDA device raises; on the CPU nothing does."""

    @contextmanager
    def forbid() -> Iterator[None]:
        import torch

        if device == "cuda":
            torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            if device == "cuda":
                torch.cuda.set_sync_debug_mode("default")

    return forbid


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Samples a second that a training is measured at in each precision: nothing is timed in tests."""
    from ralr_viz.train import choice
    from ralr_viz.train.speed import Speed

    rates = {"fp32": 1.0, "bf16": 2.0, "fp16": 2.0}
    monkeypatch.setattr(choice, "measure_speed", lambda *of: Speed(rates[of[2].precision], 0, 1))
    return rates


COLOURS = {"blue": (40, 40, 220), "green": (40, 200, 40), "red": (220, 40, 40), "white": (230, 230, 230)}


def write_tree(folder: Path, names: Iterable[str] = COLOURS, train: int = 24, test: int = 6) -> Path:
    size, rng = 16, np.random.default_rng(5)
    for name in names:
        for split, count in (("train", train), ("test", test)):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                image = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
                top, left = rng.integers(0, size // 2, 2)
                image[top : top + size // 2, left : left + size // 2] = COLOURS[name]
                Image.fromarray(image).save(folder / split / name / f"{i}.png")
    return folder


@pytest.fixture(scope="session", autouse=True)
def no_cache_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the machine's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RALR_VIZ_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def squares_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data root with ``squares``, 96 training and 24 test images, and ``two``, the same with two classes."""
    folder = tmp_path_factory.mktemp("squares")
    root = folder / "root"
    import_dataset("squares", write_tree(folder / "tree"), root, workers=1)
    import_dataset("two", write_tree(folder / "tree-of-two", ("blue", "red"), 4, 2), root, workers=1)
    return root


@pytest.fixture(scope="session")
def make_recipe() -> Callable[..., Recipe]:
    """``make_recipe(epochs=3, …)``: ResNet-20 on ``squares`` in fp32."""

    def make(**changes: object) -> Recipe:
        values: dict[str, object] = {
            "dataset": "squares",
            "model": "resnet20",
            "epochs": 3,
            "batch": 16,
            "lr": 0.05,
            "momentum": 0.9,
            "nesterov": True,
            "weight_decay": 1e-4,
            "milestones": (0.67,),  # after 2 of 3 epochs
            "crop_padding": 2,
            "flip": True,
            "validation": 0.25,
            "precision": "fp32",
            "name": "squares-resnet20",
        }
        return ClassificationRecipe(**(values | changes))  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def blobs_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data root with ``blobs``: 26 training and 10 test images of 40 × 48 with one to three squares of two colours.

    The first training and test image have no object, and the last square of some test images is difficult.
    """
    rng, images, corners, labels, flags = np.random.default_rng(3), [], [], [], []
    is_test = np.arange(36) >= 26
    for i in range(len(is_test)):
        image = rng.integers(60, 120, (40, 48, 3), dtype=np.uint8)
        found = []
        for left in (1, 17, 33)[: 0 if i in (0, 26) else 1 + i % 3]:
            label, side = int(rng.integers(2)), int(rng.integers(8, 15))
            top = int(rng.integers(0, 40 - side))
            image[top : top + side, left : left + side] = [(230, 40, 40), (40, 60, 230)][label]
            found.append(((left, top, left + side, top + side), label))
        images.append(image)
        corners.append(np.array([box for box, _ in found], dtype=np.float64).reshape(-1, 4))
        labels.append(np.array([label for _, label in found], dtype=np.int64))
        flags.append(np.array([DIFFICULT * (is_test[i] and j == 2) for j in range(len(found))], np.uint8))
    intake = Intake(
        ("blue", "red")[::-1], ("blue", "red")[::-1], is_test, np.zeros(len(is_test), np.int64),
        join_boxes(corners, labels, flags), iter([images]),
    )  # fmt: skip
    root = tmp_path_factory.mktemp("blobs")
    write_store(intake, root, "blobs")
    return root


@pytest.fixture(scope="session")
def make_detector() -> Callable[..., Recipe]:
    """``make_detector(epochs=3, …)``: the small SSD at 32 pixels on ``blobs`` in fp32."""

    def make(**changes: object) -> Recipe:
        values: dict[str, object] = {
            "task": "detection", "dataset": "blobs", "model": "ssd-small", "epochs": 4, "batch": 8, "lr": 0.01,
            "momentum": 0.9, "weight_decay": 5e-4, "clip_norm": 5.0, "precision": "fp32", "threads": 1, "input_size": 32,
            "bias_lr": 2.0, "loc_loss": "smooth_l1", "expand": 1.5, "drop_last": True, "name": "blobs-ssd",
        }  # fmt: skip
        return DetectionRecipe(**(values | changes))  # type: ignore[arg-type]

    return make


MAKERS: dict[str, Callable[[ModuleType], Any]] = {
    "curves": lambda tests: tests.compute_curves([tests.run("baseline"), tests.run("ralr")]),
    "schedule": lambda tests: tests.schedule(),
    "study": lambda tests: tests._result(),
    "why": lambda tests: tests._why(4),
}
"""How the tests of a kind of result make one, where that is no function without arguments."""


@pytest.fixture(scope="session")
def make_result() -> Callable[[str], Any]:
    """``make_result("cam")``: a result of any kind, the one that the tests of its own figure draw."""

    def make(kind: str) -> Any:
        folder = Path(__file__).parent
        path = folder / "plots" / f"test_{kind}_plot.py"
        if not path.exists():  # a kind without a figure
            path = folder / "results" / f"test_{kind}_result.py"
        spec = importlib.util.spec_from_file_location(f"_{kind}_tests", path)
        assert spec is not None and spec.loader is not None
        tests = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(tests)
        names = ("make_result", "make", "result")
        default = next(filter(None, (getattr(tests, name, None) for name in names)), None)
        return MAKERS[kind](tests) if kind in MAKERS else default()

    return make


@pytest.fixture(scope="session")
def trained_pair(
    tmp_path_factory: pytest.TempPathFactory, make_recipe: Callable[..., Recipe], squares_root: Path
) -> Path:
    """A folder of runs: two finished arms of one seed and three epochs, and a third that was only prepared."""
    from ralr_viz.train.loop import train_run
    from ralr_viz.train.prepare import prepare_run

    recipe, folder = make_recipe(epochs=3, keep=(1, 2)), tmp_path_factory.mktemp("pair")
    for method in ("baseline", "ralr"):
        train_run(prepare_run(recipe, method, 0, folder), squares_root, device="cpu")
    prepare_run(recipe, "scaled", 0, folder)
    return folder


@pytest.fixture(scope="session")
def numbers_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """A folder with ``data`` and ``runs``, and the run directories of a pair that translates."""
    from ralr_viz.recipe import load_recipe
    from ralr_viz.train.loop import train_run
    from ralr_viz.train.prepare import prepare_run

    folder = tmp_path_factory.mktemp("translation")
    settings = runpy.run_path(str(Path(__file__).with_name("numbers_settings.py")))["SHORT"]
    recipe = load_recipe("numbers-transformer-tiny", settings)
    arms = [prepare_run(recipe, method, 0, folder / "runs") for method in ("baseline", "ralr")]
    for arm in arms:
        train_run(arm, folder / "data", device="cpu")
    return folder, arms
