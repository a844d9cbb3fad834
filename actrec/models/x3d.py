"""X3D, the small one (S and M), and the blocks that it has in common with X-ShiftNet."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from actrec.errors import UserError
from actrec.models.backbone import RgbBackbone
from actrec.models.conv3d import conv_bn, last_block, shifted, to_tokens
from actrec.models.published import X3D_CLASSIFIERS, from_x3d
from actrec.models.weights import Tensors, load_weights

_MEAN, _STD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)
_BLOCKS, _WIDTHS = (3, 5, 11, 7), (24, 48, 96, 192)
_PROJECTION = 2048
_SQUEEZE, _SQUEEZE_MULTIPLE = 16, 8
_FIRST_SHORTCUT = "layer1.0.downsample.bn.weight"


class X3d(RgbBackbone):
    """Tokens of the places of the last map, H/32 * W/32 rounded up, averaged over all T; D = 2048.

    X3D-S and X3D-M are one network, which is shown 13 frames of 160 pixels or 16 frames of 224; with the published
    linear classifier of 400 classes it has 3,794,274 parameters. The projection that precedes the classifier,
    with its ReLU, is applied to each token: with a token_grid of [1, 1] the one token is what the published classifier
    sees.

    Args:
        shortcut_norm: Whether a batch norm follows the convolution of the first shortcut, as in the checkpoints of
            SlowFast and mmaction2 (48 parameters more), but not in those of pytorchvideo.
        token_grid: See `to_tokens`.
        weights: See `load_weights`; also a checkpoint of SlowFast, pytorchvideo or mmaction2, see `from_x3d`.

    Raises:
        UserError: if the weights do not fit.

    Source: Feichtenhofer, X3D, CVPR 2020, tables 1 and 3; pytorchvideo's pytorchvideo/models/x3d.py.
    """

    def __init__(self, *, shortcut_norm: bool, token_grid: Sequence[int] | None, weights: dict[str, Any]) -> None:
        super().__init__(mean=_MEAN, std=_STD, width=_PROJECTION)
        self.token_grid, self.shortcut_norm = token_grid, shortcut_norm
        layers = x3d_layers(
            channels=3,
            stem_stride=2,
            blocks=_BLOCKS,
            widths=_WIDTHS,
            frames_kernel=3,
            shift_fraction=None,
            shortcut_norm=shortcut_norm,
        )
        projection = nn.Linear(inner_width(_WIDTHS[-1]), _PROJECTION, bias=False)
        nn.init.normal_(projection.weight, std=0.01)
        self.network = nn.Sequential(OrderedDict(**layers, fc1=projection))
        self.weights_sha256 = load_weights(
            self.network, weights, architecture="x3d", drop=X3D_CLASSIFIERS, adapt=self._adapted
        )

    def _adapted(self, tensors: Tensors) -> Tensors:
        adapted = from_x3d(tensors)
        has_norm = _FIRST_SHORTCUT in adapted
        if has_norm != self.shortcut_norm and "conv5.conv.weight" in adapted:
            raise UserError(
                f"the checkpoint of weights has {'a' if has_norm else 'no'} batch norm in the first shortcut of X3D, "
                f"{'as those of SlowFast and mmaction2' if has_norm else 'as those of pytorchvideo'}. "
                f"Set shortcut_norm: {str(has_norm).lower()}"
            )
        return adapted

    @property
    def cam_layer(self) -> nn.Module:
        """The last block of layer4."""
        return last_block(self.network)

    def tokens(self, clips: torch.Tensor) -> torch.Tensor:
        """Return tokens (B, N, D) of scaled clips (B, 3, T, H, W)."""
        return self.network[-1](to_tokens(self.network[:-1](clips), self.token_grid)).relu()


def x3d_layers(
    *,
    channels: int,
    stem_stride: int,
    blocks: Sequence[int],
    widths: Sequence[int],
    frames_kernel: int,
    shift_fraction: int | None,
    shortcut_norm: bool,
) -> OrderedDict[str, nn.Module]:
    """Return conv1_s and conv1_t, the stem; layer1, layer2, …, each of which halves H and W; and conv5.

    Args:
        channels: Of the input (B, channels, T, H, W).
        stem_stride: In space.
        blocks: In each stage; every other one, from the first, squeezes and excites.
        widths: Channels after each stage; after the stem as many as after the first.
        frames_kernel: Frames that a depthwise convolution sees, 1 or 3.
        shift_fraction: See `X3dBlock`.
        shortcut_norm: Whether a shortcut that keeps the number of channels has a batch norm, too.
    """
    inputs = widths[0]
    layers = OrderedDict[str, nn.Module](
        conv1_s=conv_bn(channels, inputs, (1, 3, 3), stride=(1, stem_stride, stem_stride), norm=False, relu=False),
        conv1_t=conv_bn(inputs, inputs, (5, 1, 1), groups=inputs),
    )
    for number, (depth, outputs) in enumerate(zip(blocks, widths, strict=True)):
        stage = nn.Sequential()
        for block in range(depth):
            stage.append(
                X3dBlock(
                    inputs,
                    outputs,
                    frames_kernel=frames_kernel,
                    stride=1 if block else 2,
                    excites=block % 2 == 0,
                    shift_fraction=shift_fraction,
                    shortcut_norm=shortcut_norm or inputs != outputs,
                )
            )
            inputs = outputs
        layers[f"layer{number + 1}"] = stage
    layers["conv5"] = conv_bn(inputs, inner_width(inputs), (1, 1, 1))
    return layers


def inner_width(width: int) -> int:
    """Return how many channels the middle of a block of this width has, and the network's last map after it."""
    return width * 9 // 4


class X3dBlock(nn.Module):
    """Maps (B, inputs, T, H, W) to (B, outputs, T, H', W'), by a detour that starts as zero.

    Args:
        inputs: Channels.
        outputs: Channels.
        frames_kernel: Frames that the depthwise convolution in the middle sees.
        stride: In space.
        excites: Whether the middle's channels are weighed, see `SqueezeExcite`.
        shift_fraction: n to show the detour 1/n of the channels one frame earlier and 1/n one later, see `shifted`.
        shortcut_norm: Whether the shortcut's convolution has a batch norm, where there is one.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        frames_kernel: int,
        stride: int,
        excites: bool,
        shift_fraction: int | None,
        shortcut_norm: bool,
    ) -> None:
        super().__init__()
        inner, step = inner_width(outputs), (1, stride, stride)
        self.shift_fraction = shift_fraction
        self.conv1 = conv_bn(inputs, inner, (1, 1, 1))
        self.conv2 = conv_bn(inner, inner, (frames_kernel, 3, 3), stride=step, groups=inner, relu=False)
        self.se_module = SqueezeExcite(inner) if excites else nn.Identity()
        self.conv3 = conv_bn(inner, outputs, (1, 1, 1), relu=False, starts_at_zero=True)
        is_same = inputs == outputs and stride == 1
        self.downsample = (
            None if is_same else conv_bn(inputs, outputs, (1, 1, 1), stride=step, norm=shortcut_norm, relu=False)
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return maps (B, outputs, T, H', W')."""
        seen = maps if self.shift_fraction is None else shifted(maps, self.shift_fraction)
        detour = self.conv3(nn.functional.silu(self.se_module(self.conv2(self.conv1(seen)))))
        return (detour + (maps if self.downsample is None else self.downsample(maps))).relu()


class SqueezeExcite(nn.Module):
    """Maps (B, C, T, H, W) times a factor in (0, 1) a channel, which depends on the means of all channels.

    The narrow layer has C/16 channels, rounded to a multiple of 8 that is at least 8 and 0.9 * C/16.

    Source: Hu et al., Squeeze-and-Excitation Networks, CVPR 2018; the rounding as in X3D.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        wanted = channels / _SQUEEZE
        narrow = max(1, int(wanted / _SQUEEZE_MULTIPLE + 0.5)) * _SQUEEZE_MULTIPLE
        narrow += _SQUEEZE_MULTIPLE if narrow < 0.9 * wanted else 0
        self.fc1, self.fc2 = nn.Conv3d(channels, narrow, 1), nn.Conv3d(narrow, channels, 1)
        for layer in (self.fc1, self.fc2):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.constant_(layer.get_parameter("bias"), 0.0)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return maps (B, C, T, H, W)."""
        means = maps.mean(dim=(2, 3, 4), keepdim=True)
        return maps * self.fc2(self.fc1(means).relu()).sigmoid()
