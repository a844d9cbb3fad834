"""What training minimises."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from actrec.training.sources import NO_LABEL


class Loss(nn.Module):
    """The weighted sum over heads of their cross entropies; a clip without a label for a head does not count there.

    Args:
        heads: The section `model.heads`.
        labels: Of the training clips, for balanced class weights.
        num_classes: A head.
        class_weights: `none`, or `balanced`: n / (classes * count), so that every class weighs the same in total.
        label_smoothing: Share of the target that is spread over all classes.
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
            balance = balanced_weights(labels[name], num_classes[name]) if class_weights == "balanced" else None
            self.register_buffer(f"balance_{number}", balance, persistent=False)

    def forward(self, logits: Mapping[str, torch.Tensor], labels: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the scalar loss of a batch."""
        parts = [
            weight * self._part(logits[name], labels[name], getattr(self, f"balance_{number}"))
            for number, (name, weight) in enumerate(self.weights.items())
        ]
        return torch.stack(parts).sum()

    def _part(self, logits: torch.Tensor, labels: torch.Tensor, balance: torch.Tensor | None) -> torch.Tensor:
        if not (labels != NO_LABEL).any():
            return logits.sum() * 0
        return functional.cross_entropy(
            logits.float(),
            labels,
            weight=balance,
            ignore_index=NO_LABEL,
            label_smoothing=self.label_smoothing,
        )


def balanced_weights(labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Return n / (classes * count) for each class, as scikit-learn's `balanced` does; 0 for a class without a clip."""
    counts = torch.bincount(labels[labels != NO_LABEL], minlength=num_classes).float()
    return torch.where(counts > 0, counts.sum() / (num_classes * counts.clamp(min=1)), torch.zeros_like(counts))
