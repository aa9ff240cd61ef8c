"""Where a network pools and classifies: the last map and the linear layer that reads its mean."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ralr_viz.analysis.capture import Call, capture, copy_detached
from ralr_viz.models.outputs import find_logits
from ralr_viz.runtime.arithmetic import rounds_to_tf32
from ralr_viz.tasks.eval_mode import eval_mode


@dataclass(frozen=True)
class CamHead:
    """Where a network ends in global average pooling and one linear layer: ``logits = mean(A)·Wᵀ + b``.

    Attributes:
        layer: Module whose output is the map A, (b, channels, h, w).
        linear: The `nn.Linear` that gives the logits.
        relu: A is the ReLU of the module's output, which the network applies as a function.
        call: Which of the module's calls, counted from the last (-1).
        output: Which of the tensors that the module returns.
    """

    layer: str
    linear: str
    relu: bool = False
    call: int = -1
    output: int = 0

    def __str__(self) -> str:
        return f"relu({self.layer})" if self.relu else self.layer

    def feature_map(self, calls: list[Call]) -> Tensor:
        """A (b, channels, h, w) among the captured calls of ``layer``, in float32."""
        features = calls[self.call].outputs[self.output].float()
        return features.relu() if self.relu else features

    def classifier(self, model: nn.Module) -> tuple[Tensor, Tensor]:
        """W (classes, channels) and b (classes,), zero where the layer has none, in float32."""
        weight, bias = _weight_and_bias(model.get_submodule(self.linear))
        return weight.float(), bias.float()


@torch.no_grad()
def find_cam_head(model: nn.Module, probe: Tensor) -> CamHead | None:
    """Find out by numbers, not by names, whether a network is global average pooling and one linear layer.

    The linear layer is the last whose output *is* the network's output. The map is the output of the last
    module whose mean over h and w is that layer's input, so pooling may be a module, a function or a
    ``mean``. Where networks apply the final ReLU as a function, no module returns the map itself: the ReLU of
    each output is tried, too. Everything is compared on the probe.

    Args:
        model: Any classifier; evaluated in eval mode, left as it was.
        probe: Normalised images (b, 3, H, W), on the model's device; a few are enough.

    Returns:
        The head, or None where the logits are no linear function of a pooled map: softmax inside, an MLP or
        max pooling as head, attention, a 1×1 map, …

    Raises:
        InputError: The network returns no logits.
    """
    names = [name for name, _ in model.named_modules() if name]
    with (
        eval_mode(model),
        torch.autocast(probe.device.type, enabled=False),
        capture(model, names, keep=_summarise) as calls,
    ):
        logits = find_logits(model(probe))
    end = _classifier_call(model, calls, logits)
    if end is None:
        return None
    linear, pooled = calls[end].name, calls[end].input
    layer = model.get_submodule(linear)
    later: Counter[str] = Counter(call.name for call in calls[end:])
    for call in reversed(calls[:end]):
        later[call.name] += 1
        for index, summary in enumerate(call.outputs):
            if not isinstance(summary, _Pooled) or summary.mean.shape != pooled.shape:
                continue
            for relu, mean in ((False, summary.mean), (True, summary.mean_of_relu)):
                tolerance = summary.scale * rounding_tolerance(mean.dtype, mean.device)
                if _equal(mean, pooled, tolerance) and _is_linear(layer, mean, logits):
                    return CamHead(call.name, linear, relu, -later[call.name], index)
    return None


@torch.no_grad()
def find_classifier(model: nn.Module, probe: Tensor) -> str | None:
    """The linear layer that gives the logits; its input is the penultimate features.

    Args:
        model: Any classifier; evaluated in eval mode, left as it was.
        probe: Normalised images (b, 3, H, W), on the model's device; a few are enough.

    Returns:
        Its name, or None where no `nn.Linear` on (b, width) features returns the logits themselves.
    """
    names = [name for name, module in model.named_modules() if name and isinstance(module, nn.Linear)]
    with (
        eval_mode(model),
        torch.autocast(probe.device.type, enabled=False),
        capture(model, names) as calls,
    ):
        logits = find_logits(model(probe))
    end = _classifier_call(model, calls, logits)
    return None if end is None else calls[end].name


def closed_form_maps(features: Tensor, weight: Tensor, classes: Tensor) -> Tensor:
    """M_c = Σ_k W_ck A_k (b, h, w) of features A (b, channels, h, w), one class of (b,) an image."""
    return channel_terms(features, weight, classes).sum(1)


def channel_terms(features: Tensor, weight: Tensor, classes: Tensor) -> Tensor:
    """W_ck A_k (b, channels, h, w), whose sum over the channels is `closed_form_maps`."""
    # a product and later a sum, not an einsum: that is a matrix product, which CUDA may round to TF32
    return features * weight[classes][:, :, None, None]


def classify(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What a network says of b images.

    Args:
        logits: (b, classes) float32.
        target: (b,) int64 classes, −1 for the prediction.

    Returns:
        Target (−1 resolved), its softmax probability, the prediction, its probability; each (b,).
    """
    prediction = logits.argmax(1)
    target = torch.where(target < 0, prediction, target)
    both = logits.softmax(1).gather(1, torch.stack([target, prediction], 1))
    return target, both[:, 0], prediction, both[:, 1]


def rounding_tolerance(dtype: torch.dtype, device: torch.device, *, product: bool = False) -> float:
    """Relative difference that two orders of summation may make: eps^¾ of the type.

    Args:
        dtype: Of the computation.
        device: Where it runs.
        product: It is a matrix product, which CUDA may compute in TF32 (10 bits of mantissa).
    """
    eps = torch.finfo(dtype).eps
    if product and device.type == "cuda" and dtype == torch.float32 and rounds_to_tf32():
        eps = 2.0**-10
    return eps**0.75


class _Pooled(NamedTuple):
    """What find_cam_head needs of a map: means over h, w (b, channels) and the largest magnitude."""

    mean: Tensor
    mean_of_relu: Tensor
    scale: float


def _summarise(tensor: Tensor) -> Tensor | _Pooled | None:
    if is_map(tensor):
        scale = float(tensor.detach().abs().max())
        return _Pooled(tensor.mean((2, 3)), tensor.relu().mean((2, 3)), scale)
    return copy_detached(tensor) if tensor.ndim == 2 else None


def is_map(tensor: Tensor) -> bool:
    """Whether it is a feature map (b, channels, h, w) of more than one position."""
    return tensor.ndim == 4 and math.prod(tensor.shape[2:]) > 1 and tensor.is_floating_point()


def _classifier_call(model: nn.Module, calls: list[Call], logits: Tensor) -> int | None:
    """The last call of a linear layer that gave the logits from (b, width) features."""
    end = next((i for i in reversed(range(len(calls))) if _returns(calls[i], logits)), None)
    if end is None or calls[end].input.ndim != 2:
        return None
    return end if _is_linear(model.get_submodule(calls[end].name), calls[end].input, logits) else None


def _returns(call: Call, logits: Tensor) -> bool:
    """Whether a Linear's call gave the logits themselves (a softmax in between changes them)."""
    return call.input is not None and call.outputs[0] is not None and torch.equal(call.outputs[0], logits)


def _is_linear(layer: nn.Module, features: Tensor, logits: Tensor) -> bool:
    """Whether logits = features·Wᵀ + b; a child of `nn.Linear` may compute something else."""
    weight, bias = _weight_and_bias(layer)
    expected = nn.functional.linear(features, weight, bias)
    terms = nn.functional.linear(features.abs(), weight.abs(), bias.abs())
    tolerance = rounding_tolerance(logits.dtype, logits.device, product=True)
    return _equal(expected, logits, tolerance * float(terms.max()))


def _equal(a: Tensor, b: Tensor, tolerance: float) -> bool:
    return bool((a - b).abs().max() <= tolerance)


def _weight_and_bias(layer: nn.Module) -> tuple[Tensor, Tensor]:
    assert isinstance(layer, nn.Linear)
    bias = torch.zeros_like(layer.weight[:, 0]) if layer.bias is None else layer.bias
    return layer.weight, bias
