import csv
import errno
import json

import numpy as np
import pytest

from ralr_viz import RunWriter
from ralr_viz.results.bundle import load_result, save_result


def read_rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_curves_draws_runs_and_summarises_each(cli, runs, tmp_path):
    outcome = cli("curves", "--run", runs / "baseline", "--run", runs / "ralr" / "seed2", "--out", tmp_path)
    lines = outcome.succeeded().lines
    assert lines[2:] == [
        str(tmp_path / name)
        for name in (
            "curves",
            "curves.pdf",
            "curves.png",
            "curves.csv",
            "curves.caption.txt",
            "curves.caption.tex",
        )
    ]
    for line, arm in zip(lines, ("baseline/seed0", "ralr/seed2"), strict=False):
        last = json.loads((runs / arm / "result.json").read_text())["last"]
        assert line.startswith(f"squares-resnet20/{arm}: validation accuracy {last['val_acc']:.2f} % (last)")
    result = load_result(tmp_path / "curves")
    assert result.method == ("baseline", "ralr")
    assert result.amplified.tolist() == [[False, False], [True, True]]
    assert len(read_rows(tmp_path / "curves.csv")) >= 4


def test_curves_finds_the_runs_below_a_folder(cli, runs, tmp_path):
    cli("curves", "--run", runs, "--out", tmp_path).succeeded()
    assert load_result(tmp_path / "curves").run == (
        "squares-resnet20/baseline/seed0",
        "squares-resnet20/ralr/seed2",
    )


def test_curves_reads_a_log_of_ones_own(cli, tmp_path):
    log = tmp_path / "my log.csv"
    log.write_text("Epoch;Learning Rate;train loss;score\n0;0.1;2.3;0.1\n1;0.1;2.0;0.25\n")
    arguments = ["curves", "--run", log, "--column", "val_acc=score", "--out", tmp_path]
    outcome = cli(*arguments).succeeded()
    assert "my log: epochs are counted from 0 in the file" in outcome.err
    assert "my log: validation accuracy 25.00 % (last)" in outcome.lines[0]
    assert "nan" not in outcome.out
    np.testing.assert_array_equal(load_result(tmp_path / "curves").lr, [[0.1, 0.1]])


def test_curves_reads_what_somebodys_loop_wrote(cli, tmp_path):
    with RunWriter(tmp_path / "mine", method="warm restarts", seed=3, recipe={"name": "my loop"}) as run:
        for epoch in (1, 2, 3):
            run.log(epoch=epoch, lr=0.1 / epoch, val_loss=1 / epoch, val_acc=30.0 * epoch)
    outcome = cli("curves", "--run", tmp_path / "mine", "--out", tmp_path / "out").succeeded()
    assert "my loop/warm restarts/seed3: validation accuracy 90.00 % (last)" in outcome.lines[0]


def test_curves_averages_no_logs_that_are_only_called_alike(cli, tmp_path):
    for name, accuracy in (("SGD", 50), ("SAM", 70)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.csv").write_text(f"epoch,val_acc\n0,{accuracy}\n1,{accuracy}\n")
    logs = [argument for name in ("SGD", "SAM") for argument in ("--run", tmp_path / name / "metrics.csv")]
    done = cli("curves", *logs, "--out", tmp_path / "out").succeeded()
    assert [line.split(":")[0] for line in done.lines[:2]] == ["SGD/metrics", "SAM/metrics"]
    assert "SGD/metrics: epochs are counted from 0" in done.err
    assert load_result(tmp_path / "out" / "curves").group == ("SGD/metrics", "SAM/metrics")


def test_curves_averages_no_runs_of_other_settings(cli, tmp_path):
    for folder, schedule, seed in (("a", "multistep", 0), ("b", "cosine", 0), ("b", "cosine", 1)):
        settings = {"name": "digits", "schedule": schedule}
        with RunWriter(tmp_path / folder / f"seed{seed}", seed=seed, recipe=settings) as run:
            run.log(epoch=1, val_acc=50.0)
    cli("curves", "--run", tmp_path, "--out", tmp_path / "out").succeeded()
    cosine = "baseline, schedule=cosine"
    assert load_result(tmp_path / "out" / "curves").group == ("baseline, schedule=multistep", cosine, cosine)
    refused = cli("report", "--a", tmp_path / "b", "--b", tmp_path / "a", "--out", tmp_path / "r.html")
    assert "no seeds of one" not in refused.err
    with RunWriter(tmp_path / "b" / "seed2", seed=2, recipe={"name": "digits", "schedule": "sgdr"}) as run:
        run.log(epoch=1, val_acc=50.0)
    for command, more in (("why", ["--out", tmp_path / "why"]), ("report", ["--out", tmp_path / "r2.html"])):
        cli(command, "--a", tmp_path / "b", "--b", tmp_path / "a", *more).failed(
            2, "has runs of 2 trainings (baseline, schedule=cosine; baseline, schedule=sgdr)"
        )


def test_half_a_line_of_a_run_in_progress_is_left_out(cli, runs, tmp_path):
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "recipe.toml").write_bytes((runs / "baseline" / "seed0" / "recipe.toml").read_bytes())
    log = (runs / "baseline" / "seed0" / "metrics.jsonl").read_bytes()
    (directory / "metrics.jsonl").write_bytes(log[:-9])
    cli("curves", "--run", directory, "--out", tmp_path / "out").succeeded()
    assert load_result(tmp_path / "out" / "curves").epoch.tolist() == [1]


def test_curves_overwrites_only_with_force(cli, runs, tmp_path, read_files):
    cli("curves", "--run", runs / "ralr", "--out", tmp_path).succeeded()
    before = read_files(tmp_path)
    cli("curves", "--run", runs, "--out", tmp_path).failed(2, "exists: pass --force")
    assert read_files(tmp_path) == before


@pytest.mark.parametrize(
    ("content", "arguments", "fragments"),
    [
        (b"epoch,a\n1,2\n", [], ["has no known column"]),
        (b"epoch,a\n1,2\n", ["--column", "val_acc"], ["has no `=`"]),
        (b"epoch,a\n1,2\n", ["--column", "valacc=a"], ["unknown quantity `valacc`: did you mean `val_acc`"]),
        (b"epoch,a\n1,2\n", ["--column", "val_acc=b"], ["`b`: known: a, epoch"]),
        (b"epoch,lr\n1,fast\n", [], ["line 2, column `lr`: `fast` is not a number"]),
        (b"", [], ["holds no numbers"]),
        (b"\xff\x00\x01", [], ["is not text in UTF-8"]),
        (b"epoch,lr\n1,2\n", ["--style", "nature"], ["unknown style `nature`"]),
        (b"epoch,lr\n1,2\n", ["--run", "nothing"], ["no run directory `nothing`"]),
        (b"epoch,lr\n1,2\n", ["--run", "."], ["`.` is no run directory"]),
    ],
)
def test_bad_log_or_option_is_one_line(cli, tmp_path, monkeypatch, content, arguments, fragments):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    log = tmp_path / "log.csv"
    log.write_bytes(content)
    cli("curves", "--run", log, "--out", tmp_path / "out", *arguments).failed(2, *fragments)


def test_curves_goes_on_where_its_figure_had_no_room(cli, runs, tmp_path, monkeypatch):
    from ralr_viz.plots import style
    from ralr_viz.results.storage import storage_errors

    def full(files, stem, *, replace):
        with storage_errors(stem):
            raise OSError(errno.ENOSPC, "No space left on device")

    arguments = ["curves", "--run", runs, "--out", tmp_path, "-q"]
    with monkeypatch.context() as patched:
        patched.setattr(style, "write_files", full)
        outcome = cli(*arguments)
    assert (outcome.code, outcome.err.count("\n")) == (1, 1)
    assert f"`ralr-viz draw {tmp_path / 'curves'}` draws them" in outcome.err
    assert "nothing was saved" not in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["curves"]
    # a result of another command is not replaced
    cli(*arguments, "--style", "ieee").failed(2, "exists: pass --force")
    cli(*arguments).succeeded()
    assert (tmp_path / "curves.csv").exists()
    cli(*arguments).failed(2, "exists: pass --force")


def test_curves_refuses_what_the_same_command_is_saving_at_the_same_time(cli, runs, tmp_path, monkeypatch):
    from ralr_viz.cli import noun_command

    def overtake(result, out, stem, **options):
        save_result(result, out / stem)  # of another process, which is drawing its figure now
        save_all(result, out, stem, **options)

    save_all = noun_command.save_all
    monkeypatch.setattr(noun_command, "save_all", overtake)
    outcome = cli("curves", "--run", runs, "--out", tmp_path)
    assert outcome.code == 2 and "exists: choose another --out or pass --force" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["curves"]
