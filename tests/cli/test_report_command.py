"""``ralr-viz report``: one page from runs, seeds or weights, whatever is missing."""

from __future__ import annotations

import dataclasses
import html
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from ralr_viz.analysis.curves import compute_curves
from ralr_viz.analysis.why import compute_why
from ralr_viz.comparison.arms import Run
from ralr_viz.errors import InputError
from ralr_viz.results.bundle import load_result, save_result
from ralr_viz.results.measure import Measure
from ralr_viz.results.run import RunRecord, load_run
from ralr_viz.workflows.report.sides import Source, choose_seeds, find_sources


def section(page, key):
    """The HTML of one section."""
    return re.search(rf'<section id="{key}".*?(?=<section id="|</main>)', page, re.S)[0]


@pytest.fixture(scope="session")
def arms(trained_pair):
    """Folder of the methods' folders."""
    return next(trained_pair.glob("*/ralr")).parent


@pytest.fixture
def pair(arms):
    return ["--a", arms / "baseline", "--b", arms / "ralr"]


@pytest.fixture(scope="session")
def two_seeds(arms, tmp_path_factory):
    """The trained pair, and each run again as seed 1."""
    folder = tmp_path_factory.mktemp("seeds")
    for method in ("baseline", "ralr"):
        for seed in (0, 1):
            target = folder / method / f"seed{seed}"
            shutil.copytree(arms / method / "seed0", target)
            recipe = (target / "recipe.toml").read_text().replace("seed = 0\n", f"seed = {seed}\n", 1)
            (target / "recipe.toml").write_text(recipe)
    return folder


def test_report_of_a_pair_is_one_file_that_says_what_was_computed(cli, pair, squares_root, tmp_path):
    out = tmp_path / "out" / "page.html"
    arguments = ["report", *pair, "--data", squares_root, "--out", out]
    outcome = cli(*arguments, "--samples", 20).succeeded()
    assert outcome.lines == [str(out)] and [p.name for p in out.parent.iterdir()] == ["page.html"]
    assert "why: not on the page: run `ralr-viz why --a baseline --b ralr --out out/why`" in outcome.err
    page = out.read_text()
    assert "<h1>RALR against baseline</h1>" in page and "24 test images of squares" in page
    for key in ("curves", "embeddings", "classes", "gallery", "activations"):
        assert "Not here" not in section(page, key)
    assert "20 of 24 images" in section(page, "embeddings")
    assert "epoch 2 → epoch 3" in section(page, "activations")
    for told in (tmp_path, squares_root, pair[1]):
        assert str(told) not in page  # no folder of the machine, in no form
    assert (
        "<pre>ralr-viz report --a baseline --b ralr --data root --out page.html --samples 20 --force</pre>"
        in page
    )
    # accuracy as `eval` says it
    said = cli("eval", "--ckpt", f"{pair[1]}/seed0", "--data", squares_root, "--precision", "fp32", "--json")
    assert f"{json.loads(said.succeeded().out)['top1']:.2f}" in section(page, "verdict")


def test_report_refuses_a_page_that_another_process_has_written_meanwhile(
    cli, pair, squares_root, tmp_path, monkeypatch
):
    from ralr_viz.report import page

    out, build = tmp_path / "r.html", page.build_report

    def overtake(inputs):
        out.write_text("theirs")
        return build(inputs)

    monkeypatch.setattr(page, "build_report", overtake)
    cli("report", *pair, "--data", squares_root, "--out", out, "-q").failed(2, f"`{out}` exists")
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]
    assert out.read_text() == "theirs"


def test_report_repeats_and_overwrites_only_with_force(cli, pair, squares_root, tmp_path):
    out = tmp_path / "page.html"
    arguments = ["report", *pair, "--data", squares_root, "--out", out, "-q"]
    assert cli(*arguments, "--force").succeeded().err == ""
    first = out.read_bytes()
    cli(*arguments).failed(2, "exists: pass --force to overwrite it or another --out")
    assert out.read_bytes() == first
    cli(*arguments, "--force").succeeded()
    assert out.read_bytes() == first and list(tmp_path.iterdir()) == [out]


def test_report_of_one_run_compares_nothing(cli, arms, squares_root, tmp_path):
    run = arms / "baseline" / "seed0"
    outcome = cli(
        "report", "--a", f"{run}@2", "--data", squares_root, "--out", tmp_path / "p.html"
    ).succeeded()
    page = (tmp_path / "p.html").read_text()
    assert (
        "<h1>baseline</h1>" in page
        and "What differs" not in page
        and outcome.lines == [str(tmp_path / "p.html")]
    )
    assert "baseline, seed 0, epoch 2" in section(page, "provenance")


def test_report_over_seeds_pairs_them_and_looks_at_the_lowest(cli, two_seeds, squares_root, tmp_path):
    sides = ["--a", two_seeds / "baseline", "--b", two_seeds / "ralr"]
    cli("report", *sides, "--data", squares_root, "--out", tmp_path / "p.html", "-q").succeeded()
    verdict = section((tmp_path / "p.html").read_text(), "verdict")
    assert "over 2 paired training seeds" in verdict and "With 2 seeds nothing can be said" in verdict
    assert "baseline, seed 0, epoch 3" in verdict


def test_report_leaves_an_unfinished_run_out_of_the_seeds(cli, two_seeds, squares_root, tmp_path):
    shutil.copytree(two_seeds, tmp_path / "runs")
    stopped = tmp_path / "runs" / "ralr" / "seed0"
    (stopped / "result.json").unlink()
    lines = (stopped / "metrics.jsonl").read_text().splitlines(keepends=True)
    (stopped / "metrics.jsonl").write_text("".join(lines[:2]))
    sides = ["--a", tmp_path / "runs" / "baseline", "--b", tmp_path / "runs" / "ralr"]
    cli("report", *sides, "--data", squares_root, "--out", tmp_path / "p.html", "-q").succeeded()
    page = (tmp_path / "p.html").read_text()
    verdict = section(page, "verdict")
    assert "Left out of what is said over seeds: seed 0 (RALR is running, at epoch 2)." in verdict
    assert (
        "over 2 paired training seeds" not in verdict and "One pair (seed 1) of 2 and 2 trainings" in verdict
    )
    assert "checkpoints (1 of 2)." in section(page, "gallery")


def test_report_of_an_epoch_is_over_seeds_of_that_epoch(cli, two_seeds, squares_root, tmp_path):
    sides = ["--a", f"{two_seeds / 'baseline'}@2", "--b", f"{two_seeds / 'ralr'}@2"]
    cli("report", *sides, "--data", squares_root, "--out", tmp_path / "p.html", "-q").succeeded()
    verdict = section((tmp_path / "p.html").read_text(), "verdict")
    assert "at epoch 2, over 2 paired training seeds" in verdict and "Epoch 2 of training" in verdict
    for method in ("baseline", "ralr"):
        logged = load_run(two_seeds / method / "seed0").values("test_acc")[1]
        assert f'<td class="n">{logged:.2f}</td>' in verdict


def test_report_of_a_part_of_the_split_says_so(cli, arms, squares_root, tmp_path):
    out = tmp_path / "p.html"
    arguments = ["report", "--a", arms / "ralr", "--data", squares_root, "--out", out, "-q", "--force"]
    cli(*arguments, "--limit", 16).succeeded()
    assert "Only 16 of the 24 images" in section(out.read_text(), "provenance")
    cli(*arguments, "--limit", 24).succeeded()
    assert "--limit)" not in section(out.read_text(), "provenance")
    cli(*arguments, "--samples", 3).succeeded()
    assert "raise --samples, and --limit where it is given" in section(out.read_text(), "embeddings")


def test_report_of_other_peoples_weights_has_no_log(cli, weights, baseline, squares_root, tmp_path):
    torch.save(weights, tmp_path / "theirs.pt")
    theirs = ["--arch", "resnet20", "--dataset", "squares", "--mean", "0.5,0.5,0.5", "--std", "0.2,0.2,0.2"]
    sides = ["--a", tmp_path / "theirs.pt", "--b", baseline]
    out = tmp_path / "p.html"
    cli("report", *sides, *theirs, "--data", squares_root, "--out", out).succeeded()
    page = out.read_text()
    assert "<h1>baseline against theirs</h1>" in page
    assert "without a run have no earlier state" in section(page, "activations")
    assert "Not every recipe is known" in section(page, "verdict")
    assert "tested on training runs, not on weights alone" in section(page, "verdict")
    cli(
        "report", "--a", tmp_path / "theirs.pt", *theirs, "--data", squares_root, "--out", out, "--force"
    ).succeeded()
    assert "have no training log" in section(out.read_text(), "curves")


def test_report_without_the_data_set_keeps_what_the_logs_say(cli, pair, tmp_path):
    out = tmp_path / "p.html"
    said = cli("report", *pair, "--data", tmp_path / "empty", "--out", out).succeeded().err
    assert said.count("unknown dataset `squares`") == 1  # once for all the sections that it costs
    page = out.read_text()
    for key in ("embeddings", "classes", "gallery", "activations"):
        assert "unknown dataset <code>squares</code>" in section(page, key)
        assert "<code>ralr-viz data import NAME --from PATH</code>" in section(page, key)
    assert 'id="figure-curves-loss"' in section(page, "curves")
    assert "at the last epoch" in section(page, "verdict") and str(tmp_path) not in page


def test_report_of_runs_without_checkpoints_keeps_what_the_logs_say(cli, two_seeds, squares_root, tmp_path):
    for method in ("baseline", "ralr"):
        shutil.copytree(two_seeds / method, tmp_path / method, ignore=shutil.ignore_patterns("checkpoints"))
    sides = ["--a", tmp_path / "baseline", "--b", tmp_path / "ralr"]
    cli("report", *sides, "--data", squares_root, "--out", tmp_path / "p.html").succeeded()
    page = (tmp_path / "p.html").read_text()
    assert "<h1>RALR against baseline</h1>" in page and 'id="figure-curves-loss"' in page
    assert "<code>seed0</code> has no checkpoints" in section(page, "gallery")
    assert "over 2 paired training seeds" in section(page, "verdict") and str(tmp_path) not in page


def test_report_of_runs_that_kept_nothing_and_share_no_seed_says_so(cli, runs, squares_root, tmp_path):
    sides = ["--a", runs / "baseline", "--b", runs / "ralr" / "seed2"]
    cli("report", *sides, "--data", squares_root, "--out", tmp_path / "p.html").succeeded()
    page = (tmp_path / "p.html").read_text()
    assert "kept no earlier epoch in common" in section(page, "activations")
    assert "<code>--set keep=0.6666666666666666,1.0</code>" in section(page, "activations")
    assert "No training seed is common to both sides: seeds 0 and 2 are compared." in section(page, "verdict")
    assert "different training seeds (0 and 2)" in section(page, "verdict")


def test_report_shows_the_claims_of_why(cli, pair, squares_root, tmp_path):
    measures = {"sharpness, matched loss": [[Measure("sharpness", "rise", "nats", np.array([2.0, 1.0]))]]}
    told = {"runs": [{"arm": "baseline", "seed": 0, "run": "other/baseline/seed0"}]}
    why = compute_why(measures, arms=("baseline", "scaled"), seeds=(0,), provenance=told)
    save_result(why, tmp_path / "why" / "why")
    out = tmp_path / "p.html"
    cli("report", *pair, "--data", squares_root, "--why", tmp_path / "why", "--out", out, "-q").succeeded()
    verdict = section(out.read_text(), "verdict")
    assert "rise (nats)" in verdict and "−1" in verdict
    assert "The claims were tested on baseline and scaled, this page compares baseline and ralr." in verdict
    assert "tested on other runs than this page shows, such as other/baseline/seed0." in verdict
    assert load_result(tmp_path / "why" / "why") == why


def test_report_warns_of_a_large_page_and_refuses_a_larger_one(cli, pair, tmp_path, monkeypatch):
    arguments = ["report", *pair, "--data", tmp_path / "empty", "--out", tmp_path / "p.html"]
    monkeypatch.setattr("ralr_viz.cli.report._REFUSE", 1_000_000)
    cli(*arguments, "-q").failed(2, "`--samples 2000` makes a page of 1.", "take fewer, or pass --force")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("ralr_viz.cli.report._WARN", 500_000)
    assert "many mail servers refuse that" in cli(*arguments, "--force").succeeded().err


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--split", "valid"], ["unknown split `valid`"]),
        (["--device", "toaster"], ["unknown device `toaster`"]),
        (["--samples", 0], ["'--samples'"]),
        (["--b", "nothing"], ["`nothing` does not exist"]),
        (["--b", "nothing@best"], ["`nothing@best` does not exist"]),
        (["--dataset", "circles"], ["unknown dataset `circles`"]),
        (["--dataset", "two"], ["has 4 classes, `two` has 2"]),
        (["--why", "nothing"], ["no result in `nothing`"]),
        (["--out", "."], ["`--out .` is a folder: give the page's file, such as report.html"]),
    ],
)
def test_bad_option_is_one_line_and_writes_nothing(
    cli, pair, squares_root, tmp_path, monkeypatch, arguments, fragments
):
    monkeypatch.chdir(tmp_path)
    cli("report", *pair, "--data", squares_root, "-q", *arguments).failed(2, *fragments)
    assert list(tmp_path.iterdir()) == []


def test_why_of_another_kind_is_refused(cli, pair, squares_root, tmp_path):
    save_result(compute_curves([load_run(pair[1] / "seed0")]), tmp_path / "curves")
    arguments = [
        "report",
        *pair,
        "--why",
        tmp_path / "curves",
        "--data",
        squares_root,
        "--out",
        tmp_path / "p.html",
    ]
    cli(*arguments, "-q").failed(
        2, "holds a result of kind `curves`: give the folder that `ralr-viz why --out` wrote"
    )


def test_why_of_one_side_is_refused(cli, arms, squares_root, tmp_path):
    arguments = ["report", "--a", arms / "ralr", "--data", squares_root, "--out", tmp_path / "p.html", "-q"]
    cli(*arguments, "--why", tmp_path).failed(2, "`--why", "needs --b")


def test_choose_seeds_prefers_runs_that_are_finished():
    run = RunRecord("toy", "ralr", 0, np.array([1]), {}, {"seed": 0})  # no result: it is running
    whole = dataclasses.replace(run, result={"status": "finished"})
    a = Source("--a", {0: Run(Path(), whole), 1: Run(Path(), whole)})
    b = Source("--b", {0: Run(Path(), run), 1: Run(Path(), whole)})
    assert choose_seeds([a, b])[0] == [1, 1]
    assert choose_seeds([Source("--b", {0: Run(Path(), run)})])[0] == [0]


def test_find_sources_refuses_two_methods_in_one_folder(trained_pair):
    with pytest.raises(InputError, match="two runs of seed 0, .* give the folder of one method"):
        find_sources(str(trained_pair), None)


def test_find_sources_knows_runs_states_and_weights(arms):
    run = arms / "ralr" / "seed0"
    a, b = find_sources(f"{run}@1", str(run / "checkpoints" / "last.pt"))
    assert a.spec(0) == f"{run}@1" and list(a.runs) == [0]
    assert b.spec(None) == str(run / "checkpoints" / "last.pt") and not b.runs


@pytest.mark.parametrize(
    ("seeds", "chosen", "noted"),
    [
        (([2, 0, 1], [3, 1, 2]), [1, 1], False),
        (([0], [2]), [0, 2], True),
        (([0, 1],), [0], False),
        (([1], []), [1, None], False),
        (([None], [0]), [None, 0], False),
    ],
)
def test_choose_seeds_takes_the_lowest_common_one(seeds, chosen, noted):
    whole = RunRecord("toy", "ralr", 0, np.array([1]), {})
    sources = [
        Source("--a", dict.fromkeys(side, Run(Path(), whole)), weights="" if side else "x.pt")
        for side in seeds
    ]
    found, note = choose_seeds(sources)
    assert found == chosen and bool(note) == noted


def test_report_has_the_control_the_labels_and_a_command_that_runs_again(
    cli, arms, squares_root, tmp_path, monkeypatch
):
    import shlex

    for method in ("baseline", "ralr"):
        shutil.copytree(arms / method / "seed0", tmp_path / "runs" / method / "seed0")
    control = tmp_path / "runs" / "scaled" / "seed0"
    shutil.copytree(arms / "baseline" / "seed0", control)
    recipe = (control / "recipe.toml").read_text()
    (control / "recipe.toml").write_text(recipe.replace('method = "baseline"', 'method = "scaled"'))
    shutil.copytree(squares_root, tmp_path / "my data")
    monkeypatch.chdir(tmp_path)
    sides = ["--a", "runs/baseline", "--b", "runs/ralr", "--control", "runs/scaled"]
    labels = [word for name in ("SGD", "<b>ours", "×1.5") for word in ("--label", name)]
    rest = ["--data", tmp_path / "my data", "--samples", 12, "--out", "p.html"]
    cli("report", *sides, *labels, *rest, "-q").succeeded()
    page = Path("p.html").read_text()
    assert "<h1>&lt;b&gt;ours against SGD</h1>" in page and "; control: ×1.5</p>" in page
    assert not re.search(r">(RALR|ralr|baseline)<", re.sub(r"<tr>.*?</tr>", "", page, flags=re.S))
    for key in ("verdict", "curves", "embeddings", "classes", "gallery", "activations"):
        assert "×1.5" in section(page, key) and "Not here: no" not in section(page, key)
    assert "Against the control, &lt;b&gt;ours − ×1.5: " in section(page, "verdict")
    assert "12 of 24 images, drawn at random" in section(page, "embeddings")
    command = html.unescape(re.search(r"<pre>(ralr-viz report .*?)</pre>", page)[1])
    assert str(tmp_path) not in command
    cli(*shlex.split(command)[1:]).succeeded()
    assert Path("p.html").read_text() == page
    cli("report", *sides[:4], "--label", "x", *rest, "--force").failed(2, "`--label` is given 1 times for 2")
    cli("report", *sides[:2], *sides[4:], *rest, "--force").failed(2, "`--control runs/scaled` needs --b")
