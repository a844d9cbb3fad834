"""What networks over frames share: a 3-D convolution with its norm, tokens of the last maps, the temporal shift."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

Size3d = tuple[int, int, int]


def conv_bn(
    inputs: int,
    outputs: int,
    kernel: Size3d,
    *,
    stride: Size3d = (1, 1, 1),
    groups: int = 1,
    norm: bool = True,
    relu: bool = True,
    starts_at_zero: bool = False,
) -> nn.Sequential:
    """Return `conv` without bias, padded so that only the stride makes maps smaller; then `bn` and `relu`, or not.

    Weights are normal with a variance of 2 / fan-out. The parts are called as in mmcv's ConvModule, whose checkpoints
    fit so.

    Args:
        inputs: Channels.
        outputs: Channels.
        kernel: In time, height and width; odd numbers.
        stride: Likewise.
        groups: As many as channels for a depthwise convolution.
        norm: Whether there is a `bn`.
        relu: Whether there is a `relu`.
        starts_at_zero: Whether the batch norm's scale does, so that a detour around a shortcut does nothing at first.

    Source: He et al., Delving Deep into Rectifiers, ICCV 2015, section 2.2; for the zeros Goyal et al., Accurate, Large
    Minibatch SGD, 2017, section 5.1.
    """
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    conv = nn.Conv3d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    parts: OrderedDict[str, nn.Module] = OrderedDict(conv=conv)
    if norm:
        bn = parts["bn"] = nn.BatchNorm3d(outputs)
        nn.init.constant_(bn.weight, 0.0 if starts_at_zero else 1.0)
    if relu:
        parts["relu"] = nn.ReLU(inplace=True)
    return nn.Sequential(parts)


def last_block(network: nn.Module) -> nn.Module:
    """Return the last block of layer4, the last stage of the networks for pictures."""
    *_, block = network.get_submodule("layer4").children()
    return block


def to_tokens(maps: torch.Tensor, token_grid: Sequence[int] | None) -> torch.Tensor:
    """Return maps (B, D, T, H, W) as tokens (B, H*W, D), row by row: the mean over time of each place.

    Args:
        maps: The last ones of a network.
        token_grid: Rows and columns to which the places are averaged; None keeps all. The mean of the tokens is the
            mean of the maps where these divide H and W.
    """
    places = maps.mean(dim=2)
    if token_grid is not None:
        rows, columns = token_grid
        places = nn.functional.adaptive_avg_pool2d(places, (rows, columns))
    return places.flatten(2).transpose(1, 2)


def shifted(maps: torch.Tensor, fraction: int) -> torch.Tensor:
    """Return maps (B, C, T, H, W) where the first C // fraction channels show the next frame, as many the last one.

    At the ends, where there is no such frame, they are zero.

    Source: Lin et al., TSM, ICCV 2019, section 4.
    """
    fold = maps.shape[1] // fraction
    moved = torch.zeros_like(maps)
    moved[:, :fold, :-1] = maps[:, :fold, 1:]
    moved[:, fold : 2 * fold, 1:] = maps[:, fold : 2 * fold, :-1]
    moved[:, 2 * fold :] = maps[:, 2 * fold :]
    return moved
