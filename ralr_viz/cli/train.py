"""``ralr-viz recipes | train | pair``, and the execution of run directories that `run` shares."""

from __future__ import annotations

import contextlib
import functools
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_json, print_line, print_note
from ralr_viz.errors import DivergedError, InterruptedRunError, StorageError

if TYPE_CHECKING:
    from ralr_viz.train.ranks import Ranks
    from ralr_viz.train.recipe import Recipe

RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="Packaged recipe (see `ralr-viz recipes`) or a TOML file.")
]
Method = Annotated[
    str,
    typer.Option(
        "--method",
        help="baseline, ralr, scaled (the constant that RALR's factors have on average), matched (the mean of this "
        "seed's own draws between two decays) or noise (as timm's).",
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Training seed.")]
Seeds = Annotated[
    str | None, typer.Option("--seeds", metavar="A-B", help="Several seeds instead of --seed: 0-3 or 0,2,5.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe setting; repeatable."),
]
Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where run directories are written.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with an unfinished run; starts afresh where there is none.")
]
Deterministic = Annotated[bool, typer.Option("--deterministic", help="Only deterministic kernels on CUDA.")]
Compile = Annotated[
    bool, typer.Option("--compile", help="torch.compile the network: slower start, faster epochs.")
]
Prepare = Annotated[bool, typer.Option("--prepare", help="Only write the run directory, for `ralr-viz run`.")]


def recipes(as_json: options.Json = False) -> None:
    """List the packaged recipes and what each reproduces."""
    from ralr_viz.train.recipe import load_recipe, recipe_names

    rows = [load_recipe(name) for name in recipe_names()]
    if as_json:
        print_json([{"name": r.name, **r.to_dict()} for r in rows])
        return
    width = max(len(r.name) for r in rows)
    for r in rows:
        print_line(f"{r.name:<{width}}  {r.description}")


def train(
    recipe: RecipeName,
    method: Method,
    seed: Seed = 0,
    seeds: Seeds = None,
    settings: Settings = None,
    runs: Runs = Path("runs"),
    data: options.Data = None,
    resume: Resume = False,
    deterministic: Deterministic = False,
    compile: Compile = False,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    prepare: Prepare = False,
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Train one method of a recipe and save its checkpoints.

    Example: ralr-viz train cifar10-resnet20-short --method ralr --seeds 0-3 --set epochs=30
    """
    _train_methods(
        recipe, [method], seed, seeds, settings, runs, data, resume, deterministic, compile, device, precision,
        prepare, force, quiet,
    )  # fmt: skip


def pair(
    recipe: RecipeName,
    control: Annotated[bool, typer.Option("--control", help="Train the `scaled` control too.")] = False,
    seed: Seed = 0,
    seeds: Seeds = None,
    settings: Settings = None,
    runs: Runs = Path("runs"),
    data: options.Data = None,
    resume: Resume = False,
    deterministic: Deterministic = False,
    compile: Compile = False,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    prepare: Prepare = False,
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Train baseline, then RALR, then (with --control) the constant larger learning rate.

    The arms share initial weights, split, data order and augmentation.

    Example: ralr-viz pair cifar10-resnet20-short --control
    """
    methods = ["baseline", "ralr"] + (["scaled"] if control else [])
    _train_methods(
        recipe, methods, seed, seeds, settings, runs, data, resume, deterministic, compile, device, precision,
        prepare, force, quiet,
    )  # fmt: skip


def _train_methods(
    recipe_name: str,
    methods: list[str],
    seed: int,
    seeds: str | None,
    settings: list[str] | None,
    runs: Path,
    data: Path | None,
    resume: bool,
    deterministic: bool,
    compile: bool,
    device: str,
    precision: str,
    prepare: bool,
    force: bool,
    quiet: bool,
) -> None:
    from ralr_viz.train.prepare import finished_result, prepare_run
    from ralr_viz.train.recipe import load_recipe, run_folder

    overrides = list(settings or [])
    if precision != "auto":
        overrides.append(f"precision={precision}")

    def prepare_all() -> list[Path]:
        recipe = load_recipe(recipe_name, overrides)
        chosen = options.parse_seeds(seeds) if seeds is not None else [seed]
        arms = [(method, s) for s in chosen for method in methods]
        folders = [runs / run_folder(recipe, method, s) for method, s in arms]
        if not prepare and (force or any(finished_result(folder) is None for folder in folders)):
            check_runnable(recipe, data, device, compile)
        return [prepare_run(recipe, method, s, runs, resume=resume, force=force) for method, s in arms]

    with joined_ranks(device) as ranks:
        directories = ranks.lead(prepare_all)
        if not prepare:
            try:
                execute_all(directories, data, device, deterministic, compile, quiet, ranks)
            except StorageError as error:
                raise StorageError(f"{error}; --resume goes on from the last saved epoch") from error
        elif ranks.rank == 0:
            for directory in directories:
                print_line(directory)


@contextlib.contextmanager
def joined_ranks(device: str) -> Iterator[Ranks]:
    """The processes of `torchrun`, if any, of which rank 0 speaks for all, before any of them ends."""
    from ralr_viz.train.ranks import PeerError
    from ralr_viz.train.torchrun import join_ranks

    try:
        with join_ranks(device) as ranks:
            try:
                yield ranks
            except (DivergedError, InterruptedRunError) as error:  # alike in all ranks
                if ranks.size > 1:
                    # torchrun terminates those that are slower to leave; they have an exit code to give
                    signal.signal(signal.SIGTERM, signal.SIG_IGN)
                    if ranks.rank == 0:
                        print_note(f"ralr-viz: {error}")
                raise
    except (DivergedError, InterruptedRunError, PeerError) as error:
        if ranks.size == 1 or (ranks.rank == 0 and isinstance(error, PeerError)):
            raise
        raise SystemExit(error.exit_code) from None


def check_runnable(recipe: Recipe, data: Path | None, device: str, compile: bool) -> None:
    """Refuse what cannot be trained here before a run directory is made, or deleted by ``--force``.

    Raises:
        InputError: The data set, the network or the device is not there.
    """
    from ralr_viz.data import data_root, load_dataset
    from ralr_viz.models import build_model
    from ralr_viz.train.runtime import resolve_runtime

    resolve_runtime(device, recipe.precision, compile=compile)
    dataset = load_dataset(recipe.dataset, data_root(data))
    build_model(recipe.model, dataset.num_classes)


def execute_all(
    directories: Sequence[Path],
    data: Path | None,
    device: str,
    deterministic: bool,
    compile: bool,
    quiet: bool,
    ranks: Ranks,
    echo: bool = True,
) -> None:
    """Train each directory in turn; a divergence is a result, and the others still run."""
    from ralr_viz.cli.training_progress import show_training
    from ralr_viz.data import data_root
    from ralr_viz.train.loop import train_run
    from ralr_viz.train.prepare import finished_result

    root, speaks = data_root(data), ranks.rank == 0
    quiet = quiet or not speaks
    diverged: list[str] = []
    for directory in directories:
        result = ranks.lead(functools.partial(finished_result, directory))
        already = result is not None
        if result is None:
            try:
                with show_training(directory, quiet=quiet) as report:
                    result = train_run(
                        directory,
                        root,
                        device=device,
                        deterministic=deterministic,
                        compile=compile,
                        report=report,
                        note=functools.partial(_note, directory),
                        ranks=ranks,
                    )
            except DivergedError as error:
                result = {"status": "diverged", "message": str(error)}
        if result["status"] == "diverged":
            diverged.append(f"{directory} diverged{' before' * already}: {result.get('message', '')}")
        else:
            _say(f"{directory}{' is finished already' * already}: {_summary(result)}", quiet)
        if echo and speaks:
            print_line(directory)
    if diverged:
        raise DivergedError("; ".join(diverged))


def _summary(result: dict[str, Any]) -> str:
    """What is known of a finished run; of one that somebody's own loop wrote, that may be little."""
    test, best = _number(result, "last", "test_acc"), _number(result, "best", "test_acc")
    rate, seconds = _number(result, "images_per_second"), _number(result, "seconds")
    parts = [f"{result.get('epochs')} epochs"]
    if test is not None:
        parts.append(f"test accuracy {test:.2f} % (last epoch)")
    if best is not None and _number(result, "best", "val_acc") is not None:
        parts.append(f"{best:.2f} % at the best validation loss (epoch {result['best'].get('epoch')})")
    if rate is not None and seconds is not None:
        parts.append(f"{rate:.0f} images/s, {seconds:.0f} s of training")
    return ", ".join(parts)


def _number(result: dict[str, Any], *keys: str) -> float | None:
    value: Any = result
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, int | float) else None


def _note(directory: Path, line: str) -> None:
    """Said to the quiet, too: what a training began from is no progress."""
    print_note(f"{directory}: {line}")


def _say(line: str, quiet: bool) -> None:
    if not quiet:
        print_note(line)
