"""The section `model`: backbones, a neck, heads."""

from typing import Annotated, Literal

from pydantic import Field

from actrec.outputs import fused_output, stream_output
from actrec.params.backbones import Backbones
from actrec.params.neck import LateNeck, Neck
from actrec.params.section import Dropout, Name, NonNegative, Positive, PositiveFloat, Section

LossWeight = Annotated[
    NonNegative | dict[str, NonNegative],
    Field(
        description="Weight of this head in the loss; with neck late perhaps one for each modality, such as {rgb: 1, "
        "pose: 1.5}."
    ),
]


class LinearHead(Section):
    """Dropout and one linear layer."""

    kind: Literal["linear"]
    dropout: Dropout
    loss_weight: LossWeight


class MlpHead(Section):
    """Dropout - linear - ReLU - dropout - linear."""

    kind: Literal["mlp"]
    hidden: Positive = Field(description="Width of its hidden layer.")
    dropout: Dropout
    loss_weight: LossWeight


class SvmHead(Section):
    """A linear support vector machine, one class against the rest, on standardised cached features: fitted at once."""

    kind: Literal["svm"]
    c: Annotated[
        list[PositiveFloat],
        Field(
            min_length=1,
            description="Values of C that are tried (scikit-learn's LinearSVC): small ones leave a wide margin, large "
            "ones few clips on the wrong side, and take longer. The best on val by train.select_on is kept; of train, "
            "class_weights counts as well, and nothing else.",
        ),
    ]


Head = Annotated[LinearHead | MlpHead | SvmHead, Field(discriminator="kind")]


class Model(Section):
    """Backbones, a neck, and a head for each label column."""

    backbones: Backbones
    neck: Neck = Field(description="What becomes of the backbones' tokens before the heads see them.")
    heads: Annotated[
        dict[Name, Head],
        Field(min_length=1, description="{head: its settings}, of heads that data.reader or data.coarse labels."),
    ]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of all that the model says, fused outputs first."""
        modalities = tuple(self.backbones.used)
        if not isinstance(self.neck, LateNeck):
            return tuple(self.heads)
        fused = [fused_output(modalities, ratio, head) for ratio in self.neck.ratios for head in self.heads]
        return (*fused, *(stream_output(modality, head) for modality in modalities for head in self.heads))
