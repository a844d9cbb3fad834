"""A small 3-D convolutional network that a CPU can train from scratch in a minute."""

import torch
from torch import nn

from actrec.models.backbone import RgbBackbone


class Small3d(RgbBackbone):
    """Four convolutions over space and time; the tokens are the time steps that remain, averaged over space.

    Each colour channel of a clip is standardised first: a few clips cannot teach a network to overlook the light of a
    room. Then channels width, 2 width, 4 width, 4 width, each with batch norm; space is halved by all but the last,
    time by the third. So N = ceil(T/2) and D = 4 width. Our own, without a paper.
    """

    def __init__(self, *, width: int) -> None:
        super().__init__(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), width=4 * width)
        self.layers = nn.Sequential(
            nn.InstanceNorm3d(3),
            _block(3, width, kernel=(3, 5, 5), stride=(1, 2, 2)),
            _block(width, 2 * width, kernel=(3, 3, 3), stride=(1, 2, 2)),
            _block(2 * width, 4 * width, kernel=(3, 3, 3), stride=(2, 2, 2)),
            _block(4 * width, 4 * width, kernel=(3, 3, 3), stride=(1, 1, 1)),
        )

    @property
    def cam_layer(self) -> nn.Module:
        """The last block."""
        return self.layers[-1]

    def tokens(self, clips: torch.Tensor) -> torch.Tensor:
        """Return tokens (B, ceil(T/2), 4 width)."""
        return self.layers(clips).mean(dim=(3, 4)).transpose(1, 2)


def _block(inputs: int, outputs: int, *, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> nn.Sequential:
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    convolution = nn.Conv3d(inputs, outputs, kernel, stride, padding, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm3d(outputs), nn.ReLU(inplace=True))
