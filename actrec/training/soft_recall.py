"""Two terms beside the cross entropy that look at classes, not at clips: what a rare class loses counts as much."""

from typing import Literal

import torch

from actrec.training.labels import NO_LABEL

Form = Literal["variance", "shortfall"]


def soft_recalls(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return of each class that is in the batch the mean probability of its clips for it, (classes present,).

    Args:
        logits: (B, classes).
        labels: Class numbers int64 (B,), NO_LABEL where a clip has none.
    """
    probs, own = _of_true_class(logits, labels)
    present, place = own.unique(return_inverse=True)
    sums = probs.new_zeros(len(present)).index_add(0, place, probs)
    return sums / torch.bincount(place, minlength=len(present))


def soft_recall_loss(
    logits: torch.Tensor, labels: torch.Tensor, *, form: Form, weight: float, accuracy_weight: float
) -> torch.Tensor:
    """Return weight * (spread or shortfall of the soft recalls) - accuracy_weight * (mean probability of what is true).

    Args:
        logits: (B, classes).
        labels: Class numbers int64 (B,), NO_LABEL where a clip has none; of no clip with a label it is 0.
        form: variance, of the recalls of the classes present: alike is good, also where all are bad. shortfall: 1 less
            their mean.
        weight: Of this term.
        accuracy_weight: Of the other.

    Source: the loss of the JRDB relation model, weights 0.1 and 0.05 with form variance; shortfall is ours.
    """
    if not (labels != NO_LABEL).any():
        return logits.sum() * 0
    recalls = soft_recalls(logits, labels)
    term = recalls.var(correction=0) if form == "variance" else 1 - recalls.mean()
    probs, _ = _of_true_class(logits, labels)
    return weight * term - accuracy_weight * probs.mean()


def _of_true_class(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each labelled clip's probability for its class, and the class."""
    known = labels != NO_LABEL
    own = labels[known]
    return logits[known].float().softmax(dim=1).gather(1, own[:, None]).squeeze(1), own
