"""Wide residual networks: depth 6n + 4, pre-activation blocks, three stages of 16k, 32k and 64k channels."""

from __future__ import annotations

from torch import Tensor, nn

from ralr_viz.errors import InputError


class PreactivationBlock(nn.Module):
    """BN, ReLU and 3×3 convolution, twice; the sum with the shortcut is not activated.

    Where the number of channels changes, the shortcut is a 1×1 convolution without bias or BN and takes the
    activated input, as in the authors' code; elsewhere it is the input itself.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.shortcut: nn.Module | None = None
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C_in, H, W) to (N, C, ⌈H/stride⌉, ⌈W/stride⌉)."""
        activated = self.relu1(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        out = self.relu2(self.bn2(self.conv1(activated)))
        return self.conv2(out) + shortcut


class WideResNet(nn.Module):
    """WRN-depth-width without dropout.

    The stages are ``layer1`` to ``layer3``; ``bn1`` and ``relu`` follow, and the output of ``relu`` is the
    map that ``pool`` averages for ``linear``.

    Args:
        depth: Number of convolutions on the main path and shortcuts, 6n + 4 with n ≥ 1.
        width: Widening factor k ≥ 1.
        num_classes: Number of logits.

    Raises:
        InputError: If ``depth`` is not of the form 6n + 4.

    References:
        Zagoruyko, Komodakis: Wide residual networks, BMVC 2016, section 2, table 1.
    """

    def __init__(self, depth: int, width: int, num_classes: int) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise InputError(f"`depth` is {depth}: a wide ResNet has 6n + 4 layers; take 16, 22, 28 or 40")
        blocks = (depth - 4) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.layer1 = _make_stage(16, 16 * width, blocks, stride=1)
        self.layer2 = _make_stage(16 * width, 32 * width, blocks, stride=2)
        self.layer3 = _make_stage(32 * width, 64 * width, blocks, stride=2)
        self.bn1 = nn.BatchNorm2d(64 * width)  # the last BN; published checkpoints call it so
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(64 * width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Maps normalised images (N, 3, H, W) to logits (N, num_classes)."""
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        x = self.relu(self.bn1(x))
        return self.linear(self.pool(x).flatten(1))


def _make_stage(in_channels: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = PreactivationBlock(in_channels, channels, stride)
    return nn.Sequential(first, *(PreactivationBlock(channels, channels, 1) for _ in range(blocks - 1)))
