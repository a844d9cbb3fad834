"""What training minimises."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from actrec.training.labels import NO_LABEL


class Loss(nn.Module):
    """The weighted sum over heads of their cross entropies; a clip without a label for a head does not count there.

    Of a head whose clips may have several classes (labels (n, classes), see `label_tensors`) it is the binary cross
    entropy, its mean over labelled clips and classes.

    Args:
        heads: The section `model.heads`.
        labels: Of the training clips, for balanced class weights.
        num_classes: A head.
        class_weights: `none`, or `balanced`: n / (classes * count), so that every class weighs the same in total. Of a
            head with several classes a clip: the positives of a class weigh as much as its negatives.
        label_smoothing: Share s of the target that is spread over all classes; 0 and 1 become s / 2 and 1 - s / 2 where
            a clip may have several.
    """

    def __init__(
        self,
        heads: Mapping[str, Any],
        *,
        labels: Mapping[str, torch.Tensor],
        num_classes: Mapping[str, int],
        class_weights: str,
        label_smoothing: float,
    ) -> None:
        super().__init__()
        self.weights = {name: head["loss_weight"] for name, head in heads.items()}
        self.label_smoothing = label_smoothing
        for number, name in enumerate(heads):
            balance = _balance(labels[name], num_classes[name]) if class_weights == "balanced" else None
            self.register_buffer(f"balance_{number}", balance, persistent=False)

    def forward(self, logits: Mapping[str, torch.Tensor], labels: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the scalar loss of a batch."""
        parts = [
            weight * self._part(logits[name].float(), labels[name], getattr(self, f"balance_{number}"))
            for number, (name, weight) in enumerate(self.weights.items())
        ]
        return torch.stack(parts).sum()

    def _part(self, logits: torch.Tensor, labels: torch.Tensor, balance: torch.Tensor | None) -> torch.Tensor:
        if not (labels != NO_LABEL).any():
            return logits.sum() * 0
        if labels.ndim == 1:
            return functional.cross_entropy(
                logits, labels, weight=balance, ignore_index=NO_LABEL, label_smoothing=self.label_smoothing
            )
        known = labels[:, 0] != NO_LABEL
        targets = labels[known] * (1 - self.label_smoothing) + self.label_smoothing / 2
        return functional.binary_cross_entropy_with_logits(logits[known], targets, pos_weight=balance)


def _balance(labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    return balanced_weights(labels, num_classes) if labels.ndim == 1 else positive_weights(labels)


def balanced_weights(labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Return n / (classes * count) for each class, as scikit-learn's `balanced` does; 0 for a class without a clip."""
    counts = torch.bincount(labels[labels != NO_LABEL], minlength=num_classes).float()
    return torch.where(counts > 0, counts.sum() / (num_classes * counts.clamp(min=1)), torch.zeros_like(counts))


def positive_weights(labels: torch.Tensor) -> torch.Tensor:
    """Return negatives / positives for each class of labels (n, classes); 1 for a class that lacks either."""
    known = labels[labels[:, 0] != NO_LABEL]
    positives = known.sum(dim=0)
    negatives = len(known) - positives
    return torch.where(positives * negatives > 0, negatives / positives.clamp(min=1), torch.ones_like(positives))
