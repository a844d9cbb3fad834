"""The sections `compute`, `train` and `evaluate`."""

from typing import Annotated, Literal

from pydantic import Field

from actrec.params.media import Augment
from actrec.params.section import Count, Frac, NonNegative, Positive, PositiveFloat, Section


class Compute(Section):
    """On what the numbers are computed. Threads and memory layout change the last bits, so they are settings."""

    device: Literal["auto", "cpu", "cuda", "mps"]
    threads: Positive
    channels_last: bool


_SELECTABLE = r"^[^.]+\.(top1|top5|mean_per_class_acc|f1_macro|f1_weighted|map_macro|loss)$"


class Sgd(Section):
    """Stochastic gradient descent."""

    kind: Literal["sgd"]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    nesterov: bool
    weight_decay: NonNegative


class Adam(Section):
    """Adam; `adamw` decouples the weight decay."""

    kind: Literal["adam", "adamw"]
    weight_decay: NonNegative


Optimizer = Annotated[Sgd | Adam, Field(discriminator="kind")]


class ConstantSchedule(Section):
    """The same rate throughout, after warm-up."""

    kind: Literal["none"]
    warmup_epochs: NonNegative


class CosineSchedule(Section):
    """Half a cosine from lr down to lr * final_frac."""

    kind: Literal["cosine"]
    warmup_epochs: NonNegative
    final_frac: Frac


class StepSchedule(Section):
    """lr * factor ** (epoch // every_epochs)."""

    kind: Literal["step"]
    warmup_epochs: NonNegative
    every_epochs: Positive
    factor: Frac


class PlateauSchedule(Section):
    """lr times factor whenever `select_on` has not improved for `patience_epochs`."""

    kind: Literal["plateau"]
    warmup_epochs: NonNegative
    patience_epochs: Positive
    factor: Frac


AnySchedule = ConstantSchedule | CosineSchedule | StepSchedule | PlateauSchedule
Schedule = Annotated[AnySchedule, Field(discriminator="kind")]


class EarlyStopping(Section):
    """Stop after patience_epochs without a gain of min_delta in `select_on`; 0 = never."""

    patience_epochs: Count
    min_delta: NonNegative


class Freeze(Section):
    """A first phase of `epochs` at its own `lr` with backbones frozen; then `epochs` more with everything free."""

    epochs: Count
    lr: PositiveFloat


class Train(Section):
    """How the model is fitted."""

    lr: PositiveFloat
    # Backbones learn at lr times this.
    backbone_lr_factor: NonNegative
    epochs: Positive
    batch_size: Positive
    accumulate: Positive
    optimizer: Optimizer
    schedule: Schedule
    freeze: Freeze
    augment: Augment
    clip_norm: NonNegative
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    class_weights: Literal["none", "balanced"]
    precision: Literal["fp32", "bf16", "fp16"]
    # <head>.<metric>: which validation number chooses the best epoch, and steers plateau and early stopping.
    select_on: Annotated[str, Field(pattern=_SELECTABLE)]
    early_stopping: EarlyStopping


class Evaluate(Section):
    """What is measured at the end."""

    splits: Annotated[list[Literal["train", "val", "test"]], Field(min_length=1)]
    batch_size: Positive
    bootstrap_samples: Count
    # What each modality adds to the scores on the last of `splits`: every set of them is tried.
    contributions: bool
    # Clips of the last of `splits` over which the attention of VideoMAE is drawn.
    attention_clips: Count
