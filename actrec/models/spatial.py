"""How the two people of a pair stand to each other: numbers that are made before a batch is."""

import torch

from actrec.data.geometry import NUM_FEATURES
from actrec.models.backbone import Backbone


class Spatial(Backbone):
    """The eight numbers of each pair, (B, 1, 8) as they are: nothing is learned. See `spatial_features`."""

    def __init__(self) -> None:
        super().__init__(width=NUM_FEATURES)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the numbers, tokens (B, 1, 8), as they are."""
        return batch
