"""What a user can do wrong: one line on stderr, exit code 2 (1 if it failed midway), nothing lost."""

import contextlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from PIL import Image

from ralr_viz.models import build_model


@pytest.fixture
def place(tmp_path, read_files):
    """An empty folder for ``--out`` and ``--runs``; nothing may appear in it."""
    folder = tmp_path / "place"
    folder.mkdir()
    yield folder
    assert read_files(folder) == {}


@pytest.mark.parametrize("command", [["train", "--method", "ralr"], ["pair"], ["schedule"]])
def test_unknown_recipe_offers_the_nearest(cli, command):
    outcome = cli(command[0], "cifar10-resnet20-shrt", *command[1:])
    outcome.failed(2, "unknown recipe `cifar10-resnet20-shrt`: did you mean `cifar10-resnet20-short`")


def test_unknown_method_offers_the_nearest(cli):
    cli("train", "digits-resnet20", "--method", "scald").failed(
        2, "unknown method `scald`: did you mean `scaled`?"
    )


def test_unknown_model_offers_the_nearest(cli, recipe_file, squares_root, baseline, place):
    where = ["--data", squares_root]
    outcome = cli("eval", "--ckpt", baseline, "--arch", "resnet2O", *where)
    outcome.failed(2, "unknown model `resnet2O`: did you mean", "`resnet20`")
    model = ["--set", "model=wrn-28"]
    outcome = cli("train", recipe_file, "--method", "ralr", *model, "--runs", place, *where)
    outcome.failed(2, "unknown model `wrn-28`: did you mean `wrn-28-10`")


def test_unknown_dataset_offers_the_nearest(cli, recipe_file, squares_root, baseline, place):
    where = ["--data", squares_root]
    fragment = "unknown dataset `sqares`: did you mean `squares`?"
    cli("eval", "--ckpt", baseline, "--dataset", "sqares", *where).failed(2, fragment)
    wrong = ["--set", "dataset=sqares", "--runs", place]
    cli("train", recipe_file, "--method", "ralr", *wrong, *where).failed(2, fragment)
    cli("data", "doctor", "sqares", *where).failed(2, fragment)


def test_known_dataset_that_is_not_there_says_how_to_get_it(cli, tmp_path, place):
    outcome = cli("train", "cifar10-resnet20", "--method", "ralr", "--data", tmp_path, "--runs", place)
    outcome.failed(2, "run `ralr-viz data download cifar10` or `ralr-viz data import cifar10 --from PATH`")


def commands_with(ckpt, squares_root, place):
    """Every command that reads a checkpoint."""
    stranger = ["--arch", "resnet20", "--dataset", "squares"]
    return [
        ["eval", "--ckpt", ckpt, *stranger, "--data", squares_root],
        ["cam", "--ckpt", ckpt, *stranger, "--data", squares_root, "--out", place],
        ["export", "--ckpt", ckpt, *stranger, "--out", place / "w.safetensors"],
    ]


@pytest.mark.parametrize("name", ["nothing.pt", "nothing/seed0", "nothing@best", "empty", "empty@200"])
def test_missing_checkpoint(cli, squares_root, place, tmp_path, name):
    (tmp_path / "empty").mkdir()
    for command in commands_with(tmp_path / name, squares_root, place):
        cli(*command).failed(2, str(tmp_path / name.partition("@")[0]), "give a")


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.99])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_truncated_checkpoint(cli, squares_root, baseline, place, tmp_path, suffix, keep):
    whole = tmp_path / "whole.safetensors"
    if suffix == "safetensors":
        cli("export", "--ckpt", baseline, "--out", whole).succeeded()
    else:
        whole = baseline / "checkpoints" / "last.pt"
    data, file = whole.read_bytes(), tmp_path / f"cut.{suffix}"
    file.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    for command in commands_with(file, squares_root, place):
        cli(*command).failed(2, f"cut.{suffix}` is damaged")


@pytest.mark.parametrize("content", [b"hello", b"{}", b"\x89PNG\r\n\x1a\n" + bytes(99), b"\x80\x02}q\x00."])
def test_file_that_is_no_checkpoint(cli, squares_root, place, tmp_path, content):
    (tmp_path / "file.pth").write_bytes(content)
    for command in commands_with(tmp_path / "file.pth", squares_root, place):
        cli(*command).failed(2, "file.pth`")


class Malicious:
    """Unpickling it makes a file."""

    def __init__(self, trace):
        self.trace = str(trace)

    def __reduce__(self):
        return open, (self.trace, "w")


@pytest.mark.parametrize("form", ["bare pickle", "torch zip", "torch legacy", "beside weights"])
def test_malicious_pickle_is_never_executed(cli, squares_root, weights, place, tmp_path, form):
    trace, file = tmp_path / "executed", tmp_path / "evil.pt"
    evil = Malicious(trace)
    if form == "bare pickle":
        file.write_bytes(pickle.dumps(evil))
    elif form == "beside weights":
        torch.save({"state_dict": weights, "args": evil}, file)
    else:
        torch.save(evil, file, _use_new_zipfile_serialization=form == "torch zip")
    for command in commands_with(file, squares_root, place):
        cli(*command).failed(2, "evil.pt`", "it was not loaded (it could run code)")
    assert not trace.exists()
    with contextlib.suppress(
        RuntimeError
    ):  # torch finds out too late that a bare pickle is none of its files
        torch.load(file, weights_only=False)
    assert trace.exists()  # so the trap does work


def test_malicious_checkpoint_of_a_run_is_never_executed(cli, baseline, squares_root, tmp_path):
    run, trace = tmp_path / "run", tmp_path / "executed"
    shutil.copytree(baseline, run)
    (run / "result.json").unlink()
    for file in (run / "checkpoints").iterdir():
        file.unlink()
        torch.save({"header": {"format": 1}, "model": Malicious(trace)}, file)
    cli("run", run, "--data", squares_root, "-q").failed(2, "neither last.pt nor prev.pt")
    cli("eval", "--ckpt", run, "--data", squares_root).failed(2, "was not loaded")
    assert not trace.exists()


def test_wrong_class_count(cli, baseline, squares_root, place, tmp_path):
    where = ["--data", squares_root]
    fragment = "has 4 classes, `two` has 2: pass another --dataset"
    cli("eval", "--ckpt", baseline, "--dataset", "two", *where).failed(2, fragment)
    cli("cam", "--ckpt", baseline, "--dataset", "two", "--out", place, *where).failed(2, fragment)
    torch.save(build_model("resnet20", 10).state_dict(), tmp_path / "ten.pt")
    for command in commands_with(tmp_path / "ten.pt", squares_root, place):
        extra = ["--num-classes", "4", "--mean", ".5,.5,.5", "--std", ".2,.2,.2"]
        outcome = cli(*command, *extra, *(["-q"] if command[0] == "cam" else []))
        outcome.failed(2, "the checkpoint has 10 classes, the model 4", "`--num-classes 10`")


def test_directory_where_a_checkpoint_belongs(cli, squares_root, place):
    cli("eval", "--ckpt", squares_root, "--data", squares_root).failed(2, "has no checkpoints")
    cli("cam", "--ckpt", ".", "--out", place).failed(2, "has no checkpoints: give a run directory")


def test_directory_where_a_picture_belongs(cli, baseline, place, tmp_path):
    outcome = cli("cam", "--ckpt", baseline, "--images", tmp_path, "--out", place)
    outcome.failed(2, "is a directory: name the files in it")


def test_directory_where_a_recipe_belongs(cli, tmp_path, place):
    (tmp_path / "folder.toml").mkdir()
    outcome = cli("train", tmp_path / "folder.toml", "--method", "ralr", "--runs", place)
    outcome.failed(2, "is not a file: give a recipe name or a TOML file")


def test_directory_where_an_export_belongs(cli, baseline, place):
    (place / "w.safetensors").mkdir()
    cli("export", "--ckpt", baseline, "--out", place / "w.safetensors", "--force").failed(2, "is a folder")


@pytest.mark.parametrize("inside", [False, True])
def test_file_where_a_folder_belongs(cli, runs, baseline, squares_root, recipe_file, tmp_path, inside):
    file = tmp_path / "file"
    file.write_text("mine")
    out = file / "deeper" if inside else file
    cli("cam", "--ckpt", baseline, "--data", squares_root, "--out", out).failed(2, str(file))
    cli("curves", "--run", runs, "--out", out).failed(2, str(file))
    cli("schedule", recipe_file, "--out", out).failed(2, str(file))
    where = ["--data", squares_root, "--runs", out]
    cli("train", recipe_file, "--method", "ralr", *where).failed(2, str(file), "choose another --runs")
    assert file.read_text() == "mine"


@pytest.mark.parametrize("content", [b"", b"no image", "half"])
def test_unreadable_image(cli, baseline, place, tmp_path, content):
    file = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)).save(file)
    file.write_bytes(file.read_bytes()[:600] if content == "half" else content)
    cli("cam", "--ckpt", baseline, "--images", file, "--out", place).failed(2, "picture.png` cannot be read")
    cli("cam", "--ckpt", baseline, "--images", tmp_path / "no.png", "--out", place).failed(2, "no.png")


def test_empty_folder(cli, tmp_path, place):
    empty = tmp_path / "empty"
    empty.mkdir()
    cli("curves", "--run", empty, "--out", place).failed(2, "is no run directory")
    cli("run", empty).failed(2, "is no prepared run")
    cli("cam", "--ckpt", empty, "--out", place).failed(2, "has no checkpoints")
    cli("data", "import", "mine", "--from", empty, "--data", place).failed(2, "empty")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"epochs = = 3", b"epochs = 3", b"epochs = 'three'\n"])
def test_recipe_file_that_is_damaged(cli, tmp_path, place, content):
    file = tmp_path / "mine.toml"
    file.write_bytes(content)
    cli("train", file, "--method", "ralr", "--runs", place).failed(2, "`")
    cli("schedule", file, "--out", place).failed(2, "`")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
def test_cuda_without_cuda(cli, recipe_file, baseline, squares_root, place):
    where, fragment = ["--data", squares_root, "--device", "cuda"], "torch sees no CUDA device here"
    cli("eval", "--ckpt", baseline, *where).failed(2, "`--device cuda`", fragment, "--device cpu")
    cli("cam", "--ckpt", baseline, "--out", place, *where).failed(2, fragment)
    cli("train", recipe_file, "--method", "ralr", "--runs", place, *where).failed(2, fragment)
    cli("pair", recipe_file, "--runs", place, *where).failed(2, fragment)
    prepared = cli("train", recipe_file, "--method", "ralr", "--prepare", "--runs", place.parent, *where)
    cli("run", prepared.succeeded().lines[0], *where).failed(2, fragment)


@pytest.mark.parametrize(
    ("settings", "fragment"),
    [
        (["probability=1.5"], "`probability` = 1.5 must be in [0, 1]"),
        (["probability=-0.1"], "`probability` = -0.1 must be in [0, 1]"),
        (["probability=nan"], "`probability` = nan must be in [0, 1]"),
        (["low=3", "high=2"], "`high` = 2.0 must be finite and at least `low` = 3.0"),
        (["low=nan"], "`low` = nan must be a positive, finite number"),
        (["high=inf"], "`high` = inf must be finite"),
        (["lr=nan"], "`lr` = nan must be a positive, finite number"),
        (["lr=-1"], "`lr` = -1.0 must be a positive, finite number"),
        (["epochs=0"], "`epochs` = 0 must be in [1, 100000]"),
        (["epochs=many"], "`epochs` = 'many' must be of type int, e.g. --set epochs=30"),
        (["epoch=3"], "unknown recipe setting `epoch`: did you mean `epochs`"),
        (["epochs"], "`--set epochs` has no `=`: write --set key=value"),
        (["=3"], "unknown recipe setting ``"),
        (["name=../../elsewhere"], "a recipe is named by its file"),
    ],
)
def test_setting_out_of_its_range(cli, recipe_file, squares_root, place, settings, fragment):
    options = [arg for setting in settings for arg in ("--set", setting)]
    where = ["--data", squares_root, "--runs", place]
    cli("train", recipe_file, "--method", "ralr", *options, *where).failed(2, fragment)
    cli("schedule", recipe_file, *options, "--out", place).failed(2, fragment)


@pytest.mark.parametrize(
    ("seeds", "fragment"),
    [
        ("3-1", "`--seeds 3-1`: 3-1 is no range"),
        ("0-1000000", "is no range of 1 to 10,000 seeds"),
        ("a", "must be a range such as 0-3 or a list such as 0,2,5"),
        ("", "must be a range such as 0-3"),
        ("1,,2", "must be a range such as 0-3"),
        ("-1", "must be a range such as 0-3"),
        ("99999999999999999999", "must be in [0, 2^63)"),
    ],
)
def test_seeds_that_are_none(cli, recipe_file, squares_root, place, seeds, fragment):
    where = ["--data", squares_root, "--runs", place]
    cli("train", recipe_file, "--method", "ralr", f"--seeds={seeds}", *where).failed(2, fragment)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_may_not_be_written(cli, recipe_file, baseline, squares_root, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    where = ["--data", squares_root]
    cli("train", recipe_file, "--method", "ralr", "--runs", closed, *where).failed(2, "ermission denied")
    cli("cam", "--ckpt", baseline, "--out", closed / "out", *where).failed(2, "ermission denied")
    assert cli("export", "--ckpt", baseline, "--out", closed / "w.safetensors").err.count("\n") == 1


# The system refuses files above a limit with an error of a full disk's kind. One process that has imported torch
# forks a child for each command.
NO_SPACE = textwrap.dedent(
    """
    import json, os, resource, sys
    import torch
    torch.set_num_threads(1)
    import ralr_viz.train.loop, ralr_viz.analysis.cam, ralr_viz.analysis.selection, ralr_viz.plots.cam
    from ralr_viz.cli.app import main
    torch.optim.SGD([torch.zeros(1)], lr=0.1)  # torch imports its compiler at the first optimizer

    for limit, command, log in json.loads(sys.argv[1]):
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 2)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            sys.argv = ["ralr-viz", *command]
            code = 99
            try:
                main()
            except SystemExit as ended:
                code = ended.code or 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """
)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and a limit on the size of files")
def test_no_space_is_one_line_and_loses_nothing(
    cli, recipe_file, baseline, squares_root, tmp_path, read_files
):
    data = ["--data", str(squares_root), "--device", "cpu", "-q"]
    train = ["train", str(recipe_file), "--method", "ralr", "--runs", str(tmp_path / "runs"), *data]
    resume = [*train, "--set", "epochs=2", "--resume"]
    cam = ["cam", "--ckpt", str(baseline), *data, "--out"]
    export = ["export", "--ckpt", str(baseline), "--out", str(tmp_path / "export" / "w.safetensors")]
    jobs = {
        "train": (20_000, train),
        "resume": (20_000, resume),
        "result": (2_000, [*cam, str(tmp_path / "result")]),
        "figure": (20_000, [*cam, str(tmp_path / "figure")]),
        "export": (20_000, export),
    }

    # a run of two epochs, as if it had been interrupted after the first
    (begun,) = [tmp_path / line for line in cli(*resume).succeeded().lines]
    (begun / "result.json").unlink()
    for name in ("last", "best"):
        (begun / "checkpoints" / f"{name}.pt").unlink()
    before = (begun / "checkpoints" / "prev.pt").read_bytes()

    logs = {name: tmp_path / f"{name}.log" for name in jobs}
    plan = [(limit, command, str(logs[name])) for name, (limit, command) in jobs.items()]
    done = subprocess.run(
        [sys.executable, "-c", NO_SPACE, json.dumps(plan)],
        capture_output=True, text=True, timeout=200, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    texts = {name: log.read_text() for name, log in logs.items()}
    assert done.stdout.split() == ["1"] * len(jobs), (done.stderr, texts)
    note, _, texts["resume"] = texts["resume"].partition("\n")
    assert "resuming from prev.pt, the state before: last.pt is missing" in note
    for name, text in texts.items():
        assert text.startswith("ralr-viz: cannot write `") and text.count("\n") == 1, (name, text)
        assert "is larger than is allowed here: raise the limit (`ulimit -f`)" in text
    assert texts["train"].endswith("--resume goes on from the last saved epoch\n")
    assert [name for name, text in texts.items() if "--resume" in text] == ["train", "resume"]
    assert f"`ralr-viz draw {tmp_path / 'figure' / 'cam'}` draws them" in texts["figure"]

    assert [name for name in read_files(tmp_path) if name.endswith(".tmp")] == []
    assert read_files(tmp_path / "export") == read_files(tmp_path / "result") == {}
    # the numbers were there before the figure that did not fit, and stay
    assert set(read_files(tmp_path / "figure")) == {"cam/arrays.npz", "cam/manifest.json"}
    assert (begun / "checkpoints" / "prev.pt").read_bytes() == before
    cli(*resume).succeeded()  # with space again, it goes on from there
    cli(*cam, str(tmp_path / "figure")).succeeded()  # and so does this
    assert (tmp_path / "figure" / "cam.pdf").exists()
    assert (begun / "result.json").exists()
