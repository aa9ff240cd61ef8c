"""SSD300 on VGG-16, and a small SSD on a residual trunk that trains in minutes on a CPU."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ralr_viz.models import build_model
from ralr_viz.models.pretrained import Weights, read_backbone
from ralr_viz.models.resnet import BasicBlock
from ralr_viz.tasks.detection.priors import SSD300_LEVELS, Level, make_priors, small_levels


class Outputs(NamedTuple):
    """What a detector says of each prior.

    Attributes:
        offsets: (b, P, 4) of the priors, see `encode_boxes`.
        logits: (b, P, 1 + classes); 0 is the background.
    """

    offsets: Tensor
    logits: Tensor


class Heads(nn.Module):
    """A 3×3 convolution for the offsets and one for the logits of each map."""

    def __init__(self, channels: Sequence[int], levels: Sequence[Level], classes: int) -> None:
        super().__init__()
        self.outputs = 1 + classes
        pairs = list(zip(channels, levels, strict=True))
        self.offsets = nn.ModuleList(nn.Conv2d(c, 4 * level.shapes, 3, padding=1) for c, level in pairs)
        self.logits = nn.ModuleList(
            nn.Conv2d(c, self.outputs * level.shapes, 3, padding=1) for c, level in pairs
        )
        self.apply(_draw_xavier)

    def forward(self, maps: Sequence[Tensor]) -> Outputs:
        """Of maps (b, channels, side, side), in the order of `make_priors`."""
        offsets = [_by_prior(head(x), 4) for head, x in zip(self.offsets, maps, strict=True)]
        logits = [_by_prior(head(x), self.outputs) for head, x in zip(self.logits, maps, strict=True)]
        return Outputs(torch.cat(offsets, 1), torch.cat(logits, 1))


class SSD300(nn.Module):
    """SSD with VGG-16 for images of 300×300, as sgrvinod trains it; nothing is frozen.

    ``block1`` to ``block5`` are VGG's, the last pooling with stride 1, ``block6`` its first two linear layers as
    convolutions, the first dilated by 6, and ``extra8`` to ``extra11`` four smaller maps.

    Args:
        classes: Of objects; the background is one more.

    References:
        Liu et al., SSD: Single shot multibox detector, ECCV 2016.
        sgrvinod/a-PyTorch-Tutorial-to-Object-Detection.
    """

    size = 300

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.block1 = _vgg_block(3, 64, 2)
        self.block2 = _vgg_block(64, 128, 2)
        self.block3 = _vgg_block(128, 256, 3)
        self.block4 = _vgg_block(256, 512, 3)
        self.block5 = _vgg_block(512, 512, 3)
        self.halve = nn.MaxPool2d(2)
        self.halve_up = nn.MaxPool2d(2, ceil_mode=True)  # 75 to 38
        self.pool5 = nn.MaxPool2d(3, stride=1, padding=1)
        self.block6 = nn.Sequential(
            nn.Conv2d(512, 1024, 3, padding=6, dilation=6), nn.ReLU(), nn.Conv2d(1024, 1024, 1), nn.ReLU()
        )
        self.extra8 = _extra(1024, 256, 512, stride=2)
        self.extra9 = _extra(512, 128, 256, stride=2)
        self.extra10 = _extra(256, 128, 256, stride=1)
        self.extra11 = _extra(256, 128, 256, stride=1)
        # the features of conv4_3 are larger than the others: of unit length, then times a factor that is learned
        self.rescale = nn.Parameter(torch.full((512,), 20.0))
        self.heads = Heads((512, 1024, 512, 256, 256, 256), SSD300_LEVELS, classes)
        self.register_buffer("priors", make_priors(SSD300_LEVELS), persistent=False)
        for block in (self.block1, self.block2, self.block3, self.block4, self.block5, self.block6):
            block.apply(_draw_kaiming)

    def forward(self, x: Tensor) -> Outputs:
        """Of normalised images (b, 3, 300, 300)."""
        x = self.block2(self.halve(self.block1(x)))
        x = self.block3(self.halve(x))
        finest = self.block4(self.halve_up(x))
        maps = [self.rescale[:, None, None] * F.normalize(finest.float())]
        x = self.block6(self.pool5(self.block5(self.halve(finest))))
        maps.append(x)
        for extra in (self.extra8, self.extra9, self.extra10, self.extra11):
            x = extra(x)
            maps.append(x)
        return self.heads(maps)


class SmallSSD(nn.Module):
    """SSD for small images: residual blocks of 16 to 64 channels, maps at strides 4 to 64 that are summed top-down.

    The sums go through 1×1 convolutions with BatchNorm and there is no ReLU before the heads: without these the finest
    map, which alone sees small objects, died in training, and the mean over the classes hid it.

    Args:
        classes: Of objects; the background is one more.
        size: Side of the images in pixels.
    """

    _CHANNELS = (32, 64, 64, 64, 64)

    def __init__(self, classes: int, size: int = 96) -> None:
        super().__init__()
        self.size = size
        levels = small_levels(size)
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        )
        inputs = (16, *self._CHANNELS)
        self.stages = nn.ModuleList(
            BasicBlock(before, after, 2) for before, after in itertools.pairwise(inputs)
        )
        self.laterals = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, 64, 1, bias=False), nn.BatchNorm2d(64)) for c in self._CHANNELS
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        self.heads = Heads([64] * len(levels), levels, classes)
        self.register_buffer("priors", make_priors(levels), persistent=False)

    def forward(self, x: Tensor) -> Outputs:
        """Of normalised images (b, 3, size, size)."""
        x = self.stem(x)
        maps: list[Tensor] = []
        for stage, lateral in zip(self.stages, self.laterals, strict=True):
            x = stage(x)
            maps.append(lateral(x))
        for i in reversed(range(len(maps) - 1)):
            maps[i] = maps[i] + F.interpolate(maps[i + 1], size=maps[i].shape[2:], mode="nearest")
        return self.heads(maps)


def load_vgg16(model: SSD300, source: str, *, download: bool = False) -> Weights:
    """Start an SSD300 from VGG-16's weights of ImageNet, in place: all convolutions, and the linear layers decimated.

    Of the first linear layer, which sees 7×7 positions, every third row and column is kept, and of both every fourth
    unit.

    Args:
        model: Any number of classes.
        source: A file, or the name of torchvision's weights, see `load_backbone`.
        download: Fetch them where they are not there.

    Raises:
        CheckpointError, UnknownNameError, StorageError: See `load_backbone`.
    """
    arch = "torchvision:vgg16"
    with torch.device("meta"):
        vgg = build_model(arch, 1)
    state, weights = read_backbone(vgg, arch, source, download=download)
    _load_convolutions(model, state)
    return weights


def _load_convolutions(model: SSD300, state: Mapping[str, Tensor]) -> None:
    names = [name.removesuffix(".weight") for name in state if name.endswith(".weight")]
    blocks = (model.block1, model.block2, model.block3, model.block4, model.block5)
    layers = [layer for block in blocks for layer in block if isinstance(layer, nn.Conv2d)]
    features = [name for name in names if name.startswith("features.")]
    for layer, name in zip(layers, features, strict=True):
        layer.load_state_dict({part: state[f"{name}.{part}"] for part in ("weight", "bias")})
    first, second = (layer for layer in model.block6 if isinstance(layer, nn.Conv2d))
    weight = state["classifier.0.weight"].view(4096, 512, 7, 7)[::4, :, ::3, ::3]
    first.load_state_dict({"weight": weight, "bias": state["classifier.0.bias"][::4]})
    weight = state["classifier.3.weight"][::4, ::4, None, None]
    second.load_state_dict({"weight": weight, "bias": state["classifier.3.bias"][::4]})


def _vgg_block(in_channels: int, channels: int, convolutions: int) -> nn.Sequential:
    inputs = [in_channels] + [channels] * (convolutions - 1)
    return nn.Sequential(*(m for c in inputs for m in (nn.Conv2d(c, channels, 3, padding=1), nn.ReLU())))


def _extra(in_channels: int, between: int, channels: int, *, stride: int) -> nn.Sequential:
    """Halves the map, or without a stride takes its border away."""
    block = nn.Sequential(
        nn.Conv2d(in_channels, between, 1),
        nn.ReLU(),
        nn.Conv2d(between, channels, 3, stride=stride, padding=stride - 1),
        nn.ReLU(),
    )
    return block.apply(_draw_xavier)


def _draw_xavier(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d) and module.bias is not None:
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


def _draw_kaiming(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d) and module.bias is not None:
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(module.bias)


def _by_prior(x: Tensor, width: int) -> Tensor:
    """Maps (b, shapes · width, h, w) to (b, h · w · shapes, width)."""
    return x.permute(0, 2, 3, 1).reshape(len(x), -1, width)
