import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from PIL import Image

from ralr_viz import __version__
from ralr_viz.cli import app as app_module
from ralr_viz.cli.app import _memory_remedy, app

HEAVY = ("torch", "torchvision", "matplotlib", "pandas", "sklearn", "scipy", "numpy", "PIL")
FULL = Path("/dev/full")
COMMANDS = (
    *(
        "demo",
        "recipes",
        "train",
        "pair",
        "run",
        "eval",
        "translate",
        "bleu",
        "attention",
        "schedule",
        "activations",
        "cam",
        "curves",
        "embed",
    ),
    *(
        "figures",
        "draw",
        "data",
        "export",
        "why",
        "effect",
        "fork",
        "movement",
        "learning",
        *("detect", "detection-errors"),
        "average",
        "over-time",
        "dose",
        "barrier",
        "sharpness",
        "spectrum",
        "noise-scale",
    ),
    *(
        "distance",
        "collapse",
        "similarity",
        "localisation",
        "calibration",
        "landscape",
        "study",
        "report",
        "verify",
    ),
)


def test_module_prints_the_version(shell):
    outcome = shell("--version")
    assert (outcome.code, outcome.out, outcome.err) == (0, f"ralr-viz {__version__}\n", "")


def test_help_lists_every_command_and_imports_nothing_heavy():
    code = (
        "import sys\nfrom ralr_viz.cli.app import main\nsys.argv = ['ralr-viz', '--help']\n"
        "try:\n    main()\nexcept SystemExit as ended:\n    assert ended.code == 0\n"
        f"print('LOADED', [name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "LOADED []"
    for command in COMMANDS:
        assert f" {command} " in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(cli, command):
    outcome = cli(command, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert f"ralr-viz {command}" in outcome.out


def test_help_keeps_the_defaults_in_brackets(cli):
    words = " ".join(cli("eval", "--help").out.replace("│", " ").split())
    assert "[default: $RALR_VIZ_DATA, else the user's cache]" in words


@pytest.mark.parametrize(
    "environment",
    [
        {"TERM": "dumb", "COLUMNS": "80"},
        {"TERM": "", "COLUMNS": "many"},
        {"PYTHONIOENCODING": "ascii", "NO_COLOR": "1"},
    ],
)
def test_help_survives_a_bad_terminal(shell, environment):
    outcome = shell("train", "--help", **environment)
    assert (outcome.code, outcome.err) == (0, "")
    assert "--method" in outcome.out


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_show_completion_prints_the_shells_script(cli, monkeypatch, name):
    monkeypatch.setenv("SHELL", f"/bin/{name}")
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    monkeypatch.setattr(
        app_module, "_command", app_module._command.__wrapped__
    )  # Typer asks when it makes one
    outcome = cli("--show-completion", name)
    assert outcome.code == 0
    assert "_RALR_VIZ_COMPLETE" in outcome.out


def test_completion_completes_commands_and_options(shell):
    asked = {"_RALR_VIZ_COMPLETE": "complete_bash", "COMP_CWORD": "1", "COMP_WORDS": "ralr-viz sch"}
    assert shell(**asked).out.split() == ["schedule"]
    asked |= {"COMP_CWORD": "2", "COMP_WORDS": "ralr-viz train --meth"}
    assert shell(**asked).out.split() == ["--method"]


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["trian"], ["no such command 'trian'", "`ralr-viz --help`"]),
        (["--bogus"], ["no such option: --bogus"]),
        (["eval"], ["missing option '--ckpt'", "`ralr-viz eval --help`"]),
        (["train"], ["missing argument 'RECIPE'"]),
        (["train", "cifar10-resnet20"], ["missing option '--method'"]),
        (["train", "cifar10-resnet20", "--method", "ralr", "--set"], ["'--set' requires an argument"]),
        (["pair", "cifar10-resnet20", "ralr"], ["unexpected extra argument", "ralr"]),
        (["eval", "--ckpt", "x", "--limit", "0"], ["invalid value for '--limit'"]),
        (["eval", "--ckpt", "x", "--batch", "many"], ["invalid value for '--batch'"]),
        (["train", "x", "--method", "ralr", "--seed", "-1"], ["invalid value for '--seed'"]),
        (["cam", "--ckpt", "x"], ["missing option '--out'"]),
        (["curves", "--out", "x"], ["missing option '--run'"]),
        (["data", "imprt"], ["no such command 'imprt'", "`ralr-viz data --help`"]),
    ],
)
def test_wrong_usage_is_one_line(cli, arguments, fragments):
    cli(*arguments).failed(2, *fragments)


def test_wrong_order_of_options_does_not_matter(cli):
    cli("eval", "--json", "--split", "val", "--ckpt", "nothing", "--device", "cpu").failed(2, "`nothing`")


def test_main_turns_an_unforeseen_system_error_into_one_line(cli, monkeypatch):
    name = "x" * 300 + ".toml"
    cli("train", name, "--method", "ralr").failed(2, name, "file name too long")

    def fail(*_):
        raise OSError(5, "Input/output error", "disk")

    monkeypatch.setattr("ralr_viz.recipe.load_recipe", fail)
    cli("train", "x", "--method", "ralr").failed(1, "`disk`: input/output error")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried\nto allocate")])
def test_main_turns_a_lack_of_memory_into_one_line(cli, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr("ralr_viz.recipe.load_recipe", fail)
    cli("train", "x", "--method", "ralr").failed(
        1, "out of memory: lower the batch by --set batch=N or choose"
    )


def _commands(command, path=()):
    for name, child in getattr(command, "commands", {}).items():
        yield from _commands(child, (*path, name))
    if not hasattr(command, "commands"):
        yield path, {option for parameter in command.params for option in parameter.opts}


_COMMANDS = dict(_commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", _COMMANDS, ids=" ".join)
def test_lack_of_memory_names_only_options_that_the_command_has(monkeypatch, path):
    monkeypatch.setattr("sys.argv", ["ralr-viz", *path, "--limit", "4"])
    remedy = _memory_remedy()
    assert remedy
    assert set(re.findall(r"--[a-z-]+", remedy)) <= _COMMANDS[path], remedy


def test_import_that_runs_out_of_memory_is_told_of_workers(cli, monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr("ralr_viz.data.import_dataset", fail)
    cli("data", "import", "pets", "--from", "x").failed(1, "out of memory: lower --workers\n")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ImportError("libtorch_cpu.so: failed to map segment from shared object"),
            "load `libtorch_cpu.so`: raise",
        ),
        (
            ImportError("IMPORTANT:\nlibblas-1a.so.3: failed to map segment from shared object"),
            "`libblas-1a.so.3`",
        ),
        (
            OSError("/x/liba.so: cannot allocate memory in static TLS block"),
            "too little memory to load `liba.so`",
        ),
        (OSError(12, "Cannot allocate memory"), "too little memory to start: raise the limit (`ulimit -v`)"),
        (SystemError("error return without exception set"), "too little memory to start"),
    ],
)
def test_main_turns_a_library_that_finds_no_memory_into_one_line(cli, monkeypatch, error, message):
    def fail(*_):
        raise error

    monkeypatch.setattr("ralr_viz.recipe.load_recipe", fail)
    cli("train", "x", "--method", "ralr").failed(1, message)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on memory")
def test_import_of_torch_under_a_small_limit_is_one_line():
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (600 * 2**20,) * 2)\n"
        "from ralr_viz.cli.app import main\nsys.argv = ['ralr-viz', 'eval', '--ckpt', 'x']\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("ralr-viz: too little memory to load `lib") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("kind", [RuntimeError, ImportError, SystemError])
def test_main_does_not_hide_a_bug(monkeypatch, kind):
    def fail(*_):
        raise kind("a bug")

    monkeypatch.setattr("ralr_viz.recipe.load_recipe", fail)
    monkeypatch.setattr("sys.argv", ["ralr-viz", "train", "x", "--method", "ralr"])
    from ralr_viz.cli.app import main

    with pytest.raises(kind, match="a bug"):
        main()


def test_exit_code_of_a_command_reaches_the_shell(cli, squares_root, tmp_path):
    shutil.copytree(squares_root / "two", tmp_path / "two")
    assert cli("data", "doctor", "two", "--data", tmp_path, "-q").code == 0
    (tmp_path / "two" / "train_labels.npy").unlink()
    outcome = cli("data", "doctor", "two", "--data", tmp_path, "-q")
    assert (outcome.code, outcome.err) == (1, "")
    assert outcome.out.startswith("FAIL")


def test_ctrl_c_outside_of_a_training_is_130(cli, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("ralr_viz.recipe.load_recipe", interrupt)
    cli("train", "x", "--method", "ralr").failed(130, "interrupted")


def test_process_fails_without_a_traceback(shell, tmp_path):
    shell("data", "import", "mine", "--from", tmp_path / "nothing").failed(2, str(tmp_path / "nothing"))


def test_closed_pipe_ends_without_a_traceback():
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ralr_viz", "--help"], stdout=writer, stderr=subprocess.PIPE, timeout=60
        )
    finally:
        os.close(writer)
    assert done.stderr == b""
    assert done.returncode == 1  # as typer and click do


@pytest.mark.skipif(not FULL.exists(), reason="a device that is always full")
def test_full_stdout_is_one_line():
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ralr_viz", "--help"], stdout=full, stderr=subprocess.PIPE, timeout=60
        )
    assert (done.returncode, done.stderr) == (1, b"ralr-viz: no space left on device\n")


def test_closed_streams_do_not_end_a_command(tmp_path):
    for folder in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / "tree" / folder).mkdir(parents=True)
        Image.new("RGB", (8, 8), f"#{folder[-1] * 6}").save(tmp_path / "tree" / folder / "0.png")
    command = f"{sys.executable} -m ralr_viz data import mine --from tree --data root >&- 2>&-"
    assert subprocess.run(command, shell=True, cwd=tmp_path, timeout=60).returncode == 0
    assert (tmp_path / "root" / "mine" / "store.json").exists()


def test_app_has_exactly_the_commands_of_the_readme():
    names = [c.name for c in app.registered_commands] + [g.name for g in app.registered_groups]
    assert sorted(map(str, names)) == sorted(COMMANDS)
