"""A fitted linear support vector machine as a head."""

import torch
from torch import nn


class SvmHead(nn.Module):
    """Logits of one class against the rest each, of standardised features; nothing in it learns by gradients.

    logits = ((x - mean) / scale @ coef.T + intercept) / temperature. Fresh, it says the same of every class.

    Args:
        width: D of the features.
        num_classes: K.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    coef: torch.Tensor
    intercept: torch.Tensor
    temperature: torch.Tensor

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.register_buffer("coef", torch.zeros(num_classes, width))
        self.register_buffer("intercept", torch.zeros(num_classes))
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits (B, K) of features (B, D)."""
        margins = (features - self.mean) / self.scale @ self.coef.T + self.intercept
        return margins / self.temperature
