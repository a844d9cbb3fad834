"""The terms of the loss that look at classes, by hand."""

import pytest
import torch

from actrec.training.labels import NO_LABEL
from actrec.training.soft_recall import soft_recall_loss, soft_recalls

# Probabilities of three classes for four clips, the last without a label.
PROBS = torch.tensor([[0.8, 0.1, 0.1], [0.4, 0.5, 0.1], [0.25, 0.25, 0.5], [0.1, 0.1, 0.8]])
LABELS = torch.tensor([0, 0, 2, NO_LABEL])
LOGITS = PROBS.log()


def loss(**weights):
    return soft_recall_loss(LOGITS, LABELS, **weights).item()


def test_recalls_of_the_classes_that_are_there():
    # Class 0: (0.8 + 0.4) / 2; class 2: 0.5; class 1 has no clip.
    assert soft_recalls(LOGITS, LABELS).tolist() == pytest.approx([0.6, 0.5])


def test_both_forms_and_the_accuracy():
    assert loss(form="variance", weight=1.0, accuracy_weight=0.0) == pytest.approx(0.05**2)  # 0.55 and 0.05 off
    assert loss(form="shortfall", weight=1.0, accuracy_weight=0.0) == pytest.approx(0.45)
    assert loss(form="shortfall", weight=0.0, accuracy_weight=1.0) == pytest.approx(-(0.8 + 0.4 + 0.5) / 3)
    both = 0.1 * 0.0025 - 0.05 * 1.7 / 3
    assert loss(form="variance", weight=0.1, accuracy_weight=0.05) == pytest.approx(both)


def test_equal_but_bad_recalls_satisfy_the_variance_alone():
    bad = torch.tensor([[0.1, 0.9], [0.9, 0.1]]).log()
    labels = torch.tensor([0, 1])
    spread = soft_recall_loss(bad, labels, form="variance", weight=1.0, accuracy_weight=0.0)
    short = soft_recall_loss(bad, labels, form="shortfall", weight=1.0, accuracy_weight=0.0)
    assert spread.item() == pytest.approx(0, abs=1e-12)
    assert short.item() == pytest.approx(0.9)


@pytest.mark.parametrize("form", ["variance", "shortfall"])
def test_one_class_or_none(form):
    terms = {"form": form, "weight": 1.0, "accuracy_weight": 0.5}
    one = soft_recall_loss(LOGITS[:1], LABELS[:1], **terms)
    assert one.item() == pytest.approx((0 if form == "variance" else 0.2) - 0.4)
    logits = LOGITS.clone().requires_grad_()
    none = soft_recall_loss(logits, torch.full((4,), NO_LABEL), **terms)
    none.backward()
    assert none.item() == 0
    assert logits.grad is not None and not logits.grad.any()


def test_the_gradient_lifts_the_class_that_falls_short():
    logits = LOGITS.clone().requires_grad_()
    soft_recall_loss(logits, LABELS, form="shortfall", weight=1.0, accuracy_weight=0.0).backward()
    assert logits.grad is not None
    assert (logits.grad[torch.arange(3), LABELS[:3]] < 0).all()
