from math import exp, log

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from actrec.training.loss import Loss, balanced_weights
from actrec.training.sources import NO_LABEL

LOGITS = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, -1.0], [0.0, 0.0, 3.0]])
LABELS = torch.tensor([0, 1, 2, 0])


def make_loss(*, heads=("a",), weight=1.0, labels=LABELS, class_weights="none", smoothing=0.0):
    return Loss(
        {name: {"loss_weight": weight} for name in heads},
        labels=dict.fromkeys(heads, labels),
        num_classes=dict.fromkeys(heads, 3),
        class_weights=class_weights,
        label_smoothing=smoothing,
    )


def cross_entropy(logits, label):
    return log(sum(exp(value) for value in logits)) - logits[label]


def test_by_hand():
    expected = sum(cross_entropy(row, label) for row, label in zip(LOGITS.tolist(), LABELS.tolist(), strict=True)) / 4
    assert make_loss()({"a": LOGITS}, {"a": LABELS}).item() == pytest.approx(expected)


def test_heads_are_weighed_and_added():
    loss = Loss(
        {"a": {"loss_weight": 2.0}, "v1.0": {"loss_weight": 0.5}},
        labels={"a": LABELS, "v1.0": LABELS},
        num_classes={"a": 3, "v1.0": 2},
        class_weights="none",
        label_smoothing=0.0,
    )
    other = torch.tensor([[0.0, 0.0]] * 4)  # ln 2, whatever is true
    found = loss({"a": LOGITS, "v1.0": other}, {"a": LABELS, "v1.0": torch.tensor([0, 1, 0, 1])}).item()
    assert found == pytest.approx(2 * functional.cross_entropy(LOGITS, LABELS).item() + 0.5 * log(2))


def test_balanced_weights_are_scikit_learn_s():
    labels = torch.tensor([0, 0, 0, 0, 2, 2, 1])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels.numpy())
    assert balanced_weights(labels, 3).tolist() == pytest.approx(expected.tolist())


def test_balanced_weights_overlook_missing_labels_and_classes():
    labels = torch.tensor([0, NO_LABEL, 0, 0, 2, NO_LABEL])
    assert balanced_weights(labels, 4).tolist() == pytest.approx([4 / (4 * 3), 0, 4 / (4 * 1), 0])


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_weights_and_smoothing_are_torch_s(class_weights, smoothing):
    labels = torch.tensor([0, 0, 1, 2])
    weight = balanced_weights(labels, 3) if class_weights == "balanced" else None
    expected = functional.cross_entropy(LOGITS, LABELS, weight=weight, label_smoothing=smoothing)
    loss = make_loss(labels=labels, class_weights=class_weights, smoothing=smoothing)
    assert torch.equal(loss({"a": LOGITS}, {"a": LABELS}), expected)


def test_balanced_by_hand():
    """Weights 4 / (3 * 2), 4 / (3 * 1), 4 / (3 * 1); torch divides by their sum over the batch."""
    weights = [2 / 3, 4 / 3, 4 / 3, 2 / 3]
    parts = [cross_entropy(row, label) for row, label in zip(LOGITS.tolist(), LABELS.tolist(), strict=True)]
    expected = sum(w * part for w, part in zip(weights, parts, strict=True)) / sum(weights)
    assert make_loss(class_weights="balanced")({"a": LOGITS}, {"a": LABELS}).item() == pytest.approx(expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_clip_without_a_label_does_not_count(smoothing):
    some = torch.tensor([0, NO_LABEL, 2, NO_LABEL])
    loss = make_loss(smoothing=smoothing)
    found = loss({"a": LOGITS}, {"a": some})
    assert found.item() == pytest.approx(loss({"a": LOGITS[[0, 2]]}, {"a": some[[0, 2]]}).item())


def test_a_batch_without_any_label_teaches_nothing():
    logits = LOGITS.clone().requires_grad_()
    found = make_loss(class_weights="balanced")({"a": logits}, {"a": torch.full((4,), NO_LABEL)})
    found.backward()
    assert found.item() == 0 and logits.grad is not None and not logits.grad.any()


def test_half_precision_is_added_up_in_full():
    found = make_loss()({"a": LOGITS.bfloat16()}, {"a": LABELS})
    assert found.dtype == torch.float32


def test_balance_moves_with_the_module():
    loss = make_loss(class_weights="balanced").to("meta")
    assert all(buffer.is_meta for buffer in loss.buffers()) and len(list(loss.buffers())) == 1
