import csv

import numpy as np
import pytest

from ralr_viz.results.bundle import load_result

QUICK = ["--probes", 2, "--density-probes", 1, "--steps", 2, "--basis", 3, "--restarts", 0, "--limit", 6]


@pytest.fixture
def one(baseline, squares_root):
    return ["--ckpt", baseline, "--data", squares_root, *QUICK]


def test_spectrum_prints_measures_and_saves_the_figure(cli, one, tmp_path):
    out = tmp_path / "out"
    outcome = cli("spectrum", *one, "--out", out).succeeded()
    assert sorted(p.name for p in out.iterdir()) == [
        "spectrum",
        "spectrum.caption.tex",
        "spectrum.caption.txt",
        "spectrum.csv",
        "spectrum.pdf",
        "spectrum.png",
    ]
    result = load_result(out / "spectrum")
    assert result.models == ("baseline",) and result.num_images == 6 and result.split == "train"
    assert result.learning_rate[0] == pytest.approx(0.005)  # after the milestone, from the run's record
    assert outcome.lines[0].startswith("largest eigenvalue, filter-scaled (nats): baseline ")
    assert any(line.startswith("smallest eigenvalue (raw): baseline ") for line in outcome.lines)
    assert any("residuals λ_max" in line and "Hessian-vector products" in line for line in outcome.lines)
    assert any("of 6 images, without weight decay, BatchNorm frozen" in line for line in outcome.lines)
    assert "Hessian-vector products: 100 %" in outcome.err
    with (out / "spectrum.csv").open() as file:
        found = {row["quantity"]: row for row in csv.DictReader(file)}
    assert float(found["lambda_max"]["value"]) == result.lambda_max[0] > 0
    assert np.isfinite(result.trace).all()


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--precision", "bf16"], ["`precision` = bf16 is too coarse"]),
        (["--density-probes", "3"], ["`probes` = 2 must be at least the 3"]),
        (["--basis", "2"], ["'--basis'"]),
        (["--split", "valid"], ["unknown split `valid`"]),
    ],
)
def test_bad_option_of_spectrum_is_one_line(cli, one, tmp_path, arguments, fragments):
    cli("spectrum", *one, "--out", tmp_path / "out", "-q", *arguments).failed(2, *fragments)
    assert list(tmp_path.rglob("*.*")) == []
