"""What the verdict says, and what it must not say."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from ralr_viz.report.claims import claim_lines, claims_table
from ralr_viz.report.conclusions import (
    describe_control,
    describe_difference,
    describe_left_out,
    describe_limits,
)
from ralr_viz.report.inputs import ReportInputs, Side
from ralr_viz.report.opening import small_curves
from ralr_viz.report.page import build_report
from ralr_viz.report.verdict import build_verdict, describe_log, recipe_differences
from ralr_viz.results.measure import Measure
from ralr_viz.results.verdict import Score, Verdict


def score(difference, values=((80, 79, 81), (82, 81, 83)), name="accuracy", over="images"):
    unit = "%" if name == "accuracy" else "nats"
    return Score(name, unit, over, np.array(values, float), np.array(difference, float), 0.04)


def verdict(accuracy, loss=(-0.1, -0.2, -0.01), **changes):
    scores = (score(accuracy), score(loss, name="loss"))
    return Verdict(("baseline", "RALR"), images=scores, num_images=1000, split="test images", **changes)


@pytest.mark.parametrize(
    ("difference", "text"),
    [
        ((2, 1, 3), "RALR is more accurate than baseline: +2.00 points [+1.00, +3.00] on 1,000 test images."),
        (
            (-2, -3, -1),
            "RALR is less accurate than baseline: −2.00 points [−3.00, −1.00] on 1,000 test images.",
        ),
        (
            (1, -0.5, 2),
            "No difference shown: +1.00 points [−0.50, +2.00] (RALR − baseline, accuracy on 1,000 test images).",
        ),
    ],
)
def test_headline_is_one_sentence_that_claims_what_the_interval_shows(difference, text):
    assert describe_difference(verdict(difference)) == text


def test_control_is_said_with_its_own_interval():
    found = dataclasses.replace(verdict((0.5, -1, 2)), names=("scaled", "RALR"))
    assert describe_control(found) == (
        "Against the control, RALR − scaled: +0.50 points [−1.00, +2.00], no difference shown."
    )


def test_headline_and_table_of_another_task_are_of_its_score():
    nan = float("nan")
    values = ((70, nan, nan), (72, nan, nan))
    seeds = (
        Score("mAP@.5 (VOC07)", "%", "seeds", np.array(values), np.array((2, nan, nan)), nan, "higher"),
        Score("loss", "", "seeds", np.array(values), np.array((0.5, 0.1, 0.9)), nan, "lower"),
    )
    found = Verdict(("baseline", "RALR"), seeds=seeds, paired_seeds=(0,), seed_split="test images")
    assert describe_difference(found) == (
        "One training each, no interval: +2.00 points (RALR − baseline, mAP@.5 (VOC07) on the test images at the last "
        "epoch)."
    )
    html = str(build_verdict(ReportInputs((Side("baseline"), Side("RALR")), found)).html)
    assert "mAP@.5 (VOC07) (%)" in html and "loss (" not in html and "accura" not in html
    assert 'class="n down">+0.5000' in html  # a higher loss is worse
    lower = Score("error", "", "seeds", np.array(values), np.array((2.0, 1, 3)), nan, "lower")
    assert not lower.higher_is_better and lower.label == "error"
    single = Verdict(
        ("RALR",), seeds=(dataclasses.replace(seeds[0], values=np.array([(70, 69, 71)])), seeds[1])
    )
    assert describe_difference(single).startswith("RALR: mAP@.5 (VOC07) 70.00 % [69.00, 71.00] on the")


def test_headline_speaks_of_seeds_where_there_are_several():
    nan = float("nan")
    seeds = (score((1, 0.2, 1.8), over="seeds"), score((nan,) * 3, name="loss", over="seeds"))
    found = verdict((2, 1, 3), seeds=seeds, paired_seeds=(0, 1, 2), seed_split="test images")
    assert describe_difference(found) == (
        "RALR is more accurate than baseline: +1.00 points [+0.20, +1.80] on the test images at the last epoch, over 3 "
        "paired training seeds."
    )


def test_headline_of_one_side_is_its_accuracy():
    only = Verdict(
        ("mine",),
        images=(score((float("nan"),) * 3, values=((80, 79, 81),)),),
        num_images=9,
        split="test images",
    )
    assert describe_difference(only) == "mine: 80.00 % [79.00, 81.00] on 9 test images."
    assert describe_difference(Verdict(("mine",))) == "Nothing was evaluated that could be compared."


def test_limits_follow_the_number_of_seeds(make_inputs):
    sides = make_inputs().sides
    assert "say nothing of the method" in describe_limits(verdict((2, 1, 3), paired_seeds=(0,)), sides)[0]
    logs = Verdict(("a", "b"), seeds=(score((1, 0, 2)),), paired_seeds=(0,), seed_split="test images")
    assert describe_limits(logs, sides) == [
        "One training each: these numbers are of these runs. They say nothing of the method, whose results vary "
        "from seed to seed."
    ]
    two = describe_limits(verdict((2, 1, 3), paired_seeds=(0, 1)), sides)
    assert two == ["With 2 seeds nothing can be said of the method: train 3 or more."]
    four = describe_limits(verdict((2, 1, 3), paired_seeds=(0, 1, 2, 3)), sides)
    assert four[0].startswith("4 training seeds: intervals over seeds speak of the method under this recipe")


def test_limits_say_that_different_seeds_are_no_pair(make_inputs):
    a, b = make_inputs().sides
    a, b = (dataclasses.replace(s, checkpoint={**s.checkpoint, "seed": k}) for s, k in ((a, 0), (b, 2)))
    assert "different training seeds (0 and 2)" in describe_limits(verdict((2, 1, 3)), (a, b))[0]
    theirs = dataclasses.replace(b, runs=(), checkpoint={})  # somebody's weights
    assert "Nothing is known of how these weights" in describe_limits(verdict((2, 1, 3)), (a, theirs))[0]


def test_recipe_differences_lists_only_what_differs(make_inputs):
    a, b = make_inputs().sides
    assert recipe_differences((a, b)) == [("method", ["baseline", "ralr"])]
    run = dataclasses.replace(
        b.runs[0], recipe={**b.runs[0].recipe, "lr": 0.2, "milestones": [1, 2], "seed": 4}
    )
    changed = dataclasses.replace(b, runs=(run,), checkpoint={**b.checkpoint, "epoch": 6})
    assert recipe_differences((a, changed)) == [
        ("method", ["baseline", "ralr"]),
        ("lr", ["0.1", "0.2"]),
        ("milestones", ["–", "1, 2"]),
        ("epoch of the checkpoint", ["12", "6"]),
    ]
    assert recipe_differences((a,)) == []


def test_recipe_differences_say_what_ralr_does(make_inputs):
    used = {"low": 1.0, "high": 3.0, "probability": 0.5}
    sides = [
        dataclasses.replace(
            side, runs=(dataclasses.replace(side.runs[0], recipe={**side.runs[0].recipe, **used}),)
        )
        for side in make_inputs().sides
    ]
    assert recipe_differences(sides) == [
        ("method", ["baseline", "ralr (factor 1.0 to 3.0, probability 0.5)"])
    ]


@pytest.fixture
def why():
    from ralr_viz.analysis.why import compute_why

    values = ((1.0, 0.5, 0.9), (1.2, 0.62, 1.15), (0.8, 0.33, 0.7), (1.1, 0.5, 1.02))
    sharpness = [[Measure("sharpness", "rise of the loss", "nats", np.array(v))] for v in values]
    return compute_why(
        {"sharpness, matched loss": sharpness}, arms=("baseline", "ralr", "scaled"), seeds=(0, 1, 2, 3)
    )


def test_claims_are_a_line_each_and_a_table_called_by_the_labels_of_the_sides(why, make_inputs):
    inputs = make_inputs(sides=3)
    inputs = dataclasses.replace(
        inputs, sides=tuple(dataclasses.replace(s, name=n) for s, n in zip(inputs.sides, "xyz", strict=True))
    )
    table = claims_table(inputs, why)
    assert table["header"] == [
        "claim", "verdict", "measure", "y − x", "y − z", "z − x", "x", "y", "z", "p, Holm",
    ]  # fmt: skip
    flat, late = table["rows"][:2]
    assert len(table["rows"]) == 4 and {len(row) for row in table["rows"]} == {10}
    mean, low, high, _ = why.interval(0, 0)
    assert flat[:3] == ["flatter minima", "supported", "rise of the loss (nats)"] and flat[6] == "1.025"
    shown = f"{mean:+.3g} [{low:+.3g}, {high:+.3g}]".replace("-", "−")
    assert flat[3] == shown and late[1] == "not measured" and set(late[2:]) == {"–"}
    assert "4 training seeds" in table["note"]
    line, missing = claim_lines(inputs, why)[:2]
    assert (line.verdict, line.claimed, missing.differences) == ("supported", "lower", ())
    ours, against = line.differences
    assert (ours.name, against.name) == ("y − x", "y − z") and ours.text.endswith("]") and line.unit == "nats"
    left, middle, right = ours.drawing
    assert 0 <= left < middle < right < 50  # all below 0, which is in the middle


def test_opening_has_each_sides_end_and_leaves_out_what_falls_first(make_inputs):
    inputs = make_inputs(sides=3, seeds=(0, 1))
    loss, accuracy = small_curves(inputs)
    assert (loss["label"], accuracy["label"]) == ("test loss", "test accuracy (%)")
    assert [line.name for line in loss["lines"]] == ["baseline", "RALR", "scaled"]
    last = np.mean([run.values("test_acc")[-1] for run in inputs.sides[1].runs])
    assert accuracy["lines"][1].end == f"{last:.2f}" and accuracy["lines"][1].end in accuracy["told"]
    places = sorted(line.place for line in accuracy["lines"])
    assert min(np.diff(places)) >= 12 and places[-1] < accuracy["height"]
    html = build_verdict(inputs).html
    assert html.index('class="headline"') < html.index("<polyline") < html.index("<table")


def test_build_verdict_shows_scores_of_the_verdict(make_inputs, why):
    inputs = make_inputs(seeds=(0, 1, 2), why=why)
    html = build_verdict(inputs).html
    for found in (*inputs.verdict.images, *inputs.verdict.seeds):
        spec = ".2f" if found.unit == "%" else ".4f"
        value, low, high = found.values[1]
        assert f"{value:{spec}} [{low:{spec}}, {high:{spec}}]".replace("-", "−") in html
    assert "p (McNemar)" in html and "p (paired t)" in html and "Accuracy of each seed" in html
    assert "supported" in html and "flatter minima" in html
    fixed, broken = inputs.verdict.agreement[0, 1], inputs.verdict.agreement[1, 0]
    assert f"RALR fixes {fixed}" in html and f"breaks\n{broken}" in html


def test_build_verdict_without_why_says_the_command_and_without_scores_why(make_inputs):
    html = build_verdict(make_inputs(missing={"why": "run `ralr-viz why --a <A>`"})).html
    assert "Not here: run <code>ralr-viz why --a &lt;A&gt;</code>." in html
    assert "p (paired t)" not in html  # one seed: the same numbers again, and nothing to test
    html = build_verdict(make_inputs(verdict=None, missing={"verdict": "no <data>"})).html
    assert html.strip() == '<p class="missing">Not here: no &lt;data&gt;.</p>'


def test_left_out_seeds_are_named_below_the_headline_with_their_reasons(make_inputs):
    found = verdict(
        (2, 1, 3), left_out=((1, "b is running, at epoch 3"), (2, "a has none"), (3, "a has none"))
    )
    text = describe_left_out(found)
    assert text == (
        "Left out of what is said over seeds: seed 1 (b is running, at epoch 3); seeds 2 and 3 (a has none)."
    )
    html = build_verdict(make_inputs(verdict=found)).html
    assert re.search(r'class="headline">.*</p>\s*<p class="left-out">Left out', html)
    assert describe_left_out(verdict((2, 1, 3))) == ""


def test_limits_say_that_a_checkpoint_is_of_an_unfinished_training(make_inputs):
    a, b = make_inputs().sides
    running = dataclasses.replace(b, runs=(dataclasses.replace(b.runs[0], result=None),))
    found = describe_limits(verdict((2, 1, 3), paired_seeds=()), (a, running))
    assert found[0] == "The checkpoint of RALR is of a training that is running, not finished."


def test_limits_count_the_trainings_of_each_side(make_inputs):
    four, one = make_inputs(seeds=(0, 1, 2, 3)).sides[0], make_inputs(seeds=(2,)).sides[1]
    (text,) = describe_limits(verdict((2, 1, 3), paired_seeds=(2,)), (replace_seed(four, 2), one))
    assert text.startswith("One pair (seed 2) of 4 and 1 trainings: the intervals are over test images")
    (text,) = describe_limits(verdict((2, 1, 3)), (replace_seed(four, 2), one))
    assert text.startswith("One checkpoint each, of 4 and 1 trainings: ")


def replace_seed(side, seed):
    return dataclasses.replace(side, checkpoint={**side.checkpoint, "seed": seed})


def test_limits_and_headline_name_the_split(make_inputs):
    found = dataclasses.replace(verdict((2, 1, 3)), split="val images")
    assert "over val images" in describe_limits(found, make_inputs().sides)[0]


@pytest.mark.parametrize("seeds", [(0,), (0, 1), (0, 1, 2)])
def test_one_side_speaks_of_no_pair(make_inputs, seeds):
    inputs = make_inputs(sides=1, seeds=seeds)
    html = build_report(inputs)
    text = re.sub(r"<(script|style).*?</\1>", "", html, flags=re.S)
    assert not re.findall(r".{30}\bpair.{20}", text, re.I | re.S)
    assert (f"over {len(seeds)} training seeds" in text) == (len(seeds) > 1)


def test_headline_is_of_the_epoch_that_was_asked_for():
    nan = float("nan")
    seeds = (score((1, 0.2, 1.8), over="seeds"), score((nan,) * 3, name="loss", over="seeds"))
    found = verdict(
        (2, 1, 3), seeds=seeds, paired_seeds=(0, 1, 2), seed_split="test images", seed_epoch="epoch 16"
    )
    assert "on the test images at epoch 16, over 3 paired training seeds" in describe_difference(found)


def test_log_is_quoted_where_it_says_something_else(make_inputs):
    inputs = make_inputs()
    written = [side.runs[0].values("test_acc")[-1] for side in inputs.sides]
    assert describe_log(inputs.verdict, inputs) == (
        f"The training log has {written[0]:.2f} and {written[1]:.2f}."
    )
    runs = [dataclasses.replace(s.runs[0], env={"precision": "bf16"}) for s in inputs.sides]
    sides = tuple(dataclasses.replace(s, runs=(r,)) for s, r in zip(inputs.sides, runs, strict=True))
    known = dataclasses.replace(inputs, sides=sides)
    assert "The training log, evaluated in bf16, has" in build_verdict(known).html
    same = score((2, 1, 3), values=[(value, 0, 0) for value in written])
    assert describe_log(dataclasses.replace(inputs.verdict, images=(same,)), known) == ""
    assert describe_log(inputs.verdict, dataclasses.replace(known, split_size=1000)) == ""  # other images


def test_seeds_stand_before_the_one_pair(make_inputs):
    html = build_verdict(make_inputs(seeds=(0, 1, 2))).html
    assert html.index("p (paired t)") < html.index("Accuracy of each seed") < html.index("p (McNemar)")


def test_recipe_differences_need_both_recipes(make_inputs):
    a, b = make_inputs().sides
    theirs = dataclasses.replace(b, runs=(), checkpoint={"epoch": None})
    assert recipe_differences((a, theirs)) == []
    html = build_verdict(dataclasses.replace(make_inputs(curves=None), sides=(a, theirs))).html
    assert "Not every recipe is known" in html and "Nothing." not in html
