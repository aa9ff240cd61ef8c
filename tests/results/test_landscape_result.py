import numpy as np
import pytest

from ralr_viz.results.bundle import load_result, save_result
from ralr_viz.results.landscape import LandscapeResult


def make(m: int = 2, states: int = 0, line: bool = False, **changes) -> LandscapeResult:
    x = np.linspace(-1, 1, 5)
    y = np.zeros(1) if line else x
    base = 0.2 + x[None, :] ** 2 + 2 * y[:, None] ** 2
    t = np.linspace(1, 0, states)
    values = {
        "models": ("baseline", "RALR", "scaled", "fourth", "fifth")[:m],
        "x": x,
        "y": y,
        "losses": np.stack([base * (1 + i) for i in range(m)]),
        "centre_loss": np.array([0.2 * (1 + i) for i in range(m)]),
        "batchnorm": "batch",
        "common": True,
        "num_images": 500,
        "batch": 500,
        "seed": 0,
        "epochs": np.arange(1, states + 1),
        "path": np.stack([-t, -0.5 * t**2], axis=1),
        "path_loss": 0.2 + t,
        "explained": np.array([0.8, 0.1]) if states else np.zeros(0),
        "walk_explained": np.array([0.6, 0.15]) if states else np.zeros(0),
        "dataset": "cifar10",
        "split": "train",
    }
    return LandscapeResult(**(values | changes))


def test_landscape_is_saved_and_loaded(tmp_path):
    for i, result in enumerate((make(), make(1, 4), make(line=True))):
        assert load_result(save_result(result, tmp_path / str(i))) == result
        assert result.measures() == ()


def test_landscape_with_a_path_is_of_one_network():
    with pytest.raises(ValueError, match="`models` has 2 names, expects one where there is a path"):
        make(2, 4)
    with pytest.raises(ValueError, match="`explained` must be given with `epochs`"):
        make(1, 4, explained=np.zeros(0))
