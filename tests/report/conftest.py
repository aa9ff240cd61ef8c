"""Results of two made-up networks on made-up images, their page, and a real Chromium that opens it."""

from __future__ import annotations

import base64
import io
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from ralr_viz.analysis.curves import compute_curves
from ralr_viz.analysis.verdict import compute_verdict
from ralr_viz.report.inputs import ReportInputs, Side
from ralr_viz.results.activations import ActivationsResult
from ralr_viz.results.embedding import METRICS, EmbeddingResult
from ralr_viz.results.predictions import PredictionsResult
from ralr_viz.results.run import RunRecord

CLASS_NAMES = ("cat, domestic cat", "<script>window.hurt = 1</script>", 'a "quoted", name', "dog")
CHECKPOINT = {"sha256": "0" * 64, "epoch": 12, "arch": "resnet20", "mean": (0.5,) * 3, "std": (0.25,) * 3}
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def draw_clouds(n: int, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Clouds of colour with grey detail, which compress as photographs do, (n, H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    clouds = gaussian_filter(rng.standard_normal((n, *size, 3)), (0, 3, 3, 0)) * 8
    detail = gaussian_filter(rng.standard_normal((n, *size, 1)), (0, 0.5, 0.5, 0)) / 2
    middle = rng.uniform(60, 200, (n, 1, 1, 3))  # no two have the same
    return np.clip(middle + 40 * (clouds + detail), 0, 255).astype(np.uint8)


def make_predictions(
    name: str, labels: np.ndarray, seed: int, *, side: int = 8, maps: bool = True
) -> PredictionsResult:
    rng = np.random.default_rng(seed)
    n, classes = len(labels), len(CLASS_NAMES)
    logits = rng.standard_normal((n, classes)) + 1.2 * np.eye(classes)[np.maximum(labels, 0)]
    raw = gaussian_filter(rng.standard_normal((n, side, side)), (0, 1, 1)).astype(np.float32)
    return PredictionsResult(
        model=name,
        indices=np.arange(n),
        labels=labels,
        logits=logits.astype(np.float32),
        features=rng.standard_normal((n, 3), dtype=np.float32),
        feature_layer="avgpool",
        true_maps=raw if maps else raw[:, :0, :0],
        predicted_maps=raw if maps else raw[:, :0, :0],
        map_layer="layer3" if maps else "",
        class_names=CLASS_NAMES,
        dataset="clouds",
        split="test",
    )


def make_embedding(predictions: list[PredictionsResult], rows: np.ndarray, **changes: Any) -> EmbeddingResult:
    rng = np.random.default_rng(3)
    m, n, labels = len(predictions), len(rows), predictions[0].labels[rows]
    middle = 9 * rng.standard_normal((len(CLASS_NAMES), 2))[labels]
    first = middle + rng.standard_normal((n, 2)) * 3
    values: dict[str, Any] = {
        "models": tuple(p.model for p in predictions),
        "indices": predictions[0].indices[rows],
        "labels": labels,
        "predicted": np.stack([p.predicted[rows] for p in predictions]),
        "coordinates": np.stack([first + i * rng.standard_normal((n, 2)) for i in range(m)]).astype(
            np.float32
        ),
        "silhouette": rng.random((m, n), np.float32),
        "knn_label": rng.integers(0, len(CLASS_NAMES), (m, n)),
        "kept": np.stack([np.ones(n), *rng.random((m - 1, n))]).astype(np.float32),
        "recall": rng.random((m, n), np.float32),
        "metrics": np.sort(rng.random((m, len(METRICS), 3)))[..., [1, 0, 2]],  # inside its interval
        "differences": np.sort(rng.random((m, len(METRICS), 3)) - 0.2)[..., [1, 0, 2]],
        "mean_kept": np.full((m, 3), 0.3),
        "trustworthiness": np.full(m, 0.98),
        "displacement": np.array([0, 0.25, 0.3])[:m],
        "noise_floor": 0.04 if m > 1 else np.nan,
        "method": "tsne",
        "align": "init" if m > 1 else "none",
        "perplexity": 30.0,
        "neighbours": None,
        "k": 20,
        "seed": 0,
        "resamples": 100,
        "trust_images": n,
        "feature_widths": (3,) * m,
        "class_names": CLASS_NAMES,
        "dataset": "clouds",
        "split": "test",
        "provenance": {"packages": {"openTSNE": "1.0.4"}},
    }
    return EmbeddingResult(**(values | changes))


def make_activations(names: tuple[str, ...]) -> ActivationsResult:
    rng = np.random.default_rng(5)
    rows, layers, groups, images, units, number = len(names), 2, 4, 40, 64, 300
    middle = (np.arange(number) + 0.5) / 64
    density = np.exp(-0.5 * middle**2 / np.array([[0.5], [2.0]]))
    share = 0.6 * images * units * density / density.sum(axis=1, keepdims=True)
    counts = rng.poisson(share[:, None, None], (layers, rows, 2, number))
    sums = np.abs(rng.standard_normal((rows, layers, 5, groups))) + np.array([[0], [0], [40], [40], [4]])
    return ActivationsResult(
        rows=names,
        checkpoints=(("epoch 2", "epoch 3"),) * rows,
        layers=(("layer1", "layer2"),) * rows,
        shapes=(((4, 4, 4),) * layers,) * rows,
        bin_widths=np.full(layers, 1 / 64),
        bin_starts=np.zeros(layers, np.int64),
        bin_numbers=(number,) * layers,
        counts=counts.ravel(),
        zeros=np.moveaxis(images * units - counts.sum(-1), 0, -1),
        group_images=np.full(groups, images // groups),
        shifts=np.zeros((rows, layers)),
        sums=sums * images * units / groups,
        distances_without=0.03 + 0.01 * rng.random((rows, layers, groups)),
        floors=rng.random((rows, 2, layers)) / 100,
        dead_channels=np.zeros((rows, 2, layers), np.int64),
        selection="all 40 clouds test images",
    )


def make_runs(method: str, seeds: Sequence[int]) -> tuple[RunRecord, ...]:
    epoch = np.arange(1, 13)
    runs = []
    for number in seeds:
        rng = np.random.default_rng([number, len(method)])
        factor = np.where(rng.random(12) < 0.5, rng.uniform(1, 3, 12), 1) if method == "ralr" else np.ones(12)
        base = np.where(epoch <= 8, 0.1, 0.01)
        loss, accuracy = 2 / epoch + 0.1 * rng.random(12), 90 - 60 / epoch + rng.random(12)
        metrics = {"base_lr": base, "factor": factor, "lr": base * factor, "train_loss": loss}
        metrics |= {"test_loss": loss + 0.2, "test_acc": accuracy}
        recipe = {"recipe": "clouds", "method": method, "seed": number, "epochs": 12, "lr": 0.1}
        runs.append(RunRecord("clouds", method, number, epoch, metrics, recipe, {"status": "finished"}))
    return tuple(runs)


def build_inputs(
    sides: int = 2,  # three: with a control
    n: int = 90,
    seeds: Sequence[int] = (0,),
    *,
    sampled: int | None = None,
    size: tuple[int, int] = (32, 32),
    boxes: bool = True,
    maps: bool = True,
    map_side: int = 8,
    **changes: Any,
) -> ReportInputs:
    """Everything that a report shows, of ``n`` images of which ``sampled``, evenly spread, are on the page."""
    names, methods = ("baseline", "RALR", "scaled")[:sides], ("baseline", "ralr", "scaled")[:sides]
    labels = np.random.default_rng(1).integers(0, len(CLASS_NAMES), n)
    predictions = [make_predictions(x, labels, 10 + i, side=map_side, maps=maps) for i, x in enumerate(names)]
    rows = np.arange(n)[:: n // (sampled or n)][: sampled or n]
    runs = [make_runs(method, seeds) for method in methods]
    corners = np.array([size[1] // 4, size[0] // 8, size[1] // 2, size[0] - 3], np.int16)
    values: dict[str, Any] = {
        "sides": tuple(
            Side(name, method, r, p, CHECKPOINT | {"label": method, "seed": seeds[0], "recipe": r[0].recipe})
            for name, method, r, p in zip(names, methods, runs, predictions, strict=True)
        ),
        "verdict": compute_verdict(names[:2], predictions[:2], runs[:2], resamples=100),
        "against_control": compute_verdict(names[:0:-1], predictions[:0:-1], runs[:0:-1], resamples=100)
        if sides > 2
        else None,
        "curves": compute_curves([run for each in runs for run in each]),
        "embedding": make_embedding(predictions, rows),
        "indices": predictions[0].indices[rows],
        "images": draw_clouds(len(rows), size),
        "boxes": np.tile(corners, (len(rows), 1)) if boxes else None,
        "activations": make_activations(names),
        "class_names": CLASS_NAMES,
        "sampling": f"{len(rows)} of {n} images.",
        "missing": {"why": "run `ralr-viz why --a RUNS/toy/baseline --b RUNS/toy/ralr --out out/why`"},
        "command": "ralr-viz report --a baseline --b ralr",
    }
    if boxes:
        values["boxes"][0] = -1  # an image without one
    return ReportInputs(**(values | changes))


@pytest.fixture(scope="session")
def make_inputs() -> Callable[..., ReportInputs]:
    """``make_inputs(sides=2, n=90, seeds=(0,), …)``: see `build_inputs`."""
    return build_inputs


@pytest.fixture(scope="session")
def make_images() -> Callable[..., np.ndarray]:
    """``make_images(n, (height, width))``: see `draw_clouds`."""
    return draw_clouds


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless browser; without one the tests are skipped, under CI they fail."""
    reason = None
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        reason = "playwright is not installed: pip install playwright"
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if reason is None and found is None:
        reason = "no chromium was found: apt-get install chromium"
    if reason is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield browser
        browser.close()


class OpenPage:
    """A report in the browser, with everything that it said and asked for."""

    def __init__(self, browser: Any, path: Path, state: str = "", **options: Any) -> None:
        options = {
            "viewport": {"width": 1280, "height": 900},
            "offline": True,
            "accept_downloads": True,
        } | options
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console",
            lambda message: (
                self.errors.append(message.text) if message.type in ("error", "warning") else None
            ),
        )
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.url = path.as_uri()
        self.page.goto(self.url + state)
        self.page.wait_for_function("document.documentElement.dataset.rendered === 'yes'")

    def wait(self, condition: str, argument: Any = None) -> None:
        self.page.wait_for_function(condition, arg=argument)

    def point(self, panel: int, i: int) -> tuple[float, float]:
        """Where point i of a map is in the window, in pixels."""
        return tuple(
            self.page.evaluate(
                """([panel, i]) => {
                  const view = Bokeh.index.find_one(report.model("map-" + panel));
                  const source = report.model("map-points"), at = view.el.getBoundingClientRect();
                  return [at.x + view.frame.x_scale.compute(source.get_array("x" + panel)[i]),
                          at.y + view.frame.y_scale.compute(source.get_array("y" + panel)[i])];
                }""",
                [panel, i],
            )
        )

    def pixels(self, selector: str) -> np.ndarray:
        """Colours of a canvas, (H, W, 3) float64."""
        uri = self.page.locator(selector).first.evaluate("(canvas) => canvas.toDataURL('image/png')")
        picture = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
        return np.asarray(picture.convert("RGB"), float)


@pytest.fixture(scope="session")
def new_page(chromium: Any) -> Callable[..., OpenPage]:
    """``new_page(path)`` opens a report; who calls it closes its ``context``."""
    return partial(OpenPage, chromium)


@pytest.fixture
def open_page(new_page: Callable[..., OpenPage]) -> Iterator[Callable[..., OpenPage]]:
    """``open_page(path, state="#class=1", color_scheme="dark")`` opens a report until the test ends."""
    opened: list[OpenPage] = []

    def open_one(*arguments: Any, **options: Any) -> OpenPage:
        opened.append(new_page(*arguments, **options))
        return opened[-1]

    yield open_one
    for page in opened:
        page.context.close()
