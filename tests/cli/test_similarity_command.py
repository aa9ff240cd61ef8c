import csv

import pytest

from ralr_viz.results.bundle import load_result


def test_similarity_measures_pairs_beside_a_null(cli, runs, squares_root, tmp_path):
    out, baseline, ralr = tmp_path / "out", runs / "baseline" / "seed0", runs / "ralr" / "seed2"
    pair = ["--ckpt", baseline, "--ckpt", ralr, "--null", f"{baseline}@prev", "--null", baseline]
    outcome = cli("similarity", *pair, "--data", squares_root, "--minibatch", 8, "--out", out).succeeded()
    assert outcome.lines[0].startswith("CKA, mean of layers: baseline → RALR ")
    assert "images: 100 % (24 of 24)\n" in outcome.err and "--null" not in outcome.err
    result = load_result(out / "similarity")
    assert (result.models, result.null) == (("baseline → RALR", "null: baseline"), (False, True))
    assert result.states[1] == ("epoch 1", "epoch 2")
    assert (result.num_images, result.num_batches, len(result.layers)) == (24, 3, 9)
    assert len(result.provenance["checkpoints"]) == 4
    with (out / "similarity.csv").open() as file:
        row = next(csv.DictReader(file))
    assert float(row["cka"]) == result.cka[0, 0, 0]


def test_similarity_of_a_network_with_itself_is_one_and_says_that_a_null_is_missing(
    cli, baseline, squares_root, tmp_path
):
    same = ["--ckpt", baseline, "--ckpt", baseline, "--layer", "layer2", "--layer", "layer3"]
    outcome = cli("similarity", *same, "--data", squares_root, "--out", tmp_path / "out").succeeded()
    assert "no --null pair" in outcome.err
    result = load_result(tmp_path / "out" / "similarity")
    assert result.layers == ("layer2", "layer3")
    assert result.diagonal == pytest.approx(1)


def test_similarity_refuses_bad_input_in_one_line(cli, baseline, squares_root, tmp_path):
    rest = ["--data", squares_root, "-q", "--out", tmp_path / "out"]
    pair = ["--ckpt", baseline, "--ckpt", baseline]
    cli("similarity", "--ckpt", baseline, *rest).failed(2, "`--ckpt` is given 1 times")
    cli("similarity", *pair, "--null", baseline, *rest).failed(2, "`--null` is given 1 times")
    cli("similarity", *pair, "--layer", "layer9", *rest).failed(2, "unknown module `layer9`")
