"""The section `model`: backbones, a neck, heads."""

from typing import Annotated, Literal

from pydantic import Field

from actrec.outputs import fused_output, stream_output
from actrec.params.backbones import Backbones
from actrec.params.neck import LateNeck, Neck
from actrec.params.section import Name, NonNegative, Positive, PositiveFloat, Section

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


class SvmHead(Section):
    """A linear support vector machine, one class against the rest, on standardised cached features.

    It is fitted at once, for each of `c` (C of scikit-learn's LinearSVC); the best on val by train.select_on is kept.
    Of `train`, class_weights counts as well, and nothing else.
    """

    kind: Literal["svm"]
    c: Annotated[list[PositiveFloat], Field(min_length=1)]
    loss_weight: LossWeight


Head = Annotated[LinearHead | MlpHead | SvmHead, Field(discriminator="kind")]


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
