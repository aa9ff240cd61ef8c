"""``ralr-viz cam``: methods, the choice of the images, differences, ``--verify`` and the numbers of the boxes."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from ralr_viz.analysis.cam import check as cam_check
from ralr_viz.analysis.predictions import compute_predictions
from ralr_viz.comparison import compare
from ralr_viz.nouns.cam import METHOD_NAMES
from ralr_viz.results.bundle import load_result
from ralr_viz.results.cam import CamResult


@pytest.fixture
def both(runs, squares_root):
    """Options for the two checkpoints."""
    return [
        *("--ckpt", runs / "baseline" / "seed0", "--ckpt", runs / "ralr" / "seed2"),
        *("--data", squares_root, "--count", 3),
    ]


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_method_is_said_saved_and_verified(cli, both, tmp_path, method):
    outcome = cli("cam", *both, "--method", method, "--verify", "--out", tmp_path).succeeded()
    result = load_result(tmp_path / "cam")
    assert result.methods == (method, method)
    assert f"baseline: {method} at `layer3`\n" in outcome.err
    peer = "Grad-CAM" if method == "cam" else METHOD_NAMES[method]
    for name, line in zip(("baseline", "RALR"), outcome.lines, strict=False):
        assert line.startswith(
            f"{name}: {METHOD_NAMES[method]} at `layer3` drawn as grad-cam's {peer} within "
        )
        assert line.endswith("; 3 images, fp32")
        assert ("mean(CAM) + b = logit within" in line) == (method == "cam")
    assert outcome.lines[2:] == [
        str(tmp_path / name)
        for name in ("cam", "cam.pdf", "cam.png", "cam.csv", "cam.caption.txt", "cam.caption.tex")
    ]
    assert ("RALR: 100 % (3 of 3)" in outcome.err) == (method in ("scorecam", "ablationcam"))


def test_help_names_every_method(cli):
    words = cli("cam", "--help").succeeded().out.replace(",", " ").split()
    assert set(METHOD_NAMES) <= set(words)


def test_score_cam_is_quiet_where_it_is_asked(cli, both, tmp_path):
    outcome = cli("cam", *both, "--method", "scorecam", "--verify", "--out", tmp_path, "-q").succeeded()
    assert outcome.err == ""


def test_layer_overrides_the_last_one_and_the_reason_is_said(cli, both, tmp_path):
    outcome = cli("cam", *both, "--layer", "layer2", "--out", tmp_path).succeeded()
    assert "RALR: gradcam at `layer2`\n" in outcome.err
    assert "RALR: Grad-CAM at layer `layer2`: the closed form is at `layer3`\n" in outcome.err
    assert load_result(tmp_path / "cam").layers == ("layer2", "layer2")


def test_verify_draws_the_maps_that_it_verified(cli, both, tmp_path):
    for name, options in (("plain", []), ("verified", ["--verify"])):
        cli("cam", *both, *options, "--out", tmp_path / name, "-q").succeeded()
    plain, verified = (load_result(tmp_path / name / "cam") for name in ("plain", "verified"))
    np.testing.assert_array_equal(plain.maps, verified.maps)


def test_verify_fails_in_one_line_and_saves_nothing(cli, both, tmp_path, monkeypatch):
    monkeypatch.setattr(cam_check, "normalise_cam", lambda raw, size: np.zeros((len(raw), *size)))
    outcome = cli("cam", *both, "--verify", "--out", tmp_path, "-q")
    outcome.failed(1, "baseline: the drawn maps differ from those of grad-cam by 1.0e+00, more than 1e-05")
    assert list(tmp_path.iterdir()) == []
    reported = cli("cam", *both, "--verify", "--precision", "bf16", "--out", tmp_path, "-q").succeeded()
    assert "within 1.0e+00 (no limit in bf16)" in reported.lines[0]


@pytest.mark.parametrize("rule", ["gain", "loss"])
def test_rows_by_outcome_are_those_of_the_predictions(cli, both, runs, squares_root, tmp_path, rule):
    outcome = cli("cam", *both, "--rows", rule, "--out", tmp_path / "out").succeeded()
    result = load_result(tmp_path / "out" / "cam")
    verb = {"gain": "exceeds", "loss": "falls short of"}[rule]
    words = (
        f" of 24 squares test images where RALR's probability of the true class {verb} baseline's the most: "
    )
    assert words + "chosen by outcome, not typical" in result.selection
    assert f"images: {result.selection}\n" in outcome.err
    pair = compare([runs / "baseline" / "seed0", runs / "ralr" / "seed2"], root=squares_root, device="cpu")
    first, second = (found.true_probability for found in compute_predictions(pair))
    gain = second - first
    sign = {"gain": 1, "loss": -1}[rule]
    order = [i for i in np.argsort(-sign * gain, kind="stable") if sign * gain[i] > 0]
    assert result.indices.tolist() == order[:3]
    shown = sign * np.subtract(*result.target_probabilities[::-1])
    assert (shown > 0).all()
    assert shown.tolist() == sorted(shown, reverse=True)


def test_rows_by_outcome_between_two_epochs_name_the_epochs(cli, runs, squares_root, tmp_path):
    run = runs / "ralr" / "seed2"
    arguments = ["--ckpt", f"{run}@prev", "--ckpt", run, "--data", squares_root, "--rows", "gain", "-q"]
    cli("cam", *arguments, "--out", tmp_path).succeeded()
    assert "where epoch 2's probability of the true class exceeds epoch 1's the most" in (
        load_result(tmp_path / "cam").selection
    )


def test_rows_by_classes_take_one_image_of_each(cli, both, tmp_path):
    cli("cam", *both, "--rows", "classes", "--count", 4, "--out", tmp_path, "-q").succeeded()
    result = load_result(tmp_path / "cam")
    assert sorted(result.labels.tolist()) == [0, 1, 2, 3]
    assert result.selection == "4 of 24 squares test images, random, classes in turn, seed 0"


def test_rows_of_equal_checkpoints_have_nothing_to_show(cli, baseline, squares_root, tmp_path):
    twice = ["--ckpt", baseline, "--ckpt", baseline, "--data", squares_root, "--out", tmp_path / "out", "-q"]
    outcome = cli("cam", *twice, "--rows", "gain")
    outcome.failed(2, "on none of the 24 squares test images", "exceeds", ": choose by `random`")


def test_difference_is_kept_for_redrawing(cli, both, tmp_path):
    cli("cam", *both, "--difference", "--out", tmp_path, "-q").succeeded()
    result = load_result(tmp_path / "cam")
    assert result.difference
    with (tmp_path / "cam.csv").open(newline="") as file:
        moved = [row["moved_from_first"] for row in csv.DictReader(file)]
    assert moved[:3] == ["", "", ""]
    np.testing.assert_allclose([float(m) for m in moved[3:]], result.moved_mass(1))


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--method", "grad-cam"], ["unknown CAM method `grad-cam`: did you mean `gradcam`"]),
        (["--method", "smoothgrad"], ["unknown CAM method `smoothgrad`"]),
        (["--rows", "best"], ["unknown --rows `best`"]),
        (["--rows", "gain"], ["`--rows gain` compares the first two checkpoints, got 1: pass --ckpt twice"]),
        (
            ["--difference"],
            ["`--difference` subtracts the first checkpoint's maps, got 1: pass --ckpt twice"],
        ),
        (["--rows", "classes", "--images", "a.png"], ["`--rows classes` chooses images of a split"]),
        (["--layer", "layer9"], ["unknown layer `layer9`: did you mean `layer"]),
        (["--layer", "linear", "--method", "layercam"], ["layer `linear` returns", "choose a convolution"]),
    ],
)
def test_bad_option_is_one_line(cli, baseline, squares_root, tmp_path, arguments, fragments):
    where = ["--ckpt", baseline, "--data", squares_root, "--out", tmp_path / "out", "-q"]
    cli("cam", *where, *arguments).failed(2, *fragments)
    assert list(tmp_path.rglob("*.*")) == []


@pytest.fixture
def boxed():
    """Two models with maps of one hot pixel, on three images of which two have a box of a quarter."""
    maps = np.zeros((2, 3, 4, 4), np.float32)
    maps[:, :, 0, 0] = 1
    maps[1, 0] = np.eye(4)[::-1]
    flat = {"targets": np.zeros((2, 3), int), "predictions": np.zeros((2, 3), int)}
    return CamResult(
        images=np.zeros((3, 4, 4, 3), np.uint8),
        indices=np.arange(3),
        labels=np.zeros(3, int),
        boxes=np.array([[0, 0, 1, 1], [0, 0, 1, 1], [-1, -1, -1, -1]], np.int16),
        class_names=("x",),
        models=("baseline", "RALR"),
        methods=("cam", "cam"),
        layers=("layer3", "layer3"),
        map_sizes=((4, 4), (4, 4)),
        maps=maps.ravel(),
        target_probabilities=np.ones((2, 3), np.float32),
        prediction_probabilities=np.ones((2, 3), np.float32),
        selection="3 of 9 pets test images, random, seed 0",
        **flat,
    )


def test_numbers_of_the_boxes_are_summed_up_beside_their_baselines(boxed):
    """By hand: a hot corner is all inside, and three of 15 zeros fill the other places of the four highest."""
    energy, rank = 1.0, (1 + 3 * 3 / 15) / 4
    # the other diagonal has nothing inside and leaves no place
    other = f"{(0 + energy) / 2:.3f}", f"{(0 + rank) / 2:.3f}"
    centre = "centre Gaussian 0.250, 0.250"
    assert boxed.describe() == [
        f"baseline: energy in box 1.000, rank accuracy {rank:.3f} (uniform map 0.250, 0.250; {centre}); "
        "mean of the 2 drawn images with a box, not an evaluation",
        f"RALR: energy in box {other[0]}, rank accuracy {other[1]} (uniform map 0.250, 0.250; {centre}); "
        "mean of the 2 drawn images with a box, not an evaluation",
    ]
    assert replace(boxed, boxes=None).describe() == []
    assert replace(boxed, boxes=np.full((3, 4), -1)).describe() == []
