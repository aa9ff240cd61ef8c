"""The loss against torchvision's, and against a literal twin of the reference."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models.detection._utils import BoxCoder, SSDMatcher
from torchvision.models.detection.ssd import SSD
from torchvision.ops import box_iou

from ralr_viz.tasks.detection.boxes import encode_boxes, to_corners
from ralr_viz.tasks.detection.loss import Targets, match_priors, multibox_loss
from ralr_viz.tasks.detection.network import SmallSSD
from ralr_viz.tasks.detection.priors import make_priors, small_levels

PRIORS = make_priors(small_levels(96))
CLASSES = 4


def make_objects(counts: list[int], most: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Padded boxes (b, M, 4) and labels (b, M)."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(len(counts), most, 2, 2, generator=generator)
    boxes = torch.cat([points.amin(-2), points.amax(-2) + 0.02], -1)
    labels = torch.randint(1, CLASSES + 1, (len(counts), most), generator=generator)
    labels = labels * (torch.arange(most) < torch.tensor(counts)[:, None])
    return boxes * (labels > 0)[..., None], labels


def make_outputs(images: int, seed: int = 0, priors: int = len(PRIORS)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    offsets = torch.randn(images, priors, 4, generator=generator)
    return offsets.requires_grad_(), torch.randn(
        images, priors, 1 + CLASSES, generator=generator
    ).requires_grad_()


@pytest.mark.parametrize("counts", [[3, 12, 1, 0], [0, 0], [1]])
def test_loss_and_its_gradient_are_torchvisions(counts: list[int]) -> None:
    boxes, labels = make_objects(counts, 12)
    offsets, logits = make_outputs(len(counts))
    sums = multibox_loss(offsets, logits, match_priors(PRIORS, boxes, labels), location_loss="smooth_l1")
    loss = sums.loss / sums.positives.clamp_min(1)
    found = torch.autograd.grad(loss, (offsets, logits))

    corners, matcher = to_corners(PRIORS), SSDMatcher(0.5)
    targets, matched = [], []
    for box, label, count in zip(boxes, labels, counts, strict=True):
        targets.append({"boxes": box[:count], "labels": label[:count]})
        none = torch.full((len(PRIORS),), -1)
        matched.append(matcher(box_iou(box[:count], corners)) if count else none)
    network = SimpleNamespace(box_coder=BoxCoder((10.0, 10.0, 5.0, 5.0)), neg_to_pos_ratio=3)
    head = {"bbox_regression": offsets, "cls_logits": logits}
    theirs = SSD.compute_loss(network, targets, head, [corners] * len(counts), matched)
    expected = sum(theirs.values())
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    for mine, other in zip(found, torch.autograd.grad(expected, (offsets, logits)), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-7)


def literal_loss(offsets: Tensor, logits: Tensor, boxes: Tensor, labels: Tensor) -> tuple[float, int]:
    """The reference's loss, prior by prior: mean of L1 over 4 · positives, and cross-entropy over positives."""
    location, confidence, positives = 0.0, 0.0, 0
    for image in range(len(boxes)):
        there = [m for m in range(boxes.shape[1]) if labels[image, m] > 0]
        overlap = box_iou(boxes[image], to_corners(PRIORS))
        target = [0] * len(PRIORS)
        of = [-1] * len(PRIORS)
        for p in range(len(PRIORS)):
            if there:
                best = max(there, key=lambda m: (float(overlap[m, p]), -m))
                if overlap[best, p] >= 0.5:
                    of[p] = best
        for m in there:  # the later object wins
            of[int(overlap[m].argmax())] = m
        negatives = []
        for p in range(len(PRIORS)):
            target[p] = int(labels[image, of[p]]) if of[p] >= 0 else 0
            entropy = float(-logits[image, p].log_softmax(0)[target[p]])
            if of[p] < 0:
                negatives.append(entropy)
                continue
            positives += 1
            confidence += entropy
            wanted = encode_boxes(boxes[image, of[p]], PRIORS[p])
            location += float((offsets[image, p] - wanted).abs().mean())
        count = sum(o >= 0 for o in of)
        confidence += sum(sorted(negatives, reverse=True)[: 3 * count])
    return location + confidence, positives


@pytest.mark.parametrize("counts", [[2, 5, 0]])
def test_loss_is_the_references_l1_by_default(counts: list[int]) -> None:
    boxes, labels = make_objects(counts, 6, seed=3)
    offsets, logits = (tensor.detach() for tensor in make_outputs(len(counts), seed=1))
    sums = multibox_loss(offsets, logits, match_priors(PRIORS, boxes, labels))
    total, positives = literal_loss(offsets, logits, boxes, labels)
    assert int(sums.positives) == positives
    assert float(sums.loss) == pytest.approx(total, rel=1e-5)


def test_l1_is_a_quarter_of_the_sum_over_the_offsets() -> None:
    boxes, labels = make_objects([4, 2], 5)
    offsets, logits = make_outputs(2)
    targets = match_priors(PRIORS, boxes, labels)
    sums = multibox_loss(offsets, logits, targets)
    positive = targets.labels > 0
    total = (offsets - targets.offsets).abs()[positive].sum()
    torch.testing.assert_close(sums.offsets, total / 4)
    assert sums.positives == positive.sum() == targets.count_positives()


@given(st.integers(0, 10**6))
@settings(max_examples=10)
def test_sums_of_two_batches_are_those_of_both(seed: int) -> None:
    boxes, labels = make_objects([3, 0, 5, 1], 7, seed)
    offsets, logits = (tensor.detach() for tensor in make_outputs(4, seed))
    whole = multibox_loss(offsets, logits, match_priors(PRIORS, boxes, labels))
    parts = [
        multibox_loss(offsets[at], logits[at], match_priors(PRIORS, boxes[at], labels[at]))
        for at in (slice(0, 1), slice(1, 4))
    ]
    for summed, first, second in zip(whole, *parts, strict=True):
        torch.testing.assert_close(summed, first + second, rtol=1e-5, atol=1e-5)


def test_padding_changes_nothing() -> None:
    boxes, labels = make_objects([3, 1], 3)
    wide = (
        torch.cat([boxes, torch.full((2, 9, 4), torch.nan)], 1),
        torch.cat([labels, labels.new_zeros(2, 9)], 1),
    )
    narrow, padded = match_priors(PRIORS, boxes, labels), match_priors(PRIORS, *wide)
    assert torch.equal(narrow.labels, padded.labels)
    assert torch.equal(narrow.offsets, padded.offsets)
    assert padded.offsets.isfinite().all()


def test_of_two_objects_with_one_best_prior_the_later_gets_it() -> None:
    box = to_corners(PRIORS[1500])
    boxes = torch.stack([box, box + 0.001])[None]
    targets = match_priors(PRIORS, boxes, torch.tensor([[1, 2]]))
    assert targets.labels[0, 1500] == 2
    swapped = match_priors(PRIORS, boxes.flip(1), torch.tensor([[2, 1]]))
    assert swapped.labels[0, 1500] == 1


def test_object_below_the_threshold_everywhere_gets_its_best_prior() -> None:
    boxes = torch.tensor([[[0.501, 0.5, 0.511, 0.51]]])
    targets = match_priors(PRIORS, boxes, torch.tensor([[3]]))
    assert targets.labels.sum() == 3
    assert targets.count_positives() == 1
    place = int(targets.labels[0].argmax())
    assert place == int(box_iou(boxes[0], to_corners(PRIORS)).argmax())
    assert targets.offsets[0].any(1).nonzero().tolist() == [[place]]


def test_hard_negatives_never_outnumber_the_negatives() -> None:
    labels = torch.tensor([[1, 1, 1, 0]])
    offsets, logits = make_outputs(1, priors=4)
    sums = multibox_loss(offsets, logits, Targets(torch.zeros(1, 4, 4), labels))
    expected = torch.nn.functional.cross_entropy(logits[0], labels[0], reduction="sum")
    torch.testing.assert_close(sums.logits, expected)


def test_loss_is_computed_in_fp32_under_autocast() -> None:
    boxes, labels = make_objects([3, 2], 3)
    offsets, logits = (tensor.detach() for tensor in make_outputs(2))
    expected = multibox_loss(offsets, logits, match_priors(PRIORS, boxes, labels))
    with torch.autocast("cpu", torch.bfloat16):
        found = multibox_loss(offsets, logits, match_priors(PRIORS, boxes, labels))
    assert [float(a) for a in found] == [float(b) for b in expected]


def test_step_has_no_operator_that_waits_for_the_device() -> None:
    waits = []

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            name = func.overloadpacket.__name__
            mask = name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])
            if name in ("_local_scalar_dense", "nonzero", "masked_select") or mask:
                waits.append(name)
            return func(*args, **(kwargs or {}))

    model = SmallSSD(CLASSES).train()
    boxes, labels = make_objects([3, 0], 4)
    with Recorder():
        sums = multibox_loss(*model(torch.randn(2, 3, 96, 96)), match_priors(model.priors, boxes, labels))
        (sums.loss / sums.positives.clamp_min(1)).backward()
    assert waits == []
    with Recorder():
        sums.positives.item()
    assert waits == ["_local_scalar_dense"]
