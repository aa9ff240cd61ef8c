"""``ralr-viz eval``."""

from __future__ import annotations

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_json, print_line, print_note


def evaluate(
    ckpt: options.OneCheckpoint,
    data: options.Data = None,
    dataset: options.DatasetName = None,
    allow: options.Allow = None,
    split: options.Split = "test",
    limit: options.Limit = None,
    arch: options.Arch = None,
    num_classes: options.NumClasses = None,
    size: options.Size = None,
    resize: options.Resize = None,
    view: options.View = None,
    mean: options.Mean = None,
    std: options.Std = None,
    batch: options.Batch = None,
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    as_json: options.Json = False,
) -> None:
    """Loss, top-1 and top-5 accuracy (per cent) of a checkpoint, ours or other people's; of other tasks loss and score.

    Example: ralr-viz eval --ckpt resnet20.th --arch resnet20 --dataset cifar10
    """
    from ralr_viz.analysis.evaluation import evaluate_networks, score_networks
    from ralr_viz.comparison import compare

    compared = compare(
        [ckpt],
        data=dataset,
        root=data,
        split=split,
        limit=limit,
        mean=options.parse_three(mean, "--mean"),
        std=options.parse_three(std, "--std"),
        arch=arch,
        num_classes=num_classes,
        image_size=size,
        resize=resize,
        view=view,
        device=device,
        precision=precision,
        batch=batch,
    )
    for note in compared.notes:
        print_note(note)
    where = {"device": compared.runtime.device.type, "precision": compared.runtime.precision}
    if compared.task is not None:
        (record,) = score_networks(compared)
        if as_json:
            print_json(record | where, indent=None)
        else:
            shown = ", ".join(f"{name} {value:.6g}" for name, value in record.items() if value is not None)
            print_line(f"{compared.networks[0].label}: {shown} ({', '.join(where.values())})")
        return
    (result,) = evaluate_networks(compared)
    if as_json:
        numbers = {
            "loss": result.loss,
            "top1": result.top1,
            "top5": result.top5,
            "n": result.n,
            "images_per_second": result.images_per_second,
            **where,
        }
        print_json(numbers, indent=None)
        return
    (network,), samples, runtime = compared.networks, compared.samples, compared.runtime
    print_line(
        f"{network.label}: loss {result.loss:.4f}, top-1 {result.top1:.2f} %, top-5 {result.top5:.2f} % "
        f"on {result.n:,} {samples.split} images of {samples.dataset} "
        f"({runtime.device.type}, {runtime.precision}, {result.images_per_second:.0f} images/s)"
    )
