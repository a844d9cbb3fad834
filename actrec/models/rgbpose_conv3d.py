"""RGBPoseConv3D: SlowOnly over pictures and PoseC3D over heat-maps, each of which is given layers of the other."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from actrec.errors import UserError
from actrec.models.backbone import JointBackbone
from actrec.models.conv3d import conv_bn
from actrec.models.pose_conv3d import PoseConv3d
from actrec.models.published import MMACTION_HEADS, from_mmaction_rgbpose
from actrec.models.slow_only import Bottleneck, SlowOnly
from actrec.models.weights import Tensors, load_weights

# Heat-maps for each picture.
_SPEED = 4
# Before which stages the streams exchange layers, and how much narrower than the last map theirs are there.
_LEVELS = {-2: 4, -1: 2}
# How many times narrower than the heat-maps' layers those are that they are given of the pictures.
_NARROWER = 4
_ATTENTION_HEADS = 8
_ATTENTION_DROPOUT = 0.1
# What a checkpoint of actrec calls the joint backbone.
_NAME = "rgbpose"
_INTERACTIONS = "interactions."


class RgbPoseConv3d(JointBackbone):
    """Pictures (B, T, H, W, 3) and heat-maps (B, K, 4T, H/4, W/4) to the tokens of each, as of the two alone.

    Before its last two stages, each stream is given layers of the other beside its own: the heat-maps' through a
    convolution over time with a step of 4, the pictures' through one that spreads them over four times as many. Both
    read what the other stream has before it is given anything. Weights for what a stage reads more than in the stream
    alone start at zero: untrained, the tokens are those of the two alone.

    With the published sizes and a kernel of 5, 35.67 M parameters, 2.48 M of them for the heat-maps.

    Args:
        rgb: The stream of the pictures, with its weights. It becomes a part of this, and is of no use alone any more.
        pose: That of the heat-maps; likewise.
        kernel: Steps in time that an exchange sees, an odd number. Published checkpoints have 7.
        interaction: Whether the streams also weigh each other's channels, see `FeatureInteraction`.
        rgb_drop: How often, in [0, 1], a training step goes without what the pictures are given.
        pose_drop: Likewise for the heat-maps.
        weights: See `load_weights`; also a checkpoint of mmaction2 or pyskl, see `from_mmaction_rgbpose`. With
            `{kind: none}` the streams keep what they have, and the exchange starts at random. The interaction, which
            published checkpoints lack, starts untrained then.

    Raises:
        UserError: if the weights do not fit.
        ValueError: if the kernel is even.

    Source: Duan et al., Revisiting Skeleton-based Action Recognition, CVPR 2022, section 3.4; its code, pyskl's
    pyskl/models/cnns/rgbposeconv3d.py, and configs/rgbpose_conv3d/merge_pretrain.ipynb for the zeros.
    """

    rgb: SlowOnly
    pose: PoseConv3d

    def __init__(
        self,
        rgb: SlowOnly,
        pose: PoseConv3d,
        *,
        kernel: int,
        interaction: bool,
        rgb_drop: float,
        pose_drop: float,
        weights: dict[str, Any],
    ) -> None:
        if kernel % 2 == 0:
            raise ValueError(f"the kernel of the exchange must be odd, got {kernel}")
        super().__init__(rgb, pose)
        self.kernel, self.rgb_drop, self.pose_drop = kernel, rgb_drop, pose_drop
        self.to_rgb, self.to_pose, self.interactions = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level, narrower in _LEVELS.items():
            rgb_width, pose_width = rgb.width // narrower, pose.width // narrower
            self.to_rgb.append(_every_fourth(pose_width, kernel))
            self.to_pose.append(_fourfold(rgb_width, pose_width // _NARROWER, kernel))
            _widen(rgb.network[level], pose_width)
            _widen(pose.network[level], pose_width // _NARROWER)
            if interaction:
                self.interactions.append(FeatureInteraction(rgb_width, pose_width))
        if weights["kind"] != "none":
            digest = load_weights(
                self, weights, architecture="rgbpose_conv3d", drop=MMACTION_HEADS, modality=_NAME, adapt=self._adapted
            )
            rgb.weights_sha256 = pose.weights_sha256 = digest

    def _adapted(self, tensors: Tensors) -> Tensors:
        adapted = from_mmaction_rgbpose(tensors)
        first = adapted.get("to_rgb.0.conv.weight")
        if first is not None and first.dim() == 5 and first.shape[2] != self.kernel:
            raise UserError(
                f"the exchange between the streams has a kernel of {first.shape[2]} in the checkpoint of weights, "
                f"{self.kernel} in params.yaml. Set kernel: {first.shape[2]}"
            )
        if any(name.startswith(_INTERACTIONS) for name in adapted):
            return adapted
        untrained = {name: value for name, value in self.state_dict().items() if name.startswith(_INTERACTIONS)}
        return {**adapted, **untrained}

    def use_channels_last(self) -> None:
        """See `Backbone.use_channels_last`."""
        super().use_channels_last()
        for parameter in self.parameters():
            if parameter.dim() == 5:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)

    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return tokens (B, N, D) of `rgb` and of `pose`.

        Raises:
            UserError: if the heat-maps are not four for each picture, of a quarter of its size.
        """
        first = min(_LEVELS)
        rgb = self.rgb.network[:first](self.rgb.to_model_layout(batch["rgb"]))
        pose = self.pose.network[:first](batch["pose"])
        if (rgb.shape[2] * _SPEED, *rgb.shape[3:]) != tuple(pose.shape[2:]):
            pictures, heatmaps = (batch["rgb"].shape[1:4], batch["pose"].shape[2:])
            raise UserError(
                f"RGBPoseConv3D takes {_SPEED} heat-maps for each picture, of a quarter of its height and width; got "
                f"{_shown(pictures)} pictures and {_shown(heatmaps)} heat-maps (number x height x width). Set the "
                "numbers of frames and the sizes of rgb and pose so"
            )
        for number, level in enumerate(_LEVELS):
            rgb, pose = self._exchanged(number, rgb, pose)
            rgb, pose = self.rgb.network[level](rgb), self.pose.network[level](pose)
        return {"rgb": self.rgb.of_maps(rgb), "pose": self.pose.of_maps(pose)}

    def _exchanged(self, number: int, rgb: torch.Tensor, pose: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the layers of each stream with what it is given of the other behind them."""
        given_to_rgb = self.to_rgb[number](pose) * self._kept(self.rgb_drop)
        given_to_pose = self.to_pose[number](rgb) * self._kept(self.pose_drop)
        if len(self.interactions):
            rgb, pose = self.interactions[number](rgb, pose)
        return torch.cat([rgb, given_to_rgb], dim=1), torch.cat([pose, given_to_pose], dim=1)

    def _kept(self, drop: float) -> float:
        # A factor, not another way through the network: every parameter has a gradient at each step, as ranks need it.
        return float(torch.rand(()) >= drop) if self.training and drop else 1.0


class FeatureInteraction(nn.Module):
    """Weigh the channels of each stream by attention over time: from its layers to those of the other, and back.

    Per frame, each stream is what its channels are at most, at any place. Pictures ask heat-maps, then heat-maps ask
    what the pictures have become. The answer a times the layers x is added to them, x + a*x. It starts as zero, which
    is not so in PCAN: so that untrained, the streams are still those that were trained alone.

    Args:
        rgb_width: Channels of the pictures' layers (B, rgb_width, T, H, W).
        pose_width: Of the heat-maps' layers (B, pose_width, 4T, H, W); a multiple of 8.

    Source: Li et al., PCAN, AAAI 2025; its code, kunli-cs/PCAN's mmaction/models/backbones/rgbposeconv3d.py.
    """

    def __init__(self, rgb_width: int, pose_width: int) -> None:
        super().__init__()
        hidden, step = pose_width, (_SPEED, 1, 1)
        self.of_rgb = nn.Conv3d(rgb_width, hidden, 1)
        self.of_pose = nn.Conv3d(pose_width, hidden, step, stride=step)
        self.rgb_asks, self.pose_asks = (
            nn.MultiheadAttention(hidden, _ATTENTION_HEADS, dropout=_ATTENTION_DROPOUT, batch_first=True)
            for _ in range(2)
        )
        self.to_rgb = nn.Conv3d(hidden, rgb_width, 1)
        self.to_pose = nn.ConvTranspose3d(hidden, pose_width, step, stride=step)
        for parameter in (*self.to_rgb.parameters(), *self.to_pose.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, rgb: torch.Tensor, pose: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the weighted layers of both."""
        of_rgb, of_pose = (_over_time(maps) for maps in (self.of_rgb(rgb), self.of_pose(pose)))
        of_rgb = self.rgb_asks(of_rgb, of_pose, of_pose, need_weights=False)[0]
        of_pose = self.pose_asks(of_pose, of_rgb, of_rgb, need_weights=False)[0]
        return rgb + rgb * self.to_rgb(_as_maps(of_rgb)), pose + pose * self.to_pose(_as_maps(of_pose))


def _every_fourth(width: int, kernel: int) -> nn.Sequential:
    return conv_bn(width, width, (kernel, 1, 1), stride=(_SPEED, 1, 1), norm=False, relu=False)


def _fourfold(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    # The output padding completes 4T frames for every odd kernel.
    conv = nn.ConvTranspose3d(
        inputs,
        outputs,
        (kernel, 1, 1),
        stride=(_SPEED, 1, 1),
        padding=(kernel // 2, 0, 0),
        output_padding=(_SPEED - 1, 0, 0),
        bias=False,
    )
    parts = OrderedDict[str, nn.Module](conv=conv, bn=nn.BatchNorm3d(outputs), relu=nn.ReLU(inplace=True))
    return nn.Sequential(parts)


def _widen(stage: nn.Module, more: int) -> None:
    """Let a stage read `more` further channels, with zeros for weights."""
    assert isinstance(stage, nn.Sequential)
    block = stage[0]
    assert isinstance(block, Bottleneck) and block.downsample is not None
    for layer in (block.conv1, block.downsample):
        conv = layer[0]
        assert isinstance(conv, nn.Conv3d)
        conv.weight = nn.Parameter(nn.functional.pad(conv.weight.data, (0, 0, 0, 0, 0, 0, 0, more)))
        conv.in_channels += more


def _over_time(maps: torch.Tensor) -> torch.Tensor:
    """Return (B, T, C) of maps (B, C, T, H, W)."""
    return maps.amax(dim=(3, 4)).transpose(1, 2)


def _as_maps(steps: torch.Tensor) -> torch.Tensor:
    """Return (B, C, T, 1, 1) of (B, T, C)."""
    return steps.transpose(1, 2)[..., None, None]


def _shown(size: torch.Size) -> str:
    return " x ".join(str(n) for n in size)
