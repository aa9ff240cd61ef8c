"""Networks that are taken two by two: two states of a training, or two trainings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ralr_viz.comparison.comparison import Comparison
from ralr_viz.comparison.network import Network, label_checkpoints
from ralr_viz.errors import InputError
from ralr_viz.results.names import method_name
from ralr_viz.train.checkpoint import Checkpoint


class Pair(NamedTuple):
    """Two networks of a comparison.

    Attributes:
        name: As short as tells the pairs apart.
        states: What the two are.
        first, second: Their places in the comparison.
    """

    name: str
    states: tuple[str, str]
    first: int
    second: int


def pair_networks(comparison: Comparison, null_pairs: int = 0) -> tuple[Pair, ...]:
    """Every two networks in their order.

    Args:
        comparison: An even number of networks.
        null_pairs: So many at the end show what differs without the change that is studied: they are named so, and
            told apart from each other only.

    Raises:
        InputError: An odd number of networks, or no pair that is studied.
    """
    networks = comparison.networks
    if len(networks) % 2:
        raise InputError(
            f"every pair takes two networks, {len(networks)} make none: e.g. --ckpt RUN@200 --ckpt RUN@300"
        )
    count = len(networks) // 2
    if null_pairs >= count:
        raise InputError(f"`null_pairs` = {null_pairs} of {count} pairs must leave one that is studied")
    start = 2 * (count - null_pairs)
    named = _name(networks[:start], comparison.named)
    named += [(f"null: {name}", ends) for name, ends in _name(networks[start:], comparison.named)]
    return tuple(Pair(name, ends, 2 * i, 2 * i + 1) for i, (name, ends) in enumerate(named))


def _name(networks: Sequence[Network], named: bool) -> list[tuple[str, tuple[str, str]]]:
    """Of each two networks: what the pair is called, and what the two are."""
    checkpoints = [network.checkpoint for network in networks if network.checkpoint]
    if len(checkpoints) == len(networks) and not named:
        names, states = name_pairs(list(zip(checkpoints[::2], checkpoints[1::2], strict=True)))
    else:
        states = [(a.name, b.name) for a, b in zip(networks[::2], networks[1::2], strict=True)]
        names = [" → ".join(ends) for ends in states]
    return list(zip(names, states, strict=True))


def describe_pairs(comparison: Comparison, pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """For the provenance, an entry for each network."""
    return [
        {"pair": pair.name, "state": state} | _without_name(comparison.networks[i].facts())
        for pair in pairs
        for state, i in zip(pair.states, (pair.first, pair.second), strict=True)
    ]


def _without_name(facts: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if key != "name"}


def name_pairs(pairs: Sequence[tuple[Checkpoint, Checkpoint]]) -> tuple[list[str], list[tuple[str, str]]]:
    """Names of the rows, as short as tells them apart, and of the two states of each."""
    described = [_name_pair(earlier, later) for earlier, later in pairs]
    states = [names for _, _, names in described]
    for rows in ([short for short, _, _ in described], [long for _, long, _ in described]):
        if len(set(rows)) == len(rows):
            return rows, states
    return [f"{long} ({i})" for i, (_, long, _) in enumerate(described, 1)], states


def _name_pair(earlier: Checkpoint, later: Checkpoint) -> tuple[str, str, tuple[str, str]]:
    """Short name, long name and states: epochs of one training, else what the two trainings differ in."""
    pair = (earlier, later)
    who = [method_name(c.method) if c.method else c.path.stem for c in pair]
    when = [f"epoch {c.epoch}" if c.epoch is not None else c.path.stem for c in pair]
    if any(c.method is None for c in pair):
        names = label_checkpoints(pair, [c.label for c in pair])
        return " → ".join(names), " → ".join(names), (names[0], names[1])
    if who[0] != who[1]:
        short, when = " → ".join(who), [f"{w}, {e}" for w, e in zip(who, when, strict=True)]
    elif earlier.seed != later.seed:
        short, when = who[0], [f"seed {c.seed}, {e}" for c, e in zip(pair, when, strict=True)]
    else:
        short = who[0]
    seeds = "seed " if earlier.seed == later.seed else "seeds "
    seeds += " → ".join(dict.fromkeys(str(c.seed) for c in pair))
    if earlier.path != later.path:  # two trainings of one method, seed and epoch
        when = label_checkpoints(pair, when)
    return short, f"{short}, {seeds}", (when[0], when[1])
