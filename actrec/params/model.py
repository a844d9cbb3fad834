"""The section `model`: backbones, a neck, heads."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from actrec.outputs import fused_output, stream_output
from actrec.params.section import ByModality, Count, Name, NonNegative, Positive, PositiveFloat, Section, Sha256


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


OwnWeights = Annotated[NoWeights | FileWeights, Field(discriminator="kind")]
TokenGrid = Annotated[list[Positive], Field(min_length=2, max_length=2)] | None


class SlowOnly(Section):
    """ResNet3d of the SlowOnly kind: no stride in time, temporal kernels in the last two stages.

    `input_frames` are chosen of those that the frames stage stored. `token_grid`: its tokens, a mean over time for each
    place of the last map, averaged to so many in height and width; null: all.
    """

    kind: Literal["slow_only"]
    blocks: Annotated[list[Positive], Field(min_length=4, max_length=4)]
    width: Positive
    weights: OwnWeights
    frozen: bool
    input_frames: Positive
    input_px: Annotated[int, Field(ge=16)]
    token_grid: TokenGrid


class X3d(Section):
    """X3D: size S is 13 frames of 160 px, size M 16 of 224. The rest as of slow_only.

    `shortcut_norm`: with the batch norm on one more shortcut that SlowFast and mmaction2 have and pytorchvideo lacks.
    """

    kind: Literal["x3d"]
    shortcut_norm: bool
    weights: OwnWeights
    frozen: bool
    input_frames: Positive
    input_px: Annotated[int, Field(ge=16)]
    token_grid: TokenGrid


class XShift(Section):
    """X3D's layout with a temporal shift instead of temporal kernels. The rest as of slow_only."""

    kind: Literal["x_shift"]
    blocks: Annotated[list[Positive], Field(min_length=4, max_length=4)]
    widths: Annotated[list[Positive], Field(min_length=4, max_length=4)]
    weights: OwnWeights
    frozen: bool
    input_frames: Positive
    input_px: Annotated[int, Field(ge=16)]
    token_grid: TokenGrid


class Heatmaps(Section):
    """What a skeleton is drawn as: Gaussians at its joints, along its limbs, or both."""

    of: Literal["joints", "limbs", "both"]
    sigma_px: PositiveFloat


class PoseConv3d(Section):
    """PoseC3D's SlowOnly network over heat-maps, three stages. The rest as of slow_only.

    `temporal_stride` of the last stage: 1 beside pictures, 2 alone, as published.
    """

    kind: Literal["pose_conv3d"]
    blocks: Annotated[list[Positive], Field(min_length=3, max_length=3)]
    width: Annotated[int, Field(ge=2, multiple_of=2)]
    temporal_stride: Literal[1, 2]
    heatmaps: Heatmaps
    weights: OwnWeights
    frozen: bool
    input_frames: Positive
    input_px: Annotated[int, Field(ge=8)]
    token_grid: TokenGrid


class XShiftPose(Section):
    """The pose stream of X-ShiftNet, over heat-maps. The rest as of slow_only."""

    kind: Literal["x_shift"]
    blocks: Annotated[list[Positive], Field(min_length=3, max_length=3)]
    widths: Annotated[list[Positive], Field(min_length=3, max_length=3)]
    heatmaps: Heatmaps
    weights: OwnWeights
    frozen: bool
    input_frames: Positive
    input_px: Annotated[int, Field(ge=8)]
    token_grid: TokenGrid


RgbBackbone = Annotated[
    VideoNet | ResNetFrames | Small3d | VideoMae | SlowOnly | X3d | XShift, Field(discriminator="kind")
]
PoseBackbone = Annotated[PoseConv3d | XShiftPose, Field(discriminator="kind")]


class Backbones(ByModality):
    """One backbone a modality."""

    rgb: RgbBackbone | None = None
    audio: ResNetMel | None = None
    pose: PoseBackbone | None = None


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


class NoLaterals(Section):
    """The streams are alone up to their scores."""

    kind: Literal["none"]


class RgbPoseLaterals(Section):
    """RGBPoseConv3D: slow_only and pose_conv3d hand each other their maps after two stages.

    `interaction`: with PCAN's attention of one stream to the other before. `rgb_drop` and `pose_drop`: how often, in
    training, a step's maps are not handed to that stream.
    """

    kind: Literal["rgbpose_conv3d"]
    kernel: Literal[1, 3, 5, 7, 9]
    interaction: bool
    rgb_drop: Annotated[float, Field(ge=0, lt=1)]
    pose_drop: Annotated[float, Field(ge=0, lt=1)]
    weights: OwnWeights


class PoseGuided(Section):
    """EPAM: where and when the pose stream is active is what the pictures' last map is weighted by. For x_shift."""

    kind: Literal["pose_guided"]


Laterals = Annotated[NoLaterals | RgbPoseLaterals | PoseGuided, Field(discriminator="kind")]


class Pcan(Section):
    """PCAN's prototypes, for two heads of which one tells the coarse class that the other's belongs to.

    Each part can be switched off by itself: see `actrec.models.pcan`.
    """

    fine: Name
    coarse: Name
    calibration: bool
    calibration_weight: NonNegative
    # Fine prediction wrong, coarse one wrong, both wrong.
    false_negative_factors: Annotated[list[NonNegative], Field(min_length=3, max_length=3)]
    diversity: bool
    diversity_weight: NonNegative
    tree: bool
    tree_weight: NonNegative
    rectification: bool
    rectification_weights: dict[str, NonNegative]
    fine_width: Positive
    coarse_width: Positive
    momentum: Annotated[float, Field(ge=0, lt=1)]
    temperature: PositiveFloat
    doubt_scale: NonNegative


class LateNeck(Section):
    """No common representation: each modality has heads of its own, whose probabilities are averaged.

    `ratios`: in which; each makes an output of its own, such as rgbpose_2:1/action.
    """

    kind: Literal["late"]
    ratios: list[Annotated[list[NonNegative], Field(min_length=1)]]
    laterals: Laterals
    pcan: Pcan | None


Neck = Annotated[MeanNeck | MbtNeck | LateNeck, Field(discriminator="kind")]


# Of neck late it may be a number a modality.
LossWeight = NonNegative | dict[str, NonNegative]


class LinearHead(Section):
    """Dropout and one linear layer."""

    kind: Literal["linear"]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    loss_weight: LossWeight


class MlpHead(Section):
    """Dropout - linear - ReLU - dropout - linear."""

    kind: Literal["mlp"]
    hidden: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)]
    loss_weight: LossWeight


Head = Annotated[LinearHead | MlpHead, Field(discriminator="kind")]


class Model(Section):
    """Backbones, a neck, and a head for each label column."""

    backbones: Backbones
    neck: Neck
    heads: Annotated[dict[Name, Head], Field(min_length=1)]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of all that the model says, fused outputs first."""
        modalities = tuple(self.backbones.used)
        if not isinstance(self.neck, LateNeck):
            return tuple(self.heads)
        fused = [fused_output(modalities, ratio, head) for ratio in self.neck.ratios for head in self.heads]
        return (*fused, *(stream_output(modality, head) for modality in modalities for head in self.heads))
