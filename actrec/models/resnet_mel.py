"""A ResNet that takes a log-Mel spectrogram for a grey picture."""

from typing import Any

import torch
from torch import nn

from actrec.models.backbone import Backbone
from actrec.models.weights import Tensors, load_weights

# Below a clip's maximum: what is fainter is noise of the recording, or the logarithm of nearly nothing.
_RANGE_DB = 80.0
# A clip that varies less is silent: it is not to be blown up to noise.
_MIN_STD_DB = 1.0


class ResNetMel(Backbone):
    """float32 log-Mel spectrograms (B, F, T) in dB to tokens (B, N, D): the places of the last map, row by row.

    N = ceil(F/32) * ceil(T/32), 4 * 10 = 40 tokens for 128 x 313; D = 512 (depth 18, 34) or 2048. Each clip is cut off
    80 dB below its own maximum and then standardised over bins and steps, so that neither the gain of a microphone nor
    digital silence decides on the numbers.

    The first convolution has one input channel. Published weights have three; it takes their mean, so that single
    weights keep their size and sign. A spectrogram then answers a third as strongly as it would in all three channels
    (the sum of the weights): batch norm that learns takes the factor out, frozen batch norm keeps it.

    Args:
        depth: 18, 34 or 50.
        weights: See `load_weights`. Files with one or three input channels fit alike.

    Source: Gong et al., AST, Interspeech 2021, section 2.2, for the mean over the channels of pictures' weights.
    """

    def __init__(self, *, depth: int, weights: dict[str, Any]) -> None:
        from torchvision.models import get_model

        network: Any = get_model(f"resnet{depth}")
        super().__init__(width=network.fc.in_features)
        network.fc = nn.Identity()
        network.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")  # as torchvision's others
        self.weights_sha256 = load_weights(
            network, weights, architecture=f"resnet{depth}", drop=("fc.",), modality="audio", adapt=_one_channel
        )
        self.network = network

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Return tokens (B, N, D) of spectrograms (B, F, T)."""
        net = self.network
        stem = net.maxpool(net.relu(net.bn1(net.conv1(standardised(batch).unsqueeze(1)))))
        return net.layer4(net.layer3(net.layer2(net.layer1(stem)))).flatten(2).transpose(1, 2)


def standardised(log_mel: torch.Tensor) -> torch.Tensor:
    """Return spectrograms (B, F, T) in dB, each within 80 dB of its maximum, with mean 0 and standard deviation 1.

    One that varies by less than 1 dB, such as silence, is divided by 1 dB instead: it stays next to 0.
    """
    loudest = log_mel.amax(dim=(1, 2), keepdim=True)
    clipped = torch.maximum(log_mel, loudest - _RANGE_DB)
    std, mean = torch.std_mean(clipped, dim=(1, 2), keepdim=True, correction=0)
    return (clipped - mean) / std.clamp(min=_MIN_STD_DB)


def _one_channel(tensors: Tensors) -> Tensors:
    first = tensors.get("conv1.weight")
    if first is None or first.dim() != 4 or first.shape[1] == 1:
        return tensors
    return {**tensors, "conv1.weight": first.mean(dim=1, keepdim=True)}
