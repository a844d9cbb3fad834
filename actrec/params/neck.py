"""The section `model.neck`: what becomes of the backbones' tokens."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from actrec.params.section import Count, Name, NonNegative, Positive, PositiveFloat, Section
from actrec.params.weights import OwnWeights


class MeanNeck(Section):
    """The mean over the tokens of the one modality."""

    kind: Literal["mean"]


class ConcatNeck(Section):
    """All tokens of all modalities side by side: for few of them, such as the two people of a pair."""

    kind: Literal["concat"]


class RelationNeck(Section):
    """Two people's looks (rgb), how they stand (geometry), or both, to one vector.

    `visual_dim`: of a person. `hidden`: widths of the layers after the fusion; a person is encoded in half of the
    first, the geometry in a quarter. `fusion`: see `actrec.models.relation`.
    """

    kind: Literal["relation"]
    visual_dim: Positive
    hidden: Annotated[list[Positive], Field(min_length=1)]
    fusion: Literal["concat", "bilinear", "add", "symmetric"]
    dropout: Annotated[float, Field(ge=0, lt=1)]

    @model_validator(mode="after")
    def _quarters(self) -> Self:
        if self.hidden[0] % 4:
            raise ValueError(f"hidden begins with {self.hidden[0]}: it must be divisible by 4")
        return self


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


Neck = Annotated[MeanNeck | ConcatNeck | RelationNeck | MbtNeck | LateNeck, Field(discriminator="kind")]
