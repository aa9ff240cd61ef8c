import json
import pickle
import zipfile

import pytest
import safetensors.torch
import torch

from ralr_viz.errors import CheckpointError, InputError
from ralr_viz.models import build_model
from ralr_viz.train.checkpoint import export_checkpoint, load_checkpoint, resolve_checkpoint
from ralr_viz.train.run import RunWriter

HEADER = {
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.25, 0.3],
    "class_names": ["a", "b", "c", "d"],
    "dataset": "squares",
    "image_size": 16,
}


@pytest.fixture
def model():
    torch.manual_seed(3)
    return build_model("resnet20", 4)


@pytest.fixture
def run_directory(tmp_path, model):
    with RunWriter(
        tmp_path / "run", arch="resnet20", num_classes=4, method="ralr", seed=1, header=HEADER, keep=(2,)
    ) as run:
        for epoch in (1, 2, 3):
            run.log(epoch=epoch, val_loss=[0.5, 0.9, 0.7][epoch - 1])
            with torch.no_grad():
                model.linear.bias.fill_(epoch)
            run.save(model)
    return tmp_path / "run"


@pytest.mark.parametrize(("spec", "epoch"), [("", 3), ("@last", 3), ("@prev", 2), ("@best", 1), ("@2", 2)])
def test_load_checkpoint_reads_the_named_state_of_a_run(run_directory, spec, epoch):
    checkpoint = load_checkpoint(f"{run_directory}{spec}")
    assert checkpoint.epoch == epoch
    assert checkpoint.build().linear.bias.tolist() == [epoch] * 4
    assert (checkpoint.arch, checkpoint.method, checkpoint.seed) == ("resnet20", "ralr", 1)
    assert (checkpoint.mean, checkpoint.std) == ((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    assert checkpoint.class_names == ("a", "b", "c", "d")
    assert checkpoint.label == f"ralr, seed 1, epoch {epoch}"


def test_build_returns_eval_mode_and_equal_weights(run_directory, model):
    built = load_checkpoint(run_directory).build()
    assert not built.training
    assert all(
        torch.equal(a, b)
        for a, b in zip(built.state_dict().values(), model.state_dict().values(), strict=True)
    )


def test_resolve_checkpoint_lists_what_there_is(run_directory, tmp_path):
    with pytest.raises(CheckpointError, match="has no checkpoint `7`: it has @2, @best, @last, @prev"):
        resolve_checkpoint(f"{run_directory}@7")
    with pytest.raises(CheckpointError, match="does not exist"):
        resolve_checkpoint(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="has no checkpoints"):
        resolve_checkpoint(tmp_path)


def test_resolve_checkpoint_prefers_a_file_whose_name_has_an_at(tmp_path):
    (tmp_path / "run@best").write_bytes(b"x")
    assert resolve_checkpoint(tmp_path / "run@best") == tmp_path / "run@best"


def test_export_checkpoint_round_trips_as_safetensors(run_directory, tmp_path):
    out = tmp_path / "out" / "weights.safetensors"
    export_checkpoint(f"{run_directory}@best", out)
    ours, theirs = load_checkpoint(out), load_checkpoint(f"{run_directory}@best")
    for name in (
        "arch",
        "num_classes",
        "image_size",
        "mean",
        "std",
        "class_names",
        "dataset",
        "method",
        "seed",
        "epoch",
        "recipe",
    ):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert all(
        torch.equal(a, b) for a, b in zip(ours.build().parameters(), theirs.build().parameters(), strict=True)
    )
    assert not any(b"/" in k.encode() for k in safetensors.torch.load_file(out))
    with pytest.raises(InputError, match="exists: pass --force"):
        export_checkpoint(run_directory, out)


def test_export_checkpoint_gives_equal_bytes_for_equal_input(run_directory, tmp_path):
    for name in ("a", "b"):
        export_checkpoint(run_directory, tmp_path / f"{name}.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"state_dict": s}, lambda s: {"model": s, "epoch": 3}]
)
def test_load_checkpoint_accepts_other_peoples_state_dicts(tmp_path, model, wrap):
    state = {"module." + k.replace("linear", "fc"): v for k, v in model.state_dict().items()}
    torch.save(wrap(state), tmp_path / "theirs.th")
    with pytest.raises(CheckpointError, match="does not say its architecture: pass --arch"):
        load_checkpoint(tmp_path / "theirs.th")
    built = load_checkpoint(tmp_path / "theirs.th", arch="resnet20").build()
    assert all(torch.equal(a, b) for a, b in zip(built.parameters(), model.parameters(), strict=True))


def test_load_checkpoint_counts_the_classes_of_an_unknown_file(tmp_path):
    torch.save(build_model("resnet20", 7).state_dict(), tmp_path / "w.pt")
    assert load_checkpoint(tmp_path / "w.pt", arch="resnet20").num_classes == 7


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("form", ["pickle", "torch", "inside"])
def test_malicious_pickle_is_refused_and_never_executed(tmp_path, model, form):
    trace, file = tmp_path / "executed", tmp_path / "evil.pt"
    if form == "pickle":
        file.write_bytes(pickle.dumps(Malicious(trace)))
    elif form == "torch":
        torch.save(Malicious(trace), file)
    else:
        torch.save({"state_dict": model.state_dict(), "args": Malicious(trace)}, file)
    with pytest.raises(CheckpointError, match="so it was not loaded") as caught:
        load_checkpoint(file, arch="resnet20")
    assert "\n" not in str(caught.value)
    assert not trace.exists()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_truncated_file_is_one_line(run_directory, tmp_path, suffix, keep):
    whole = tmp_path / "whole.safetensors"
    export_checkpoint(run_directory, whole)
    data = (whole if suffix == ".safetensors" else resolve_checkpoint(run_directory)).read_bytes()
    file = tmp_path / f"cut{suffix}"
    file.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(CheckpointError, match="damaged") as caught:
        load_checkpoint(file, arch="resnet20")
    assert "\n" not in str(caught.value)


def test_header_may_not_make_us_import_code(tmp_path, monkeypatch):
    (tmp_path / "evil_factory.py").write_text("import pathlib\npathlib.Path('imported').touch()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    model = build_model("resnet20", 4)
    header = {"format": 1, "arch": "evil_factory:make", "num_classes": 4}
    torch.save({"header": header, "model": model.state_dict()}, tmp_path / "w.pt")
    with pytest.raises(InputError):
        load_checkpoint(tmp_path / "w.pt").build()
    assert not (tmp_path / "imported").exists()


def test_newer_format_is_named(tmp_path, model):
    torch.save({"header": {"format": 99}, "model": model.state_dict()}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="has format 99, this ralr-viz reads up to 1"):
        load_checkpoint(tmp_path / "w.pt")


@pytest.mark.parametrize(
    "change", [{"mean": [1, 2]}, {"std": [0.1, 0.0, 0.1]}, {"num_classes": "many"}, {"mean": "abc"}]
)
def test_damaged_header_is_one_line(tmp_path, model, change):
    header = {"format": 1, "arch": "resnet20", "num_classes": 4, **HEADER, **change}
    torch.save({"header": header, "model": model.state_dict()}, tmp_path / "w.pt")
    with pytest.raises(InputError) as caught:
        load_checkpoint(tmp_path / "w.pt")
    assert "\n" not in str(caught.value)


def test_damaged_safetensors_header_is_one_line(tmp_path, model):
    weights = {k: v.contiguous() for k, v in model.state_dict().items()}
    for i, text in enumerate(["[", json.dumps([1])]):
        file = tmp_path / f"{i}.safetensors"
        file.write_bytes(safetensors.torch.save(weights, metadata={"ralr_viz": text}))
        with pytest.raises(CheckpointError, match="damaged"):
            load_checkpoint(file)


def test_a_torchscript_archive_is_named_in_one_line(tmp_path):
    with pytest.warns(Warning):  # torch's own: it is deprecated
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "scripted.pt")
    with pytest.raises(CheckpointError, match=r"is TorchScript.*save the `state_dict\(\)`") as refused:
        load_checkpoint(tmp_path / "scripted.pt", arch="resnet20")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s}, lambda s: {"ema": [s]}])
def test_tensors_without_values_are_refused_in_one_line(tmp_path, wrap):
    with torch.device("meta"):
        empty = build_model("resnet20", 4).state_dict()
    torch.save(wrap(dict(empty)), tmp_path / "x.pt")
    with pytest.raises(
        CheckpointError, match="`.*x.pt` holds tensors of the `meta` device.*`.*linear.bias`"
    ) as caught:
        load_checkpoint(tmp_path / "x.pt", arch="resnet20")
    assert "\n" not in str(caught.value)


def test_optimizer_state_without_values_is_refused(run_directory):
    file = run_directory / "checkpoints" / "last.pt"
    state = torch.load(file, weights_only=True)
    torch.save(
        state | {"optimizer": {"state": {0: {"momentum_buffer": torch.empty(3, device="meta")}}}}, file
    )
    with pytest.raises(CheckpointError, match="`optimizer.state.0.momentum_buffer`"):
        load_checkpoint(run_directory)


def test_checkpoint_that_holds_itself_is_read(tmp_path, model):
    content = {"state_dict": model.state_dict()}
    content["more"] = [content]
    torch.save(content, tmp_path / "x.pt")
    assert load_checkpoint(tmp_path / "x.pt", arch="resnet20").num_classes == 4


def test_checkpoint_that_unpacks_to_much_is_refused_unread(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("archive/data.pkl", "w") as member,
    ):
        for _ in range(300):
            member.write(bytes(2**20))
    with pytest.raises(
        CheckpointError, match="`.*x.pt` is no checkpoint .it has .* bytes and unpacks to 314,572,800"
    ):
        load_checkpoint(tmp_path / "x.pt", arch="resnet20")
