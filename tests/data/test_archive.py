"""Reading folders, zips and tars; what is unsafe or damaged is refused by name and nothing is written."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from ralr_viz.data import archive, import_dataset
from ralr_viz.data.archive import open_source
from ralr_viz.errors import DataError

FILES = {"train/a/1.txt": b"one", "train/b/2.txt": b"two", "test/a/3.txt": b"three"}


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in files.items():
            target.writestr(name, content)
    return path


def write_tar(path: Path, files: dict[str, bytes], *special: tarfile.TarInfo) -> Path:
    mode = "w:gz" if path.suffix == ".gz" else "w"
    with tarfile.open(path, mode) as target:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            target.addfile(member, io.BytesIO(content))
        for member in special:
            target.addfile(member)
    return path


def write_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def contents(path: Path) -> dict[str, bytes]:
    with open_source(path) as source:
        return dict(source.read(source.names))


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (write_folder, "d"),
        (write_zip, "d.zip"),
        (write_tar, "d.tar"),
        (write_tar, "d.tar.gz"),
        (write_tar, "d.zip"),
    ],
)
@pytest.mark.parametrize("inside", ["", "outer/", "outer/inner/", "./"])
def test_open_source_reads_the_same_files(
    write: Callable[..., Path], name: str, inside: str, tmp_path: Path
) -> None:
    hidden = {
        f"{inside}.DS_Store": b"x",
        "__MACOSX/train/a/._1.txt": b"x",
        f"{inside}train/a/Thumbs.db": b"x",
    }
    path = write(tmp_path / name, {inside + file: data for file, data in FILES.items()} | hidden)
    assert contents(path) == FILES


def test_open_source_reads_only_what_is_asked_in_its_own_order(tmp_path: Path) -> None:
    with open_source(write_tar(tmp_path / "d.tar.gz", FILES)) as source:
        read = list(source.read({"test/a/3.txt", "train/a/1.txt", "no such file"}))
    assert read == [("train/a/1.txt", b"one"), ("test/a/3.txt", b"three")]


def test_open_source_follows_links_in_a_folder_but_not_in_circles(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "d", FILES)
    elsewhere = write_folder(tmp_path / "elsewhere", {"4.txt": b"four"})
    (folder / "train" / "c").symlink_to(elsewhere)
    (folder / "train" / "a" / "loop").symlink_to(folder)
    assert contents(folder) == FILES | {"train/c/4.txt": b"four"}


@pytest.mark.parametrize(
    "name", ["../evil.png", "train/../../evil.png", "/evil.png", "C:/evil.png", "..\\evil.png"]
)
@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_open_source_refuses_names_that_leave_the_archive(
    write: Callable[..., Path], name: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "d", FILES | {name: b"evil"})
    with pytest.raises(DataError, match=r"`d` is refused: member .*evil\.png"):
        contents(path)
    assert [file.name for file in tmp_path.rglob("*")] == ["d"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_open_source_refuses_links_and_devices_in_a_tar(kind: bytes, tmp_path: Path) -> None:
    member = tarfile.TarInfo("train/a/evil.png")
    member.type, member.linkname = kind, "/etc/passwd"
    with pytest.raises(DataError, match=r"member `train/a/evil\.png` is a link or a device"):
        contents(write_tar(tmp_path / "d.tar", FILES, member))


def test_open_source_refuses_links_in_a_zip(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("train/a/evil.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as target:
        target.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match=r"member `train/a/evil\.png` is a link or a device"):
        contents(tmp_path / "d.zip")


def test_open_source_refuses_encrypted_members(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "d.zip", {"train/a/1.png": b"x"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # general purpose flag of the central directory entry
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"`train/a/1\.png` is encrypted"):
        contents(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_open_source_refuses_a_name_that_is_there_twice(write: Callable[..., Path], tmp_path: Path) -> None:
    path = write(tmp_path / "d", {"train/a/1.png": b"x", "train/./a/1.png": b"y"})
    with pytest.raises(DataError, match=r"`train/a/1\.png` is there twice"):
        contents(path)


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_open_source_bounds_the_unpacked_size(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MAX_TOTAL_BYTES", 1_000_000)
    path = write(tmp_path / "bomb.tar.gz", {f"train/a/{i}.png": bytes(300_000) for i in range(4)})
    with pytest.raises(DataError, match=r"`bomb\.tar\.gz` unpacks to more than"):
        contents(path)


def test_open_source_stops_at_the_header_of_a_tar_bomb(tmp_path: Path) -> None:
    """The announced 1 TiB is never there: reading on would end in another error."""
    member = tarfile.TarInfo("train/a/1.png")
    member.size = 2**40
    (tmp_path / "bomb.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(DataError, match="unpacks to more than 20 GiB"):
        contents(tmp_path / "bomb.tar")


@pytest.mark.parametrize("write", [write_zip, write_tar, write_folder])
def test_read_bounds_the_size_of_a_file(write: Callable[..., Path], tmp_path: Path) -> None:
    with (
        open_source(write(tmp_path / "d", FILES)) as source,
        pytest.raises(DataError, match=r"`test/a/3\.txt` has 5 bytes, at most 4"),
    ):
        list(source.read(["test/a/3.txt"], limit=4))


def test_open_source_names_a_damaged_member(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "d.zip", {"train/a/1.png": os.urandom(1000)})
    data = bytearray(path.read_bytes())
    data[500] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"`d\.zip` is damaged at `(train/a/)?1\.png`"):
        contents(path)


GIGABYTES = 1900  # of 2^20 bytes


def packed_zeros(first: bytes = b"", megabytes: int = GIGABYTES) -> bytes:
    """A raw deflate stream of ``first`` and zeros; blocks after a full flush can be repeated."""
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = pack.compress(first) + pack.flush(zlib.Z_FULL_FLUSH)
    block = pack.compress(bytes(2**20)) + pack.flush(zlib.Z_FULL_FLUSH)
    return start + block * megabytes + pack.flush()


def write_lying_zip(path: Path, packed: bytes, stated: int) -> Path:
    """A zip with one member, whose headers state another size than it has."""
    info = zipfile.ZipInfo("train/a/1.png")
    info.compress_type, info.header_offset = zipfile.ZIP_DEFLATED, 0
    info.file_size, info.compress_size = stated, len(packed)
    info.CRC = zlib.crc32(bytes(stated))
    with zipfile.ZipFile(path, "w") as target:
        assert target.fp is not None
        target.fp.write(info.FileHeader(zip64=False) + packed)
        target.start_dir, target._didModify = target.fp.tell(), True  # type: ignore[attr-defined]
        target.filelist.append(info)
    return path


def write_tar_bomb(path: Path, kind: bytes) -> Path:
    header = tarfile.TarInfo("train/a/1.png")
    header.type, header.size = kind, GIGABYTES * 2**20
    path.write_bytes(b"\x1f\x8b\x08" + bytes(7) + packed_zeros(header.tobuf(tarfile.GNU_FORMAT)))
    return path


def peak_megabytes(path: Path) -> tuple[float, str]:
    """By how much reading it all raises a process's peak of memory, and what it says."""
    code = (
        "import re, sys; from pathlib import Path; from ralr_viz.data.archive import open_source\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) / 1024\n"
        "before, said = peak(), ''\n"
        "try:\n    with open_source(Path(sys.argv[1])) as s: said = str([len(c) for _, c in s.read(s.names)])\n"
        "except ValueError as error: said = str(error)\n"
        "print(peak() - before, said)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    number, _, said = done.stdout.strip().partition(" ")
    return float(number), said


needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")


@needs_proc
@pytest.mark.parametrize(
    ("stated", "words"),
    [
        (100, r"\[100\]"),  # what is stated is taken, the rest never unpacked
        (2**26, r"\[67108864\]"),
        (2**26 + 1, "1.png` has 67,108,865 bytes, at most"),
    ],
)
def test_zip_that_lies_about_its_sizes_is_not_unpacked(tmp_path: Path, stated: int, words: str) -> None:
    peak, said = peak_megabytes(write_lying_zip(tmp_path / "d.zip", packed_zeros(), stated))
    assert peak < 250 and re.search(words, said), (peak, said)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_packed_in_another_way_is_refused(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "d.zip", "w", method) as target:
        target.writestr("train/a/1.png", bytes(1000))
    with pytest.raises(DataError, match=r"`train/a/1\.png` is packed in another way than deflate"):
        contents(tmp_path / "d.zip")


def test_zip_member_that_is_shorter_than_stated_is_refused(tmp_path: Path) -> None:
    path = write_lying_zip(tmp_path / "d.zip", packed_zeros(megabytes=1), 2**21)
    with pytest.raises(
        DataError, match=r"`d\.zip` is damaged at `train/a/1\.png` \((Bad CRC|1,048,576 bytes where)"
    ):
        contents(path)


@needs_proc
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (tarfile.XHDTYPE, r"`d\.tar\.gz` is damaged \(a header is followed by 1,992,294,400 bytes"),
        (tarfile.XGLTYPE, "a header is followed by 1,992,294,400 bytes"),
        (tarfile.GNUTYPE_LONGNAME, "a header is followed by 1,992,294,400 bytes"),
    ],
)
def test_tar_whose_header_or_member_is_a_bomb_is_not_unpacked(
    tmp_path: Path, kind: bytes, words: str
) -> None:
    peak, said = peak_megabytes(write_tar_bomb(tmp_path / "d.tar.gz", kind))
    assert peak < 100 and re.search(words, said), (peak, said)


def test_tar_with_a_negative_size_is_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("train/a/1.png")
    data = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    data[124:136] = b"\xff" * 10 + (-1024).to_bytes(2, "big", signed=True)
    data[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(data))[0]
    (tmp_path / "d.tar").write_bytes(bytes(data) * 2 + bytes(1024))
    with pytest.raises(DataError, match="1.png` has a negative size|get it again"):
        contents(tmp_path / "d.tar")


def test_refusal_of_a_tar_is_not_called_damage(tmp_path: Path) -> None:
    member = tarfile.TarInfo("train/a/evil.png")
    member.type = tarfile.SYMTYPE
    with pytest.raises(DataError) as caught:
        contents(write_tar(tmp_path / "d.tar", FILES, member))
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize(
    ("write", "name"), [(write_zip, "d.zip"), (write_tar, "d.tar.gz"), (write_tar, "d.tar")]
)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_open_source_refuses_an_archive_that_was_cut_off(
    write: Callable[..., Path], name: str, share: float, tmp_path: Path
) -> None:
    path = write(tmp_path / name, {f"train/a/{i}.png": os.urandom(3000) for i in range(5)})
    data = path.read_bytes().rstrip(b"\0")  # a tar ends in zeros that nobody misses
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match=rf"`[^`]*{name}`.*get it again"):
        contents(path)


def test_open_source_notices_a_tar_cut_between_two_members(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "d.tar", {f"train/a/{i}.png": bytes(512) for i in range(5)})
    path.write_bytes(path.read_bytes()[: 3 * 1024])  # three headers and contents, no end mark
    with pytest.raises(DataError, match="cut off"):
        contents(path)


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "has no files"),
        (lambda path: path.write_bytes(b""), "not a readable zip or tar"),
        (lambda path: path.write_bytes(b"\x80\x04plainly something else" * 50), "not a readable zip or tar"),
        (make_fifo, "neither a folder nor a file"),
    ],
)
def test_import_names_a_source_that_is_none(
    make: Callable[[Path], None], words: str, tmp_path: Path, root: Path
) -> None:
    make(tmp_path / "source")
    with pytest.raises(DataError, match=rf"source` {words}|source` is {words}"):
        import_dataset("pets", tmp_path / "source", root)
    assert not root.exists()
