"""Downloads, with file:// and a local server in the place of the official hosts."""

from __future__ import annotations

import fcntl
import hashlib
import http.server
import importlib.util
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ralr_viz.data import download_dataset
from ralr_viz.data.download import DOWNLOADS
from ralr_viz.data.known import Download
from ralr_viz.errors import DataError, StorageError, UnknownNameError


@pytest.fixture
def archive(tmp_path: Path, make_tree: Callable[..., Path], zip_folder: Callable[..., Path]) -> Path:
    return zip_folder(make_tree(tmp_path / "tree"), tmp_path / "pets.zip")


def official(path: Path, url: str = "") -> dict[str, tuple[Download, ...]]:
    return {"pets": (Download(url or path.as_uri(), hashlib.md5(path.read_bytes()).hexdigest()),)}


def parts(root: Path) -> list[Path]:
    return list(root.rglob("*.part"))


def test_download_dataset_fetches_checks_and_imports(archive: Path, root: Path) -> None:
    calls: list[tuple[int, int, str]] = []
    dataset = download_dataset(
        "pets", root, downloads=official(archive), progress=lambda *call: calls.append(call)
    )
    assert len(dataset.train) == 8
    size = archive.stat().st_size
    assert (size, size, "downloading pets.zip") in calls
    assert not parts(root)


def test_download_dataset_uses_a_whole_archive_again(archive: Path, root: Path) -> None:
    downloads = official(archive)
    download_dataset("pets", root, downloads=downloads)
    archive.unlink()
    with pytest.raises(DataError, match="already in"):
        download_dataset("pets", root, downloads=downloads)
    assert len(download_dataset("pets", root, downloads=downloads, force=True).train) == 8
    (root / ".downloads" / "pets.zip").write_bytes(b"no longer whole")
    with pytest.raises(DataError, match=r"download of file:.* failed"):
        download_dataset("pets", root, downloads=downloads, force=True)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:///no/such/file.zip", "No such file"),
        ("http://127.0.0.1:1/pets.zip", "refused"),
        ("http://no-such-host.invalid/pets.zip", "."),
        ("nonsense", "unknown url type"),
    ],
)
def test_download_dataset_without_a_network_names_url_and_remedy(
    url: str, words: str, archive: Path, root: Path
) -> None:
    with pytest.raises(DataError, match=words) as caught:
        download_dataset("pets", root, downloads=official(archive, url))
    assert str(caught.value).startswith(f"download of {url} failed (")
    assert "by hand and run `ralr-viz data import pets --from PATH`" in str(caught.value)
    assert not parts(root)


def test_download_dataset_refuses_another_file(archive: Path, root: Path) -> None:
    with pytest.raises(DataError, match=f"MD5 .* instead of {'0' * 32}"):
        download_dataset("pets", root, downloads={"pets": (Download(archive.as_uri(), "0" * 32),)})
    assert not [path for path in root.rglob("*") if path.is_file()]


class CutOff(http.server.BaseHTTPRequestHandler):
    """Announces 1,000 bytes and sends 10."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"0123456789")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def cut_off_server() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), CutOff)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/pets.zip"
    server.shutdown()
    thread.join()
    server.server_close()


def test_download_dataset_notices_a_lost_connection(cut_off_server: str, archive: Path, root: Path) -> None:
    with pytest.raises(DataError, match="the connection ended after 10 of 1,000 bytes"):
        download_dataset("pets", root, downloads=official(archive, cut_off_server))
    assert not parts(root)


def test_download_dataset_refuses_to_fetch_twice_at_once(archive: Path, root: Path) -> None:
    (root / ".downloads").mkdir(parents=True)
    with (root / ".downloads" / "pets.zip.part").open("w") as part:
        fcntl.flock(part, fcntl.LOCK_EX)
        with pytest.raises(DataError, match=r"another process is downloading `pets\.zip`"):
            download_dataset("pets", root, downloads=official(archive))


def test_download_dataset_into_an_unwritable_root_is_a_storage_error(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        download_dataset("pets", tmp_path / "file" / "root", downloads=official(archive))


def test_download_dataset_unknown_name_offers_the_known(root: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean `cifar10`"):
        download_dataset("cifar-10", root)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_downloads_are_the_files_of_torchvision(name: str) -> None:
    """Read from its source: importing torchvision takes seconds."""
    spec = importlib.util.find_spec("torchvision")
    assert spec is not None and spec.origin is not None
    source = Path(spec.origin).with_name("datasets").joinpath("cifar.py").read_text()
    first = re.findall(r'(?:url|tgz_md5) = "([^"]+)"', source[source.index(f"class {name.upper()}(") :])[:2]
    assert [(each.url, each.md5) for each in DOWNLOADS[name]] == [tuple(first)]


def test_download_checks_a_sha256_where_that_is_published(root, archive):
    right = hashlib.sha256(archive.read_bytes()).hexdigest()
    download_dataset("pets", root, downloads={"pets": (Download(archive.as_uri(), sha256=right),)})
    with pytest.raises(DataError, match=f"SHA256 {right} instead of 0000"):
        wrong = {"pets": (Download(archive.as_uri(), sha256="0" * 64),)}
        download_dataset("pets", root, force=True, downloads=wrong)


def test_wmt_14_is_fetched_whole_with_a_checksum_of_each_archive():
    found = DOWNLOADS["wmt14-en-de"]
    assert [each.algorithm for each in found] == ["sha256"] * 5
    assert all(re.fullmatch(r"[0-9a-f]{64}", each.digest) for each in found)
    assert found[1].url.endswith("wmt13/training-parallel-commoncrawl.tgz")
