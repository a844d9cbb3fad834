"""The section `model.backbones`: one network a modality."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from actrec.params.section import AttentionHeads, ByModality, Positive, PositiveFloat, Section
from actrec.params.weights import (
    START,
    FolderWeights,
    HubWeights,
    NoWeights,
    OwnWeights,
    TorchvisionWeights,
    Weights,
    refuse_unpublished,
)

Frozen = Annotated[
    bool,
    Field(
        description="true: its weights stay as they are, and features can cache what it says. false: it learns, at "
        "train.lr times train.backbone_lr_factor."
    ),
]
AlwaysFrozen = Annotated[Literal[True], Field(description="Always true, for nothing is learned.")]
NothingToLoad = Annotated[NoWeights, Field(description="Always none, for nothing is learned.")]
InputPx = Annotated[
    int,
    Field(
        ge=16,
        description="Side of the square pictures that the network is shown, in pixels: those that are stored "
        "(frames.size_px) are cut and resized to it. Some networks take one size alone: mvit_v2_s 224, videomae that "
        "of its weights.",
    ),
]
CropFrac = Annotated[
    float,
    Field(
        gt=0,
        le=1,
        description="Of each picture's middle square, the side of the middle part that is shown where nothing is "
        "random (in validation, evaluation and prediction), as a share; 1: all of it. Beside skeletons 1 alone.",
    ),
]
_DEPTH = "Layers of the network: more take longer. With 18 or 34 a token has 512 numbers, else 2048."


class VideoNet(Section):
    """A torchvision video classification network without its classifier."""

    kind: Literal["r3d_18", "mc3_18", "r2plus1d_18", "s3d", "mvit_v2_s", "swin3d_t"]
    weights: Weights
    frozen: Frozen
    input_px: InputPx
    crop_frac: CropFrac

    @model_validator(mode="after")
    def _weights_are_published(self) -> Self:
        refuse_unpublished(self.weights, self.network)
        return self

    @property
    def network(self) -> str:
        """What torchvision calls it."""
        return self.kind


class ResNetFrames(Section):
    """A ResNet over frames, with a token for each."""

    kind: Literal["resnet"]
    depth: Literal[18, 34, 50, 101, 152] = Field(description=_DEPTH)
    temporal: Literal["mean", "shift"] = Field(
        description="mean: each frame is looked at by itself, as images are. shift: inside the network an eighth of "
        "the channels comes from the frame before and an eighth from the one after, so that motion counts."
    )
    weights: Weights
    frozen: Frozen
    input_px: InputPx
    crop_frac: CropFrac

    @model_validator(mode="after")
    def _weights_are_published(self) -> Self:
        refuse_unpublished(self.weights, self.network)
        return self

    @property
    def network(self) -> str:
        """What torchvision calls it."""
        return f"resnet{self.depth}"


class Small3d(Section):
    """A small 3-D convolutional network to train from scratch, on a CPU if need be."""

    kind: Literal["small3d"]
    width: Annotated[
        int, Field(ge=4, description="Channels after its first convolution; tokens have four times as many numbers.")
    ]
    weights: OwnWeights
    frozen: Frozen
    input_px: InputPx
    crop_frac: CropFrac


class VideoMaeConfig(Section):
    """Random weights from the seed, in a network of this size."""

    kind: Literal["none"]
    width: Positive = Field(description="Numbers of a token.")
    layers: Positive = Field(description="Layers of the transformer.")
    attention_heads: AttentionHeads
    patch_px: Positive = Field(description="Side of the patch that a token is made of, in pixels; it divides input_px.")
    tubelet_frames: Positive = Field(description="Frames that a token is made of; they divide frames.clip_frames.")


class VideoMae(Section):
    """The encoder of VideoMAE."""

    kind: Literal["videomae"]
    weights: Annotated[HubWeights | FolderWeights | VideoMaeConfig, Field(discriminator="kind", description=START)]
    frozen: Frozen
    input_px: InputPx
    crop_frac: CropFrac
    token_grid: Annotated[list[Positive], Field(min_length=3, max_length=3)] | None = Field(
        description="How many tokens are left in time, height and width, by averages; they must divide the network's "
        "own, 8, 14 and 14 of the published base size. null: all, 1,568 there."
    )


class ResNetMel(Section):
    """A ResNet that takes a log-Mel spectrogram for a grey picture; a token for each place of its last map."""

    kind: Literal["resnet"]
    depth: Literal[18, 34, 50] = Field(description=_DEPTH)
    weights: Weights
    frozen: Frozen

    @model_validator(mode="after")
    def _weights_are_published(self) -> Self:
        refuse_unpublished(self.weights, self.network)
        return self

    @property
    def network(self) -> str:
        """What torchvision calls it."""
        return f"resnet{self.depth}"


class Hog(Section):
    """Histograms of oriented gradients of grey pictures: nothing is learned, so it stands as a frozen backbone."""

    kind: Literal["hog"]
    orientations: Annotated[
        int, Field(ge=2, description="Directions of gradients that are told apart, over 180 degrees.")
    ]
    cell_px: Annotated[int, Field(ge=2, description="Side of a cell in pixels, whose gradients are counted together.")]
    block_cells: Positive = Field(
        description="Side of a block in cells, over which counts are normalised (L2-Hys); blocks are one cell apart."
    )
    weights: NothingToLoad
    frozen: AlwaysFrozen
    input_px: InputPx
    crop_frac: CropFrac

    @model_validator(mode="after")
    def _one_block_fits(self) -> Self:
        if self.input_px < self.cell_px * self.block_cells:
            raise ValueError(
                f"input_px is {self.input_px}: smaller than one block, cell_px * block_cells = "
                f"{self.cell_px * self.block_cells}"
            )
        return self


TokenGrid = Annotated[
    Annotated[list[Positive], Field(min_length=2, max_length=2)] | None,
    Field(
        description="Rows and columns that the places of the last map, each a mean over time, are averaged to: [1, 1] "
        "is one token a clip. null: a token for each place."
    ),
]


class _ChosenFrames(Section):
    """What backbones have in common that look at `input_frames`, chosen of more."""

    weights: OwnWeights
    frozen: Frozen
    input_frames: Positive = Field(
        description="Frames that the network is shown, chosen of those that are stored (frames.clip_frames) or of all "
        "that a skeleton has: at random in training, by a fixed rule in evaluation."
    )
    input_px: Annotated[
        int,
        Field(
            ge=8,
            description="Side of the square pictures or heat-maps that the network is shown, in pixels. With "
            "model.neck.laterals, heat-maps have a quarter of the pictures' side.",
        ),
    ]
    token_grid: TokenGrid


class SlowOnly(_ChosenFrames):
    """ResNet3d of the SlowOnly kind: no stride in time, temporal kernels in the last two stages."""

    kind: Literal["slow_only"]
    crop_frac: CropFrac
    blocks: Annotated[
        list[Positive],
        Field(min_length=4, max_length=4, description="Residual blocks of each stage; published: [3, 4, 6, 3]."),
    ]
    width: Positive = Field(
        description="Channels after the first convolution, published: 64; tokens have 32 times as many numbers."
    )


class X3d(_ChosenFrames):
    """X3D: size S is 13 frames of 160 px, size M 16 of 224."""

    kind: Literal["x3d"]
    crop_frac: CropFrac
    shortcut_norm: bool = Field(
        description="Whether one more shortcut has a batch norm: true for checkpoints of SlowFast and mmaction2, false "
        "for those of pytorchvideo."
    )


class XShift(_ChosenFrames):
    """X3D's layout with a temporal shift instead of temporal kernels."""

    kind: Literal["x_shift"]
    crop_frac: CropFrac
    blocks: Annotated[
        list[Positive], Field(min_length=4, max_length=4, description="Blocks of each stage; published: [3, 5, 11, 7].")
    ]
    widths: Annotated[
        list[Positive],
        Field(
            min_length=4,
            max_length=4,
            description="Channels after each stage, multiples of 8, of which an eighth is shifted each way; published: "
            "[24, 48, 96, 192].",
        ),
    ]


class Heatmaps(Section):
    """What a skeleton is drawn as: Gaussians at its joints, along its limbs, or both."""

    of: Literal["joints", "limbs", "both"] = Field(
        description="joints: a map for each joint. limbs: a map for each limb, the line between two joints. both: all "
        "of these maps."
    )
    sigma_px: PositiveFloat = Field(
        description="Standard deviation of the Gaussians, in pixels of the heat-maps; published: 0.6 and 0.7."
    )


class PoseConv3d(_ChosenFrames):
    """PoseC3D's SlowOnly network over heat-maps, three stages."""

    kind: Literal["pose_conv3d"]
    blocks: Annotated[
        list[Positive],
        Field(min_length=3, max_length=3, description="Residual blocks of each stage; published: [4, 6, 3]."),
    ]
    width: Annotated[
        int,
        Field(
            ge=2,
            multiple_of=2,
            description="Channels after the first convolution, published: 32; tokens have 16 times as many numbers.",
        ),
    ]
    temporal_stride: Literal[1, 2] = Field(
        description="Step in time of the last stage: 1 beside pictures, 2 alone, as published."
    )
    heatmaps: Heatmaps


class XShiftPose(_ChosenFrames):
    """The pose stream of X-ShiftNet, over heat-maps."""

    kind: Literal["x_shift"]
    blocks: Annotated[
        list[Positive], Field(min_length=3, max_length=3, description="Blocks of each stage; published: [5, 11, 7].")
    ]
    widths: Annotated[
        list[Positive],
        Field(
            min_length=3,
            max_length=3,
            description="Channels after each stage, multiples of 4, of which a quarter is shifted each way; published: "
            "[24, 48, 96].",
        ),
    ]
    heatmaps: Heatmaps


class Spatial(Section):
    """How two people stand to each other, in eight numbers; nothing is learned here."""

    kind: Literal["spatial"]
    weights: NothingToLoad
    frozen: AlwaysFrozen


RgbBackbone = Annotated[
    VideoNet | ResNetFrames | Small3d | VideoMae | SlowOnly | X3d | XShift | Hog, Field(discriminator="kind")
]
PoseBackbone = Annotated[PoseConv3d | XShiftPose, Field(discriminator="kind")]


class Backbones(ByModality):
    """One backbone a modality: the model looks at those modalities that are named here."""

    rgb: RgbBackbone | None = Field(
        default=None, description="The network for pictures, which the stage frames stores."
    )
    audio: ResNetMel | None = Field(
        default=None, description="The network for sound, which the stage mels stores as spectrograms."
    )
    pose: PoseBackbone | None = Field(
        default=None, description="The network for skeletons, which the stage skeletons stores."
    )
    geometry: Spatial | None = Field(
        default=None, description="Of pairs of people, how the two stand to each other, by their boxes."
    )

    @property
    def published(self) -> dict[str, str]:
        """Of the modalities whose network starts from torchvision's weights, the name of the file of these."""
        return {
            modality: backbone.weights.file_of(backbone.network)
            for modality, backbone in self.used.items()
            if isinstance(backbone.weights, TorchvisionWeights)
        }
