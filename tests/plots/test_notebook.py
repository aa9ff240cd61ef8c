"""What a notebook shows of a figure."""

from __future__ import annotations

import io

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import ralr_viz as rv
from ralr_viz.analysis.curves import compute_curves
from ralr_viz.plots.curves import draw_curves
from ralr_viz.plots.style import style
from ralr_viz.results.run import RunRecord


@pytest.fixture
def curves():
    epoch = np.arange(1, 5)
    metrics = dict.fromkeys(("lr", "base_lr", "factor", "train_loss", "val_loss", "val_acc"), 1 / epoch)
    return compute_curves([RunRecord("toy", "ralr", 0, epoch, metrics, {"seed": 0}, {"status": "finished"})])


def png(figure) -> np.ndarray:
    data, shown = figure._repr_png_()
    picture = Image.open(io.BytesIO(data))
    assert picture.width == pytest.approx(1.5 * shown["width"], abs=2)
    return np.asarray(picture)


def test_public_draw_shows_itself_as_in_the_default_style_whatever_the_settings_are(curves) -> None:
    with style("icml"):
        wanted = png(draw_curves(curves))
    before = dict(mpl.rcParams)
    with mpl.rc_context({"font.family": "monospace", "mathtext.fontset": "cm", "figure.figsize": (3, 3)}):
        assert np.array_equal(png(rv.draw_curves(curves)), wanted)
    assert dict(mpl.rcParams) == before
    with style("ieee", column="half"):
        assert rv.draw_curves(curves).get_figwidth() == 3.5  # the style that was asked for
    own = Figure(figsize=(9, 3))
    assert rv.draw_curves(curves, own.subplots(1, 3)) is own
