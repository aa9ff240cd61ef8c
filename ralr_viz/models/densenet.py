"""DenseNet-BC: three dense blocks of bottlenecks, joined by transitions that compress the channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ralr_viz.errors import InputError


class Bottleneck(nn.Module):
    """BN-ReLU-1×1 to 4 · growth channels, BN-ReLU-3×3 to ``growth`` channels, appended to the input."""

    def __init__(self, in_channels: int, growth: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(in_channels, 4 * growth, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * growth)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to (N, C + growth, H, W); the input's channels come first."""
        out = self.conv1(self.relu1(self.bn1(x)))
        out = self.conv2(self.relu2(self.bn2(out)))
        return torch.cat((x, out), dim=1)


class Transition(nn.Module):
    """BN-ReLU-1×1, then the mean over 2×2 pixels."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.relu = nn.ReLU()
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C_in, H, W) to (N, C, ⌊H/2⌋, ⌊W/2⌋)."""
        return self.pool(self.conv1(self.relu(self.bn1(x))))


class DenseNet(nn.Module):
    """DenseNet-BC-depth-growth with compression 0.5 and without dropout.

    The stages are ``dense1`` to ``dense3`` with ``trans1`` and ``trans2`` between them; ``bn`` and ``relu``
    follow, and the output of ``relu`` is the map that ``pool`` averages for ``linear``.

    Args:
        depth: Number of weighted layers, 6n + 4 with n ≥ 1 bottlenecks a block.
        growth: Channels that each bottleneck adds, k; the stem has 2k.
        num_classes: Number of logits.

    Raises:
        InputError: If ``depth`` is not of the form 6n + 4.

    References:
        Huang, Liu, van der Maaten, Weinberger: Densely connected convolutional networks, CVPR 2017,
        section 3.
    """

    def __init__(self, depth: int, growth: int, num_classes: int) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise InputError(f"`depth` is {depth}: a DenseNet-BC has 6n + 4 layers; take 40, 100 or 190")
        bottlenecks = (depth - 4) // 6
        channels = 2 * growth
        self.conv1 = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.dense1, channels = _make_block(channels, growth, bottlenecks)
        self.trans1 = Transition(channels, channels // 2)
        self.dense2, channels = _make_block(channels // 2, growth, bottlenecks)
        self.trans2 = Transition(channels, channels // 2)
        self.dense3, channels = _make_block(channels // 2, growth, bottlenecks)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Maps normalised images (N, 3, H, W) to logits (N, num_classes); H and W are at least 4."""
        x = self.trans1(self.dense1(self.conv1(x)))
        x = self.trans2(self.dense2(x))
        x = self.relu(self.bn(self.dense3(x)))
        return self.linear(self.pool(x).flatten(1))


def _make_block(in_channels: int, growth: int, bottlenecks: int) -> tuple[nn.Sequential, int]:
    """Returns a dense block and the number of channels that it puts out."""
    layers = (Bottleneck(in_channels + i * growth, growth) for i in range(bottlenecks))
    return nn.Sequential(*layers), in_channels + bottlenecks * growth
