"""The section `model`: backbones, a neck, heads."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from actrec.params.section import ByModality, Count, Name, NonNegative, Positive, Section, Sha256


class NoWeights(Section):
    """Random weights from the seed."""

    kind: Literal["none"]


class TorchvisionWeights(Section):
    """Published weights, by their name in torchvision's enum: KINETICS400_V1, IMAGENET1K_V2, …"""

    kind: Literal["torchvision"]
    name: str


class FileWeights(Section):
    """A local checkpoint. The digest makes its content, not only its path, a part of the experiment."""

    kind: Literal["file"]
    path: str
    sha256: Sha256


Weights = Annotated[NoWeights | TorchvisionWeights | FileWeights, Field(discriminator="kind")]


class VideoNet(Section):
    """A torchvision video classification network without its classifier."""

    kind: Literal["r3d_18", "mc3_18", "r2plus1d_18", "s3d", "mvit_v2_s", "swin3d_t"]
    weights: Weights
    frozen: bool
    input_px: Annotated[int, Field(ge=16)]


class ResNetFrames(Section):
    """A ResNet over frames; time is mixed by the neck's mean, or also inside by the temporal shift."""

    kind: Literal["resnet"]
    depth: Literal[18, 34, 50, 101, 152]
    temporal: Literal["mean", "shift"]
    weights: Weights
    frozen: bool
    input_px: Annotated[int, Field(ge=16)]


class Small3d(Section):
    """A small 3-D convolutional network to train from scratch, on a CPU if need be."""

    kind: Literal["small3d"]
    width: Annotated[int, Field(ge=4)]
    weights: NoWeights | FileWeights = Field(discriminator="kind")
    frozen: bool
    input_px: Annotated[int, Field(ge=16)]


class HubWeights(Section):
    """A model of the Hugging Face hub, at one revision: the 40 digits of a commit."""

    kind: Literal["hub"]
    id: str
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


class FolderWeights(Section):
    """The same as a local folder: config.json, preprocessor_config.json, and the weights, whose digest this is."""

    kind: Literal["folder"]
    path: str
    sha256: Sha256


class VideoMaeConfig(Section):
    """Random weights from the seed, in a network of this size."""

    kind: Literal["none"]
    width: Positive
    layers: Positive
    attention_heads: Positive
    patch_px: Positive
    tubelet_frames: Positive


class VideoMae(Section):
    """The encoder of VideoMAE. `token_grid`: its tokens averaged to so many in time, height and width; null: all."""

    kind: Literal["videomae"]
    weights: Annotated[HubWeights | FolderWeights | VideoMaeConfig, Field(discriminator="kind")]
    frozen: bool
    input_px: Annotated[int, Field(ge=16)]
    token_grid: Annotated[list[Positive], Field(min_length=3, max_length=3)] | None


class ResNetMel(Section):
    """A ResNet that takes a log-Mel spectrogram for a grey picture; a token for each place of its last map."""

    kind: Literal["resnet"]
    depth: Literal[18, 34, 50]
    weights: Weights
    frozen: bool


RgbBackbone = Annotated[VideoNet | ResNetFrames | Small3d | VideoMae, Field(discriminator="kind")]


class Backbones(ByModality):
    """One backbone a modality."""

    rgb: RgbBackbone | None = None
    audio: ResNetMel | None = None


class MeanNeck(Section):
    """The mean over the tokens of the one modality."""

    kind: Literal["mean"]


class MbtNeck(Section):
    """Multimodal bottleneck transformer: a stream of tokens a modality, which meet in a few bottleneck tokens.

    The streams are apart in the layers before `fusion_layer`.
    """

    kind: Literal["mbt"]
    width: Positive
    layers: Positive
    attention_heads: Positive
    bottleneck_tokens: Count
    fusion_layer: Count
    dropout: Annotated[float, Field(ge=0, lt=1)]

    @model_validator(mode="after")
    def _streams_meet(self) -> Self:
        if self.width % self.attention_heads:
            raise ValueError(f"attention_heads must divide width, got {self.attention_heads} and {self.width}")
        if self.bottleneck_tokens and self.layers - self.fusion_layer < 2:
            raise ValueError(
                "the streams meet after a layer that has the bottleneck, and need another one to make use of it: set "
                f"fusion_layer to at most layers - 2 = {self.layers - 2}, got {self.fusion_layer}"
            )
        return self


Neck = Annotated[MeanNeck | MbtNeck, Field(discriminator="kind")]


class LinearHead(Section):
    """Dropout and one linear layer."""

    kind: Literal["linear"]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    loss_weight: NonNegative


class MlpHead(Section):
    """Dropout - linear - ReLU - dropout - linear."""

    kind: Literal["mlp"]
    hidden: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)]
    loss_weight: NonNegative


Head = Annotated[LinearHead | MlpHead, Field(discriminator="kind")]


class Model(Section):
    """Backbones, a neck, and a head for each label column."""

    backbones: Backbones
    neck: Neck
    heads: Annotated[dict[Name, Head], Field(min_length=1)]
