"""Read ``[decision]`` of a study's file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.study.rule import OUTCOMES, Contrast, Family, Rule

if TYPE_CHECKING:
    from ralr_viz.study.grid import Cell

_NAMES = ("outcome", "baseline", "support", "collapse", "equivalence", "resolution", "families")
_FAMILY = ("name", "level", "tests")
_EXAMPLE = '{ name = "Mechanism", level = 0.025, tests = [["RALR", "Baseline"]] }'


def read_rule(entry: Any, cells: Sequence[Cell], source: str) -> Rule:
    """The rule of a study that decides.

    Args:
        entry: The table ``[decision]``.
        cells: Of the study, whose labels the rule uses.
        source: Names the file in errors.

    Raises:
        InputError: Something is missing, unknown or contradictory.
    """
    where = f"[decision] in {source}"
    if not isinstance(entry, dict):
        raise InputError(f"`{source}`: `decision` must be a table, e.g. [decision]")
    for name in entry:
        if name not in _NAMES:
            raise UnknownNameError("entry of [decision]", name, _NAMES, f"(in {source})")
    known = {cell.name: cell for cell in cells}
    families = entry.get("families")
    if not isinstance(families, list) or not families:
        raise InputError(f"`{where}` needs `families`, a list of tables such as {_EXAMPLE}")
    tests = tuple(_read_family(family, known, where) for family in families)
    if len({family.name for family in tests}) < len(tests):
        raise InputError(f"`{where}`: two families have one name: give each its own")
    if entry.get("outcome") not in OUTCOMES:
        raise InputError(
            f"`{where}` needs `outcome`, one of {', '.join(OUTCOMES)}: what the runs are judged by"
        )
    baseline, support = (_text(entry, name, where) for name in ("baseline", "support"))
    _check_arm(baseline, known, where)
    if support not in {family.name for family in tests}:
        raise UnknownNameError(
            "family", support, [family.name for family in tests], f"(`support` of {where})"
        )
    numbers = {name: _number(entry, name, where) for name in ("collapse", "equivalence", "resolution")}
    named = {label for family in tests for contrast in family.contrasts for label in contrast} | {baseline}
    arms = [cell for cell in cells if cell.name in named]
    if len({cell.seeds for cell in arms}) > 1:
        raise InputError(
            f"`{where}`: its arms have different seeds: they are compared seed by seed, give them the same"
        )
    latest = max(cell.stage for cell in arms)
    if any(cell.stage <= latest for cell in cells if cell.name not in named):
        raise InputError(
            f"`{where}`: an arm that is in no test is trained before those that are: give it a later `stage`"
        )
    protocol = {
        "decision": {name: entry[name] for name in _NAMES},
        "arms": {cell.name: f"{cell.method} {cell.recipe.key(cell.method)}" for cell in arms},
        "seeds": list(arms[0].seeds),
    }
    return Rule(
        entry["outcome"],
        baseline,
        tests,
        support,
        **numbers,
        arms=tuple(cell.name for cell in arms),
        seeds=arms[0].seeds,
        protocol=protocol,
    )


def _read_family(entry: Any, known: Mapping[str, Cell], where: str) -> Family:
    if not isinstance(entry, dict) or set(entry) != set(_FAMILY):
        raise InputError(f"`{where}`: each of `families` needs {', '.join(_FAMILY)}, such as {_EXAMPLE}")
    name, level, tests = _text(entry, "name", where), _number(entry, "level", where), entry["tests"]
    if level >= 1:
        raise InputError(f"`{where}`: `level` = {level} must be in (0, 1): e.g. 0.025")
    pairs = isinstance(tests, list) and tests and all(isinstance(t, list) and len(t) == 2 for t in tests)
    if not pairs:
        raise InputError(f"`{where}`: `tests` of `{name}` must be pairs of labels, such as {_EXAMPLE}")
    for label in (label for test in tests for label in test):
        _check_arm(label, known, where)
    return Family(name, level, tuple(Contrast(*test) for test in tests))


def _check_arm(label: Any, known: Mapping[str, Cell], where: str) -> None:
    if label not in known:
        raise UnknownNameError("arm", str(label), list(known), f"({where})")


def _text(entry: Mapping[str, Any], name: str, where: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"`{where}` needs the text `{name}`: see the packaged study `decide`")
    return value


def _number(entry: Mapping[str, Any], name: str, where: str) -> float:
    value = entry.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise InputError(
            f"`{where}`: `{name}` = {value!r} must be a positive number: see the packaged study `decide`"
        )
    return float(value)
