import pytest

from ralr_viz.results.bundle import load_result

QUICK = ["--points", 3, "--limit", 12]


def test_landscape_draws_planes_and_a_line(cli, runs, squares_root, tmp_path):
    arms = [arg for method in ("baseline/seed0", "ralr/seed2") for arg in ("--ckpt", runs / method)]
    out = tmp_path / "out"
    outcome = cli("landscape", *arms, "--data", squares_root, *QUICK, "--out", out).succeeded()
    assert sorted(p.name for p in out.iterdir()) == [
        "landscape",
        "landscape.caption.tex",
        "landscape.caption.txt",
        "landscape.csv",
        "landscape.pdf",
        "landscape.png",
    ]
    result = load_result(out / "landscape")
    assert result.models == ("baseline", "RALR") and result.losses.shape == (2, 3, 3)
    assert outcome.lines[0].startswith(f"baseline: loss {result.centre_loss[0]:.4g} nats at the centre")
    assert "losses in the planes: 100 %" in outcome.err
    line = ["--line", "--batchnorm", "frozen", "--force", "-q"]
    cli("landscape", *arms, "--data", squares_root, *QUICK, "--out", out, *line).succeeded()
    assert load_result(out / "landscape").losses.shape == (2, 1, 3)


def test_landscape_draws_the_path_of_a_run(cli, trained_pair, squares_root, tmp_path):
    run = next(trained_pair.glob("**/baseline/seed0"))
    out = tmp_path / "out"
    arguments = ["landscape", "--run", run, "--data", squares_root, *QUICK, "--out", out]
    kept = len(list((run / "checkpoints").glob("epoch_*")))
    if kept < 3:
        (run / "checkpoints" / "epoch_0003.pt").write_bytes((run / "checkpoints" / "last.pt").read_bytes())
    outcome = cli(*arguments).succeeded()
    result = load_result(out / "landscape")
    assert result.epochs.tolist() == [1, 2, 3] and result.models == ("baseline, seed 0",)
    assert outcome.lines[0].startswith("baseline, seed 0: 3 epochs, loss ")
    assert outcome.lines[1].startswith("a pure random walk of as many states has ")


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        ([], ["give the networks by --ckpt, or one run by --run"]),
        (["--ckpt", "nothing", "--run", "nowhere"], ["give the networks by --ckpt, or one run by --run"]),
        (["--run", "nowhere"], ["`--run nowhere` is no run directory"]),
        (["--ckpt", "nothing"], ["`nothing` does not exist"]),
    ],
)
def test_bad_option_of_landscape_is_one_line(cli, tmp_path, arguments, fragments):
    cli("landscape", *arguments, "--out", tmp_path / "out").failed(2, *fragments)


def test_run_with_few_epochs_and_even_grids_are_one_line(cli, baseline, squares_root, tmp_path):
    where = ["--data", squares_root, "--out", tmp_path / "out", "-q", "--limit", 12]
    cli("landscape", "--run", baseline, *where).failed(2, "a path takes 3 or more", "keep_every=1")
    cli("landscape", "--ckpt", baseline, *where, "--points", 4).failed(2, "`points` = 4 must be odd")
    cli("landscape", "--ckpt", baseline, *where, "--radius", 0).failed(2, "`radius` = 0")
