"""What backbones share: an array of a modality in, tokens out; and for pictures how the pixels are scaled."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import nn

# ImageNet's channel statistics, with which torchvision's ResNets were trained, and which the published checkpoints of
# video networks that start from it state as well.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Backbone(nn.Module, ABC):
    """An array (B, …) of one modality to tokens (B, N, D).

    Attributes:
        width: D.
        weights_sha256: Of the file that it started from, "" for random weights.
        bare_weights: The `weights` that build the same architecture without looking anything up: what a checkpoint of
            actrec, which holds the parameters itself, needs. Plain types.
        no_cam: Where `cam_layer` is None, why.
    """

    no_cam = "Grad-CAM is drawn over pictures alone"

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.width = width
        self.weights_sha256 = ""
        self.bare_weights: dict[str, Any] = {"kind": "none"}

    @abstractmethod
    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Return tokens (B, N, D)."""

    @property
    def cam_layer(self) -> nn.Module | None:
        """The layer whose maps Grad-CAM weighs; nothing computes in place on what it returns. None: see `no_cam`."""
        return None

    def cam_maps(self, seen: torch.Tensor) -> torch.Tensor:
        """Return what `cam_layer` returns, or the gradient of it, as maps (B, C, T', H', W') that cover the clip."""
        return seen

    def use_channels_last(self) -> None:
        """Compute with channels last in memory: faster convolutions on most devices, other last bits."""
        for parameter in self.parameters():
            if parameter.dim() == 5:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
            elif parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


class JointBackbone(nn.Module):
    """Two backbones, one of which at least sees layers of the other: `{modality: array}` to `{modality: tokens}`.

    Args:
        rgb: Of the pictures.
        pose: Of the heat-maps.
    """

    def __init__(self, rgb: "RgbBackbone", pose: Backbone) -> None:
        super().__init__()
        self.rgb, self.pose = rgb, pose

    @property
    def parts(self) -> dict[str, Backbone]:
        """The backbone of each modality."""
        return {"rgb": self.rgb, "pose": self.pose}

    def use_channels_last(self) -> None:
        """See `Backbone.use_channels_last`."""
        for part in self.parts.values():
            part.use_channels_last()


class RgbBackbone(Backbone):
    """uint8 clips (B, T, H, W, 3) to tokens (B, N, D).

    The scaling of pixels belongs to the weights, so it is here and travels with them; nobody looks it up by name.

    Args:
        mean: Of each colour channel, of pixels in [0, 1].
        std: Likewise.
        width: D.
    """

    mean: torch.Tensor
    std: torch.Tensor
    no_cam = "this backbone names no layer with maps of the picture"

    def __init__(self, *, mean: tuple[float, ...], std: tuple[float, ...], width: int) -> None:
        super().__init__(width=width)
        self._channels_last = False
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1, 1), persistent=False)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Return tokens (B, N, D) of uint8 clips (B, T, H, W, 3)."""
        return self.tokens(self.to_model_layout(batch))

    def to_model_layout(self, clips: torch.Tensor) -> torch.Tensor:
        """Return uint8 (B, T, H, W, 3) as scaled float (B, 3, T, H, W)."""
        pixels = clips.permute(0, 4, 1, 2, 3)  # in memory, channels are still last
        pixels = pixels if self._channels_last else pixels.contiguous()
        return (pixels.to(self.mean.dtype).div(255) - self.mean) / self.std

    def use_channels_last(self) -> None:
        """Compute with channels last in memory: faster convolutions on most devices, other last bits."""
        self._channels_last = True
        super().use_channels_last()

    @abstractmethod
    def tokens(self, clips: torch.Tensor) -> torch.Tensor:
        """Return tokens (B, N, D) of scaled clips (B, 3, T, H, W)."""
