"""Other people's state dicts: found in their checkpoint, renamed to our keys, checked against the network."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ralr_viz.errors import CheckpointError
from ralr_viz.foreign import one_line
from ralr_viz.models.names import CONTAINERS, find_entries, translate
from ralr_viz.models.part import take_part, warn_of_averages
from ralr_viz.models.registry import build_model, model_names

# Classifiers beside the main one, which `build_model` leaves out of torchvision's GoogLeNet and Inception.
_AUXILIARY = ("AuxLogits.", "aux1.", "aux2.")

_OWN_NETWORK = "pass the network it was made for as `{}package.module:factory`"

Shape = tuple[int, ...]


def adapt_state_dict(
    state_dict: Mapping[str, Any], model: nn.Module, arch: str, *, leave: Collection[str] = ()
) -> dict[str, Tensor]:
    """Renames a published state dict so that ``model.load_state_dict(..., strict=True)`` takes it.

    Leading ``module.``, ``_orig_mod.``, ``model.`` and ``net.`` are removed; ``linear``, ``fc`` and
    ``classifier`` name the same layer; the names of the field's common wide ResNets and DenseNets are mapped;
    the counters ``num_batches_tracked``, which old checkpoints lack, are set to 0.

    Where that does not fit, the network may be a part of what was saved, as in a Lightning module with a loss, a metric
    or an average of the weights beside it: the entries below the one prefix that hold it whole are taken. What is left
    out is named in a warning.

    Args:
        state_dict: Names to tensors, or a mapping that holds them under ``state_dict``,
            ``model_state_dict``, ``model``, ``net`` or ``weights``; what lies beside these is ignored.
        model: The network to load them into; it is only read.
        arch: Its name, for messages.
        leave: Names of the network that are not wanted, such as those of its classifier: of them nothing is checked.

    Returns:
        The tensors of ``state_dict``, not copied, under exactly the names of ``model.state_dict()`` but ``leave``.

    Raises:
        CheckpointError: If there is no state dict, an entry is no dense real tensor, two entries mean the
            same, or a name or shape does not fit. Names the first such entry, in the order of the network,
            and the nearest architecture, or the number of classes if nothing else differs; or several prefixes
            that hold the whole network.
    """
    try:
        adapted = _adapt_whole(state_dict, model, arch, leave)
    except CheckpointError:
        part = take_part(state_dict, {k: v for k, v in model.state_dict().items() if k not in leave})
        if part is None:
            raise
        adapted = _adapt_whole(part, model, arch, leave)
    warn_of_averages(state_dict)
    return adapted


def _adapt_whole(
    state_dict: Mapping[str, Any], model: nn.Module, arch: str, leave: Collection[str]
) -> dict[str, Tensor]:
    tensors = find_tensors(state_dict)
    names = model.state_dict().keys()
    expected: dict[str, Tensor] = {k: v for k, v in model.state_dict().items() if k not in leave}
    adapted: dict[str, Tensor] = {}
    origin: dict[str, str] = {}  # as the file names it
    for key, tensor in tensors.items():
        name = translate(key, names)
        if name in leave:
            continue
        if name in origin:
            twins = f"{quote(origin[name])} and {quote(key)}"
            raise CheckpointError(f"{twins} in the checkpoint both mean `{name}` of `{arch}`: remove one")
        if arch.startswith("torchvision:") and name.startswith(_AUXILIARY) and name not in expected:
            continue
        adapted[name], origin[name] = tensor, key
    for name in filter(_is_counter, expected):
        adapted.setdefault(name, torch.zeros((), dtype=torch.int64))

    differences = _compare(_shapes(adapted), _shapes(expected))
    if not differences:
        return adapted
    name, found, wanted = differences[0]
    key = quote(origin.get(name, name))
    classes = _only_classes(differences)
    if classes is not None:
        raise CheckpointError(
            f"the checkpoint has {classes[0]} classes, the model {classes[1]} ({key} is {found}, expected "
            f"{wanted}): pass `--num-classes {classes[0]}` or the `--dataset` it was trained on"
        )
    if wanted is None:
        problem = f"{key} {found} is not part of it"
    elif found is None:
        problem = f"{key} {wanted} is missing"
    else:
        problem = f"{key} is {found}, expected {wanted}"
    option = (
        "--set model=" if leave else "--arch "
    )  # a training starts from them, whose network the recipe names
    raise CheckpointError(
        f"the checkpoint does not fit `{arch}`: {problem}; {_advise(tensors, arch, option)}"
    )


def guess_arch(state_dict: Mapping[str, Any]) -> tuple[str, int] | None:
    """Finds the one of `model_names` to which a state dict belongs.

    Args:
        state_dict: As for `adapt_state_dict`.

    Returns:
        The architecture and its number of classes if every name and shape fits, else None.

    Raises:
        CheckpointError: If there is no state dict in it.
    """
    tensors = find_tensors(state_dict)
    for arch in model_names():
        if _overlap(tensors, arch) == 1:
            rows = {t.shape[0] for k, t in tensors.items() if _is_classifier(translate(k, _own_shapes(arch)))}
            if len(rows) == 1:
                return arch, rows.pop()
    return None


def find_tensors(checkpoint: Any) -> dict[str, Tensor]:
    """Returns the state dict in a checkpoint; every key is a string and every value a dense real tensor."""
    checkpoint = find_entries(checkpoint)
    rule = f"a state dict, bare or under one of {', '.join(f'`{c}`' for c in CONTAINERS)}, is needed"
    if not isinstance(checkpoint, Mapping):
        raise CheckpointError(f"the checkpoint is of type {type(checkpoint).__name__}: {rule}")
    if not checkpoint:
        raise CheckpointError(f"the checkpoint holds no tensors: {rule}")
    for key, value in checkpoint.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            problem = f"is of type {type(value).__name__}" if isinstance(key, str) else "is not a name"
            raise CheckpointError(f"{quote(key)} in the checkpoint {problem}: {rule}")
        if value.layout is not torch.strided or value.is_quantized or value.is_complex():
            kind = str(value.dtype if value.layout is torch.strided else value.layout)
            raise CheckpointError(
                f"{quote(key)} in the checkpoint is a {kind} tensor: save it dense and real"
            )
    return dict(checkpoint)


def _compare(
    found: Mapping[str, Shape], wanted: Mapping[str, Shape]
) -> list[tuple[str, Shape | None, Shape | None]]:
    """Returns name, shape found and shape wanted (None: absent) where they differ, in the order wanted."""
    names = dict.fromkeys((*wanted, *found))
    return [(n, found.get(n), wanted.get(n)) for n in names if found.get(n) != wanted.get(n)]


def _only_classes(differences: list[tuple[str, Shape | None, Shape | None]]) -> tuple[int, int] | None:
    """Returns the numbers of rows, found and wanted, if they are all that differs and in one layer only."""
    rows = set()
    for name, found, wanted in differences:
        if not found or not wanted or found[1:] != wanted[1:]:
            return None
        rows.add((name.rpartition(".")[0], found[0], wanted[0]))
    return rows.pop()[1:] if len(rows) == 1 else None


def _advise(tensors: dict[str, Tensor], arch: str, option: str) -> str:
    """Names the nearest of our own architectures and what to pass, by an option that ends before the network's name."""
    guess = guess_arch(tensors)
    if guess is not None:
        name, classes = guess
        return f"nearest architecture: `{name}`, which it fits with {classes} classes; pass `{option}{name}`"
    overlaps = {name: _overlap(tensors, name) for name in model_names()}
    nearest = max(overlaps, key=lambda name: overlaps[name])
    if overlaps[nearest] == 0:
        return f"no known architecture is near; {_OWN_NETWORK.format(option)}"
    share = f"{'the same, ' if nearest == arch else ''}{100 * overlaps[nearest]:.0f} % of the tensors fit"
    return f"nearest architecture: `{nearest}` ({share}); {_OWN_NETWORK.format(option)}"


def _overlap(tensors: dict[str, Tensor], arch: str) -> float:
    """Returns the share in [0, 1] of the names in either that fit, whatever the number of classes.

    Counters are left out: whether a checkpoint has them says nothing about its architecture.
    """
    wanted = _own_shapes(arch)
    found = [(translate(key, wanted), tuple(tensor.shape)) for key, tensor in tensors.items()]
    found = [(name, shape) for name, shape in found if not _is_counter(name)]
    fitting = {name for name, shape in found if name in wanted and _fits(name, shape, wanted[name])}
    twins = len(found) - len({name for name, _ in found})
    return len(fitting) / (len({name for name, _ in found} | wanted.keys()) + twins)


def _fits(name: str, found: Shape, wanted: Shape) -> bool:
    first = 1 if _is_classifier(name) else 0
    return len(found) == len(wanted) and found[first:] == wanted[first:]


def _is_classifier(name: str) -> bool:
    return name.startswith("linear.")


@functools.cache
def _own_shapes(arch: str) -> dict[str, Shape]:
    """Returns the shapes of one of our networks, without counters; nothing is allocated."""
    with torch.device("meta"):
        shapes = _shapes(build_model(arch, 1).state_dict())
    return {name: shape for name, shape in shapes.items() if not _is_counter(name)}


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, Shape]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _is_counter(name: str) -> bool:
    return name.rpartition(".")[2] == "num_batches_tracked"


def quote(key: object) -> str:
    """Puts a key of an untrusted file in backticks."""
    return f"`{one_line(key)}`"
