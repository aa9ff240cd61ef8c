"""What the user calls the inputs of a command."""

from __future__ import annotations

from collections.abc import Sequence

from ralr_viz.errors import InputError


def check_labels(labels: Sequence[str], inputs: int) -> list[str]:
    """The labels, one for each input.

    Raises:
        InputError: Another number of labels, an empty one, or one twice.
    """
    if len(labels) != inputs:
        raise InputError(
            f"`--label` is given {len(labels)} times for {inputs} inputs: name each, in their order"
        )
    for i, label in enumerate(labels):
        if not label.strip():
            raise InputError(f"`--label {label!r}` is empty: give a name")
        if label in labels[:i]:
            raise InputError(f"`--label {label}` is given twice: names must differ")
    return list(labels)
