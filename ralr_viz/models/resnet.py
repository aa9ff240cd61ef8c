"""CIFAR ResNets: depth 6n + 2, three stages of 16, 32 and 64 channels, parameter-free shortcuts."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ralr_viz.errors import InputError


class PadShortcut(nn.Module):
    """Option A: keeps every second pixel and pads the new channels with zeros, half of them on each side.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output; the difference must be even.
        stride: Step of the subsampling in pixels.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.padding = (out_channels - in_channels) // 2

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C_in, H, W) to (N, C_out, ⌈H/stride⌉, ⌈W/stride⌉)."""
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, self.padding, self.padding))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut; its output is the map after the last ReLU."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        keeps_shape = stride == 1 and in_channels == channels
        self.shortcut = nn.Identity() if keeps_shape else PadShortcut(in_channels, channels, stride)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C_in, H, W) to (N, C, ⌈H/stride⌉, ⌈W/stride⌉), all values ≥ 0."""
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu2(out + self.shortcut(x))


class ResNet(nn.Module):
    """The ResNet of He et al. for small images, post-activation, with option A shortcuts.

    Keys of the state dict are those of the widely shared `pytorch_resnet_cifar10` checkpoints. The stages are
    ``layer1`` to ``layer3``, then ``pool`` and ``linear``.

    Args:
        depth: Number of weighted layers, 6n + 2 with n ≥ 1: 20, 32, 44, 56 or 110 in the paper.
        num_classes: Number of logits.

    Raises:
        InputError: If ``depth`` is not of the form 6n + 2.

    References:
        He, Zhang, Ren, Sun: Deep residual learning for image recognition, CVPR 2016, section 4.2.
    """

    def __init__(self, depth: int, num_classes: int) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise InputError(f"`depth` is {depth}: a CIFAR ResNet has 6n + 2 layers; take 20, 56 or 110")
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = _make_stage(16, 16, blocks, stride=1)
        self.layer2 = _make_stage(16, 32, blocks, stride=2)
        self.layer3 = _make_stage(32, 64, blocks, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Maps normalised images (N, 3, H, W) to logits (N, num_classes)."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(self.pool(x).flatten(1))


def _make_stage(in_channels: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, channels, stride)
    return nn.Sequential(first, *(BasicBlock(channels, channels, 1) for _ in range(blocks - 1)))
