"""Pictures in files, as the networks that are compared take them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

from ralr_viz.comparison import compare
from ralr_viz.errors import InputError

SCALE = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))


def test_compare_reads_files_at_the_size_that_a_module_takes(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.png", "b.png")]
    rng = np.random.default_rng(0)
    for file, size in zip(files, ((16, 16), (40, 30)), strict=True):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(file)
    samples = compare([network()], files=list(map(str, files)), image_size=16, **SCALE).samples
    assert samples.images.shape == (2, 16, 16, 3)
    np.testing.assert_array_equal(samples.images[0], np.asarray(Image.open(files[0])))
    assert samples.names == ("a.png", "b.png")
    assert samples.selection == "2 pictures given by --images, resized to 16×16"
    assert samples.labels.tolist() == [-1, -1] and samples.dataset is None
    one = compare([network()], files=files[:1], image_size=16, resize=20, **SCALE).samples
    assert one.selection == (
        "1 picture given by --images, the centre 16×16 after the shorter side was scaled to 20"
    )
    with pytest.raises(InputError, match="a module does not say the size of its images: pass `image_size`"):
        compare([network()], files=files, **SCALE)
    with pytest.raises(InputError, match="does not say its normalisation: pass `mean` and `std`"):
        compare([network()], files=files, image_size=16)
    taken = samples.take(np.array([1]), "the second")
    assert (taken.names, taken.indices.tolist(), taken.selection) == (("b.png",), [1], "the second")
    np.testing.assert_array_equal(taken.images, samples.images[1:])
