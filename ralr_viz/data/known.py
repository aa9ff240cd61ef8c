"""The datasets known by name, and what is known about them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Download:
    """An official archive, with the one checksum of it that is published."""

    url: str
    md5: str = ""
    sha256: str = ""

    @property
    def algorithm(self) -> str:
        """``md5`` or ``sha256``."""
        return "sha256" if self.sha256 else "md5"

    @property
    def digest(self) -> str:
        """In hexadecimal digits."""
        return self.sha256 or self.md5


@dataclass(frozen=True)
class KnownDataset:
    """What a dataset of this name must be; ``mean`` and ``std`` of the train images to four digits.

    ``image_size`` is None of photographs; ``downloads`` are its archives, which belong together.
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
    downloads: tuple[Download, ...] = ()
    by_hand: str = ""
    """Where there is no address any more: what to fetch, and where to put it."""


def read_class_list(file: str) -> tuple[str, ...]:
    """Class ids in label order from a list packaged beside this module."""
    return tuple((files("ralr_viz.data") / file).read_text(encoding="utf-8").split())


def read_class_lines(file: str) -> tuple[str, ...]:
    """As `read_class_list`, of names with spaces."""
    return tuple((files("ralr_viz.data") / file).read_text(encoding="utf-8").splitlines())


_TORONTO = "https://www.cs.toronto.edu/~kriz"
_TINY_IMAGENET = Download(
    "http://cs231n.stanford.edu/tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de"
)

# MD5s as torchvision's table of its VOCDetection has them
_VOC = "http://host.robots.ox.ac.uk/pascal/VOC"
_VOC_2007 = (
    Download(f"{_VOC}/voc2007/VOCtrainval_06-Nov-2007.tar", "c52e279531787c972589f7e41ab4ae64"),
    Download(f"{_VOC}/voc2007/VOCtest_06-Nov-2007.tar", "b6e924de25625d8de591ea690078ad9f"),
)
_VOC_2012 = Download(f"{_VOC}/voc2012/VOCtrainval_11-May-2012.tar", "6cd6e144f989b92b3379bac3b3de84fd")

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

PLANTED_SIGNS = (
    "bars", "crescent", "cross", "diamond", "disc", "dots", "ring", "star", "triangle", "zigzag",
)  # fmt: skip

_DOGS = "http://vision.stanford.edu/aditya86/ImageNetDogs"

KNOWN: dict[str, KnownDataset] = {
    known.name: known
    for known in (
        KnownDataset(
            "cifar10", read_class_list("cifar10_classes.txt"), 10, 32, 50_000, 10_000,
            mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616),
            downloads=(Download(f"{_TORONTO}/cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),),
        ),
        KnownDataset(
            "cifar100", read_class_list("cifar100_classes.txt"), 100, 32, 50_000, 10_000,
            mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762),
            downloads=(Download(f"{_TORONTO}/cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"),),
        ),
        KnownDataset("tiny-imagenet", None, 200, 64, 100_000, 10_000, True, downloads=(_TINY_IMAGENET,)),
        KnownDataset(
            "tiny-imagenet-50", read_class_list("tiny_imagenet_50.txt"), 50, 64, 25_000, 2_500, True,
            downloads=(_TINY_IMAGENET,),
        ),
        KnownDataset(
            "cub-200-2011", None, 200, None, 5_994, 5_794, True,
            downloads=(
                Download(
                    "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
                    "97eceeb196236b17998738112f37df78",
                ),
            ),
        ),
        KnownDataset(
            "stanford-cars", tuple(f"{number:03}" for number in range(1, 197)), 196, None, 8_144, 8_041, True,
            by_hand="its addresses are dead: get cars_train.tgz (MD5 065e5b463ae28d29e77c1b4b166cfe61), cars_test.tgz "
            "(4ce7ebf6a94d07f1952d94dd34c4d501), car_devkit.tgz and cars_test_annos_withlabels.mat "
            "(b0a2b23655a3edd16d84508592a98d10) from a mirror, and give each by one --from",
        ),
        KnownDataset(
            "stanford-dogs", None, 120, None, 12_000, 8_580, True,
            downloads=(
                Download(f"{_DOGS}/images.tar", "1bb1f2a596ae7057f99d7d75860002ef"),
                Download(f"{_DOGS}/annotation.tar", "4298cc0031f6bc6e74612ac83b5988e2"),
                Download(f"{_DOGS}/lists.tar", "edbb9f16854ec66506b5f09b583e0656"),
            ),
        ),
        KnownDataset("voc2007", VOC_CLASSES, 20, None, 5_011, 4_952, True, downloads=_VOC_2007),
        KnownDataset("voc2012", VOC_CLASSES, 20, None, 5_717, 5_823, True, downloads=(_VOC_2012,)),
        KnownDataset("voc0712", VOC_CLASSES, 20, None, 16_551, 4_952, True, downloads=(*_VOC_2007, _VOC_2012)),
        KnownDataset("digits", tuple("0123456789"), 10, 32, 1_352, 445),
        KnownDataset("digit-scenes", tuple("0123456789"), 10, None, 800, 200, True),
        KnownDataset("planted", PLANTED_SIGNS, 10, 64, 3_000, 1_000, True),
    )
}  # fmt: skip
