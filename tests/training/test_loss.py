from math import exp, log

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from actrec.training.labels import NO_LABEL
from actrec.training.loss import Loss, balanced_weights, positive_weights

LOGITS = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, -1.0], [0.0, 0.0, 3.0]])
LABELS = torch.tensor([0, 1, 2, 0])


def make_loss(*, heads=("a",), weight=1.0, labels=LABELS, class_weights="none", smoothing=0.0, total=None):
    return Loss(
        {name: {"loss_weight": weight} for name in heads},
        labels=dict.fromkeys(heads, labels),
        num_classes=dict.fromkeys(heads, 3),
        class_weights=class_weights,
        label_smoothing=smoothing,
        total=total,
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


# --- several classes a clip ---------------------------------------------------------------------------------------

MANY = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [NO_LABEL] * 3, [1.0, 0.0, 0.0]])
KNOWN = [0, 1, 3]


def binary_cross_entropy(logit, target, weight=1.0):
    prob = 1 / (1 + exp(-logit))
    return -(weight * target * log(prob) + (1 - target) * log(1 - prob))


def by_hand(target_of=lambda y: y, weights=(1.0, 1.0, 1.0)):
    cells = [
        binary_cross_entropy(LOGITS[i, k].item(), target_of(MANY[i, k].item()), weights[k])
        for i in KNOWN
        for k in range(3)
    ]
    return sum(cells) / len(cells)


def test_each_class_is_a_question_of_its_own_and_unlabelled_clips_are_not_asked():
    found = make_loss(labels=MANY)({"a": LOGITS}, {"a": MANY})
    assert found.item() == pytest.approx(by_hand())


def test_smoothing_moves_both_answers_to_the_middle():
    found = make_loss(labels=MANY, smoothing=0.2)({"a": LOGITS}, {"a": MANY})
    assert found.item() == pytest.approx(by_hand(lambda y: 0.9 if y else 0.1))


def test_positives_weigh_as_much_as_negatives():
    """a: 2 of 3 positive, 1/2. b: none, 1. c: 2 of 3."""
    assert positive_weights(MANY).tolist() == [0.5, 1.0, 0.5]
    found = make_loss(labels=MANY, class_weights="balanced")({"a": LOGITS}, {"a": MANY})
    assert found.item() == pytest.approx(by_hand(weights=(0.5, 1.0, 0.5)))


def test_a_class_that_every_clip_has_keeps_its_weight():
    assert positive_weights(torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 0.0]])).tolist() == [1.0, 2.0]


def test_a_clip_that_one_head_does_not_know_still_trains_the_other():
    loss = Loss(
        {"a": {"loss_weight": 2.0}, "acts": {"loss_weight": 0.5}},
        labels={"a": LABELS, "acts": MANY},
        num_classes={"a": 3, "acts": 3},
        class_weights="none",
        label_smoothing=0.0,
    )
    logits = {"a": LOGITS.clone().requires_grad_(), "acts": LOGITS.clone().requires_grad_()}
    labels = {"a": torch.tensor([NO_LABEL, 1, 2, 0]), "acts": MANY}
    loss(logits, labels).backward()
    gradients = {head: values.grad for head, values in logits.items()}
    assert gradients["a"] is not None and gradients["acts"] is not None
    assert not gradients["a"][0].any() and gradients["acts"][0].any()
    assert gradients["a"][2].any() and not gradients["acts"][2].any()
    only = {head: make_loss(labels=labels[head])({"a": LOGITS}, {"a": labels[head]}).item() for head in labels}
    assert loss(logits, labels).item() == pytest.approx(2 * only["a"] + 0.5 * only["acts"])


def test_a_batch_without_any_of_several_labels_teaches_nothing():
    logits = LOGITS.clone().requires_grad_()
    found = make_loss(labels=MANY, class_weights="balanced")({"a": logits}, {"a": torch.full((4, 3), float(NO_LABEL))})
    found.backward()
    assert found.item() == 0 and logits.grad is not None and not logits.grad.any()


# --- several outputs a head -----------------------------------------------------------------------------------------


def two_streams(weight):
    loss = make_loss(weight=weight)
    return loss({"rgb/a": LOGITS, "pose/a": 3 * LOGITS}, {"a": LABELS}).item()


def test_each_modality_s_output_is_judged_by_the_labels_of_its_head():
    rgb, pose = (functional.cross_entropy(factor * LOGITS, LABELS).item() for factor in (1, 3))
    assert two_streams(2.0) == pytest.approx(2 * (rgb + pose))
    assert two_streams({"rgb": 1.0, "pose": 1.5}) == pytest.approx(rgb + 1.5 * pose)


def test_a_modality_without_a_weight_is_a_bug():
    with pytest.raises(KeyError, match="pose"):
        two_streams({"rgb": 1.0})


# --- several processes ------------------------------------------------------------------------------------------------


def losses(logits, labels, *, train_labels=LABELS, **options):
    """Return the loss of these clips and its gradient."""
    own = {head: values.clone().requires_grad_() for head, values in logits.items()}
    loss = make_loss(heads=tuple(labels), labels=train_labels, **options)(own, labels)
    loss.backward()
    return loss.detach(), {head: values.grad for head, values in own.items()}


def losses_of_parts(splits, logits, labels, **options):
    """Return what each process computes of its clips: each says what they weigh, and then hears the sum."""
    parts = [
        tuple({head: values[rows] for head, values in what.items()} for what in (logits, labels)) for rows in splits
    ]
    said = []
    for part in parts:
        losses(*part, **options, total=lambda own: (said.append(own), own)[1])
    return [losses(*part, **options, total=lambda _: torch.stack(said).sum(dim=0)) for part in parts]


MISSING = torch.tensor([0, NO_LABEL, NO_LABEL, 2])
NOWHERE = torch.full((4,), NO_LABEL)


@pytest.mark.parametrize("splits", [[[0, 1], [2, 3]], [[0, 1, 2], [3]], [[1, 2], [0, 3]], [[0], [1], [2, 3]]])
@pytest.mark.parametrize("labels", [LABELS, MISSING, MANY, NOWHERE], ids=["all", "missing", "several", "none"])
@pytest.mark.parametrize("class_weights", ["none", "balanced"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_losses_of_the_parts_add_up_to_that_of_the_batch(splits, labels, class_weights, smoothing):
    """In [[1, 2], [0, 3]] the first process has no label at all; the class weights of the parts differ."""
    known = MANY if labels is MANY else LABELS
    options = {"class_weights": class_weights, "smoothing": smoothing, "train_labels": known}
    loss, gradients = losses({"a": LOGITS}, {"a": labels}, **options)
    found = losses_of_parts(splits, {"a": LOGITS}, {"a": labels}, **options)
    assert sum(part for part, _ in found).item() == pytest.approx(loss.item(), abs=1e-6)
    for rows, (_, own) in zip(splits, found, strict=True):
        assert own["a"].numpy() == pytest.approx(gradients["a"][rows].numpy(), abs=1e-6)


def test_heads_of_which_other_clips_are_known_each_have_a_mean_of_their_own():
    logits, labels = {"a": LOGITS, "acts": 2 * LOGITS}, {"a": MISSING, "acts": MANY}
    loss, gradients = losses(logits, labels)
    found = losses_of_parts([[0, 1, 2], [3]], logits, labels)
    assert sum(part for part, _ in found).item() == pytest.approx(loss.item(), abs=1e-6)
    for head, whole in gradients.items():
        assert torch.cat([own[head] for _, own in found]).numpy() == pytest.approx(whole.numpy(), abs=1e-6)
