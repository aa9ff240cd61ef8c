import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss, top_k_accuracy_score
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from ralr_viz.errors import InputError
from ralr_viz.models import build_model
from ralr_viz.runtime.device import Runtime, describe_processor, resolve_runtime
from ralr_viz.tasks.classification.evaluate import evaluate
from ralr_viz.tasks.eval_mode import eval_mode

CPU = Runtime(torch.device("cpu"), "fp32")
MEAN, STD = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.3, 0.4])


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (37, 16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize("batch", [1, 10, 37, 500])
def test_evaluate_equals_scikit_learn(images, batch):
    model = build_model("resnet20", 12)
    with torch.no_grad():
        model.linear.weight.mul_(0.01)  # scikit-learn clips the probabilities of a very sure network
    labels = np.random.default_rng(1).integers(0, 12, 37)
    images.flags.writeable = False  # as a memory map is
    result = evaluate(model, images, labels, MEAN, STD, CPU, batch=batch)
    x = torch.tensor((images / 255 - MEAN.numpy()) / STD.numpy(), dtype=torch.float32).permute(0, 3, 1, 2)
    p = model.eval()(x).detach().double().softmax(1).numpy()
    assert result.loss == pytest.approx(log_loss(labels, p, labels=range(12)), rel=1e-4)
    assert result.top1 == pytest.approx(100 * accuracy_score(labels, p.argmax(1)))
    assert result.top5 == pytest.approx(100 * top_k_accuracy_score(labels, p, k=5, labels=range(12)))
    assert result.n == 37


class Constant(nn.Module):
    def forward(self, x):
        return torch.zeros(len(x), 10)


def test_evaluate_does_not_call_ties_correct(images):
    labels = np.arange(37) % 10
    result = evaluate(Constant(), images, labels, MEAN, STD, CPU)
    assert result.top1 < 20  # one class in ten, not all of them
    assert result.top5 < 60


def test_evaluate_restores_each_modules_mode(images):
    model = build_model("resnet20", 4).train()
    model.layer2.eval()
    evaluate(model, images, np.zeros(37, int), MEAN, STD, CPU)
    assert model.training
    assert not model.layer2.training
    assert model.layer3.training
    assert all(p.grad is None for p in model.parameters())
    with pytest.raises(RuntimeError), eval_mode(model):
        raise RuntimeError
    assert model.layer3.training


def test_evaluate_names_bad_input(images):
    model = build_model("resnet20", 4)
    with pytest.raises(InputError, match="label 6 needs 7 classes, the network has 4"):
        evaluate(model, images, np.full(37, 6), MEAN, STD, CPU)
    with pytest.raises(InputError, match="there are no images"):
        evaluate(model, images[:0], np.zeros(0, int), MEAN, STD, CPU)


def test_resolve_runtime_names_what_is_missing():
    with pytest.raises(InputError, match="unknown device `gpu`"):
        resolve_runtime("gpu")
    with pytest.raises(InputError, match="unknown precision `fp8`"):
        resolve_runtime("cpu", "fp8")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="torch sees no CUDA device here; use --device cpu"):
            resolve_runtime("cuda")
    assert resolve_runtime("cpu", "fp32").precision == "fp32"


def test_resolve_runtime_asks_for_a_compiler_before_the_work(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(InputError, match="`--compile` needs a C\\+\\+ compiler"):
        resolve_runtime("cpu", "fp32", compile=True)
    resolve_runtime("cpu", "fp32")


def test_forward_pass_stays_on_a_cuda_device():
    with FakeTensorMode():
        with torch.device("cuda"):
            model = build_model("resnet20", 10)
        logits = model(torch.zeros(2, 3, 32, 32, device="cuda"))
    assert logits.device.type == "cuda"


def test_describe_processor_reads_what_decides_the_last_bits(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text(
        "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n"
        "flags\t\t: fpu avx512_bf16 sse amx_tile\n\nprocessor\t: 1\ncpu family\t: 99\n"
    )
    assert describe_processor(file) == {
        "name": "AMD EPYC",
        "family": "25",
        "model": "17",
        "flags": ["amx_tile", "avx512_bf16"],
    }
    assert describe_processor(tmp_path / "none")["flags"] == []  # not Linux
