"""EfficientNet-Lite0: inverted bottlenecks with ReLU6 and without squeeze-and-excitation, padded as in TensorFlow."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

# Of the seven stages: blocks, kernel, stride of the first block, expansion, channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _FEATURES = 32, 1280
# TensorFlow's; with PyTorch's 1e-5 the published weights lose points of accuracy, and nothing says so.
_EPS = 1e-3


class SameConv2d(nn.Conv2d):
    """A convolution whose output has ⌈H/stride⌉ × ⌈W/stride⌉ positions, as TensorFlow's ``SAME`` pads.

    Of an odd number of rows or columns the larger half is added below and on the right: with stride 2 and an even
    side nothing, or less, is on the left, where ``padding=k // 2`` would shift the grid by one pixel.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C_in, H, W) to (N, C_out, ⌈H/stride⌉, ⌈W/stride⌉)."""
        (top, bottom), (left, right) = (
            _same_padding(x.shape[axis + 2], self.kernel_size[axis], self.stride[axis]) for axis in (0, 1)
        )
        if (top, left) == (bottom, right):
            return F.conv2d(x, self.weight, self.bias, self.stride, (top, left), groups=self.groups)
        x = F.pad(x, (left, right, top, bottom))
        return F.conv2d(x, self.weight, self.bias, self.stride, groups=self.groups)


class InvertedBottleneck(nn.Module):
    """1×1 to ``expansion`` times the channels, k×k of each channel, 1×1 to ``channels``; the output has no ReLU.

    The input is added where its shape is the output's. Without expansion the first 1×1 is left out.
    """

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.expands = expansion != 1
        if self.expands:
            self.expand_conv = nn.Conv2d(in_channels, hidden, 1, bias=False)
            self.expand_bn = _norm(hidden)
            self.expand_relu = nn.ReLU6()
        self.depthwise_conv = SameConv2d(hidden, hidden, kernel, stride=stride, groups=hidden, bias=False)
        self.depthwise_bn = _norm(hidden)
        self.depthwise_relu = nn.ReLU6()
        self.project_conv = nn.Conv2d(hidden, channels, 1, bias=False)
        self.project_bn = _norm(channels)
        self.adds_input = stride == 1 and in_channels == channels

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C_in, H, W) to (N, C, ⌈H/stride⌉, ⌈W/stride⌉)."""
        out = self.expand_relu(self.expand_bn(self.expand_conv(x))) if self.expands else x
        out = self.depthwise_relu(self.depthwise_bn(self.depthwise_conv(out)))
        out = self.project_bn(self.project_conv(out))
        return x + out if self.adds_input else out


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0, without the dropout and the dropped blocks of its training on ImageNet.

    The stages are ``layer1`` to ``layer7``; ``head_relu`` returns the map of 1,280 channels, at 1/32 of the
    resolution, that ``pool`` averages for ``linear``.

    Args:
        num_classes: Number of logits.

    References:
        Tan & Le, EfficientNet: Rethinking model scaling for convolutional neural networks, ICML 2019. The Lite
        variants: tensorflow/tpu, models/official/efficientnet/lite, 2020.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem_conv = SameConv2d(3, _STEM, 3, stride=2, bias=False)
        self.stem_bn = _norm(_STEM)
        self.stem_relu = nn.ReLU6()
        channels = _STEM
        for number, stage in enumerate(STAGES, 1):
            self.add_module(f"layer{number}", _make_stage(channels, *stage))
            channels = stage[-1]
        self.head_conv = nn.Conv2d(channels, _FEATURES, 1, bias=False)
        self.head_bn = _norm(_FEATURES)
        self.head_relu = nn.ReLU6()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(_FEATURES, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        """Maps normalised images (N, 3, H, W) to logits (N, num_classes)."""
        x = self.stem_relu(self.stem_bn(self.stem_conv(x)))
        for number in range(1, len(STAGES) + 1):
            x = self.get_submodule(f"layer{number}")(x)
        x = self.head_relu(self.head_bn(self.head_conv(x)))
        return self.linear(self.pool(x).flatten(1))


def _make_stage(
    in_channels: int, blocks: int, kernel: int, stride: int, expansion: int, channels: int
) -> nn.Sequential:
    first = InvertedBottleneck(in_channels, channels, kernel, stride, expansion)
    others = (InvertedBottleneck(channels, channels, kernel, 1, expansion) for _ in range(blocks - 1))
    return nn.Sequential(first, *others)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_EPS)


def _same_padding(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Rows or columns before and after ``side``."""
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2
