"""``ralr-viz recipes | train | pair``, and the execution of run directories that `run` shares."""

from __future__ import annotations

import contextlib
import functools
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_json, print_line, print_note
from ralr_viz.errors import DivergedError, InterruptedRunError, StorageError
from ralr_viz.nouns.fork import DETERMINISTIC

if TYPE_CHECKING:
    from ralr_viz.runtime.ranks import Ranks

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
Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where run directories are written.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with an unfinished run; starts afresh where there is none.")
]
Deterministic = Annotated[bool, typer.Option("--deterministic/--fast", help=DETERMINISTIC.help)]
Compile = Annotated[
    bool, typer.Option("--compile", help="torch.compile the network: slower start, faster epochs.")
]
Prepare = Annotated[bool, typer.Option("--prepare", help="Only write the run directory, for `ralr-viz run`.")]


def recipes(as_json: options.Json = False) -> None:
    """List the packaged recipes and what each reproduces."""
    from ralr_viz.recipe import load_recipe, recipe_names

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
    settings: options.Settings = None,
    allow: options.Allow = None,
    runs: Runs = Path("runs"),
    data: options.Data = None,
    resume: Resume = False,
    deterministic: Deterministic = True,
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
    settings: options.Settings = None,
    allow: options.Allow = None,
    runs: Runs = Path("runs"),
    data: options.Data = None,
    resume: Resume = False,
    deterministic: Deterministic = True,
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
    from ralr_viz.data import data_root
    from ralr_viz.recipe import load_recipe
    from ralr_viz.train.methods import check_runnable, prepare_methods
    from ralr_viz.train.setting import Wish

    overrides = list(settings or [])
    if precision != "auto":
        overrides.append(f"precision={precision}")

    def prepare_all() -> list[Path]:
        recipe = load_recipe(recipe_name, overrides)
        chosen = options.parse_seeds(seeds) if seeds is not None else [seed]
        check = functools.partial(check_runnable, recipe, data_root(data), device, compile)
        return prepare_methods(
            recipe, methods, chosen, runs, resume=resume, force=force, check=None if prepare else check,
            wish=None if prepare else Wish(device, compile, deterministic),
        )  # fmt: skip

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
    from ralr_viz.runtime.ranks import PeerError
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
    """`train_all`, shown on stderr; the directories on stdout."""
    from ralr_viz.cli.training_progress import show_training
    from ralr_viz.data import data_root
    from ralr_viz.train.methods import train_all

    speaks = ranks.rank == 0
    quiet = quiet or not speaks
    for ended in train_all(
        directories,
        data_root(data),
        functools.partial(show_training, quiet=quiet),
        note=print_note,  # to the quiet, too: what a training began from is no progress
        ranks=ranks,
        device=device,
        deterministic=deterministic,
        compile=compile,
    ):
        if not ended.diverged and not quiet:
            print_note(ended.describe())
        if echo and speaks:
            print_line(ended.directory)
