"""Long figures: what drawing and saving them takes does not grow with the page times its pictures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from ralr_viz.plots.style import new_figure, save_figure, style

CHILD = """
import resource, sys
from pathlib import Path
import numpy as np
from ralr_viz.plots.cam import cam_table, draw_cam
from ralr_viz.plots.style import save_figure, style
from ralr_viz.results.cam import CamResult

n, models, side = 64, 2, 64
rng = np.random.default_rng(0)
labels = rng.integers(0, 5, n)
result = CamResult(
    images=rng.integers(0, 256, (n, side, side, 3), dtype=np.uint8), indices=np.arange(n), labels=labels, boxes=None,
    class_names=tuple("abcde"), models=("baseline", "RALR"), methods=("cam",) * models, layers=("l",) * models,
    map_sizes=((8, 8),) * models, maps=rng.standard_normal(models * n * 64).astype(np.float32),
    targets=np.stack([labels] * models), target_probabilities=rng.random((models, n), np.float32),
    predictions=np.stack([labels] * models), prediction_probabilities=rng.random((models, n), np.float32),
    selection="64 images", dataset="mine", split="test", difference=True,
)
with style("icml"):
    save_figure(draw_cam(result), Path(sys.argv[1]), cam_table(result), {})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts the peak in KiB")
def test_draw_cam_of_the_most_images_takes_less_than_a_gibibyte(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path / "cam")],
        capture_output=True,
        text=True,
        check=True,
        timeout=280,
    )
    assert float(done.stdout) < 1, done.stdout


@pytest.mark.parametrize("height", [30, 400])
def test_save_figure_bounds_the_pixels_of_a_long_page(height: int, tmp_path: Path) -> None:
    with style():
        figure = new_figure(height, width=2)
        _, png, _ = save_figure(figure, tmp_path / "f", {}, {})
    with Image.open(png) as image:
        assert image.height <= 60_001 and (image.height == 9000) is (height == 30)
        assert image.width / image.height == pytest.approx(2 / height, rel=0.01)
