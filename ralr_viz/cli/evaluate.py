"""``ralr-viz eval``."""

from __future__ import annotations

import math

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_json, print_line
from ralr_viz.errors import InputError


def evaluate(
    ckpt: options.OneCheckpoint,
    data: options.Data = None,
    dataset: options.DatasetName = None,
    split: options.Split = "test",
    limit: options.Limit = None,
    arch: options.Arch = None,
    num_classes: options.NumClasses = None,
    mean: options.Mean = None,
    std: options.Std = None,
    batch: options.Batch = 500,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    as_json: options.Json = False,
) -> None:
    """Loss, top-1 and top-5 accuracy (per cent) of a checkpoint, ours or other people's.

    Example: ralr-viz eval --ckpt resnet20.th --arch resnet20 --dataset cifar10
    """
    import torch

    from ralr_viz.cli.inputs import load_checkpoints, select_split
    from ralr_viz.comparison.samples import open_dataset
    from ralr_viz.train.evaluate import evaluate as evaluate_network
    from ralr_viz.train.runtime import configure, resolve_runtime

    runtime = resolve_runtime(device, precision)
    configure(runtime)
    (checkpoint,) = load_checkpoints(
        [ckpt],
        arch=arch,
        num_classes=num_classes,
        mean=mean,
        std=std,
        dataset=dataset,
    )
    images = select_split(checkpoint, open_dataset([checkpoint], data), split, limit)
    model = runtime.place(checkpoint.build())
    result = evaluate_network(
        model,
        images.images,
        images.labels,
        torch.tensor(images.mean, dtype=torch.float32, device=runtime.device),
        torch.tensor(images.std, dtype=torch.float32, device=runtime.device),
        runtime,
        batch=batch,
    )
    if not math.isfinite(result.loss):
        raise InputError(
            "the network's outputs are not finite: the checkpoint has diverged, choose an earlier one"
        )
    if as_json:
        numbers = {
            "loss": result.loss,
            "top1": result.top1,
            "top5": result.top5,
            "n": result.n,
            "images_per_second": result.images_per_second,
        }
        print_json(numbers, indent=None)
        return
    print_line(
        f"{checkpoint.label}: loss {result.loss:.4f}, top-1 {result.top1:.2f} %, top-5 {result.top5:.2f} % "
        f"on {result.n:,} {images.split} images of {images.dataset} "
        f"({runtime.device.type}, {runtime.precision}, {result.images_per_second:.0f} images/s)"
    )
