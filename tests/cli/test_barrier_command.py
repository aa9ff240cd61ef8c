import csv

import numpy as np

from ralr_viz.results.bundle import load_result


def test_barrier_measures_pairs_of_checkpoints(cli, runs, squares_root, tmp_path):
    out, where = tmp_path / "out", ("--data", squares_root)
    pairs = [
        a
        for r in ("baseline/seed0", "ralr/seed2")
        for s in ("@prev", "")
        for a in ("--ckpt", f"{runs / r}{s}")
    ]
    outcome = cli("barrier", *pairs, *where, "--points", 3, "--batch", 24, "--out", out).succeeded()
    assert outcome.lines[0].startswith("barrier (nats): baseline ")
    assert "points of the line: 100 % (6 of 6)\n" in outcome.err
    result = load_result(out / "barrier")
    assert (result.models, result.states) == (("baseline", "RALR"), (("epoch 1", "epoch 2"),) * 2)
    assert (result.split, result.num_images, result.statistics) == ("train", 72, "recomputed")
    assert result.augmentation == "cropped after padding by 2 and mirrored at random as in training, once"
    assert [c["epoch"] for c in result.provenance["checkpoints"]] == [1, 2, 1, 2]
    with (out / "barrier.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["quantity"] == "loss"]
    np.testing.assert_allclose([float(r["value"]) for r in rows], result.loss.ravel())


def test_barrier_refuses_bad_input_in_one_line(cli, baseline, squares_root, tmp_path):
    rest = ["--data", squares_root, "--out", tmp_path / "out"]
    cli("barrier", "--ckpt", baseline, *rest).failed(2, "`--ckpt` is given 1 times: every pair takes two")
    pair = ["--ckpt", baseline, "--ckpt", baseline, "-q"]
    cli("barrier", *pair, "--points", 4, *rest).failed(2, "`points` = 4", "odd")
    cli("barrier", *pair, "--statistics", "frozen", *rest).failed(2, "unknown statistics `frozen`")


def test_barrier_without_augmentation_is_of_the_images_themselves(cli, baseline, squares_root, tmp_path):
    rest = ("--data", squares_root, "--points", 3, "--batch", 24, "-q")
    results = []
    for name, more in (("plain", ("--no-augment",)), ("augmented", ())):
        out = tmp_path / name
        cli(
            "barrier", "--ckpt", f"{baseline}@prev", "--ckpt", baseline, *rest, *more, "--out", out
        ).succeeded()
        results.append(load_result(out / "barrier"))
    assert [r.augmentation != "" for r in results] == [False, True]
    assert not np.allclose(results[0].losses, results[1].losses)
