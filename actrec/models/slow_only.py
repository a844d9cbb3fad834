"""SlowOnly, a 3-D ResNet that keeps frames apart at first; and the 3-D ResNet that it has in common with PoseC3D."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from actrec.models.backbone import IMAGENET_MEAN, IMAGENET_STD, RgbBackbone
from actrec.models.conv3d import Size3d, conv_bn, last_block, to_tokens
from actrec.models.published import MMACTION_HEADS, from_mmaction
from actrec.models.weights import load_weights

# How many times wider than its middle a bottleneck's output is.
EXPANSION = 4
_SPATIAL_STRIDES = (1, 2, 2, 2)
_INFLATED = (False, False, True, True)


class SlowOnly(RgbBackbone):
    """Tokens of the places of the last map, H/32 * W/32 rounded up, averaged over all T; D = 32 width.

    Time is never made shorter; only the last two of the four stages look at neighbouring frames. With blocks
    (3, 4, 6, 3) and width 64, a ResNet-50: D = 2048, 31.6 M parameters.

    Args:
        blocks: In each of the four stages.
        width: Channels after the first convolution.
        token_grid: See `to_tokens`.
        weights: See `load_weights`; also a checkpoint of mmaction2 or pyskl, see `from_mmaction`.

    Source: Feichtenhofer et al., SlowFast Networks, ICCV 2019, table 1 (the slow pathway); the stages that see time as
    in pyskl's configs/rgbpose_conv3d/rgb_only.py.
    """

    def __init__(
        self, *, blocks: Sequence[int], width: int, token_grid: Sequence[int] | None, weights: dict[str, Any]
    ) -> None:
        super().__init__(
            mean=IMAGENET_MEAN, std=IMAGENET_STD, width=EXPANSION * width * 2 ** (len(_SPATIAL_STRIDES) - 1)
        )
        self.token_grid = token_grid
        self.network = resnet3d(
            channels=3,
            width=width,
            blocks=blocks,
            strides=[(1, spatial, spatial) for spatial in _SPATIAL_STRIDES],
            inflated=_INFLATED,
            stem_stride=2,
        )
        self.weights_sha256 = load_weights(
            self.network, weights, architecture="slow_only", drop=MMACTION_HEADS, adapt=from_mmaction
        )

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


def resnet3d(
    *,
    channels: int,
    width: int,
    blocks: Sequence[int],
    strides: Sequence[Size3d],
    inflated: Sequence[bool],
    stem_stride: int,
) -> nn.Sequential:
    """Return conv1, maxpool, layer1, layer2, …: the stem and the stages of a 3-D ResNet of bottlenecks.

    Args:
        channels: Of the input (B, channels, T, H, W).
        width: Channels after the stem; a stage has EXPANSION * width, twice as many as the one before.
        blocks: In each stage.
        strides: Of each stage, in time, height and width; its first block makes the step.
        inflated: Whether a stage's blocks look at the frames before and after.
        stem_stride: Of the first convolution and of the pooling, each, in space.
    """
    step = (1, stem_stride, stem_stride)
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=conv_bn(channels, width, (1, 7, 7), stride=step),
        maxpool=nn.MaxPool3d((1, 3, 3), stride=step, padding=(0, 1, 1)),
    )
    inputs = width
    for number, (depth, stride, sees_time) in enumerate(zip(blocks, strides, inflated, strict=True)):
        middle = width * 2**number
        stage = [Bottleneck(inputs, middle, stride=stride, inflated=sees_time)]
        inputs = EXPANSION * middle
        stage += [Bottleneck(inputs, middle, stride=(1, 1, 1), inflated=sees_time) for _ in range(depth - 1)]
        layers[f"layer{number + 1}"] = nn.Sequential(*stage)
    return nn.Sequential(layers)


class Bottleneck(nn.Module):
    """Maps (B, inputs, T, H, W) to (B, EXPANSION * middle, T', H', W'), by a detour that starts as zero.

    Args:
        inputs: Channels.
        middle: Channels of the 1x3x3 convolution, which makes the step.
        stride: In time, height and width.
        inflated: Whether the first convolution is 3x1x1, not 1x1x1.
    """

    def __init__(self, inputs: int, middle: int, *, stride: Size3d, inflated: bool) -> None:
        super().__init__()
        outputs = EXPANSION * middle
        self.conv1 = conv_bn(inputs, middle, (3 if inflated else 1, 1, 1))
        self.conv2 = conv_bn(middle, middle, (1, 3, 3), stride=stride)
        self.conv3 = conv_bn(middle, outputs, (1, 1, 1), relu=False, starts_at_zero=True)
        is_same = inputs == outputs and stride == (1, 1, 1)
        self.downsample = None if is_same else conv_bn(inputs, outputs, (1, 1, 1), stride=stride, relu=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return maps (B, EXPANSION * middle, T', H', W')."""
        shortcut = maps if self.downsample is None else self.downsample(maps)
        return self.relu(self.conv3(self.conv2(self.conv1(maps))) + shortcut)
