"""The section `model.neck`: what becomes of the backbones' tokens."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from actrec.params.section import (
    AttentionHeads,
    BelowOne,
    Count,
    Dropout,
    Name,
    NonNegative,
    Positive,
    PositiveFloat,
    Section,
)
from actrec.params.weights import OwnWeights


class MeanNeck(Section):
    """The mean over the tokens of the one modality."""

    kind: Literal["mean"]


class ConcatNeck(Section):
    """All tokens of all modalities side by side: for few of them, such as the two people of a pair."""

    kind: Literal["concat"]


class RelationNeck(Section):
    """Two people's looks (rgb), how they stand (geometry), or both, to one vector."""

    kind: Literal["relation"]
    visual_dim: Positive = Field(
        description="Numbers that the token of each person is brought to first. As published, training sets a fifth of "
        "them to 0 at random, whatever dropout is."
    )
    hidden: Annotated[
        list[Positive],
        Field(
            min_length=1,
            description="Widths of the layers after the fusion. A person is encoded in half of the first, the geometry "
            "in a quarter, so it must be divisible by 4.",
        ),
    ]
    fusion: Literal["concat", "bilinear", "add", "symmetric"] = Field(
        description="How two people become one. concat: side by side, A before B. bilinear: each number of one with "
        "each of the other, 33.6 M parameters at the usual widths. add: their sum. symmetric: sum, difference and "
        "product. Of add and symmetric the answer is the same for A and B swapped."
    )
    dropout: Dropout

    @model_validator(mode="after")
    def _quarters(self) -> Self:
        if self.hidden[0] % 4:
            raise ValueError(f"hidden begins with {self.hidden[0]}: it must be divisible by 4")
        return self


class MbtNeck(Section):
    """Multimodal bottleneck transformer: a stream of tokens a modality, which meet in a few bottleneck tokens."""

    kind: Literal["mbt"]
    width: Positive = Field(description="Numbers that the tokens of all streams are brought to.")
    layers: Positive = Field(description="Transformer layers of each stream.")
    attention_heads: AttentionHeads
    bottleneck_tokens: Count = Field(
        description="Tokens in which the streams meet, published: 4; 0: they stay apart to the end."
    )
    fusion_layer: Count = Field(
        description="The first layer with bottleneck tokens, counted from 0: the streams are apart before it. At most "
        "layers - 2, for the layer after it is the first that reads what other streams have left there."
    )
    dropout: Dropout

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
    """RGBPoseConv3D: slow_only and pose_conv3d hand each other their maps after two stages."""

    kind: Literal["rgbpose_conv3d"]
    kernel: Literal[1, 3, 5, 7, 9] = Field(
        description="Steps in time that an exchange of maps sees; published checkpoints have 7."
    )
    interaction: bool = Field(
        description="Whether each stream weighs its channels by attention to the other as well, as in PCAN."
    )
    rgb_drop: BelowOne = Field(
        description="How often, in [0, 1), a training step goes without what the pictures are given of the skeletons."
    )
    pose_drop: BelowOne = Field(
        description="How often, in [0, 1), a training step goes without what the skeletons are given of the pictures."
    )
    weights: OwnWeights = Field(
        description="What the two streams and their exchange start from: a whole RGBPoseConv3D; or none, and the "
        "streams keep what model.backbones gives them."
    )


class PoseGuided(Section):
    """EPAM: where and when the pose stream is active is what the pictures' last map is weighted by. For x_shift."""

    kind: Literal["pose_guided"]


Laterals = Annotated[NoLaterals | RgbPoseLaterals | PoseGuided, Field(discriminator="kind")]


class Pcan(Section):
    """PCAN's prototypes, for two heads of which one tells the coarse class that the other's belongs to.

    Each part can be switched off by itself: see `actrec.models.pcan`.
    """

    fine: Name = Field(description="The head of the fine classes.")
    coarse: Name = Field(description="The head of the coarse classes: each fine class belongs to one of them.")
    calibration: bool = Field(
        description="Whether clips are drawn to the prototype of their class, by a loss that looks at those which the "
        "heads mistake, at the fine and the coarse level."
    )
    calibration_weight: NonNegative = Field(description="Weight of that loss at either level; published: 0.2.")
    false_negative_factors: Annotated[
        list[NonNegative],
        Field(
            min_length=3,
            max_length=3,
            description="In the calibration of fine classes, factors of the scores against clips that are missed: fine "
            "prediction wrong, coarse one wrong, both wrong. Published: [1, 0.1, 0.5].",
        ),
    ]
    diversity: bool = Field(description="Whether a loss keeps the prototypes of fine classes apart.")
    diversity_weight: NonNegative = Field(description="Weight of that loss; published: 0.2.")
    tree: bool = Field(
        description="Whether a loss makes fine and coarse predictions agree, as the tree of classes has them."
    )
    tree_weight: NonNegative = Field(description="Weight of that loss; published: 1.")
    rectification: bool = Field(
        description="Whether prediction adds to the fine logits how alike a clip and the prototype of each class are."
    )
    rectification_weights: dict[str, NonNegative] = Field(
        description="{modality: weight} of what is added; published: {rgb: 5, pose: 1}."
    )
    fine_width: Positive = Field(description="Numbers of the prototype of a fine class; published: 256.")
    coarse_width: Positive = Field(description="Numbers of the prototype of a coarse class; published: 128.")
    momentum: BelowOne = Field(
        description="What a prototype keeps of itself, in [0, 1), at a step with clips of its class that are "
        "recognised; published: 0.9."
    )
    temperature: PositiveFloat = Field(description="What cosines are divided by in the calibration; published: 0.125.")
    doubt_scale: NonNegative = Field(
        description="How much harder the calibration is on clips whose true class is in doubt; published: 0.125."
    )


class LateNeck(Section):
    """No common representation: each modality has heads of its own, whose probabilities are averaged."""

    kind: Literal["late"]
    ratios: list[Annotated[list[NonNegative], Field(min_length=1)]] = Field(
        description="In which ratios the modalities' probabilities are averaged, such as [[1, 1], [2, 1]]: a number "
        "for each, in the order rgb, audio, pose; of a clip that lacks one, the others. Each ratio makes an output of "
        "its own, such as rgbpose_2:1/action. []: none."
    )
    laterals: Laterals = Field(description="What pictures and skeletons are given of each other on the way.")
    pcan: Pcan | None = Field(
        description="PCAN's prototypes of classes, for two heads of which one tells the coarse class that the other's "
        "belongs to; null: without."
    )


Neck = Annotated[MeanNeck | ConcatNeck | RelationNeck | MbtNeck | LateNeck, Field(discriminator="kind")]
