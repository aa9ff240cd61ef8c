"""The datasets known by name, and what is known about them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Download:
    """An official archive."""

    url: str
    md5: str


@dataclass(frozen=True)
class KnownDataset:
    """What a dataset of this name must be; ``mean`` and ``std`` of the train images to four digits.

    ``image_size`` is None of photographs.
    """

    name: str
    class_ids: tuple[str, ...] | None
    num_classes: int
    image_size: int | None
    n_train: int
    n_test: int
    boxes: bool = False
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    download: Download | None = None


def read_class_list(file: str) -> tuple[str, ...]:
    """Class ids in label order from a list packaged beside this module."""
    return tuple((files("ralr_viz.data") / file).read_text(encoding="utf-8").split())


_TORONTO = "https://www.cs.toronto.edu/~kriz"
_TINY_IMAGENET = Download(
    "http://cs231n.stanford.edu/tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de"
)

KNOWN: dict[str, KnownDataset] = {
    known.name: known
    for known in (
        KnownDataset(
            "cifar10", read_class_list("cifar10_classes.txt"), 10, 32, 50_000, 10_000,
            mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616),
            download=Download(f"{_TORONTO}/cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),
        ),
        KnownDataset(
            "cifar100", read_class_list("cifar100_classes.txt"), 100, 32, 50_000, 10_000,
            mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762),
            download=Download(f"{_TORONTO}/cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"),
        ),
        KnownDataset("tiny-imagenet", None, 200, 64, 100_000, 10_000, True, download=_TINY_IMAGENET),
        KnownDataset(
            "tiny-imagenet-50", read_class_list("tiny_imagenet_50.txt"), 50, 64, 25_000, 2_500, True,
            download=_TINY_IMAGENET,
        ),
        KnownDataset("digits", tuple("0123456789"), 10, 32, 1_352, 445),
    )
}  # fmt: skip
