"""torchvision's video classification networks without their classifiers."""

from typing import Any

import torch
from torch import nn

from actrec.errors import UserError
from actrec.models.backbone import RgbBackbone
from actrec.models.weights import load_weights

# What torchvision calls the classifier, which is taken away.
_CLASSIFIERS = {
    "r3d_18": "fc",
    "mc3_18": "fc",
    "r2plus1d_18": "fc",
    "s3d": "classifier",
    "mvit_v2_s": "head",
    "swin3d_t": "head",
}
_MVIT_FRAMES, _MVIT_PX = 16, 224
_MVIT_GRID = (8, 7, 7)  # of the last block's tokens: time, height, width
_S3D_MIN_FRAMES, _S3D_MIN_PX = 5, 17


class VideoNet(RgbBackbone):
    """One token a clip: the pooled feature. D = 512 (r3d_18, mc3_18, r2plus1d_18), 1024 (s3d), 768 (mvit, swin3d).

    Args:
        kind: torchvision's name.
        clip_frames: T. mvit_v2_s has position tables for 16 frames of 224 pixels and takes nothing else; s3d halves
            time and space until fewer than 5 frames or 17 pixels are nothing.
        input_px: H and W.
        weights: See `load_weights`.

    Raises:
        UserError: if the network cannot take such clips.
    """

    def __init__(self, *, kind: str, clip_frames: int, input_px: int, weights: dict[str, Any]) -> None:
        from torchvision.models import get_model, get_model_weights

        if kind == "mvit_v2_s" and (clip_frames, input_px) != (_MVIT_FRAMES, _MVIT_PX):
            raise UserError(
                f"model.backbones.rgb: mvit_v2_s takes {_MVIT_FRAMES} frames of {_MVIT_PX} px, got {clip_frames} of "
                f"{input_px}. Set frames.clip_frames: {_MVIT_FRAMES} and input_px: {_MVIT_PX}"
            )
        if kind == "s3d" and (clip_frames < _S3D_MIN_FRAMES or input_px < _S3D_MIN_PX):
            raise UserError(
                f"model.backbones.rgb: s3d takes at least {_S3D_MIN_FRAMES} frames of {_S3D_MIN_PX} px, got "
                f"{clip_frames} of {input_px}. Set frames.clip_frames: 16 and input_px: 112"
            )
        network: Any = get_model(kind)
        scaling: Any = get_model_weights(kind)["DEFAULT"].transforms()
        classifier = _CLASSIFIERS[kind]
        super().__init__(mean=tuple(scaling.mean), std=tuple(scaling.std), width=_width(getattr(network, classifier)))
        setattr(network, classifier, nn.Identity())
        if kind == "s3d":
            network.avgpool = nn.AdaptiveAvgPool3d(1)  # its own is sized for 224 px and at least 16 frames
        self.weights_sha256 = load_weights(network, weights, architecture=kind, drop=(f"{classifier}.",))
        self.network, self._kind = network, kind

    @property
    def cam_layer(self) -> nn.Module:
        """The last maps: of the ResNets the last block of layer4, of s3d the last Inception block, of swin3d the norm.

        The head of mvit reads the class token alone, so that nothing speaks for a class in the other tokens after the
        last attention: there it is the norm before it.
        """
        match self._kind:
            case "s3d":
                return self.network.features[-1]
            case "swin3d_t":
                return self.network.norm
            case "mvit_v2_s":
                return self.network.blocks[-1].norm1
            case _:
                return self.network.layer4[-1]

    def cam_maps(self, seen: torch.Tensor) -> torch.Tensor:
        """Return maps (B, C, T', H', W'): the transformers have channels last, mvit a class token before the places."""
        match self._kind:
            case "swin3d_t":
                return seen.movedim(-1, 1)
            case "mvit_v2_s":
                return seen[:, 1:].transpose(1, 2).unflatten(2, _MVIT_GRID)
            case _:
                return seen

    def tokens(self, clips: torch.Tensor) -> torch.Tensor:
        """Return tokens (B, 1, D)."""
        return self.network(clips).flatten(1).unsqueeze(1)


def _width(classifier: nn.Module) -> int:
    for layer in classifier.modules():
        if isinstance(layer, nn.Linear):
            return layer.in_features
        if isinstance(layer, nn.Conv3d):
            return layer.in_channels
    raise ValueError(f"no linear layer in {classifier}")
