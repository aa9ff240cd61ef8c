"""Where and how a training or an analysis runs: device, precision, determinism."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ralr_viz._version import __version__
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.runtime.arithmetic import fp32_products, set_fp32_products
from ralr_viz.runtime.ranks import ALONE, Ranks

_PRECISIONS = ("auto", "fp32", "tf32", "bf16", "fp16")
_HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Runtime:
    """The machine's side of a run; the recipe is the experiment's.

    Attributes:
        device: CPU, CUDA or MPS.
        precision: ``fp32``, IEEE's on every device; ``tf32``, the same with products in TF32; or ``bf16`` or ``fp16``
            for autocast, of which the latter is of training, with its loss scaled.
        deterministic: CUDA kernels restricted to deterministic ones. False elsewhere: the CPU's are.
        compile: Whether the training step's network goes through `torch.compile`.
        threads: CPU threads of torch; 0 leaves them as they are.
    """

    device: torch.device
    precision: str
    deterministic: bool = False
    compile: bool = False
    threads: int = 0

    @property
    def memory_format(self) -> torch.memory_format:
        """channels_last where the convolutions are faster with it (MPS's are not)."""
        return torch.contiguous_format if self.device.type == "mps" else torch.channels_last

    @property
    def key(self) -> dict[str, str]:
        """What tells kept results apart: kind of device, precision and, on CUDA, that fp32 is IEEE's.

        Before it was set there, convolutions were in TF32 and kept without that mark.
        """
        marked = self.device.type == "cuda" and self.precision == "fp32"
        return {"device": self.device.type, "precision": self.precision} | (
            {"products": "ieee"} if marked else {}
        )

    def place(self, model: nn.Module) -> nn.Module:
        """The model itself, moved to the device and its memory format."""
        return model.to(self.device).to(memory_format=self.memory_format)

    def arithmetic(self) -> AbstractContextManager[None]:
        """Context of an analysis, forward and backward: products of fp32 numbers are what `precision` says.

        Nothing else is changed, and torch's switches are afterwards as they were.
        """
        return fp32_products(self.device, tf32=self.precision == "tf32")

    def autocast(self) -> torch.autocast:
        """Context of a forward pass."""
        half = _HALVES.get(self.precision)
        return torch.autocast(self.device.type, half or torch.bfloat16, enabled=half is not None)


def resolve_runtime(
    device: str = "auto",
    precision: str = "auto",
    *,
    deterministic: bool = False,
    compile: bool = False,
    threads: int = 0,
) -> Runtime:
    """Runtime for ``--device`` and ``--precision``; ``deterministic`` is a wish that counts on CUDA.

    Raises:
        InputError: The device is not there, or an unknown name.
    """
    where = _resolve_device(device)
    if precision not in _PRECISIONS:
        raise UnknownNameError("precision", precision, _PRECISIONS)
    if precision == "tf32" and not (where.type == "cuda" and _has_ampere(where)):
        raise InputError(
            f"`--precision tf32` needs a CUDA device of compute capability 8.0 or more, not {where.type}: "
            "take fp32 or auto"
        )
    if precision == "fp16" and where.type == "mps":
        raise InputError("`--precision fp16` is not tried on mps: take fp32")
    if precision == "auto":
        precision = "bf16" if half_precision(where) == "bf16" else "fp32"
    if compile and where.type == "cpu" and not any(map(shutil.which, _compilers())):
        raise InputError(
            "`--compile` needs a C++ compiler on the CPU: install g++ or clang++, or leave it out"
        )
    return Runtime(where, precision, deterministic and where.type == "cuda", compile, threads)


def configure(runtime: Runtime) -> None:
    """Set torch's global switches for a training that has the process for itself."""
    set_fp32_products(tf32=runtime.precision == "tf32")
    _set_kernels(runtime)


@contextmanager
def configured(runtime: Runtime) -> Iterator[None]:
    """`configure` for a training within somebody else's process: afterwards all switches are as they were."""
    cudnn, threads = torch.backends.cudnn, torch.get_num_threads()
    choice = cudnn.benchmark, cudnn.deterministic
    strict, warn = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    with runtime.arithmetic():
        _set_kernels(runtime)
        try:
            yield
        finally:
            cudnn.benchmark, cudnn.deterministic = choice
            _demand_determinism(strict, warn_only=warn)
            torch.set_num_threads(threads)


def _set_kernels(runtime: Runtime) -> None:
    if runtime.threads:
        torch.set_num_threads(runtime.threads)
    torch.backends.cudnn.benchmark = not runtime.deterministic
    torch.backends.cudnn.deterministic = runtime.deterministic
    if runtime.deterministic and runtime.device.type == "cuda":
        # cuBLAS reads it when its first handle is made, so it must be set before the first product.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    _demand_determinism(runtime.deterministic)


def _demand_determinism(strict: bool, *, warn_only: bool = False) -> None:
    # torch loads its compiler for it, for three seconds of a process, also where nothing is to change
    now = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    if now != (strict, warn_only):
        torch.use_deterministic_algorithms(strict, warn_only=warn_only)


def describe_environment(runtime: Runtime, ranks: Ranks = ALONE) -> dict[str, Any]:
    """What `env.json` holds: versions, hardware and number of processes; no paths, no names of users or hosts."""
    cuda = runtime.device.type == "cuda"
    return {
        "ralr_viz": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": metadata.version("torchvision"),
        "numpy": metadata.version("numpy"),
        "platform": platform.system() + " " + platform.machine(),
        "device": torch.cuda.get_device_name(runtime.device) if cuda else runtime.device.type,
        "processor": describe_processor(),
        "threads": runtime.threads or torch.get_num_threads(),
        "precision": runtime.precision,
        "deterministic": runtime.deterministic,
        "compile": runtime.compile,
        "world_size": ranks.size,
        "backend": ranks.backend,
    }


def describe_processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, Any]:
    """What decides the last bits of a training on the CPU, as far as the system tells.

    Args:
        cpuinfo: Linux's description of the processors; elsewhere there is none.

    Returns:
        ``name``, ``family`` and ``model`` of the first processor, and ``flags``: those of bf16 and AMX arithmetic.
    """
    fields: dict[str, str] = {}
    try:
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    except OSError:
        pass
    flags = [flag for flag in fields.get("flags", "").split() if "bf16" in flag or flag.startswith("amx")]
    return {
        "name": fields.get("model name", platform.processor()),
        "family": fields.get("cpu family", ""),
        "model": fields.get("model", ""),
        "flags": sorted(flags),
    }


def read_rng_state(device: torch.device) -> dict[str, torch.Tensor]:
    """States of torch's global generators: ``cpu`` and, on CUDA, ``cuda``."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_rng_state(state: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Set them to what `read_rng_state` gave, on this device or on another."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)


def _resolve_device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UnknownNameError("device", name, ("auto", "cpu", "cuda", "cuda:0", "mps")) from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"`--device {name}`: torch sees no CUDA device here; use --device cpu or auto")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"`--device {name}`: there are {torch.cuda.device_count()} CUDA devices, from cuda:0"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"`--device {name}`: torch sees no MPS device here; use --device cpu or auto")
    if device.type not in ("cpu", "cuda", "mps"):
        raise UnknownNameError("device", name, ("auto", "cpu", "cuda", "cuda:0", "mps"))
    return device


def _compilers() -> list[str]:
    """What torch.compile calls on the CPU."""
    return [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++"]


def half_precision(device: torch.device) -> str | None:
    """Which precision of 16 bits may be faster than fp32 there; None for none."""
    if _has_fast_bf16(device):
        return "bf16"
    return "fp16" if device.type == "cuda" else None


def _has_fast_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return _has_ampere(device)
    if device.type == "cpu":
        # Without these instructions bf16 is emulated and slower than fp32.
        return any(
            getattr(torch.cpu, probe, lambda: False)()
            for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        )
    return False


def _has_ampere(device: torch.device) -> bool:
    """Whether a CUDA device has bf16 and TF32."""
    return torch.cuda.get_device_capability(device) >= (8, 0)
