"""Class activation maps: `explain`, one network of `compute_cam`, in closed form against GradCAM of the `grad-cam` package, on the CPU.

The same network, layer, images and classes, from images to maps in [0, 1] at the size of the image. ralr-viz starts
from uint8 images, the package from a float tensor that is normalised already.
"""

from __future__ import annotations

import numpy as np
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from timing import (
    PUBLISHED,
    make_parser,
    measure,
    print_machine,
    print_table,
    run,
    speedup,
    stopwatch,
    verdict,
)

from ralr_viz.analysis.cam.network_maps import Cam, explain
from ralr_viz.data import data_root, load_dataset
from ralr_viz.data.augment import normalise_batch
from ralr_viz.errors import InputError
from ralr_viz.results.cam import normalise_cam
from ralr_viz.train import load_checkpoint

PACKAGE, FULL, HALF = "grad-cam, fp32", "ralr-viz, fp32", "ralr-viz, bf16"


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--ckpt", default=PUBLISHED)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=256, help="of ralr-viz")
    parser.add_argument("--package-batch", type=int, default=32, help="of grad-cam")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    checkpoint = load_checkpoint(args.ckpt)
    split = load_dataset(checkpoint.dataset or "cifar10", data_root(args.data)).test
    images, labels = np.array(split.images[: args.images]), np.array(split.labels[: args.images])
    mean, std = (torch.tensor(values) for values in (checkpoint.mean, checkpoint.std))
    tensors = normalise_batch(torch.from_numpy(images), mean, std).contiguous()
    model, package_model = checkpoint.build(), checkpoint.build()

    def ours(precision: str) -> tuple[Cam, np.ndarray]:
        cam = explain(
            model, images, mean=checkpoint.mean, std=checkpoint.std, targets=labels, batch=args.batch,
            precision=precision,
        )  # fmt: skip
        return cam, normalise_cam(cam.raw, images.shape[1:3])

    def theirs(layer: str) -> np.ndarray:
        with GradCAM(model=package_model, target_layers=[package_model.get_submodule(layer)]) as cam:
            parts = [
                cam(input_tensor=x, targets=[ClassifierOutputTarget(int(label)) for label in y])
                for x, y in zip(
                    tensors.split(args.package_batch),
                    np.split(labels, range(args.package_batch, len(labels), args.package_batch)),
                    strict=True,
                )
            ]
        return np.concatenate(parts)

    print_machine(args.threads, "grad-cam")
    found, maps = ours("fp32")  # these three are the warm-up, too
    if found.method != "cam":
        raise InputError(f"`{args.ckpt}` has no maps in closed form: choose another --ckpt")
    half = ours("bf16")[1]
    difference = np.abs(maps - theirs(found.layer))
    print(
        f"{checkpoint.arch} ({checkpoint.label}), layer `{found.layer}`, {len(images)} test images, batch "
        f"{args.batch}, of the package {args.package_batch}; {args.repeats} repeats in turn after a warm-up"
    )
    sides = {
        PACKAGE: stopwatch(lambda: theirs(found.layer)),
        FULL: stopwatch(lambda: ours("fp32")),
        HALF: stopwatch(lambda: ours("bf16")),
    }
    times = measure(sides, args.repeats, len(images))
    print_table(
        ("side", "images/s", "min–max", "against grad-cam"),
        [(side, *t.show_rate(), f"{speedup(t, times[PACKAGE]):.2f}×") for side, t in times.items()],
    )
    print(f"largest difference of the fp32 maps, of [0, 1]: {difference.max():.2g}")
    print(
        f"of the bf16 maps from the fp32 ones: median {np.median(np.abs(half - maps).max((1, 2))):.2g}, "
        f"largest {np.abs(half - maps).max():.2g} (largest of each image)"
    )
    print(f"fp32 against grad-cam: {speedup(times[FULL], times[PACKAGE]):.4g}×; no target")
    print(verdict("bf16 against grad-cam", speedup(times[HALF], times[PACKAGE]), 8))


if __name__ == "__main__":
    run(main)
