"""PoseC3D: the slow pathway's 3-D ResNet, small, over the heat-maps of joints."""

from collections.abc import Sequence
from typing import Any

import torch

from actrec.models.backbone import Backbone
from actrec.models.conv3d import to_tokens
from actrec.models.published import MMACTION_HEADS, from_mmaction
from actrec.models.slow_only import EXPANSION, resnet3d
from actrec.models.weights import load_weights

_INFLATED = (False, True, True)
_SPATIAL_STRIDE = 2


class PoseConv3d(Backbone):
    """Heat-maps float32 (B, K, T, H, W) to tokens: the places of the last map, H/8 * W/8 rounded up; D = 16 width.

    The stem does not make maps smaller: heat-maps are a quarter of the pictures' size as it is. With blocks (4, 6, 3)
    and width 32: D = 512, 2.0 M parameters.

    Args:
        channels: K.
        blocks: In each of the three stages.
        width: Channels after the first convolution.
        temporal_stride: Of the last stage: 1, as in RGBPoseConv3D, or 2, as in PoseC3D, which is shown 48 frames. The
            parameters are the same.
        token_grid: See `to_tokens`.
        weights: See `load_weights`; also a checkpoint of mmaction2 or pyskl, see `from_mmaction`.

    Source: Duan et al., Revisiting Skeleton-based Action Recognition, CVPR 2022, table 2; pyskl's
    configs/posec3d/slowonly_r50_ntu60_xsub and configs/rgbpose_conv3d/pose_only.py.
    """

    def __init__(
        self,
        *,
        channels: int,
        blocks: Sequence[int],
        width: int,
        temporal_stride: int,
        token_grid: Sequence[int] | None,
        weights: dict[str, Any],
    ) -> None:
        super().__init__(width=EXPANSION * width * 2 ** (len(_INFLATED) - 1))
        self.token_grid = token_grid
        self.network = resnet3d(
            channels=channels,
            width=width,
            blocks=blocks,
            strides=[(temporal, _SPATIAL_STRIDE, _SPATIAL_STRIDE) for temporal in (1, 1, temporal_stride)],
            inflated=_INFLATED,
            stem_stride=1,
        )
        self.weights_sha256 = load_weights(
            self.network,
            weights,
            architecture="pose_conv3d",
            drop=MMACTION_HEADS,
            modality="pose",
            adapt=from_mmaction,
        )

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Return tokens (B, N, D) of heat-maps (B, K, T, H, W)."""
        return self.of_maps(self.network(batch))

    def of_maps(self, maps: torch.Tensor) -> torch.Tensor:
        """Return tokens (B, N, D) of the last maps."""
        return to_tokens(maps, self.token_grid)
