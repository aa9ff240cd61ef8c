"""A file of weights in which bits have flipped is refused by name, or what is read from it is what was written."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from ralr_viz.errors import CheckpointError
from ralr_viz.models.checkpoint_file import pack_checkpoint, pack_weights, parse_checkpoint
from ralr_viz.models.digest import MARK, PLACE, compute_digest, is_whole, seal
from ralr_viz.train.checkpoint import export_checkpoint, load_checkpoint, read_checkpoint
from ralr_viz.train.run import RunWriter

WEIGHTS = {"linear.weight": torch.arange(40.0).reshape(4, 10), "linear.bias": torch.linspace(-1, 1, 4)}
HEADER = {
    "format": 1,
    "arch": "resnet20",
    "num_classes": 4,
    "mean": [0.5, 0.4, 0.3],
    "class_names": list("abcd"),
}
CONTENT = {
    "header": HEADER,
    "history": [{"epoch": 1, "lr": 0.1}],
    "model": WEIGHTS,
    "optimizer": {"state": {0: {"momentum_buffer": torch.full((4, 10), 0.25)}}},
    "rng": {"cpu": torch.get_rng_state()[:64]},
}
PACKED = {"a.pt": pack_checkpoint(CONTENT), "a.safetensors": pack_weights(WEIGHTS, HEADER)}
PUBLISHED = Path(__file__).parents[2] / "checkpoints"


def flip(data: bytes, *bits: int) -> bytes:
    """The bits at these positions, counted from the file's start and modulo its length, turned over."""
    changed = bytearray(data)
    for bit in bits:
        place = bit % (8 * len(data))
        changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


def same(a: Any, b: Any) -> bool:
    """Equal to the bit."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    return a == b


def read(name: str, data: bytes) -> dict[str, Any]:
    """What a file says; of a header only what we have put there, which the digest is none of."""
    content = parse_checkpoint(Path(name), data)
    return content | {"header": {n: v for n, v in content["header"].items() if n in HEADER}}


def slow_digest(data: bytes, at: int) -> bytes:
    """The docstring of `compute_digest`, word by word: on both sides of the digits, the second from a whole word on."""
    last = at + len(PLACE)
    aligned = last + -last % 8
    digest = hashlib.sha256(len(data).to_bytes(8, "little"))
    for part, raw in ((data[: at + len(MARK)], data[last:aligned]), (data[aligned:], b"")):
        for start in range(0, len(part), 2039 * 8 * 128):
            block = part[start : start + 2039 * 8 * 128]
            rows = len(block) // (8 * 2039)
            sums = [0] * 2039
            for i in range(rows * 2039):
                sums[i % 2039] += int.from_bytes(block[8 * i : 8 * i + 8], "little")
            if rows:
                digest.update(b"".join((s % 2**64).to_bytes(8, "little") for s in sums))
            digest.update(block[8 * 2039 * rows :])
        digest.update(raw)
    return digest.hexdigest().encode()


@pytest.mark.parametrize("size", [100, 40_001, 2_088_019, 2_200_003])
@pytest.mark.parametrize("where", [0.0, 0.4, 1.0])
def test_compute_digest_is_the_sums_that_it_says(size: int, where: float) -> None:
    data = bytearray(np.random.default_rng(size).bytes(size))
    at = int(where * (size - len(PLACE)))
    data[at : at + len(PLACE)] = PLACE
    assert compute_digest(data, at) == slow_digest(bytes(data), at)
    seal(data, at)
    assert is_whole(bytes(data), at) and bytes(data[at : at + len(MARK)]) == MARK


@settings(max_examples=60, deadline=None)
@given(
    bits=st.lists(st.integers(0, 2**40), min_size=1, max_size=3, unique=True), burst=st.integers(0, 16_000)
)
def test_digest_changes_with_any_few_bits_and_any_burst(bits: list[int], burst: int) -> None:
    data = bytearray(2_200_000) + PLACE
    at = len(data) - len(PLACE)
    seal(data, at)
    places = {bit % (8 * at) for bit in bits}
    assert not is_whole(flip(bytes(data), *places), at)
    begin = places.pop() // 8
    end = min(begin + burst + 1, at)
    data[begin:end] = b"\xff" * (end - begin)
    assert not is_whole(bytes(data), at)


def test_flipped_bits_in_the_name_of_our_entry_and_in_the_mark_do_not_turn_the_digest_off() -> None:
    data = PACKED["a.safetensors"]
    key, mark = data.index(b'"ralr_viz"') + 1, data.index(MARK)
    for first in range(len("ralr_viz")):
        for second in range(len(MARK)):
            with pytest.raises(CheckpointError, match="`a.safetensors`.* damaged"):
                read("a.safetensors", flip(data, 8 * (key + first), 8 * (mark + second) + 1))


@pytest.mark.parametrize("name", PACKED)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bits=st.lists(st.integers(0, 2**32), min_size=1, max_size=2, unique=True))
def test_flipped_bits_anywhere_are_refused_by_name_or_change_nothing(name: str, bits: list[int]) -> None:
    data = PACKED[name]
    damaged = flip(data, *bits)
    try:
        found = read(name, damaged)
    except CheckpointError as error:
        assert f"`{name}`" in str(error) and "damaged" in str(error) and "\n" not in str(error)
    else:
        assert same(found, read(name, data))


@pytest.mark.parametrize("name", PACKED)
def test_a_byte_of_any_position_is_refused_by_name_or_changes_nothing(name: str) -> None:
    data, refused = PACKED[name], 0
    whole = read(name, data)
    for position in range(0, len(data), 3):
        try:
            found = read(name, flip(data, 8 * position + position % 8))
        except CheckpointError:
            refused += 1
        else:
            assert same(found, whole), position
    assert refused == len(range(0, len(data), 3))


def test_packed_files_are_read_by_anybody() -> None:
    loaded = torch.load(io.BytesIO(PACKED["a.pt"]), weights_only=True)
    assert same(loaded, CONTENT)
    assert zipfile.ZipFile(io.BytesIO(PACKED["a.pt"])).testzip() is None
    assert same(safetensors.torch.load(PACKED["a.safetensors"]), WEIGHTS)


def test_equal_content_gives_equal_bytes() -> None:
    assert pack_checkpoint(CONTENT) == PACKED["a.pt"]
    assert all(pack_weights(WEIGHTS, HEADER) == PACKED["a.safetensors"] for _ in range(4))


def test_files_without_a_digest_are_taken_as_they_are(tmp_path: Path, capsys, recwarn) -> None:
    """Those of others, of earlier versions, and ours that somebody has saved again."""
    torch.save(torch.load(io.BytesIO(PACKED["a.pt"]), weights_only=True), tmp_path / "again.pt")
    text = json.dumps(HEADER)
    (tmp_path / "old.safetensors").write_bytes(safetensors.torch.save(WEIGHTS, metadata={"ralr_viz": text}))
    for name in ("again.pt", "old.safetensors"):
        data = (tmp_path / name).read_bytes()
        assert MARK not in data
        assert same(dict(load_checkpoint(tmp_path / name).weights), WEIGHTS)
        place = data.index(WEIGHTS["linear.weight"].numpy().tobytes())
        (tmp_path / name).write_bytes(flip(data, 8 * place + 70))
        assert not same(dict(load_checkpoint(tmp_path / name).weights), WEIGHTS)
    for file in sorted((PUBLISHED / "cifar10-resnet20-short").rglob("*.safetensors"))[:4]:
        assert MARK not in file.read_bytes()
        load_checkpoint(file)
    assert capsys.readouterr() == ("", "") and not recwarn.list


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Three epochs of a linear layer, the second of which is the best and kept."""
    model = nn.Module()
    model.linear = nn.Linear(10, 4)
    about: dict[str, Any] = {"arch": "resnet20", "num_classes": 4, "keep": (2,)}
    with RunWriter(tmp_path / "run", **about) as writer:
        for epoch, loss in enumerate((0.9, 0.5, 0.7), 1):
            writer.log(epoch=epoch, val_loss=loss)
            writer.save(model)
            nn.init.constant_(model.linear.bias, epoch)
    return tmp_path / "run"


def damage(file: Path) -> None:
    """Two bits of the weights; the file's other names keep what they had."""
    data = file.read_bytes()
    file.unlink()
    file.write_bytes(flip(data, 4 * len(data), 4 * len(data) + 9))


@pytest.mark.parametrize("name", ["last", "prev", "best", "epoch_0002"])
def test_every_state_of_a_run_is_checked(run: Path, name: str, tmp_path: Path) -> None:
    spec = f"{run}@{name.removeprefix('epoch_000')}"
    file = run / "checkpoints" / f"{name}.pt"
    load_checkpoint(spec), read_checkpoint(file)
    damage(file)
    readers: list[Callable[[], object]] = [
        lambda: load_checkpoint(spec),
        lambda: read_checkpoint(file),
        lambda: export_checkpoint(spec, tmp_path / "w.safetensors"),
    ]
    for read in readers:
        with pytest.raises(CheckpointError, match=rf"`.*{name}\.pt` is damaged.*copy or export it again"):
            read()
    assert not (tmp_path / "w.safetensors").exists()


def test_run_writer_goes_on_from_prev_and_says_so(run: Path) -> None:
    with RunWriter(run, resume=True, arch="resnet20", num_classes=4) as whole:
        assert whole.restored is not None and whole.restored["source"] == "last.pt" and whole.notes == []
    damage(run / "checkpoints" / "last.pt")
    with RunWriter(run, resume=True, arch="resnet20", num_classes=4) as writer:
        assert writer.restored is not None and writer.restored["header"]["epoch"] == 2
        (note,) = writer.notes
    assert note.startswith("resuming from prev.pt, the state before: last.pt cannot be read (`")
    assert (run / "log.txt").read_text() == note + "\n"
    load_checkpoint(run)  # it is whole again


def test_a_sealed_file_of_two_damages_is_refused() -> None:
    """A bit of the mark does not turn the check off."""
    for name, data in PACKED.items():
        place = data.index(WEIGHTS["linear.weight"].numpy().tobytes())
        for bit in range(8 * len(MARK)):
            with pytest.raises(CheckpointError, match="damaged"):
                parse_checkpoint(Path(name), flip(data, 8 * data.index(MARK) + bit, 8 * place + 70))
