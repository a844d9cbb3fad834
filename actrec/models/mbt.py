"""The multimodal bottleneck transformer: streams of tokens that meet in a few tokens in between."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

_INITIAL_STD = 0.02


class Mbt(nn.Module):
    """Tokens (B, N, D) a modality to one vector (B, width).

    Each modality has a stream of its own: a projection to `width`, a learned embedding that is added to each of its
    tokens, and encoder layers. From `fusion_layer` on, a layer attends over its stream's tokens and the bottleneck
    tokens; the next bottleneck is the mean of the copies that the streams have made of it. At the end each stream's
    tokens are averaged and normalised; the result is the mean over streams. A stream whose modality a sample lacks has
    no part in either mean, so that nothing of it reaches the sample's result. With one modality this is a plain
    transformer with a few tokens to spare.

    Layers normalise before attention and before the feed-forward part, as the paper's ViT does: gradients reach all
    layers unscaled, and training needs no long warm-up. GELU, feed-forward 4 * width.

    Args:
        widths: D of each modality, in the order of the streams.
        width: Of all streams; the attribute `width` says it too.
        layers: Of each stream.
        attention_heads: Of each layer; they divide width.
        bottleneck_tokens: 0 keeps the streams apart to the end.
        fusion_layer: The first layer with a bottleneck, from 0. The layer after it is the first that reads what the
            other streams have left there: `layers` - 1 and `layers` keep the streams apart.
        dropout: Within layers.

    Raises:
        ValueError: if attention_heads do not divide width, or fusion_layer is more than layers.

    Source: Nagrani et al., Attention Bottlenecks for Multimodal Fusion, NeurIPS 2021, sections 3.2 and 3.3; the mean of
    the copies and the mean over tokens as in its published code.
    """

    def __init__(
        self,
        *,
        widths: Mapping[str, int],
        width: int,
        layers: int,
        attention_heads: int,
        bottleneck_tokens: int,
        fusion_layer: int,
        dropout: float,
    ) -> None:
        super().__init__()
        if width % attention_heads:
            raise ValueError(f"width {width} is not a multiple of attention_heads {attention_heads}")
        if not 0 <= fusion_layer <= layers:
            raise ValueError(f"fusion_layer {fusion_layer} is not one of 0 to layers = {layers}")
        self.width, self.fusion_layer, self.num_layers = width, fusion_layer, layers
        self.streams = nn.ModuleDict(
            {
                modality: _Stream(inputs, width, layers=layers, attention_heads=attention_heads, dropout=dropout)
                for modality, inputs in widths.items()
            }
        )
        self.bottleneck = nn.Parameter(torch.randn(1, bottleneck_tokens, width) * _INITIAL_STD)

    def forward(self, tokens: Mapping[str, torch.Tensor], present: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return (B, width).

        Args:
            tokens: (B, N, D) of each modality; N may differ. What stands there for a missing one does not matter.
            present: bool (B,) of each modality.

        Raises:
            ValueError: if a sample has no modality.
        """
        return _mean_of_present(self.pooled(tokens, present), present)

    def pooled(
        self, tokens: Mapping[str, torch.Tensor], present: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Return each stream's own result (B, width), before they are averaged; without meaning where not present."""
        _refuse_empty(present)
        streams: dict[str, Any] = dict(self.streams.items())
        own = {modality: stream.embed(tokens[modality], present[modality]) for modality, stream in streams.items()}
        bottleneck = self.bottleneck.expand(len(next(iter(own.values()))), -1, -1)
        for number in range(self.num_layers):
            shared = bottleneck if number >= self.fusion_layer else bottleneck[:, :0]
            copies = {}
            for modality, stream in streams.items():
                joint = stream.layers[number](torch.cat([own[modality], shared], dim=1))
                own[modality], copies[modality] = joint.split([own[modality].shape[1], shared.shape[1]], dim=1)
            bottleneck = bottleneck if number < self.fusion_layer else _mean_of_present(copies, present)
        return {modality: stream.norm(own[modality].mean(dim=1)) for modality, stream in streams.items()}


class _Stream(nn.Module):
    def __init__(self, inputs: int, width: int, *, layers: int, attention_heads: int, dropout: float) -> None:
        super().__init__()
        self.projection = nn.Linear(inputs, width)
        self.modality = nn.Parameter(torch.randn(width) * _INITIAL_STD)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width,
                attention_heads,
                dim_feedforward=4 * width,
                dropout=dropout,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def embed(self, tokens: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        # Not a product: NaN times 0 is NaN, and so would be the gradient.
        there = tokens.float().masked_fill(~present.view(-1, 1, 1), 0.0)
        return self.projection(there) + self.modality


def _refuse_empty(present: Mapping[str, torch.Tensor]) -> None:
    has_any = torch.stack(list(present.values())).any(dim=0)
    if not has_any.all():
        empty = (~has_any).nonzero().flatten().tolist()
        raise ValueError(f"samples {empty} of the batch have none of the modalities {', '.join(present)}")


def _mean_of_present(values: Mapping[str, torch.Tensor], present: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return the mean (B, …) over modalities, of each sample over those that it has."""
    stacked = torch.stack(list(values.values()))
    weights = torch.stack([present[modality] for modality in values]).to(stacked.dtype)
    weights = (weights / weights.sum(dim=0)).view(*weights.shape, *[1] * (stacked.dim() - 2))
    return (weights * stacked).sum(dim=0)
