"""Mixup: clips of a training batch are shown, and judged, as mixtures of two."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

Labels = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Mix:
    """How a batch is mixed.

    Args:
        share: What of each clip is its own, in [0, 1]; the rest is its partner's.
        partners: int64 (B,): the row of each clip's partner, which may be the clip itself.

    Source: Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018, section 2; as in the authors' code, one
    share for the whole batch, and partners out of it.
    """

    share: float
    partners: torch.Tensor

    def shown(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return the batch with its arrays, or its cached tokens, mixed; labels stay those of the clips themselves.

        Pictures stay uint8: scaling pixels is linear, so mixing them before or after it differs by the rounding, half a
        grey level of 255. Where a clip or its partner lacks a modality, the clip keeps there what it has.
        """
        arrays = batch.get("tokens", batch)
        mixed = {modality: self._mixed(arrays[modality], there) for modality, there in batch["present"].items()}
        return {**batch, "tokens": mixed} if "tokens" in batch else {**batch, **mixed}

    def loss(self, loss: Callable[[Labels, Labels], torch.Tensor], logits: Labels, labels: Labels) -> torch.Tensor:
        """Return share * loss(logits, own labels) + (1 - share) * loss(logits, partners' labels)."""
        theirs = {head: values[self.partners] for head, values in labels.items()}
        return self.share * loss(logits, labels) + (1 - self.share) * loss(logits, theirs)

    def _mixed(self, values: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        own = values.float()
        mixed = torch.lerp(own[self.partners], own, self.share)
        mixed = mixed if values.is_floating_point() else mixed.round()
        both = (there & there[self.partners]).view(-1, *[1] * (values.ndim - 1))
        return torch.where(both, mixed.to(values.dtype), values)


def draw_mix(rng: np.random.Generator, num_clips: int, *, alpha: float, device: torch.device) -> Mix:
    """Return a mix of a batch: its share out of Beta(alpha, alpha), its partners a permutation of the clips.

    The share depends on nothing but the generator: processes that each mix a part of one batch draw the same.
    """
    share = float(rng.beta(alpha, alpha))
    return Mix(share, torch.from_numpy(rng.permutation(num_clips)).to(device))
