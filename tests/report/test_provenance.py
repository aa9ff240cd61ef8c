"""Where everything comes from, and the caveats that belong to what is on the page."""

from __future__ import annotations

import dataclasses

from ralr_viz.report.page import build_report
from ralr_viz.report.provenance import build_provenance, caveats, commands, recipe_table, versions


def test_build_provenance_names_checkpoints_runs_recipes_and_command(make_inputs):
    inputs = make_inputs(seeds=(0, 1))
    run = dataclasses.replace(inputs.sides[1].runs[1], env={"torch": "2.15.0"})
    checkpoint = {
        "label": "ralr, seed 1",
        "sha256": "ab" * 32,
        "arch": "resnet20",
        "mean": (0.49139967, 0.5, 0.5),
    }
    side = dataclasses.replace(inputs.sides[1], runs=(inputs.sides[1].runs[0], run), checkpoint=checkpoint)
    html = build_provenance(dataclasses.replace(inputs, sides=(inputs.sides[0], side))).html
    for text in (
        "ralr, seed 1",
        "ab" * 32,
        "resnet20",
        "clouds/baseline/seed0",
        "clouds/ralr/seed1",
        "2.15.0",
    ):
        assert text in html
    assert "0.4914, 0.5, 0.5" in html
    assert f"<pre>{inputs.command}</pre>" in html


def test_recipe_table_marks_what_differs(make_inputs):
    rows = {row["key"]: row for row in recipe_table(make_inputs())}
    assert rows["method"] == {"key": "method", "values": ["baseline", "ralr"], "differ": True}
    assert rows["lr"]["differ"] is False and rows["lr"]["values"] == ["0.1", "0.1"]


def test_caveats_speak_of_what_is_there(make_inputs):
    inputs = make_inputs(activations=None)
    text = " ".join(caveats(inputs))
    assert "t-SNE keeps neighbours, not distances" in text and "starts from the first one's" in text
    assert "activation histograms" not in text and "Nothing was held out" not in text
    run = dataclasses.replace(
        inputs.sides[0].runs[0], recipe={**inputs.sides[0].runs[0].recipe, "validation": 0}
    )
    side = dataclasses.replace(inputs.sides[0], runs=(run,))
    assert any(
        "what the paper calls validation" in s for s in caveats(dataclasses.replace(inputs, sides=(side,)))
    )
    bare = dataclasses.replace(inputs, embedding=None, verdict=None, sampling="", sides=())
    assert caveats(bare) == []


def test_caveats_are_exact_about_which_images(make_inputs):
    def parts(inputs):
        return [
            sentence
            for sentence in caveats(inputs)
            if "part of the images" in sentence or "--limit" in sentence
        ]

    assert parts(make_inputs(n=30, sampling="all 30 images", split_size=30)) == []
    (sampled,) = parts(make_inputs(n=30, sampled=10, sampling="10 of 30 images", split_size=30))
    assert "10 of 30 images. Accuracies and losses are of all 30 images" in sampled
    limited = make_inputs(n=30, sampling="all 30 images", split_size=900)
    (only,) = parts(limited)
    assert only.startswith("Only 30 of the 900 images of the split were evaluated (--limit)")
    assert "<p>30 of 900 test images of clouds</p>" in build_report(limited)


def test_commands_and_cells_hold_no_absolute_path(make_inputs):
    import numpy as np

    from ralr_viz.analysis.why import compute_why
    from ralr_viz.results.measure import Measure

    why = compute_why(
        {"x": [[Measure("x", "x", "", np.array([1.0, 2.0]))]]},
        arms=("baseline", "ralr"),
        seeds=(0,),
        provenance={"command": "ralr-viz why --out /home/me/out/why"},
    )
    inputs = make_inputs(why=why, command="ralr-viz report --a /home/me/runs/a")
    assert commands(inputs) == [
        ("this page", "ralr-viz report --a a"),
        ("the claims", "ralr-viz why --out why"),
    ]
    side = dataclasses.replace(inputs.sides[0], checkpoint={"label": "/home/me/secret/last.pt"})
    assert "/home" not in build_provenance(dataclasses.replace(inputs, sides=(side,))).html


def test_versions_are_sorted_and_hold_those_of_the_embedding(make_inputs):
    inputs = make_inputs()
    embedding = dataclasses.replace(inputs.embedding, provenance={"packages": {"openTSNE": "1.0.9"}})
    found = dict(versions(dataclasses.replace(inputs, embedding=embedding)))
    assert found["openTSNE"] == "1.0.9" and "ralr-viz" in found and "bokeh" in found
    assert list(found) == sorted(found)
