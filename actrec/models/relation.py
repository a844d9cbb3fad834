"""What two people of a picture have to do with each other: from what they look like, and how they stand."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import nn

Fusion = Literal["concat", "bilinear", "add", "symmetric"]

_LOOKS, _GEOMETRY = "rgb", "geometry"
_PERSON_DROPOUT = 0.2


class RelationNeck(nn.Module):
    """Two person vectors and the pair's geometry to one vector, (B, hidden[-1]).

    Each person's token becomes a vector of `visual_dim`, and is encoded, both by the same layers. Then they are fused:

    - concat: side by side, A before B;
    - bilinear: a form of both, 33.6 M parameters at the usual widths;
    - add: their sum;
    - symmetric: their sum, the amount of their difference, and their product.

    Of add and symmetric the answer is the same for A and B swapped; of the others it is not. Beside stands the encoded
    geometry, and layers of the widths `hidden` follow, each with ReLU; the dropout of the last is the head's.

    Args:
        widths: Of the backbones' tokens: of rgb (two, A and B), of geometry (one), or of both.
        visual_dim: Of a person vector.
        hidden: The first must be divisible by four: a person is encoded in half of it, the geometry in a quarter.
        fusion: See above.
        dropout: In the person encoder, and after each hidden layer but the last.

    Source: the JRDB relation model "stage 2"; symmetric is its later form of add.
    """

    def __init__(
        self,
        *,
        widths: Mapping[str, int],
        visual_dim: int,
        hidden: Sequence[int],
        fusion: Fusion,
        dropout: float,
    ) -> None:
        super().__init__()
        person, geometry = hidden[0] // 2, hidden[0] // 4
        self.width = hidden[-1]
        self._fusion: Fusion = fusion
        in_width = 0
        if _LOOKS in widths:
            self.look = nn.Sequential(nn.Linear(widths[_LOOKS], visual_dim), nn.ReLU(), nn.Dropout(_PERSON_DROPOUT))
            self.person = nn.Sequential(
                *(nn.Linear(visual_dim, person), nn.ReLU(), nn.Dropout(dropout)),
                *(nn.Linear(person, person), nn.ReLU()),
            )
            if fusion == "bilinear":
                self.bilinear = nn.Bilinear(person, person, hidden[0])
            in_width += {"concat": 2 * person, "bilinear": hidden[0], "add": person, "symmetric": 3 * person}[fusion]
        if _GEOMETRY in widths:
            self.geometry = nn.Sequential(nn.Linear(widths[_GEOMETRY], geometry), nn.ReLU())
            in_width += geometry
        self.relation = nn.Sequential(*_layers([in_width, *hidden], dropout))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Mapping[str, torch.Tensor], present: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return (B, hidden[-1]).

        Args:
            tokens: rgb (B, 2, D), of A and of B; geometry (B, 1, 8).
            present: Not looked at: no pair is without.
        """
        parts = []
        if _LOOKS in tokens:
            a, b = self.person(self.look(tokens[_LOOKS].float())).unbind(dim=1)
            parts.append(self._fused(a, b))
        if _GEOMETRY in tokens:
            parts.append(self.geometry(tokens[_GEOMETRY].float().squeeze(1)))
        return self.relation(torch.cat(parts, dim=1))

    def _fused(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        match self._fusion:
            case "concat":
                return torch.cat([a, b], dim=1)
            case "bilinear":
                return self.bilinear(a, b)
            case "add":
                return a + b
            case "symmetric":
                return torch.cat([a + b, (a - b).abs(), a * b], dim=1)


def _layers(widths: Sequence[int], dropout: float) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for number, (before, after) in enumerate(pairwise(widths)):
        if number:
            layers.append(nn.Dropout(dropout))
        layers += [nn.Linear(before, after), nn.ReLU()]
    return layers
