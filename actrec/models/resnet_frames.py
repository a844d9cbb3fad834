"""A ResNet over the frames of a clip, with or without the temporal shift."""

from typing import Any

import torch
from torch import nn

from actrec.models.backbone import IMAGENET_MEAN, IMAGENET_STD, RgbBackbone
from actrec.models.conv3d import shifted
from actrec.models.weights import load_weights

_SHIFT_FRACTION = 8
# Grad-CAM over fewer places a side tells no part of a picture from another.
_CAM_PLACES = 4


class ResNetFrames(RgbBackbone):
    """One token a frame: N = T, D = 512 (depth 18, 34) or 2048.

    Args:
        depth: 18, 34, 50, 101 or 152.
        temporal: `mean` leaves frames apart (the neck averages them); `shift` mixes neighbours before each block.
        clip_frames: T.
        input_px: H and W.
        weights: See `load_weights`.
    """

    def __init__(self, *, depth: int, temporal: str, clip_frames: int, input_px: int, weights: dict[str, Any]) -> None:
        from torchvision.models import get_model

        network: Any = get_model(f"resnet{depth}")
        width = network.fc.in_features
        super().__init__(mean=IMAGENET_MEAN, std=IMAGENET_STD, width=width)
        network.fc = nn.Identity()
        self.weights_sha256 = load_weights(network, weights, architecture=f"resnet{depth}", drop=("fc.",))
        if temporal == "shift":
            for layer in (network.layer1, network.layer2, network.layer3, network.layer4):
                for block in layer:
                    # A hook, not a layer: parameters keep torchvision's names, so trained weights fit both kinds.
                    block.conv1.register_forward_pre_hook(lambda _, inputs: temporal_shift(inputs[0], clip_frames))
        self.network, self._clip_frames, self._input_px = network, clip_frames, input_px

    @property
    def cam_layer(self) -> nn.Module:
        """The last block of layer4; of pictures below 128 px that of the last layer with maps of 4 x 4 or more."""
        strides = {32: self.network.layer4, 16: self.network.layer3, 8: self.network.layer2}
        fine = (layer for stride, layer in strides.items() if self._input_px >= _CAM_PLACES * stride)
        return next(fine, self.network.layer1)[-1]

    def cam_maps(self, seen: torch.Tensor) -> torch.Tensor:
        """Return (B*T, C, H', W') as maps (B, C, T, H', W')."""
        return seen.unflatten(0, (-1, self._clip_frames)).transpose(1, 2)

    def tokens(self, clips: torch.Tensor) -> torch.Tensor:
        """Return tokens (B, T, D)."""
        batch, _, frames = clips.shape[:3]
        return self.network(clips.transpose(1, 2).flatten(0, 1)).view(batch, frames, self.width)


def temporal_shift(frames: torch.Tensor, clip_frames: int) -> torch.Tensor:
    """Return (B*T, C, H, W) with an eighth of the channels one frame earlier, an eighth one later: see `shifted`.

    Source: Lin et al., TSM, ICCV 2019, section 4 (residual shift, 1/8 each way).
    """
    clips = frames.unflatten(0, (-1, clip_frames)).transpose(1, 2)
    return shifted(clips, _SHIFT_FRACTION).transpose(1, 2).view_as(frames)
