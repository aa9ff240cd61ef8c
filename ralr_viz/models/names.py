"""Names in other people's state dicts: where the dict lies in a checkpoint, and which entry means which of ours."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

CONTAINERS = ("state_dict", "model_state_dict", "model", "net", "weights")
_MAX_NESTING = 8  # a pickled dict may contain itself

# Of DataParallel and DistributedDataParallel, of torch.compile, and of a Lightning module's attribute.
_WRAPPERS = ("module.", "_orig_mod.", "model.", "net.")

_CLASSIFIERS = ("linear", "fc", "classifier")

# Stage and block of each of EfficientNet-Lite0's 16 blocks.
_LITE0_BLOCKS = tuple(
    f"{stage}.{block}" for stage, blocks in enumerate((1, 2, 2, 3, 3, 4, 1), 1) for block in range(blocks)
)

# Tried key by key, for keys that the network does not have. Only layouts of the same computation: kuangliu's
# DenseNets, say, put the new channels first, so that equal shapes there mean another network.
_LAYOUTS: tuple[tuple[tuple[str, str], ...], ...] = (
    # wide ResNets of xternalz and bearpaw
    ((r"^block(\d)\.layer\.", r"layer\1."), (r"\.convShortcut\.", ".shortcut.")),
    # DenseNets of andreasveit (bearpaw's have our names)
    ((r"^block(\d)\.layer\.", r"dense\1."), (r"^bn1\.", "bn.")),
    # EfficientNet-Lite0 of lukemelas's package, which pads as ours does; of timm's two, which have the same names, one
    # does and one does not, so that theirs are not here
    (
        *((rf"^_blocks\.{n}\.", f"layer{name}.") for n, name in enumerate(_LITE0_BLOCKS)),
        (r"^_conv_stem\.", "stem_conv."),
        (r"^_bn0\.", "stem_bn."),
        (r"^_conv_head\.", "head_conv."),
        (r"^_bn1\.", "head_bn."),
        (r"^_fc\.", "linear."),
        (r"\._(expand|depthwise|project)_conv\.", r".\1_conv."),
        (r"\._bn0\.", ".expand_bn."),
        (r"\._bn1\.", ".depthwise_bn."),
        (r"\._bn2\.", ".project_bn."),
    ),
    # torchvision's published DenseNets
    ((r"\.(denselayer\d+\.(?:norm|conv))\.([12])\.", r".\1\2."),),
)


def find_entries(checkpoint: Any) -> Any:
    """Returns what stands for the state dict in a checkpoint, whatever it is."""
    for _ in range(_MAX_NESTING):
        if isinstance(checkpoint, Mapping):
            nested = (checkpoint[c] for c in CONTAINERS if isinstance(checkpoint.get(c), Mapping))
            checkpoint = next(nested, checkpoint)
    return checkpoint


def translate(key: str, expected: Collection[str]) -> str:
    """Returns the name among ``expected`` that ``key`` means, else ``key`` without its wrappers."""
    while key not in expected and key.startswith(_WRAPPERS):
        key = key.partition(".")[2]
    if key in expected:
        return key
    for layout in _LAYOUTS:
        name = key
        for pattern, replacement in layout:
            name = re.sub(pattern, replacement, name)
        if name in expected:
            return name
    module, _, leaf = key.rpartition(".")
    aliases = [f"{classifier}.{leaf}" for classifier in _CLASSIFIERS] if module in _CLASSIFIERS else []
    return next((name for name in aliases if name in expected), key)
