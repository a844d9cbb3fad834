"""The whole model: a backbone a modality, a neck, and a head for each kind of label."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from actrec.models.backbone import Backbone
from actrec.models.mbt import Mbt
from actrec.models.resnet_frames import ResNetFrames
from actrec.models.resnet_mel import ResNetMel
from actrec.models.small3d import Small3d
from actrec.models.video_net import VideoNet
from actrec.models.videomae import VideoMae
from actrec.models.weights import load_weights

Batch = Mapping[str, Any]


class Recogniser(nn.Module):
    """`{modality: batch}` to `{head: logits}`.

    Backbones named in `frozen` are fixed in every respect: no gradients, and evaluation mode, so that the statistics of
    batch norm do not move and dropout does nothing, whatever `train()` says. Heads named in `multi_label` may find
    several classes in a clip.
    """

    def __init__(
        self,
        backbones: Mapping[str, nn.Module],
        neck: nn.Module,
        heads: Mapping[str, nn.Module],
        multi_label: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.multi_label = frozenset(multi_label)
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
        return {modality: backbone.weights_sha256 for modality, backbone in self._backbones()}

    def _backbones(self) -> list[tuple[str, Backbone]]:
        return [(m, backbone) for m, backbone in self.backbones.items() if isinstance(backbone, Backbone)]

    @property
    def bare_weights(self) -> dict[str, dict[str, Any]]:
        """The `weights` of each backbone that build the same network without looking anything up."""
        return {modality: backbone.bare_weights for modality, backbone in self._backbones()}

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return logits (B, classes) a head.

        Args:
            batch: The modalities themselves, or `tokens` {modality: (B, N, D)} that were cached; and `present`
                {modality: bool (B,)}: where it is False, what stands for the modality is not looked at.
        """
        tokens = batch["tokens"] if "tokens" in batch else self.tokens(batch)
        return self.decide(tokens, batch["present"])

    def decide(
        self, tokens: Mapping[str, torch.Tensor], present: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Return logits (B, classes) a head of tokens: neck and heads alone."""
        joint = self.neck(tokens, present)
        return {name: head(joint) for name, head in zip(self.head_names, self.heads, strict=True)}

    def to_probs(self, head: str, logits: torch.Tensor) -> torch.Tensor:
        """Return probabilities (B, classes), float32: of one class among all, or of each class by itself."""
        return logits.float().sigmoid() if head in self.multi_label else logits.float().softmax(dim=1)

    def tokens(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return tokens (B, N, D) a modality: what the `features` stage caches, and training computes live."""
        return {modality: self.tokens_of(modality, batch[modality]) for modality in self.backbones}

    def tokens_of(self, modality: str, batch: torch.Tensor) -> torch.Tensor:
        """Return tokens (B, N, D) of one modality."""
        if modality not in self.frozen:
            return self.backbones[modality](batch)
        with torch.no_grad():
            return self.backbones[modality](batch)


class MeanNeck(nn.Module):
    """The mean over the tokens of the one modality: (B, N, D) to (B, D), where width is D."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, tokens: Mapping[str, torch.Tensor], present: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return (B, D). A clip without its only modality is in no batch."""
        (only,) = tokens.values()
        return only.float().mean(dim=1)


def build(
    spec: Mapping[str, Any],
    *,
    classes: Mapping[str, Sequence[str]],
    multi_label: Collection[str],
    clip_frames: int,
    channels_last: bool,
    seed: int,
) -> Recogniser:
    """Return a fresh model; the same seed gives the same weights.

    Args:
        spec: The section `model` of params.yaml, as a plain dict.
        classes: The class names of each head.
        multi_label: The heads whose clips may have several of them.
        clip_frames: T of the clips that it will see; of no matter without pictures.
        channels_last: See `Backbone.use_channels_last`.
        seed: Of random weights.

    Raises:
        UserError: if published or local weights cannot be had or do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbones = {m: build_backbone(m, b, clip_frames=clip_frames) for m, b in spec["backbones"].items()}
        neck = _neck(spec["neck"], {modality: backbone.width for modality, backbone in backbones.items()})
        heads = {name: _head(head, neck.width, len(classes[name])) for name, head in spec["heads"].items()}
    if channels_last:
        for backbone in backbones.values():
            backbone.use_channels_last()
    model = Recogniser(backbones, neck, heads, multi_label)
    model.freeze(*(modality for modality, backbone in spec["backbones"].items() if backbone["frozen"]))
    return model


def build_backbone(modality: str, spec: Mapping[str, Any], *, clip_frames: int) -> Backbone:
    """Return the backbone that `model.backbones.<modality>` describes."""
    match spec:
        case {"kind": "resnet", "depth": depth, "weights": weights} if modality == "audio":
            return ResNetMel(depth=depth, weights=weights)
        case {"kind": "videomae", "weights": weights, "input_px": input_px, "token_grid": token_grid}:
            return VideoMae(weights=weights, clip_frames=clip_frames, input_px=input_px, token_grid=token_grid)
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


def _neck(spec: Mapping[str, Any], widths: Mapping[str, int]) -> MeanNeck | Mbt:
    match spec:
        case {"kind": "mean"}:
            (width,) = widths.values()
            return MeanNeck(width)
        case {"kind": "mbt", **settings}:
            return Mbt(widths=widths, **settings)
        case _:
            raise ValueError(f"unknown neck {spec}")


def _head(spec: Mapping[str, Any], width: int, num_classes: int) -> nn.Module:
    match spec:
        case {"kind": "linear", "dropout": dropout}:
            return nn.Sequential(nn.Dropout(dropout), nn.Linear(width, num_classes))
        case {"kind": "mlp", "hidden": hidden, "dropout": dropout}:
            first, second = nn.Linear(width, hidden), nn.Linear(hidden, num_classes)
            return nn.Sequential(nn.Dropout(dropout), first, nn.ReLU(), nn.Dropout(dropout), second)
        case _:
            raise ValueError(f"unknown head {spec}")
