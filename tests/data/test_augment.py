import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from ralr_viz.data.augment import BatchLoader, crop_batch, normalise_batch, pad_images, plan_epoch


def crop_literally(image: np.ndarray, top: int, left: int, flip: bool, padding: int) -> np.ndarray:
    """Paper section 5.1, one image: zero-pad, cut out, mirror."""
    height, width, _ = image.shape
    canvas = np.zeros((height + 2 * padding, width + 2 * padding, 3), np.uint8)
    canvas[padding : padding + height, padding : padding + width] = image
    cut = canvas[top : top + height, left : left + width]
    return cut[:, ::-1] if flip else cut


@settings(max_examples=25)
@given(
    padding=st.integers(0, 5),
    flip=st.booleans(),
    seed=st.integers(0, 2**40),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
)
def test_crop_batch_equals_a_literal_crop(device, padding, flip, seed, height, width):
    images = torch.randint(0, 256, (13, height, width, 3), dtype=torch.uint8)
    plan = plan_epoch(seed, 3, 13, padding=padding, flip=flip)
    padded = pad_images(images.to(device), padding)
    got = crop_batch(padded, plan.to(torch.device(device)), 4, 11, padding).cpu().numpy()
    for i, position in enumerate(range(4, 11)):
        source = images[plan.order[position]].numpy()
        expected = crop_literally(
            source, int(plan.top[position]), int(plan.left[position]), bool(plan.flip[position]), padding
        )
        np.testing.assert_array_equal(got[i], expected)


def test_plan_epoch_is_a_function_of_seed_and_epoch_alone():
    first = plan_epoch(5, 7, 100, padding=4, flip=True)
    torch.manual_seed(123)
    torch.rand(10)
    state = torch.get_rng_state()
    again = plan_epoch(5, 7, 100, padding=4, flip=True)
    assert torch.equal(torch.get_rng_state(), state)
    for name in ("order", "top", "left", "flip"):
        assert torch.equal(getattr(first, name), getattr(again, name))


def test_plan_epoch_of_neighbouring_seeds_does_not_overlap():
    orders = {
        (s, e): tuple(plan_epoch(s, e, 50, padding=0, flip=False).order.tolist())
        for s in range(5)
        for e in range(5)
    }
    assert len(set(orders.values())) == 25


def test_plan_epoch_draws_are_uniform_and_switching_flips_off_changes_nothing_else():
    on, off = (plan_epoch(1, 0, 90_000, padding=4, flip=f) for f in (True, False))
    assert torch.equal(on.order, off.order)
    assert torch.equal(on.top, off.top)
    assert not off.flip.any()
    assert sorted(on.order.tolist()) == list(range(90_000))
    for offsets in (on.top, on.left):
        counts = torch.bincount(offsets, minlength=9)
        assert len(counts) == 9
        assert (counts - 10_000).abs().max() < 500  # 5 σ
    assert abs(int(on.flip.sum()) - 45_000) < 750
    assert abs(np.corrcoef(on.top, on.left)[0, 1]) < 0.02


def test_normalise_batch_equals_its_definition_in_channels_last_memory():
    images = torch.randint(0, 256, (5, 6, 7, 3), dtype=torch.uint8)
    mean, std = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0.2, 0.3, 0.4])
    x = normalise_batch(images, mean, std)
    assert x.shape == (5, 3, 6, 7)
    assert x.is_contiguous(memory_format=torch.channels_last)
    for c in range(3):
        expected = (images[..., c].double() / 255 - mean[c].double()) / std[c].double()
        torch.testing.assert_close(x[:, c].double(), expected, rtol=1e-5, atol=1e-5)


class Recorder(TorchDispatchMode):
    """Names of the operators; those that wait for the device are in ``waits``."""

    WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "unique")

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        index = args[1] if name in ("index", "index_put_") else ()
        boolean = any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in index)
        if name in self.WAITS or boolean:
            self.waits.append(name)
        return func(*args, **(kwargs or {}))


def test_augmentation_has_no_operator_that_waits_for_the_device():
    images = torch.zeros(20, 8, 8, 3, dtype=torch.uint8)
    plan = plan_epoch(0, 0, 20, padding=2, flip=True)
    padded = pad_images(images, 2)
    with Recorder() as recorder:
        normalise_batch(crop_batch(padded, plan, 0, 10, 2), torch.zeros(3), torch.ones(3))
    assert recorder.waits == []
    with Recorder() as recorder:  # the check itself can fail
        images[plan.flip]
        plan.top[0].item()
    assert recorder.waits == ["index", "_local_scalar_dense"]


@pytest.mark.parametrize("options", [{}, {"cutout": 3}, {"mixup": 1.0}, {"cutmix": 0.5, "cutout": 3}])
def test_loading_a_batch_has_no_operator_that_waits_for_the_device(device, waiting_is_an_error, options):
    plan = plan_epoch(0, 0, 20, padding=2, flip=True, size=(8, 8), batch=10, **options).to(
        torch.device(device)
    )
    with torch.device(device):
        images, labels = torch.zeros(20, 8, 8, 3, dtype=torch.uint8), torch.arange(20) % 5
        loader = BatchLoader(pad_images(images, 2), labels, torch.zeros(3), torch.ones(3), 5, 2)
    with Recorder() as recorder, waiting_is_an_error():
        loader.load(plan, 0, 10)
    assert recorder.waits == []


@pytest.mark.parametrize("padding", [0, 4])
def test_augmentation_stays_on_a_cuda_device(padding, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)  # which fake tensors have not
    with FakeTensorMode():
        images = torch.zeros(20, 32, 32, 3, dtype=torch.uint8, device="cuda")
        plan = plan_epoch(0, 0, 20, padding=padding, flip=True).to(torch.device("cuda"))
        x = crop_batch(pad_images(images, padding), plan, 0, 8, padding)
        x = normalise_batch(x, torch.zeros(3, device="cuda"), torch.ones(3, device="cuda"))
    assert x.device.type == "cuda"
    assert x.shape == (8, 3, 32, 32)
