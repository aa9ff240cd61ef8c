"""The one setting of a comparison: where, in which precision and how its runs are trained.

Runs that share a baseline are compared with it, whatever amplifies them. Before the first of them their setting is
chosen and written beside the baseline's methods, as ``runs/<recipe>/settings.json``; all later ones take it. A folder
that was begun without that file goes on without. Imports no torch, so that what differs is refused at once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ralr_viz.errors import InputError
from ralr_viz.recipe import Recipe, run_folder
from ralr_viz.results.document import parse_json
from ralr_viz.results.storage import storage_error, write_json
from ralr_viz.train.lock import try_lock
from ralr_viz.train.prepare import has_progress

FILE = "settings.json"
# Seconds between two looks whether another process has chosen.
_PATIENCE = 0.2


@dataclass(frozen=True)
class Wish:
    """What a command asks for.

    Attributes:
        device: ``auto``, or a device, of which the kind counts.
        compile: Whether to compile; what is not asked for is as recorded.
        deterministic: False for ``--fast``.
    """

    device: str = "auto"
    compile: bool = False
    deterministic: bool = True


@dataclass(frozen=True)
class Setting:
    """What all runs of a comparison have.

    Attributes:
        device: ``cpu``, ``cuda`` or ``mps``.
        precision: Never ``auto``.
        threads: CPU threads of torch.
        compile, deterministic: See `ralr_viz.runtime.device.Runtime`.
        rates: Measured samples a second in each precision that there was a choice of.
        of: What was measured: data set, model and batch.
    """

    device: str
    precision: str
    threads: int
    compile: bool
    deterministic: bool
    rates: dict[str, float] = field(default_factory=dict)
    of: tuple[str, str, int] = ("", "", 0)

    def check(self, wish: Wish, source: Path) -> None:
        """Refuse what is asked for where it is not what was recorded.

        Raises:
            InputError: So it is.
        """
        kind = wish.device.partition(":")[0]
        if kind not in ("auto", self.device):
            _refuse(source, f"device {self.device}", f"--device {self.device}")
        if wish.compile and not self.compile:
            _refuse(source, "no --compile", "leave it out")
        if self.device == "cuda" and self.deterministic and not wish.deterministic:
            _refuse(source, "deterministic kernels", "leave out --fast")


def _refuse(source: Path, recorded: str, remedy: str) -> None:
    raise InputError(
        f"the runs of one comparison have one setting, and these have {recorded} (`{source}`): {remedy}, or choose "
        "another --runs folder"
    )


def setting_path(directory: Path, recipe: Recipe, method: str, seed: int) -> Path | None:
    """Where the setting of a run is kept; None for a directory that is not laid out as `prepare_run` does."""
    folder, path = run_folder(recipe, method, seed), directory.absolute()
    if path.parts[-len(folder.parts) :] != folder.parts:
        return None
    return setting_of(path.parents[len(folder.parts) - 1], recipe)


def setting_of(runs: Path, recipe: Recipe) -> Path:
    """Where the setting of all runs is kept that are compared with a recipe's baseline."""
    return runs / run_folder(recipe, "baseline", 0).parents[1] / FILE


def read_setting(path: Path) -> Setting | None:
    """What is kept; None where nothing is.

    Raises:
        InputError: It is damaged.
    """
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
        return Setting(**(found | {"of": tuple(found["of"])}))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"`{path}` is damaged ({type(error).__name__}): restore it, or choose another --runs folder"
        ) from None


def settle(
    path: Path, directory: Path, wish: Wish, choose: Callable[[Sequence[Setting]], Setting]
) -> Setting | None:
    """The setting of a run's comparison, chosen and kept where it is the first.

    Args:
        path: See `setting_path`.
        directory: Of the run.
        wish: What is asked for.
        choose: Called with what is kept of other comparisons in the folder of runs, so that one kind of training is
            timed once. Others who want to choose wait meanwhile.

    Returns:
        None where runs were begun before there was such a file.

    Raises:
        InputError: See `Setting.check`.
        StorageError: It cannot be written.
    """
    with _one_at_a_time(path.parents[1]):
        kept = read_setting(path)
        if kept is None:
            if _has_begun(path.parent, directory.absolute().parents[1]):
                return None
            others = [read_setting(found) for found in sorted(path.parents[1].glob(f"*/{FILE}"))]
            kept = choose([other for other in others if other is not None])
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, asdict(kept))
    kept.check(wish, path)
    return kept


def check_beside(path: Path, wish: Wish, deleted: Collection[Path] = ()) -> None:
    """`Setting.check` before anything is written: of runs that were begun, those apart that are to be deleted."""
    if _has_begun(path.parent, but=deleted) and (kept := read_setting(path)) is not None:
        kept.check(wish, path)


def forget_setting(path: Path) -> None:
    """Let it be chosen anew, where no run that it is of is left."""
    if not _has_begun(path.parent):
        path.unlink(missing_ok=True)


def _has_begun(*folders: Path, but: Collection[Path] = ()) -> bool:
    """Whether training has left anything in a run directory of these folders of a recipe."""
    return any(has_progress(run) for folder in folders for run in folder.glob("*/seed*") if run not in but)


@contextmanager
def _one_at_a_time(runs: Path) -> Iterator[None]:
    """Wait until no other process chooses a setting in this folder of runs."""
    try:
        descriptor = os.open(runs, os.O_RDONLY)  # the folder itself: a file in it would look like a recipe's
    except OSError as error:
        raise storage_error(runs, error) from error
    try:
        while not try_lock(descriptor, runs):
            time.sleep(_PATIENCE)
        yield
    finally:
        os.close(descriptor)
