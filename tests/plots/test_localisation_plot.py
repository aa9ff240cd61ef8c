"""Localisation drawn: artists and text, not pixels; and the saved result."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from matplotlib.lines import Line2D

from ralr_viz.plots.localisation import draw_localisation, localisation_table
from ralr_viz.plots.style import style
from ralr_viz.results.bundle import load_result, save_result
from ralr_viz.results.localisation import METRICS, STRATA, SURE, LocalisationResult

LONG = "tiny-imagenet-50-resnet20-short, baseline, seed 0, epoch 200"


def make(
    models: tuple[str, ...] = ("baseline", "RALR"),
    *,
    sanity: bool = True,
    faithful: bool = True,
    sure: bool = False,
    **changes: object,
) -> LocalisationResult:
    rng, m, n = np.random.default_rng(0), len(models), 40
    values = rng.uniform(0.2, 0.6, (m, len(STRATA), len(METRICS)))
    baselines = rng.uniform(0.1, 0.5, (2, len(STRATA), len(METRICS)))
    baselines[:, :, list(METRICS).index("top1")] = np.nan
    overlap = rng.random((m, n))
    overlap[:, ::2] = np.nan
    stages = ("linear", "layer3", "layer2", "layer1", "bn1", "conv1")
    mean = np.linspace(0.6, 0, len(stages))
    arguments: dict = {
        "models": models,
        "indices": np.arange(n) * 2,
        "labels": np.arange(n) % 5,
        "boxes": np.tile(np.array([2, 3, 30, 40], np.int16), (n, 1)),
        "area": rng.random(n),
        "correct": rng.random((m, n)) < 0.6,
        **{name: rng.random((m, n)) for name in ("rank", "energy", "pointing")},
        "overlap": overlap,
        "values": values,
        "baselines": baselines,
        "counts": np.full((len(STRATA), len(METRICS)), n),
        "draws": values[..., None] + 0.02 * rng.standard_normal((*values.shape, 60)),
        "thresholds": np.full(m, 0.35),
        "centre_side": 0.7,
        "zero_maps": np.arange(m),
        "dropped": 3,
        "image_size": (64, 64),
        "map_sizes": ((16, 16),) * m,
        "sanity": np.tile(np.stack([mean, mean - 0.1, mean + 0.1], axis=1), (m, 1, 1))
        if sanity
        else np.zeros((m, 0, 3)),
        "sanity_stages": (stages if sanity else (),) * m,
        "sanity_images": 200 * sanity,
        "faithfulness": rng.random((m, 3, 2)) if faithful else np.full((m, 3, 2), np.nan),
        "faithfulness_draws": rng.random((m, 3, 2, 30 * faithful)),
        "faithfulness_images": 20 * faithful,
        **(_sure(rng, m) if sure else {}),
        "dataset": "tiny-imagenet-50",
        "split": "test",
        "device": "cpu",
        "precision": "fp32",
    }
    return LocalisationResult(**(arguments | changes))


def _sure(rng: np.random.Generator, m: int) -> dict:
    values = rng.uniform(0.2, 0.6, (m, len(SURE)))
    return {
        "region": "mask",
        "target": rng.random((m, 40)),
        "sure_values": values,
        "sure_counts": np.full((m, len(SURE)), 60),
        "sure_draws": values[..., None] + 0.02 * rng.standard_normal((m, len(SURE), 60)),
    }


def test_localisation_draws_rank_accuracy_by_how_sure_the_networks_are(find, check_layout, read_note):
    result = make(sure=True, dataset="planted")
    figure = check_layout(draw_localisation, result, "icml", column="full")
    panel = figure.axes[len(METRICS) + 1]
    for i, model in enumerate(result.models):
        found = [line.get_xdata()[0] for line in find(panel, f"value:{model}", Line2D)]
        assert found == [measure.values[i] for measure in result.sure_measures()]
    assert [t.get_text() for t in panel.get_yticklabels()][-1] == "equally sure"
    assert figure.axes[1].get_title(loc="left") == "energy in the mask ↑"
    assert "of the objects' pixels" in read_note(figure)


def test_localisation_draws_values_beside_the_blind_maps(find):
    result = make()
    with style():
        figure = draw_localisation(result)
    assert len(figure.axes) == len(METRICS) + 3
    for panel, name in zip(figure.axes, METRICS, strict=False):
        for i, model in enumerate(result.models):
            found = [line.get_xdata()[0] for line in find(panel, f"value:{model}", Line2D)]
            assert found == [result.measure(name, stratum).values[i] for stratum in STRATA]
        for blind in ("uniform", "centre"):
            found = [line.get_xdata()[0] for line in find(panel, blind, Line2D)]
            assert found == [result.baseline(name, s)[blind] for s in STRATA] * (name != "top1")
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[:4] == ["baseline", "RALR", "uniform map", "centre map"]


def test_localisation_draws_only_what_was_measured(find):
    with style():
        figure = draw_localisation(make(sanity=False, faithful=False))
        assert len(figure.axes) == len(METRICS) + 1
        figure = draw_localisation(make(("baseline",), sanity=False, faithful=False))
        assert len(figure.axes) == len(METRICS)
        figure = draw_localisation(make(faithful=False))
    panel = figure.axes[-1]
    assert panel.get_title(loc="left") == "random from head to stem"
    assert [label.get_text() for label in panel.get_xticklabels()][:3] == ["none", "linear", "layer3"]
    (line,) = find(panel, "sanity:RALR", Line2D)
    assert line.get_ydata()[:2].tolist() == [1, 0.6]


def test_localisation_draws_the_primary_differences(find):
    result = make()
    with style():
        panel = draw_localisation(result).axes[len(METRICS)]
    found = [line.get_xdata()[0] for line in find(panel, "difference:RALR", Line2D)]
    expected = [result.measure(n, s).difference(0, 1)[0] for n in ("rank", "energy") for s in STRATA]
    assert found == expected
    assert panel.get_title(loc="left") == "minus baseline ↑"


def test_localisation_of_networks_with_other_stages_numbers_them():
    result = make(faithful=False)
    stages = (result.sanity_stages[0], ("fc", "conv"))
    sanity = result.sanity.copy()
    sanity[1, 2:] = np.nan
    with style():
        panel = draw_localisation(dataclasses.replace(result, sanity_stages=stages, sanity=sanity)).axes[-1]
    assert [label.get_text() for label in panel.get_xticklabels()][:3] == ["none", "1", "2"]


def test_localisation_note_says_what_the_numbers_are(read_note):
    with style():
        figure = draw_localisation(make())
    note = read_note(figure)
    for part in (
        "Maps (16×16) of the true class, tiny-imagenet-50 test images",
        "40 area < ¼",
        "3 dropped (no proper box), 1 zero maps",
        "thresholds 0.35, 0.35 and centre box 0.70 fixed on the others",
        "not over training seeds",
        "200 images",
        "a random and a centre map, 20 images",
        "grows with accuracy alone",
    ):
        assert part in note


def test_localisation_note_says_how_photographs_were_looked_at(read_note):
    networks = [{"name": name, "view": "warp-160"} for name in ("baseline", "RALR")]
    with style():
        figure = draw_localisation(dataclasses.replace(make(), provenance={"networks": networks}))
    assert "images with a box, seen as warp-160: " in read_note(figure)


@pytest.mark.parametrize(("venue", "column"), [("icml", "full"), ("ieee", "half"), ("neurips", "full")])
@pytest.mark.parametrize("models", [("baseline",), ("baseline", "RALR", "scaled"), (LONG, "RALR")])
def test_localisation_text_stays_on_the_page(check_layout, venue, column, models):
    check_layout(draw_localisation, make(models), venue, column=column)


def test_localisation_table_has_everything():
    result = make()
    rows = localisation_table(result)
    parts = {part: [row for row in rows if row["part"] == part] for part in {row["part"] for row in rows}}
    assert len(parts["measure"]) == 2 * (len(STRATA) * len(METRICS) + 6)
    assert len(parts["baseline"]) == 2 * len(STRATA) * len(METRICS)
    assert len(parts["sanity"]) == 12
    assert len(parts["image"]) == 2 * (3 * 40 + 20)  # overlaps of the half that is evaluated
    first = parts["image"][0]
    assert (first["image"], first["measure"], first["value"]) == (0, "rank", result.rank[0, 0])
    assert len({tuple(row) for row in rows}) == 1


def test_localisation_result_comes_back_from_disk_and_refuses_other_shapes(tmp_path):
    result = make()
    assert load_result(save_result(result, tmp_path / "localisation")) == result
    assert result.measures()[0].name == "rank_small"
    assert len({m.name for m in result.measures()}) == len(STRATA) * len(METRICS) + 6
    changes = (
        {"models": ("a",)},
        {"rank": np.zeros((2, 3))},
        {"sanity": np.zeros((1, 6, 3))},
        {"map_sizes": ()},
    )
    for change in changes:
        with pytest.raises(ValueError):
            dataclasses.replace(result, **change)
