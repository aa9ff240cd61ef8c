"""CUB-200-2011, Stanford Cars and Stanford Dogs as they are published, in small copies that the tests write."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from ralr_viz.data import Dataset, doctor, download_dataset, import_dataset
from ralr_viz.data.dataset import PhotographSplit
from ralr_viz.data.download import DOWNLOADS
from ralr_viz.data.known import read_class_lines
from ralr_viz.errors import DataError, InputError

CARS = read_class_lines("stanford_cars_classes.txt")
BREEDS = ("n02085620-Chihuahua", "n02085782-Japanese_spaniel")


def picture(
    seed: int, height: int = 7, width: int = 9, mode: str = "RGB", kind: str = "PNG", **options: Any
) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)
    image = Image.fromarray(noise, "RGBA" if mode == "RGBA" else "CMYK") if mode in ("RGBA", "CMYK") else Image.fromarray(noise[..., :3]).convert(mode)  # fmt: skip
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def as_rgb(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def write(folder: Path, files: dict[str, bytes | str]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def pack(folder: Path, path: Path) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.add(file, file.relative_to(folder).as_posix())
    return path


def find(dataset: Dataset, content: bytes) -> tuple[str, int, list[list[float]], list[int]]:
    """Split, label, boxes and flags of the image of a file."""
    pixels = as_rgb(content)
    for name, split in (("train", dataset.train), ("test", dataset.test)):
        assert isinstance(split, PhotographSplit)
        for i, image in enumerate(split.photographs):
            if np.array_equal(image, pixels):
                if split.regions is None:
                    return name, int(split.labels[i]), [], []
                at = split.regions.of(i)
                assert (split.regions.labels[at] == split.labels[i]).all()
                return (
                    name,
                    int(split.labels[i]),
                    split.regions.corners[at].tolist(),
                    split.regions.flags[at].tolist(),
                )
    raise AssertionError("not stored")


def assert_nothing_is_stored(root: Path) -> None:
    assert not root.exists() or not [path for path in root.iterdir() if path.name != ".lock"]


# CUB-200-2011

PLAIN = picture(0, 30, 20)
GREY = picture(1, 25, 40, mode="L")
TURNED = Image.Exif()
TURNED[0x0112] = 6
SIDEWAYS = picture(2, 16, 24, kind="JPEG", exif=TURNED)


def cub_files() -> dict[str, bytes | str]:
    """Two classes; the lines of some lists are in another order, as nothing says that they are not."""
    images = {
        "002.Laysan_Albatross/a.jpg": GREY,
        "001.Black_footed_Albatross/b.jpg": PLAIN,
        "001.Black_footed_Albatross/c.jpg": SIDEWAYS,
        "002.Laysan_Albatross/d.jpg": picture(3, 900, 400, kind="JPEG"),
    }
    return {
        "attributes.txt": "1 has_bill_shape::curved\n",
        "CUB_200_2011/README": "x",
        "CUB_200_2011/parts/parts.txt": "1 back\n",
        "CUB_200_2011/images.txt": "".join(f"{i} {name}\n" for i, name in enumerate(images, 1)),
        "CUB_200_2011/image_class_labels.txt": "4 2\n1 2\n2 1\n3 1\n",
        "CUB_200_2011/train_test_split.txt": "1 1\n2 1\n3 0\n4 0\n",
        "CUB_200_2011/bounding_boxes.txt": "1 3.0 4.0 30.0 20.0\n2 1.0 2.0 20.0 5.0\n3 0.0 0.0 24.0 16.0\n4 90.0 90.0 180.0 360.0\n",
        "CUB_200_2011/classes.txt": "1 001.Black_footed_Albatross\n2 002.Laysan_Albatross\n",
        **{f"CUB_200_2011/images/{name}": content for name, content in images.items()},
    }  # fmt: skip


def test_cub_is_read_from_folder_zip_and_tar(
    tmp_path: Path, root: Path, zip_folder: Callable[..., Path]
) -> None:
    folder = write(tmp_path / "cub", cub_files())
    sources = [
        folder, folder / "CUB_200_2011", zip_folder(folder, tmp_path / "cub.zip"), pack(folder, tmp_path / "CUB_200_2011.tgz"),
    ]  # fmt: skip
    sets = [import_dataset(f"d{i}", source, root) for i, source in enumerate(sources)]
    assert len({dataset.content_hash for dataset in sets}) == 1
    dataset = sets[0]
    assert dataset.class_ids == ("001.Black_footed_Albatross", "002.Laysan_Albatross")
    assert dataset.class_names == ("Black footed Albatross", "Laysan Albatross")
    assert find(dataset, GREY) == ("train", 1, [[3, 4, 33, 24]], [0])
    assert find(dataset, PLAIN) == ("train", 0, [[1, 2, 20, 7]], [0])  # it ended one pixel past the image
    assert dataset.notes == ("1 box is cut at the edge of the image",)
    assert all(check.ok for check in doctor(root))


def test_cub_is_not_turned_as_its_exif_says(tmp_path: Path, root: Path) -> None:
    """Boxes are in pixels of the file, and other loaders do not turn it."""
    dataset = import_dataset("cub", write(tmp_path / "cub", cub_files()), root)
    assert find(dataset, SIDEWAYS) == ("test", 0, [[0, 0, 24, 16]], [0])


def test_boxes_are_scaled_with_capped_images(tmp_path: Path, root: Path) -> None:
    dataset = import_dataset("cub", write(tmp_path / "cub", cub_files()), root, cap=450)
    assert isinstance(dataset.test, PhotographSplit) and dataset.test.regions is not None
    at = dataset.test.photographs.shapes.tolist().index([450, 200])
    assert dataset.test.regions.corners[dataset.test.regions.of(at)].tolist() == [[45, 45, 135, 225]]


LISTS = ["images.txt", "image_class_labels.txt", "train_test_split.txt", "bounding_boxes.txt", "classes.txt"]


@pytest.mark.parametrize("missing", LISTS)
def test_cub_that_lacks_a_list_is_refused(missing: str, tmp_path: Path, root: Path) -> None:
    folder = write(tmp_path / "cub", cub_files())
    (folder / "CUB_200_2011" / missing).unlink()
    with pytest.raises(DataError, match=rf"`cub` lacks `CUB_200_2011/{missing}`: get it again"):
        import_dataset("cub", folder, root)
    assert_nothing_is_stored(root)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("images.txt", "1 002.Laysan_Albatross/none.jpg\n", r"lists `CUB_200_2011/images/002\.Laysan_Albatross/none\.jpg`, which it does not hold \(1 of 1 images are missing\)"),
        ("images.txt", "1 001.Black_footed_Albatross/b.jpg\n2 001.Black_footed_Albatross/b.jpg\n", "lists `CUB_200_2011/images/001.Black_footed_Albatross/b.jpg` twice"),
        ("images.txt", "1\n", r"line 1 of `CUB_200_2011/images\.txt` in `cub` is malformed, a new number and 1 value were"),
        ("bounding_boxes.txt", "1 2 3 4\n", "a new number and 4 values were expected"),
        ("bounding_boxes.txt", "1 2 3 4 x\n", r"do not agree on image 1 \(`002\.Laysan_Albatross/a\.jpg`\)"),
        ("image_class_labels.txt", "1 2\n2 1\n3 7\n4 2\n", r"do not agree on image 3"),
        ("train_test_split.txt", "1 1\n2 1\n3 1\n4 1\n", "lists no test images"),
        ("train_test_split.txt", "1 0\n2 1\n3 1\n4 0\n", "class `002.Laysan_Albatross` of `cub` has no train images"),
    ],
)  # fmt: skip
def test_cub_with_a_bad_list_is_refused(
    file: str, content: str, words: str, tmp_path: Path, root: Path
) -> None:
    folder = write(tmp_path / "cub", cub_files() | {f"CUB_200_2011/{file}": content})
    with pytest.raises(DataError, match=words):
        import_dataset("cub", folder, root)
    assert_nothing_is_stored(root)


def test_known_photographs_must_be_whole_and_keep_their_shape(tmp_path: Path, root: Path) -> None:
    folder = write(tmp_path / "cub", cub_files())
    with pytest.raises(
        DataError, match="has 2 classes, `cub-200-2011` has 200: import it under a name of your own"
    ):
        import_dataset("cub-200-2011", folder, root)
    with pytest.raises(
        InputError, match="size = 64: `cub` has photographs whose boxes and hash are of their own shape"
    ):
        import_dataset("cub", folder, root, size=64)
    with pytest.raises(InputError, match="size = 64: dataset `stanford-dogs` has photographs by definition"):
        import_dataset("stanford-dogs", folder, root, size=64)


# Stanford Cars

NUMBER = {name: i for i, name in enumerate(CARS, 1)}
RAM = "Ram C/V Cargo Van Minivan 2012"


def cars() -> list[tuple[str, str, int, bytes, tuple[int, int, int, int]]]:
    """Split, file, class from 1, content and box from 1 of an image of each class, and of three for the test."""
    rows = []
    for number in range(1, len(CARS) + 1):
        content = picture(number, mode="CMYK", kind="JPEG") if number == 2 else picture(number)
        rows.append(
            ("train", f"{number:05}.jpg", number, content, (1, 1, 9, 7) if number == 1 else (2, 3, 5, 6))
        )
    rows += [
        ("test", f"{i:05}.jpg", number, picture(1000 + i), (1, 2, 12, 4))
        for i, number in enumerate((NUMBER[RAM], 1, 5), 1)
    ]
    return rows


def annotations(rows: list[Any], **columns: Callable[[Any], Any]) -> bytes:
    fields = {
        "bbox_x1": lambda r: r[4][0], "bbox_y1": lambda r: r[4][1],
        "bbox_x2": lambda r: r[4][2], "bbox_y2": lambda r: r[4][3], **columns,
    }  # fmt: skip
    table = np.empty((1, len(rows)), dtype=[(name, object) for name in fields])
    for i, row in enumerate(rows):
        table[0, i] = tuple(get(row) for get in fields.values())
    return mat(annotations=table, **({"class_names": cells(CARS)} if "test" in columns else {}))


def mat(**variables: Any) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, variables)
    return buffer.getvalue()


def cells(names: Any) -> np.ndarray:
    table = np.empty((1, len(names)), dtype=object)
    table[0, :] = list(names)
    return table


def of_split(split: str) -> list[Any]:
    return [row for row in cars() if row[0] == split]


def train_list() -> bytes:
    return annotations(of_split("train"), **{"class": lambda r: r[2], "fname": lambda r: r[1]})


def test_list(with_class: bool = True) -> bytes:
    number = {"class": lambda r: r[2]} if with_class else {}
    return annotations(of_split("test"), **number, fname=lambda r: r[1])


test_list.__test__ = False  # type: ignore[attr-defined]


def car_images(inside: str = "") -> dict[str, bytes | str]:
    return {f"cars_{split}/{inside.format(split)}{file}": content for split, file, _, content, _ in cars()}


def devkit(withlabels: str = "") -> dict[str, bytes | str]:
    return {
        "devkit/cars_meta.mat": mat(class_names=cells(CARS)),
        "devkit/cars_train_annos.mat": train_list(),
        "devkit/cars_test_annos.mat": test_list(with_class=False),
        f"{withlabels}cars_test_annos_withlabels.mat": test_list(),
    }


def one_folder() -> dict[str, bytes | str]:
    rows = [(*row, f"car_ims/{i:06}.jpg") for i, row in enumerate(cars(), 1)]
    listed = annotations(
        rows, relative_im_path=lambda r: r[5], **{"class": lambda r: r[2]}, test=lambda r: int(r[0] == "test")
    )
    return {"cars_annos.mat": listed, **{row[5]: row[3] for row in rows}}


def class_folders(boxes: bool = True) -> dict[str, bytes | str]:
    files: dict[str, bytes | str] = {
        f"car_data/car_data/{split}/{CARS[number - 1].replace('/', '-')}/{file}": content
        for split, file, number, content, _ in cars()
    }
    for split in ("train", "test") if boxes else ():
        files[f"anno_{split}.csv"] = "".join(
            f"{file},{','.join(map(str, box))},{number}\n" for _, file, number, _, box in of_split(split)
        )
    return files | ({"names.csv": "x"} if boxes else {})


@pytest.fixture(scope="module")
def torchvision_cars(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = write(tmp_path_factory.mktemp("cars") / "stanford_cars", car_images() | devkit())
    return import_dataset("stanford-cars", folder, folder.parent / "root")


def test_cars_have_labels_and_boxes_from_zero(torchvision_cars: Dataset) -> None:
    dataset = torchvision_cars
    assert dataset.class_ids == tuple(f"{i:03}" for i in range(1, 197))
    assert dataset.class_names[NUMBER[RAM] - 1] == RAM and dataset.class_names == CARS
    assert sorted(dataset.train.labels.tolist()) == list(range(196))
    assert find(dataset, picture(1)) == ("train", 0, [[0, 0, 9, 7]], [0])  # (1, 1) is the first pixel
    assert find(dataset, picture(2, mode="CMYK", kind="JPEG"))[:2] == ("train", 1)
    assert find(dataset, picture(196)) == ("train", 195, [[1, 2, 5, 6]], [0])
    assert find(dataset, picture(1001)) == ("test", NUMBER[RAM] - 1, [[0, 1, 9, 4]], [0])
    assert dataset.notes == ("3 boxes are cut at the edge of the image",)


@pytest.mark.parametrize(
    "files",
    [
        lambda: car_images() | devkit(withlabels="devkit/"),
        lambda: car_images(inside="cars_{}/") | devkit(),
        one_folder,
        class_folders,
    ],
    ids=["mmpretrain", "kaggle", "one folder", "class folders"],
)
def test_cars_have_one_content_in_all_layouts(
    files: Callable[[], dict[str, bytes | str]], torchvision_cars: Dataset, tmp_path: Path, root: Path
) -> None:
    dataset = import_dataset("stanford-cars", write(tmp_path / "copy", files()), root)
    assert dataset.content_hash == torchvision_cars.content_hash
    assert dataset.class_names == CARS


def test_cars_are_read_from_the_archives_that_they_come_in(
    torchvision_cars: Dataset, tmp_path: Path, root: Path
) -> None:
    folder = write(tmp_path / "cars", car_images() | devkit())
    sources = [folder / "cars_test"]  # one of them unpacked
    for name in ("cars_train", "devkit"):
        part = tmp_path / name
        part.mkdir()
        (folder / name).rename(part / name)
        sources.append(pack(part, tmp_path / f"{name}.tgz"))
    sources.append(folder / "cars_test_annos_withlabels.mat")
    dataset = import_dataset("stanford-cars", sources, root)
    assert dataset.content_hash == torchvision_cars.content_hash
    with pytest.raises(DataError, match=r"is in two of `cars_test \+ cars_test`: give each of them once"):
        import_dataset("twice", [folder / "cars_test"] * 2, root)
    with pytest.raises(
        DataError,
        match=r"lists `cars_train/00001\.jpg`, which it does not hold \(196 of 199 .* by another --from",
    ):
        import_dataset("half", [*sources[:1], *sources[2:]], root)  # fmt: skip


def test_cars_in_class_folders_without_boxes(tmp_path: Path, root: Path) -> None:
    folder = write(tmp_path / "cars", class_folders(boxes=False))
    dataset = import_dataset("stanford-cars", folder, root)
    assert not dataset.has_boxes and dataset.class_ids[NUMBER[RAM] - 1] == f"{NUMBER[RAM]:03}"
    assert find(dataset, picture(1001))[:2] == ("test", NUMBER[RAM] - 1)
    assert dataset.notes == ("class folders have no boxes: anno_train.csv and anno_test.csv are not there",)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cars_test_annos_withlabels.mat": None}, r"`devkit/cars_test_annos\.mat` of `cars` has no classes: give the devkit"),
        ({"cars_test_annos_withlabels.mat": None, "devkit/cars_test_annos.mat": None}, "`cars` lacks `cars_test_annos_withlabels.mat`: give"),
        ({"devkit/cars_meta.mat": None}, "`cars` lacks `cars_meta.mat`"),
        ({"devkit/cars_train_annos.mat": b"no list"}, r"`devkit/cars_train_annos\.mat` of `cars` is no MATLAB file that can be read"),
        ({"devkit/cars_train_annos.mat": mat(x=1)}, r"`devkit/cars_train_annos\.mat` of `cars` lacks `annotations`"),
        ({"devkit/cars_meta.mat": mat(class_names=cells(CARS[:3]))}, r"row 4 of `devkit/cars_train_annos\.mat` in `cars` is malformed"),
        ({"cars_train/00007.jpg": None}, r"lists `cars_train/00007\.jpg`, which it does not hold \(1 of 199"),
        ({"cars_train/00007.jpg": b"no picture"}, r"1 image cannot be read: `cars_train/00007\.jpg`"),
    ],
)  # fmt: skip
def test_cars_with_bad_lists_are_refused(
    change: dict[str, bytes | None], words: str, tmp_path: Path, root: Path
) -> None:
    files = {k: v for k, v in (car_images() | devkit() | change).items() if v is not None}
    with pytest.raises(DataError, match=words):
        import_dataset("cars", write(tmp_path / "cars", files), root)
    assert_nothing_is_stored(root)


def test_cars_have_no_address(root: Path) -> None:
    with pytest.raises(DataError, match=r"`stanford-cars` cannot be downloaded, its addresses are dead: get cars_train\.tgz .* by one --from of `ralr-viz data import stanford-cars`"):  # fmt: skip
        download_dataset("stanford-cars", root)


# Stanford Dogs

CLEAR = picture(20, 12, 15, mode="RGBA")  # a PNG by the name of a JPEG


def dogs() -> dict[str, tuple[int, str, bytes, str]]:
    """Label from 1, split, content and annotation by file."""
    a, b = BREEDS
    return {
        f"{a}/n02085620_1.jpg": (
            1,
            "train",
            CLEAR,
            dog(0, 0, 5, 6) + dog(4, 3, 15, 12, difficult=1, truncated=1),
        ),
        f"{b}/n02085782_1.jpg": (2, "train", picture(21, 8, 8), dog(1, 1, 8, 8, truncated=1)),
        f"{a}/n02085620_2.jpg": (1, "test", picture(22, 10, 9), dog(2, 2, 3, 3)),
        f"{b}/n02085782_2.jpg": (2, "test", picture(23, 10, 9), dog(2, 2, 20, 3)),
    }


def dog(x0: int, y0: int, x1: int, y1: int, difficult: int = 0, truncated: int = 0) -> str:
    return (
        f"<object><name>dog</name><truncated>{truncated}</truncated><difficult>{difficult}</difficult><bndbox>"
        f"<xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
    )


def dog_parts() -> dict[str, dict[str, bytes | str]]:
    lists = {}
    for split in ("train", "test"):
        rows = {file: row for file, row in dogs().items() if row[1] == split}
        table = {"file_list": cells(list(rows)).T, "labels": np.array([[row[0]] for row in rows.values()])}
        lists[f"{split}_list.mat"] = mat(**table, annotation_list=cells([f[:-4] for f in rows]).T)
    return {
        "images": {f"Images/{file}": row[2] for file, row in dogs().items()},
        "annotation": {
            f"Annotation/{file[:-4]}": f"<annotation><folder>x</folder>{row[3]}</annotation>"
            for file, row in dogs().items()
        },
        "lists": {**lists, "file_list.mat": mat(x=1)},
    }  # fmt: skip


def dog_archives(folder: Path, parts: dict[str, dict[str, bytes | str]]) -> list[Path]:
    return [pack(write(folder / name, files), folder / f"{name}.tar") for name, files in parts.items()]


def test_dogs_are_read_from_their_three_archives(tmp_path: Path, root: Path) -> None:
    archives = dog_archives(tmp_path, dog_parts())
    dataset = import_dataset("dogs", archives, root)
    assert dataset.class_ids == ("n02085620", "n02085782")
    assert dataset.class_names == ("Chihuahua", "Japanese spaniel")
    white = Image.new("RGBA", (15, 12), "white")
    opaque = io.BytesIO()
    Image.alpha_composite(white, Image.open(io.BytesIO(CLEAR))).convert("RGB").save(opaque, "PNG")
    assert find(dataset, opaque.getvalue()) == ("train", 0, [[0, 0, 5, 6], [4, 3, 15, 12]], [0, 3])
    assert find(dataset, picture(21, 8, 8)) == ("train", 1, [[1, 1, 8, 8]], [2])
    assert find(dataset, picture(23, 10, 9)) == ("test", 1, [[2, 2, 9, 3]], [0])
    everything = write(tmp_path / "dogs", {k: v for part in dog_parts().values() for k, v in part.items()})
    assert import_dataset("folder", everything, root).content_hash == dataset.content_hash
    assert import_dataset("reversed", archives[::-1], root).content_hash == dataset.content_hash


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lists": {}}, r"lacks `train_list\.mat`: give images\.tar, annotation\.tar and lists\.tar, by one --from each"),
        ({"annotation": {}}, r"has no annotation of `n02085782-Japanese_spaniel/n02085782_2\.jpg` \(4 of 4 are missing\)|has no annotation of `n02085620"),
        ({"images": {}}, r"lists `n0.*`, which it does not hold \(4 of 4 images are missing\)"),
        ({"annotation": {f"Annotation/{file[:-4]}": "<!DOCTYPE x>" for file in dogs()}}, r"annotation `Annotation/.*` of `.*` is malformed"),
        ({"annotation": {f"Annotation/{file[:-4]}": "<a><object/></a>" for file in dogs()}}, r"annotation `Annotation/.*` of `.*` is malformed"),
        ({"lists": {name: mat(file_list=cells(["x.jpg"]), labels=1) for name in ("train_list.mat", "test_list.mat")}}, r"`test_list\.mat` of `.*` is malformed"),
        ({"lists": {name: mat(labels=1) for name in ("train_list.mat", "test_list.mat")}}, r"`test_list\.mat` of `.*` lacks `file_list`"),
        ({"lists": {name: mat(file_list=cells([f"{b}/x.jpg" for b in BREEDS]), labels=[1, 1]) for name in ("train_list.mat", "test_list.mat")}}, "label 1 of `.*` is of `n02085620-Chihuahua` and of `n02085782-Japanese_spaniel`"),
        ({"lists": {name: mat(file_list=cells([f"{b}/x.jpg" for b in BREEDS]), labels=[1, 3]) for name in ("train_list.mat", "test_list.mat")}}, "the labels of `.*` are not 1 to 2"),
    ],
)  # fmt: skip
def test_dogs_that_lack_a_part_are_refused(
    change: dict[str, dict[str, bytes | str]], words: str, tmp_path: Path, root: Path
) -> None:
    parts = {name: files for name, files in (dog_parts() | change).items() if files}
    with pytest.raises(DataError, match=words):
        import_dataset("dogs", dog_archives(tmp_path, parts), root)
    assert_nothing_is_stored(root)


def test_downloads_take_several_archives(tmp_path: Path, root: Path) -> None:
    import hashlib

    from ralr_viz.data.known import Download

    archives = dog_archives(tmp_path, dog_parts())
    official = {"dogs": [Download(a.as_uri(), hashlib.md5(a.read_bytes()).hexdigest()) for a in archives]}
    said: list[str] = []
    dataset = download_dataset("dogs", root, downloads=official, say=said.append)
    assert (len(dataset.train), len(dataset.test)) == (2, 2) and len(said) == 1
    assert sorted(path.name for path in (root / ".downloads").iterdir()) == sorted(a.name for a in archives)


def test_downloads_of_photographs_have_checksums() -> None:
    for name, count in (("cub-200-2011", 1), ("stanford-dogs", 3)):
        assert len(DOWNLOADS[name]) == count
        assert all(re.fullmatch(r"[0-9a-f]{32}", each.md5) for each in DOWNLOADS[name])
