"""What training minimises."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from actrec.outputs import label_head, modality_of
from actrec.training.labels import NO_LABEL
from actrec.training.soft_recall import soft_recall_loss


class Loss(nn.Module):
    """The weighted sum over outputs of their cross entropies; a clip without a label for a head does not count there.

    Of a head whose clips may have several classes (labels (n, classes), see `label_tensors`) it is the binary cross
    entropy, its mean over labelled clips and classes.

    Where several processes have a part of the batch each, the sum of their losses is the loss of the whole batch.

    Args:
        heads: The section `model.heads`; a `loss_weight` is a number, or one a modality for its own output of the head.
        labels: Of the training clips, for balanced class weights.
        num_classes: A head.
        class_weights: `none`, or `balanced`: n / (classes * count), so that every class weighs the same in total. Of a
            head with several classes a clip: the positives of a class weigh as much as its negatives. Or a weight a
            class, of the only head.
        label_smoothing: Share s of the target that is spread over all classes; 0 and 1 become s / 2 and 1 - s / 2 where
            a clip may have several.
        soft_recall: The section `train.soft_recall`; of no matter without it.
        total: Sums each value of a tensor over all processes, where there are several.
    """

    def __init__(
        self,
        heads: Mapping[str, Any],
        *,
        labels: Mapping[str, torch.Tensor],
        num_classes: Mapping[str, int],
        class_weights: str | Sequence[float],
        label_smoothing: float,
        soft_recall: Mapping[str, Any] | None = None,
        total: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.weights = {name: head["loss_weight"] for name, head in heads.items()}
        self.label_smoothing, self._soft_recall, self._total = label_smoothing, soft_recall, total
        self._numbers = {name: number for number, name in enumerate(heads)}
        for name, number in self._numbers.items():
            balance = _balance(class_weights, labels[name], num_classes[name]) if class_weights != "none" else None
            self.register_buffer(f"balance_{number}", balance, persistent=False)

    def forward(self, logits: Mapping[str, torch.Tensor], labels: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the scalar loss of a batch.

        Args:
            logits: (B, classes) an output: `<head>`, or `<modality>/<head>`.
            labels: A head.
        """
        shares = self._shares(labels)
        parts = [
            self._weight(output) * self._part(values.float(), labels[head], self._balance(head)) * shares[head]
            for output, values in logits.items()
            for head in [label_head(output)]
        ]
        return torch.stack(parts).sum()

    def soft_recall(self, logits: Mapping[str, torch.Tensor], labels: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return what `train.soft_recall` adds to the loss of a batch: of each output, see `soft_recall_loss`."""
        assert self._soft_recall, "asked for only where it is set"
        parts = [
            self._weight(output) * soft_recall_loss(values, labels[label_head(output)], **self._soft_recall)
            for output, values in logits.items()
        ]
        return torch.stack(parts).sum()

    def _weight(self, output: str) -> float:
        weight = self.weights[label_head(output)]
        return weight[modality_of(output)] if isinstance(weight, Mapping) else weight

    def _balance(self, head: str) -> torch.Tensor | None:
        return getattr(self, f"balance_{self._numbers[head]}")

    def _shares(self, labels: Mapping[str, torch.Tensor]) -> Mapping[str, float | torch.Tensor]:
        """Return what part of the batch's weight, which a mean is divided by, lies with this process: a head."""
        if self._total is None:
            return dict.fromkeys(self._numbers, 1.0)
        own = torch.stack([_weight_of(labels[head], self._balance(head)) for head in self._numbers])
        whole = self._total(own)
        return dict(zip(self._numbers, torch.where(whole > 0, own / whole.clamp(min=1e-12), 0.0), strict=True))

    def _part(self, logits: torch.Tensor, labels: torch.Tensor, balance: torch.Tensor | None) -> torch.Tensor:
        if not _weight_of(labels, balance):
            return logits.sum() * 0
        if labels.ndim == 1:
            # Smoothed targets would give clips of a class without weight a say, beyond the weights that are divided by.
            counted = labels if balance is None else labels.where(balance[labels] > 0, NO_LABEL)
            return functional.cross_entropy(
                logits, counted, weight=balance, ignore_index=NO_LABEL, label_smoothing=self.label_smoothing
            )
        known = labels[:, 0] != NO_LABEL
        targets = labels[known] * (1 - self.label_smoothing) + self.label_smoothing / 2
        return functional.binary_cross_entropy_with_logits(logits[known], targets, pos_weight=balance)


def _weight_of(labels: torch.Tensor, balance: torch.Tensor | None) -> torch.Tensor:
    """Return what torch divides by for the mean over these labels: of one class a clip, the weights of the clips'."""
    if labels.ndim == 2:
        return (labels[:, 0] != NO_LABEL).sum().float()
    known = labels[labels != NO_LABEL]
    return known.new_tensor(len(known), dtype=torch.float32) if balance is None else balance[known].sum()


def _balance(class_weights: str | Sequence[float], labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    if not isinstance(class_weights, str):
        return torch.tensor(class_weights, dtype=torch.float32)
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
