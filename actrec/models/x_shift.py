"""X-ShiftNet: X3D with a temporal shift for its convolutions over time, for pictures and for heat-maps; EPAM-Net."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from actrec.errors import UserError
from actrec.models.backbone import IMAGENET_MEAN, IMAGENET_STD, Backbone, JointBackbone, RgbBackbone
from actrec.models.conv3d import conv_bn, last_block, to_tokens
from actrec.models.weights import load_weights
from actrec.models.x3d import inner_width, x3d_layers

_RGB_SHIFT, _POSE_SHIFT = 8, 4
_ATTENTION_KERNEL = 7
_ATTENTION_MOMENTUM = 0.01


class XShiftRgb(RgbBackbone):
    """Tokens of the places of the last map, H/32 * W/32 rounded up, averaged over all T; D = 2.25 * widths[-1].

    With blocks (3, 5, 11, 7) and widths (24, 48, 96, 192): D = 432, 1.98 M parameters; it is shown 16 frames of 224
    pixels.

    Args:
        blocks: In each of the four stages.
        widths: Channels after each; multiples of 8, of which an eighth is shifted each way.
        token_grid: See `to_tokens`.
        weights: See `load_weights`.

    Source: Abdelkawy et al., EPAM-Net, 2024; its code, ahmed-nady/Multimodal-Action-Recognition's
    mmaction/models/backbones/x3dTemporalshift.py, whose last version has no convolution over time in the stem: it is
    here as in X3D, which gives the network's 4.29 GMACs.
    """

    def __init__(
        self,
        *,
        blocks: Sequence[int],
        widths: Sequence[int],
        token_grid: Sequence[int] | None,
        weights: dict[str, Any],
    ) -> None:
        super().__init__(mean=IMAGENET_MEAN, std=IMAGENET_STD, width=inner_width(widths[-1]))
        self.token_grid = token_grid
        self.network = _network(3, stem_stride=2, blocks=blocks, widths=widths, shift_fraction=_RGB_SHIFT)
        self.weights_sha256 = load_weights(self.network, weights, architecture="x_shift", drop=())

    @property
    def cam_layer(self) -> nn.Module:
        """The last block of layer4."""
        return last_block(self.network)

    def tokens(self, clips: torch.Tensor) -> torch.Tensor:
        """Return tokens (B, N, D) of scaled clips (B, 3, T, H, W)."""
        return self.of_maps(self.network(clips))

    def of_maps(self, maps: torch.Tensor) -> torch.Tensor:
        """Return tokens (B, N, D) of the last maps."""
        return to_tokens(maps, self.token_grid)


class XShiftPose(Backbone):
    """Heat-maps float32 (B, K, T, H, W) to tokens of the places of the last map, H/8 * W/8 rounded up.

    D = 2.25 * widths[-1]. With blocks (5, 11, 7) and widths (24, 48, 96): D = 216, 0.52 M parameters; it is shown 48
    frames of 56 pixels.

    Args:
        channels: K.
        blocks: In each of the three stages.
        widths: Channels after each; multiples of 4, of which a quarter is shifted each way.
        token_grid: See `to_tokens`.
        weights: See `load_weights`.

    Source: as `XShiftRgb`, x3dTShiftPose.py.
    """

    def __init__(
        self,
        *,
        channels: int,
        blocks: Sequence[int],
        widths: Sequence[int],
        token_grid: Sequence[int] | None,
        weights: dict[str, Any],
    ) -> None:
        super().__init__(width=inner_width(widths[-1]))
        self.token_grid = token_grid
        self.network = _network(channels, stem_stride=1, blocks=blocks, widths=widths, shift_fraction=_POSE_SHIFT)
        self.weights_sha256 = load_weights(self.network, weights, architecture="x_shift", drop=(), modality="pose")

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Return tokens (B, N, D) of heat-maps (B, K, T, H, W)."""
        return self.of_maps(self.network(batch))

    def of_maps(self, maps: torch.Tensor) -> torch.Tensor:
        """Return tokens (B, N, D) of the last maps."""
        return to_tokens(maps, self.token_grid)


class PoseGuided(JointBackbone):
    """EPAM-Net: where and when the heat-maps have something to see, the pictures count for more.

    Pictures (B, T, H, W, 3) and heat-maps (B, K, T', H/4, W/4) to the tokens of each. Those of the heat-maps are as of
    them alone; the pictures' last maps x become x + a*x with a = `PoseAttention` of the heat-maps' last maps, at the
    frames that match in time: of 48, every third for 16 pictures.

    Args:
        rgb: The stream of the pictures.
        pose: That of the heat-maps.

    Source: as `XShiftRgb`, actionModels/rgb_pose_action_recognition_model.py.
    """

    rgb: XShiftRgb
    pose: XShiftPose

    def __init__(self, rgb: XShiftRgb, pose: XShiftPose) -> None:
        super().__init__(rgb, pose)
        self.attention = PoseAttention()

    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return tokens (B, N, D) of `rgb` and of `pose`.

        Raises:
            UserError: if the heat-maps are not a quarter of the pictures' size.
        """
        rgb = self.rgb.network(self.rgb.to_model_layout(batch["rgb"]))
        pose = self.pose.network(batch["pose"])
        if rgb.shape[3:] != pose.shape[3:]:
            pictures, heatmaps = (
                " x ".join(map(str, size)) for size in (batch["rgb"].shape[2:4], batch["pose"].shape[3:])
            )
            raise UserError(
                "pose-guided attention takes heat-maps of a quarter of the pictures' height and width, got "
                f"{heatmaps} for {pictures}. Set the sizes of rgb and pose so"
            )
        guided = rgb + rgb * self.attention(pose[:, :, matching_frames(rgb.shape[2], pose.shape[2])])
        return {"rgb": self.rgb.of_maps(guided), "pose": self.pose.of_maps(pose)}


class PoseAttention(nn.Module):
    """Maps (B, C, T, H, W) to factors (B, 1, T, H, W) in (0, 1): where, times when.

    Where: the maximum and the mean over channels, a convolution of 7x7 over them. When: the mean of that over space, a
    convolution over 7 frames.

    Source: as `XShiftRgb`, actionModels/attention_module.py (the nested kind); after Woo et al., CBAM, ECCV 2018, and
    Wang et al., ECA-Net, CVPR 2020.
    """

    def __init__(self) -> None:
        super().__init__()
        kernel = _ATTENTION_KERNEL
        self.where = conv_bn(2, 1, (1, kernel, kernel), norm=False, relu=False)
        self.norm = nn.BatchNorm3d(1, momentum=_ATTENTION_MOMENTUM)
        self.when = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)
        nn.init.kaiming_normal_(self.when.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return factors (B, 1, T, H, W)."""
        seen = torch.stack([maps.amax(dim=1), maps.mean(dim=1)], dim=1)
        where = self.norm(self.where(seen)).sigmoid()
        when = self.when(where.mean(dim=(3, 4))).sigmoid()
        return where * when[..., None, None]


def matching_frames(num_frames: int, of_frames: int) -> list[int]:
    """Return which of `of_frames` frames are nearest before each of `num_frames` of the same clip, evenly spread."""
    return [number * of_frames // num_frames for number in range(num_frames)]


def _network(
    channels: int, *, stem_stride: int, blocks: Sequence[int], widths: Sequence[int], shift_fraction: int
) -> nn.Sequential:
    layers = x3d_layers(
        channels=channels,
        stem_stride=stem_stride,
        blocks=blocks,
        widths=widths,
        frames_kernel=1,
        shift_fraction=shift_fraction,
        shortcut_norm=True,
    )
    return nn.Sequential(layers)
