"""The section `model.backbones`: one network a modality."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from actrec.params.section import ByModality, Positive, PositiveFloat, Section
from actrec.params.weights import FileWeights, FolderWeights, HubWeights, NoWeights, OwnWeights, Weights


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


class Hog(Section):
    """Histograms of oriented gradients of grey pictures: nothing is learned, so it stands as a frozen backbone.

    Gradients of `cell_px`² cells in `orientations` bins, normalised (L2-Hys) over blocks of `block_cells`² cells.
    """

    kind: Literal["hog"]
    orientations: Annotated[int, Field(ge=2)]
    cell_px: Annotated[int, Field(ge=2)]
    block_cells: Positive
    weights: NoWeights
    frozen: Literal[True]
    input_px: Annotated[int, Field(ge=16)]

    @model_validator(mode="after")
    def _one_block_fits(self) -> Self:
        if self.input_px < self.cell_px * self.block_cells:
            raise ValueError(
                f"input_px is {self.input_px}: smaller than one block, cell_px * block_cells = "
                f"{self.cell_px * self.block_cells}"
            )
        return self


TokenGrid = Annotated[list[Positive], Field(min_length=2, max_length=2)] | None


class _ChosenFrames(Section):
    """What backbones have in common that look at `input_frames`, chosen of those that the stages before have stored.

    `token_grid`: their tokens, a mean over time for each place of the last map, averaged to so many in height and
    width; null: all.
    """

    weights: OwnWeights
    frozen: bool
    input_frames: Positive
    input_px: Annotated[int, Field(ge=8)]
    token_grid: TokenGrid


class SlowOnly(_ChosenFrames):
    """ResNet3d of the SlowOnly kind: no stride in time, temporal kernels in the last two stages."""

    kind: Literal["slow_only"]
    blocks: Annotated[list[Positive], Field(min_length=4, max_length=4)]
    width: Positive


class X3d(_ChosenFrames):
    """X3D: size S is 13 frames of 160 px, size M 16 of 224.

    `shortcut_norm`: with the batch norm on one more shortcut that SlowFast and mmaction2 have and pytorchvideo lacks.
    """

    kind: Literal["x3d"]
    shortcut_norm: bool


class XShift(_ChosenFrames):
    """X3D's layout with a temporal shift instead of temporal kernels."""

    kind: Literal["x_shift"]
    blocks: Annotated[list[Positive], Field(min_length=4, max_length=4)]
    widths: Annotated[list[Positive], Field(min_length=4, max_length=4)]


class Heatmaps(Section):
    """What a skeleton is drawn as: Gaussians at its joints, along its limbs, or both."""

    of: Literal["joints", "limbs", "both"]
    sigma_px: PositiveFloat


class PoseConv3d(_ChosenFrames):
    """PoseC3D's SlowOnly network over heat-maps, three stages.

    `temporal_stride` of the last stage: 1 beside pictures, 2 alone, as published.
    """

    kind: Literal["pose_conv3d"]
    blocks: Annotated[list[Positive], Field(min_length=3, max_length=3)]
    width: Annotated[int, Field(ge=2, multiple_of=2)]
    temporal_stride: Literal[1, 2]
    heatmaps: Heatmaps


class XShiftPose(_ChosenFrames):
    """The pose stream of X-ShiftNet, over heat-maps."""

    kind: Literal["x_shift"]
    blocks: Annotated[list[Positive], Field(min_length=3, max_length=3)]
    widths: Annotated[list[Positive], Field(min_length=3, max_length=3)]
    heatmaps: Heatmaps


class Spatial(Section):
    """How two people stand to each other, in eight numbers; nothing is learned here."""

    kind: Literal["spatial"]
    weights: NoWeights
    frozen: Literal[True]


RgbBackbone = Annotated[
    VideoNet | ResNetFrames | Small3d | VideoMae | SlowOnly | X3d | XShift | Hog, Field(discriminator="kind")
]
PoseBackbone = Annotated[PoseConv3d | XShiftPose, Field(discriminator="kind")]


class Backbones(ByModality):
    """One backbone a modality."""

    rgb: RgbBackbone | None = None
    audio: ResNetMel | None = None
    pose: PoseBackbone | None = None
    geometry: Spatial | None = None
