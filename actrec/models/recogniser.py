"""The whole model: a backbone a modality, a neck, and a head for each kind of label."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from actrec.models.backbone import RgbBackbone
from actrec.models.resnet_frames import ResNetFrames
from actrec.models.small3d import Small3d
from actrec.models.video_net import VideoNet
from actrec.models.weights import load_weights

Batch = Mapping[str, Any]


class Recogniser(nn.Module):
    """`{modality: batch}` to `{head: logits}`.

    Backbones named in `frozen` are fixed in every respect: no gradients, and evaluation mode, so that the statistics of
    batch norm do not move and dropout does nothing, whatever `train()` says.
    """

    def __init__(self, backbones: Mapping[str, nn.Module], neck: nn.Module, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.backbones, self.neck = nn.ModuleDict(backbones), neck
        # Not a ModuleDict: that refuses names such as `type`, which a label may well have.
        self.head_names, self.heads = tuple(heads), nn.ModuleList(heads.values())
        self.frozen: frozenset[str] = frozenset()

    def freeze(self, *modalities: str) -> None:
        """Fix exactly these backbones; free the others."""
        self.frozen = frozenset(modalities)
        for modality, backbone in self.backbones.items():
            backbone.requires_grad_(modality not in self.frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Recogniser":
        """Set training mode, but for frozen backbones."""
        super().train(mode)
        for modality in self.frozen:
            self.backbones[modality].eval()
        return self

    @property
    def weights_sha256(self) -> dict[str, str]:
        """The sha256 of the file each backbone started from, "" for random weights."""
        return {modality: str(backbone.weights_sha256) for modality, backbone in self.backbones.items()}

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return logits (B, classes) a head, from `batch["tokens"]` (cached) or from the modalities themselves."""
        tokens = batch["tokens"] if "tokens" in batch else self.tokens(batch)
        joint = self.neck(tokens)
        return {name: head(joint) for name, head in zip(self.head_names, self.heads, strict=True)}

    def tokens(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return tokens (B, N, D) a modality: what the `features` stage caches, and training computes live."""
        return {modality: self._tokens_of(modality, batch[modality]) for modality in self.backbones}

    def _tokens_of(self, modality: str, batch: torch.Tensor) -> torch.Tensor:
        if modality not in self.frozen:
            return self.backbones[modality](batch)
        with torch.no_grad():
            return self.backbones[modality](batch)


class MeanNeck(nn.Module):
    """The mean over the tokens of the one modality: (B, N, D) to (B, D)."""

    def forward(self, tokens: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return (B, D)."""
        (only,) = tokens.values()
        return only.float().mean(dim=1)


def build(
    spec: Mapping[str, Any], *, classes: Mapping[str, Sequence[str]], clip_frames: int, channels_last: bool, seed: int
) -> Recogniser:
    """Return a fresh model; the same seed gives the same weights.

    Args:
        spec: The section `model` of params.yaml, as a plain dict.
        classes: The class names of each head.
        clip_frames: T of the clips that it will see.
        channels_last: See `RgbBackbone.use_channels_last`.
        seed: Of random weights.

    Raises:
        UserError: if published or local weights cannot be had or do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbones = {m: build_backbone(b, clip_frames=clip_frames) for m, b in spec["backbones"].items()}
        width = sum(backbone.width for backbone in backbones.values())
        heads = {name: _head(head, width, len(classes[name])) for name, head in spec["heads"].items()}
    if channels_last:
        for backbone in backbones.values():
            backbone.use_channels_last()
    model = Recogniser(backbones, MeanNeck(), heads)
    model.freeze(*(modality for modality, backbone in spec["backbones"].items() if backbone["frozen"]))
    return model


def build_backbone(spec: Mapping[str, Any], *, clip_frames: int) -> RgbBackbone:
    """Return the backbone that `model.backbones.<modality>` describes."""
    match spec:
        case {"kind": "small3d", "width": width, "weights": weights}:
            backbone = Small3d(width=width)
            backbone.weights_sha256 = load_weights(backbone, weights, architecture="small3d", drop=())
            return backbone
        case {"kind": "resnet", "depth": depth, "temporal": temporal, "weights": weights}:
            return ResNetFrames(depth=depth, temporal=temporal, clip_frames=clip_frames, weights=weights)
        case {"kind": kind, "input_px": input_px, "weights": weights}:
            return VideoNet(kind=kind, clip_frames=clip_frames, input_px=input_px, weights=weights)
        case _:
            raise ValueError(f"unknown backbone {spec}")


def _head(spec: Mapping[str, Any], width: int, num_classes: int) -> nn.Module:
    match spec:
        case {"kind": "linear", "dropout": dropout}:
            return nn.Sequential(nn.Dropout(dropout), nn.Linear(width, num_classes))
        case {"kind": "mlp", "hidden": hidden, "dropout": dropout}:
            first, second = nn.Linear(width, hidden), nn.Linear(hidden, num_classes)
            return nn.Sequential(nn.Dropout(dropout), first, nn.ReLU(), nn.Dropout(dropout), second)
        case _:
            raise ValueError(f"unknown head {spec}")
