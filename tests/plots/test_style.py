"""The look of figures and how they are written."""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import re
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import rgb_to_hsv, to_rgb
from matplotlib.figure import Figure
from PIL import Image

from ralr_viz.errors import InputError, StorageError, UnknownNameError
from ralr_viz.plots.style import (
    COLORS,
    EXTRA_COLORS,
    legend_name,
    method_looks,
    new_figure,
    save_figure,
    style,
)

resource = pytest.importorskip("resource")

WIDTHS = {
    ("icml", "full"): 6.75,
    ("icml", "half"): 3.25,
    ("neurips", "full"): 5.5,
    ("iclr", "full"): 5.5,
    ("cvpr", "full"): 6.875,
    ("cvpr", "half"): 3.25,
    ("ieee", "full"): 7.16,
    ("ieee", "half"): 3.5,
}
TABLE = {"epoch": [1, 2], "value": [0.1, float("nan")]}


def small_figure() -> Figure:
    figure = new_figure(1.5)
    panel = figure.subplots()
    panel.plot([1, 2, 3], [0.1, 0.3, 0.2], label="µ × – ✓")
    panel.set_xlabel("epoch")
    panel.legend()
    return figure


def save(folder: Path, **options: Any) -> list[Path]:
    with style():
        return save_figure(small_figure(), folder / "fig.v1", TABLE, {"seed": np.int64(3)}, **options)


@pytest.mark.parametrize(("name", "column"), WIDTHS)
def test_style_gives_the_page_its_exact_width(tmp_path: Path, name: str, column: Any) -> None:
    width = WIDTHS[name, column]
    with style(name, column=column):
        pdf, png, _ = save_figure(small_figure(), tmp_path / "f", TABLE, {})
    box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+) ?\]", pdf.read_bytes())
    assert box is not None
    assert float(box[1]) / 72 == pytest.approx(width, abs=0.01)
    assert Image.open(png).size == (int(width * 300), 450)


def test_style_leaves_the_settings_as_they_were() -> None:
    before = mpl.rcParams.copy()
    with pytest.raises(RuntimeError, match="inside"), style("neurips"):
        assert mpl.rcParams["font.family"][0] == "STIXGeneral"
        assert not mpl.rcParams["text.usetex"]
        raise RuntimeError("inside")
    assert mpl.rcParams.copy() == before


def test_style_ignores_the_callers_settings(tmp_path: Path) -> None:
    plain = save(tmp_path / "plain")
    with mpl.rc_context(
        {"axes.facecolor": "black", "pdf.fonttype": 3, "savefig.bbox": "tight", "font.size": 30}
    ):
        dark = save(tmp_path / "dark")
    assert [path.read_bytes() for path in plain] == [path.read_bytes() for path in dark]


def test_style_has_readable_text_and_near_names() -> None:
    for name in ("icml", "neurips", "iclr", "cvpr", "ieee"):
        with style(name):
            for key in ("legend.fontsize", "xtick.labelsize", "ytick.labelsize", "axes.labelsize"):
                assert mpl.rcParams[key] >= 7
    with pytest.raises(UnknownNameError, match="did you mean `neurips`"), style("nips"):
        pass


def test_method_looks_never_differ_by_colour_alone() -> None:
    names = ["baseline", "mine", "ralr", "other", "scaled", "third", "mine"]
    looks = method_looks(names)
    assert list(looks) == ["baseline", "mine", "ralr", "other", "scaled", "third"]
    assert len({look.color for look in looks.values()}) == 6
    assert len({look.linestyle for look in looks.values()}) == 6
    assert looks["ralr"].color == "#D55E00"
    assert method_looks(["ralr"])["ralr"] == looks["ralr"]  # the same in every figure


def test_method_looks_of_noise_are_its_own_beside_others() -> None:
    looks = method_looks(["mine", "noise", "baseline", "ralr", "scaled", "other"])
    assert looks["noise"] == method_looks(["noise"])["noise"]
    assert len({look.color for look in looks.values()}) == 6
    assert len({look.linestyle for look in looks.values()}) == 6
    # where there is no noise, others look as they did before it had a look
    assert method_looks(["mine"])["mine"].color == looks["noise"].color


def test_method_looks_keep_a_methods_hue_between_recipes() -> None:
    looks = method_looks(["a baseline", "a ralr", "b baseline", "b ralr", "b ralr, batch = 64", "mine"])
    assert looks["a ralr"] == method_looks(["ralr"])["ralr"]
    assert len({look.color for look in looks.values()}) == 6
    for name in ("b ralr", "b ralr, batch = 64"):
        hues = [rgb_to_hsv(to_rgb(looks[n].color))[0] for n in (name, "a ralr")]
        assert hues[0] == pytest.approx(hues[1], abs=0.02)
    assert method_looks(["baseline → ralr"])["baseline → ralr"].color == EXTRA_COLORS[0]


def test_method_looks_of_many_methods_stay_different() -> None:
    looks = method_looks([f"m{i}" for i in range(12)])
    assert all(a != b for a, b in itertools.combinations(looks.values(), 2))


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def test_colors_can_be_seen_on_white_paper() -> None:
    for color in COLORS.values():
        assert 1.05 / (luminance(color) + 0.05) >= 3  # WCAG 2: graphical objects
    assert len({*COLORS.values(), *EXTRA_COLORS}) == 8


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("ralr", "RALR"),
        ("cifar10 ralr", "cifar10 RALR"),
        ("baseline", "baseline"),
        ("my-ralr-log", "my-ralr-log"),
        ("a$b$", "a$b$"),
        ("a\x1b", r"a\x1b"),
        ("", ""),
    ],
)
def test_legend_name_is_the_papers_in_one_line(method: str, name: str) -> None:
    assert legend_name(method) == name


def test_legend_name_is_short_enough() -> None:
    assert len(legend_name("x" * 500)) <= 48


def test_save_figure_writes_three_files(tmp_path: Path) -> None:
    paths = save(tmp_path / "new")
    assert [path.name for path in paths] == ["fig.v1.pdf", "fig.v1.png", "fig.v1.csv"]
    assert sorted(paths) == sorted((tmp_path / "new").iterdir())


def test_save_figure_embeds_type_42_and_no_date(tmp_path: Path) -> None:
    pdf, png, _ = save(tmp_path)
    data = pdf.read_bytes()
    assert b"/FontFile2" in data
    assert b"/Type3" not in data
    assert b"STIXGeneral" in data
    assert b"Date" not in data
    data, chunks, at = png.read_bytes(), [], 8
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        chunks.append(kind)
        at += size + 12
    assert b"tIME" not in chunks
    assert Image.open(png).info["dpi"] == pytest.approx((300, 300), abs=0.01)


def test_save_figure_keeps_the_provenance_without_paths(tmp_path: Path) -> None:
    provenance = {"recipe": "demo", "seeds": [0, 1], "command": f"ralr-viz curves --run {tmp_path}/runs/a"}
    with style():
        pdf, png, _ = save_figure(small_figure(), tmp_path / "f", TABLE, provenance)
    source = json.loads(Image.open(png).info["Source"])
    assert source == {"recipe": "demo", "seeds": [0, 1], "command": "ralr-viz curves --run a"}
    assert b'"recipe": "demo"' in pdf.read_bytes()
    for path in (pdf, png):
        assert str(tmp_path).encode() not in path.read_bytes()


def read_csv(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_save_figure_writes_floats_that_read_back_to_the_same_bits(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal(50) * 10.0 ** np.arange(-25, 25)
    table = {"x": values, "single": values.astype(np.float32), "n": np.arange(50), "name": ["a,\"b'é"] * 50}
    with style():
        path = save_figure(small_figure(), tmp_path / "f", table, {})[2]
    header, *rows = read_csv(path)
    assert header == ["x", "single", "n", "name"]
    assert [float(row[0]) for row in rows] == values.tolist()
    assert [np.float32(row[1]) for row in rows] == values.astype(np.float32).tolist()
    assert [row[2] for row in rows] == [str(i) for i in range(50)]
    assert rows[0][3] == "a,\"b'é"
    assert b"\r" not in path.read_bytes()


def test_save_figure_takes_rows(tmp_path: Path) -> None:
    rows = [
        {"run": "a", "seed": None, "best": True, "y": float("nan")},
        {"run": "b", "seed": 1, "best": False, "y": 0.1},
    ]
    with style():
        path = save_figure(small_figure(), tmp_path / "f", rows, {})[2]
        assert read_csv(path) == [
            ["run", "seed", "best", "y"],
            ["a", "", "True", "nan"],
            ["b", "1", "False", "0.1"],
        ]
        for broken in ([{"a": 1}, {"b": 1}], {"a": [1], "b": [1, 2]}):
            with pytest.raises(ValueError, match="columns|shorter|longer"):
                save_figure(small_figure(), tmp_path / "g", broken, {})
    assert not list(tmp_path.glob("g*"))


def test_save_figure_gives_equal_bytes_in_another_process(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[2:]; from pathlib import Path; import test_style as t;"
        "t.save(Path(sys.argv[1])); print('matplotlib.pyplot' in sys.modules, 'torch' in sys.modules)"
    )
    here = Path(__file__).parent
    digests = []
    for hash_seed in ("1", "2"):
        folder = tmp_path / hash_seed
        folder.mkdir()
        environment = {
            "PYTHONHASHSEED": hash_seed,
            "PATH": "",
            "HOME": str(folder),
            "SOURCE_DATE_EPOCH": hash_seed,
        }
        done = subprocess.run(
            [sys.executable, "-c", code, str(folder / "out"), str(here), *sys.path],
            capture_output=True, text=True, env=environment, cwd=folder, check=True,
        )  # fmt: skip
        assert done.stdout.split() == ["False", "False"]  # neither pyplot nor torch
        digests.append(
            [hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((folder / "out").iterdir())]
        )
    digests.append(
        [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(save(tmp_path / "here"))]
    )
    assert digests[0] == digests[1] == digests[2]


def test_save_figure_is_safe_in_threads(tmp_path: Path) -> None:
    def draw(name: str, folder: Path) -> None:
        with style(name):
            save_figure(small_figure(), folder / name, TABLE, {})

    names = ("icml", "neurips", "ieee")
    for name in names:
        draw(name, tmp_path / "one")
    threads = [threading.Thread(target=draw, args=(name, tmp_path / "many")) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "many" / path.name).read_bytes()


@pytest.mark.parametrize("suffix", ["pdf", "png", "csv"])
def test_save_figure_refuses_to_overwrite_without_force(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"fig.v1.{suffix}").write_text("mine")
    with pytest.raises(InputError, match=rf"fig.v1.{suffix}` exists.*--force"):
        save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"fig.v1.{suffix}"]
    assert len(save(tmp_path, force=True)) == 3
    assert len(list(tmp_path.iterdir())) == 3


def test_save_figure_refuses_what_another_process_has_drawn_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtake(table: Any) -> str:
        (tmp_path / "fig.v1.png").write_bytes(b"theirs")
        return ""

    monkeypatch.setattr("ralr_viz.plots.style.write_table", overtake)
    with pytest.raises(InputError, match="`.*png` exists: .*--force"):
        save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["fig.v1.png"]
    assert (tmp_path / "fig.v1.png").read_bytes() == b"theirs"


def test_save_figure_explains_a_folder_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "fig.v1.png").mkdir()
    with pytest.raises(InputError, match="is a folder where a file belongs"):
        save(tmp_path, force=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write .* choose another --out"):
        save(tmp_path / "file")


def test_save_figure_on_a_full_disk_keeps_the_old_files(tmp_path: Path) -> None:
    old = [path.read_bytes() for path in save(tmp_path)]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # the PDF fits, the PNG does not
    try:
        with pytest.raises(StorageError, match="cannot write .*fig.v1"), style():
            figure = small_figure()
            figure.axes[0].imshow(np.random.default_rng(0).random((99, 99)), aspect="auto", rasterized=True)
            save_figure(figure, tmp_path / "fig.v1", {"new": [1]}, {}, force=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    paths = sorted(tmp_path.iterdir())
    assert [path.name for path in paths] == ["fig.v1.csv", "fig.v1.pdf", "fig.v1.png"]
    assert sorted(old) == sorted(path.read_bytes() for path in paths)
