"""Look into a network and leave no trace; the only place in the package that registers hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ralr_viz.errors import UnknownNameError
from ralr_viz.models.outputs import tensors_in
from ralr_viz.runtime.eager import uncompiled


@dataclass(frozen=True)
class Call:
    """One call of a captured module.

    Attributes:
        name: The module's name.
        outputs: What was kept of each tensor that the module returned: one for most modules, several for
            those that return a tuple, list or dict.
        is_tensor: The module returned a tensor, not a container of tensors.
        input: What was kept of the input; for `nn.Linear` only, else None.
    """

    name: str
    outputs: tuple[Any, ...]
    is_tensor: bool
    input: Any = None


def copy_detached(tensor: Tensor) -> Tensor:
    """A copy without graph, which later in-place operations (an in-place ReLU, say) cannot reach."""
    return tensor.detach().clone()


@contextmanager
def capture(
    model: nn.Module,
    modules: Mapping[str, nn.Module] | Iterable[str],
    *,
    keep: Callable[[Tensor], Any] = copy_detached,
) -> Iterator[list[Call]]:
    """Record what modules return while the block runs.

    The model's mode, ``requires_grad`` and ``.grad`` are not touched, and the hooks are gone after the block,
    also when it raises.

    Args:
        model: Any network.
        modules: Names as in `model.named_modules()`, or modules under names of the caller's.
        keep: Turns each output (and a Linear's input) into what is recorded. Give a reduction to keep a few
            numbers of a large activation.

    Yields:
        The calls in the order in which they finished; a module that runs twice is there twice. ``clear()``
        the list between batches.

    Raises:
        UnknownNameError: The model has no module of that name.

    Example:
        >>> with capture(model, ["layer3"]) as calls:
        ...     model(images)
        >>> calls[0].outputs[0].shape  # (n, channels, h, w)
    """
    named = dict(modules) if isinstance(modules, Mapping) else _find_modules(model, modules)
    calls: list[Call] = []

    def recorder(name: str) -> Callable[..., None]:
        def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            kept = None
            if isinstance(module, nn.Linear):
                kept = keep(args[0] if args else kwargs["input"])
            outputs = tuple(keep(tensor) for tensor in tensors_in(output))
            calls.append(Call(name, outputs, isinstance(output, Tensor), kept))

        return record

    handles: list[RemovableHandle] = []
    try:
        for name, module in named.items():
            handles.append(module.register_forward_hook(recorder(name), with_kwargs=True))
        with uncompiled():  # compiled parts do not see these hooks
            yield calls
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def copied_output(module: nn.Module) -> Iterator[None]:
    """Hand a copy of the module's output to whatever follows it in the network.

    What hooks registered earlier took from the module then survives in-place operations further on.
    """
    handle = module.register_forward_hook(lambda module, args, output: output.clone())
    try:
        yield
    finally:
        handle.remove()


class LentModule:
    """A module that a library may hook but not find in the network, where it could put another in its place.

    Hooks that the library would leave, where an error comes between, are gone when the module is given back.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._handles: list[RemovableHandle] = []

    def register_forward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """As `nn.Module.register_forward_hook`."""
        handle = self._module.register_forward_hook(hook)
        self._handles.append(handle)
        return handle

    def give_back(self) -> None:
        """Remove all hooks that are left."""
        for handle in self._handles:
            handle.remove()


@contextmanager
def frozen_parameters(model: nn.Module) -> Iterator[None]:
    """No parameter gradients for the block; ``requires_grad`` and ``.grad`` come back as they were."""
    state = [(p, p.requires_grad, p.grad) for p in model.parameters()]
    try:
        for parameter, _, _ in state:
            parameter.requires_grad_(False)
            parameter.grad = None  # out of reach of a zero_grad() in the block
        yield
    finally:
        for parameter, requires_grad, grad in state:
            parameter.requires_grad_(requires_grad)
            parameter.grad = grad


def _find_modules(model: nn.Module, names: Iterable[str]) -> dict[str, nn.Module]:
    known = dict(model.named_modules())
    found = {}
    for name in names:
        if name not in known:
            raise UnknownNameError("module", name, filter(None, known))
        found[name] = known[name]
    return found
