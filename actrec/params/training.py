"""The sections `compute`, `train` and `evaluate`."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from actrec.metric_names import METRICS
from actrec.outputs import stream_output
from actrec.params.media import Augment
from actrec.params.section import BelowOne, Count, Frac, Name, NonNegative, Positive, PositiveFloat, Section


class Compute(Section):
    """On what the numbers are computed. What changes the last bits is a setting: threads, layout, torch.compile."""

    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        description="auto: an NVIDIA GPU (cuda) if there is one, else Apple's (mps), else the CPU. The others stop "
        "where there is no such device."
    )
    threads: Positive = Field(
        description="Threads of torch on the CPU, in each process; another number changes the last bits of results."
    )
    channels_last: bool = Field(
        description="Keep channels last in memory: faster convolutions on most devices, other last bits."
    )
    compile: bool = Field(
        description="Training runs through torch.compile: faster on a GPU after minutes of compiling, and it needs a "
        "C++ compiler."
    )


_SELECTABLE = rf"^.+\.({'|'.join(METRICS)})$"


def _with_a_metric(value: Any) -> Any:
    """Refuse text that the pattern would, in words."""
    if isinstance(value, str) and not re.fullmatch(_SELECTABLE, value):
        raise ValueError(f"expected <head>.<metric>, got '{value}'; the metrics are {', '.join(METRICS)}")
    return value


WeightDecay = Annotated[NonNegative, Field(description="How strongly weights are drawn to 0; 0: not at all.")]


class Sgd(Section):
    """Stochastic gradient descent."""

    kind: Literal["sgd"]
    momentum: BelowOne = Field(description="What of each step goes on in the next one; 0: nothing.")
    nesterov: bool = Field(
        description="Nesterov's momentum, which looks at where the momentum leads; it needs some momentum."
    )
    weight_decay: WeightDecay

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError(
                "nesterov is true, which looks at where momentum leads, but momentum is 0, expected above 0: set "
                "momentum to 0.9, or nesterov to false"
            )
        return self


class Adam(Section):
    """Adam; `adamw` decouples the weight decay."""

    kind: Literal["adam", "adamw"]
    weight_decay: WeightDecay


Optimizer = Annotated[
    Sgd | Adam, Field(discriminator="kind", description="What turns gradients into steps of the weights.")
]

WarmupEpochs = Annotated[
    NonNegative,
    Field(
        description="Epochs, perhaps a part of one, in which the rate rises from lr * warmup_from_frac to lr, at the "
        "start and again after train.freeze; 0: none."
    ),
]
WarmupFromFrac = Annotated[Frac, Field(description="The share of lr that warm-up starts from.")]
LrFactor = Annotated[Frac, Field(description="What the rate is multiplied with each time; 0.1 is usual.")]


class ConstantSchedule(Section):
    """The same rate throughout, after warm-up."""

    kind: Literal["none"]
    warmup_epochs: WarmupEpochs
    warmup_from_frac: WarmupFromFrac


class CosineSchedule(Section):
    """Half a cosine from lr down to lr * final_frac."""

    kind: Literal["cosine"]
    warmup_epochs: WarmupEpochs
    warmup_from_frac: WarmupFromFrac
    final_frac: Frac = Field(description="The share of lr that is left at the end; 0: nothing.")


class StepSchedule(Section):
    """lr * factor ** (epoch // every_epochs)."""

    kind: Literal["step"]
    warmup_epochs: WarmupEpochs
    warmup_from_frac: WarmupFromFrac
    every_epochs: Positive = Field(description="Epochs from one step to the next.")
    factor: LrFactor


class PlateauSchedule(Section):
    """lr times factor whenever train.select_on has not improved for `patience_epochs`."""

    kind: Literal["plateau"]
    warmup_epochs: WarmupEpochs
    warmup_from_frac: WarmupFromFrac
    patience_epochs: Positive = Field(
        description="Epochs with validation that it waits for something better, each time."
    )
    factor: LrFactor


AnySchedule = ConstantSchedule | CosineSchedule | StepSchedule | PlateauSchedule
Schedule = Annotated[
    AnySchedule, Field(discriminator="kind", description="How the learning rate changes from epoch to epoch.")
]


class Validation(Section):
    """After which epochs the val clips are judged.

    The others are not chosen, and count neither for early stopping nor for the plateau schedule.
    """

    from_epoch: Positive = Field(description="The first epoch that ends with a validation, counted from 1.")
    every_epochs: Positive = Field(
        description="Epochs from one validation to the next; the last epoch ends with one in any case."
    )


class EarlyStopping(Section):
    """End training when train.select_on gains no more."""

    patience_epochs: Count = Field(
        description="After so many epochs with validation and without a gain training ends, those of train.freeze not "
        "counted; 0: it never ends early."
    )
    min_delta: NonNegative = Field(
        description="A gain is to be better than the best so far by more than this, in units of the metric."
    )


class Freeze(Section):
    """A first phase with all backbones frozen; in train.epochs, which follow, those learn that are not frozen: true."""

    epochs: Count = Field(description="Epochs of this phase, before those of train.epochs; 0: there is none.")
    lr: PositiveFloat = Field(description="Learning rate of this phase, for neck and heads.")


class SoftRecall(Section):
    """Two terms beside the cross entropy, by which rare classes count as much: of heads of one class a clip."""

    form: Literal["variance", "shortfall"] = Field(
        description="The first term, of the mean probability that the clips of each class in a batch have for it. "
        "variance: how much these means differ. shortfall: what their mean lacks of 1."
    )
    weight: NonNegative = Field(description="Weight of the first term; published: 0.1, of variance.")
    accuracy_weight: NonNegative = Field(
        description="Weight of the second term, the mean probability of what is true, which is taken off; published: "
        "0.05."
    )


class Train(Section):
    """How the model is fitted."""

    devices: Positive = Field(
        description="How many GPUs of this machine, or processes on its CPU, take a part of each batch."
    )
    lr: PositiveFloat = Field(description="Learning rate of neck and heads, which train.schedule changes over time.")
    backbone_lr_factor: NonNegative = Field(description="Backbones that are not frozen learn at lr times this.")
    epochs: Positive = Field(description="How often all training clips are shown, those of train.freeze not counted.")
    batch_size: Positive = Field(description="Clips of a step, of all devices together.")
    accumulate: Positive = Field(
        description="Steps whose gradients make one update of the weights together, as those of one large batch would; "
        "1: each by itself."
    )
    optimizer: Optimizer
    schedule: Schedule
    freeze: Freeze
    augment: Augment = Field(
        description="Random views that training shows, for each modality; where features are cached, features.augment "
        "has made them."
    )
    clip_norm: NonNegative = Field(
        description="Gradients that are longer (L2 norm) are shortened to this; 0: none are."
    )
    mixup_alpha: NonNegative = Field(
        description="Each clip of a batch is shown mixed with another one, in a share drawn from Beta(alpha, alpha); "
        "0: none is."
    )
    label_smoothing: BelowOne = Field(
        description="The share of each clip's target that is spread over all classes; 0: none."
    )
    class_weights: Literal["none", "balanced"] | dict[str, NonNegative] = Field(
        description="none: every clip weighs the same. balanced: every class weighs the same in total. {class: "
        "weight}: of a model with one head."
    )
    sampler: Literal["shuffled", "balanced"] = Field(
        description="shuffled: an epoch shows every clip once. balanced: as many clips, drawn so that each class is as "
        "likely; of a model with one head."
    )
    soft_recall: SoftRecall | None = Field(
        description="Two terms beside the cross entropy, by which rare classes count as much; null: none."
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        description="fp32: compute with 32 bits. bf16, fp16: with 16 bits where that is safe, which is faster on GPUs "
        "and takes less memory; fp16 needs a CUDA GPU."
    )
    select_on: Annotated[
        str,
        Field(
            pattern=_SELECTABLE,
            description="<head>.<metric>: which validation number chooses the best epoch, and steers plateau and early "
            "stopping. With neck late a head is of some output, as rgbpose_1:1/action.top1.",
        ),
        BeforeValidator(_with_a_metric),
    ]
    validation: Validation
    early_stopping: EarlyStopping
    tensorboard: bool = Field(
        description="Also write the history to results/tensorboard, to be looked at meanwhile; it needs "
        "actrec[tensorboard]."
    )

    @model_validator(mode="after")
    def _each_device_has_work(self) -> Self:
        if self.devices > self.batch_size:
            raise ValueError(
                f"devices is {self.devices}, but there are only {self.batch_size} clips in a batch for them to share: "
                f"set batch_size to {self.devices} or more"
            )
        return self


class Views(Section):
    """What is shown of a clip: all these views, whose probabilities are averaged. Of cached features there is one."""

    clips: Positive = Field(
        description="Samples of a clip's frames that are shown; above 1 for backbones with input_frames alone."
    )
    flip: bool = Field(description="Whether the mirror image of each view is shown as well.")
    scales: Annotated[
        list[PositiveFloat],
        Field(
            min_length=1,
            description="Sides of views, as multiples of input_px; each is shown. videomae and mvit_v2_s take [1] "
            "alone.",
        ),
    ]


class GradCam(Section):
    """What of a clip speaks for a class, drawn over it."""

    clips: Annotated[
        int,
        Field(ge=0, le=200, description="Clips drawn at random, each for the class that the head says; 0: none."),
    ]
    worst_classes: Annotated[
        int,
        Field(
            ge=0,
            le=50,
            description="Classes with the lowest recall, of which mistakes are drawn, for the class that was said and "
            "for the true one; 0: none.",
        ),
    ]
    clips_per_class: Positive = Field(description="Most mistakes that are drawn of such a class, the surest first.")


class Submission(Section):
    """What results/submission.csv holds: the five likeliest classes of two heads, as MA-52's challenge takes them."""

    fine: Name = Field(description="The head that gives the columns action_pred_1 to action_pred_5.")
    coarse: Name = Field(description="The head that gives the columns body_pred_1 to body_pred_5.")
    output: str = Field(
        description='Whose answer: a modality, or several and their ratio, as rgbpose_1:1; "" where the model has '
        "one alone."
    )

    @property
    def outputs(self) -> tuple[str, str]:
        """The two outputs of the model."""
        fine, coarse = (stream_output(self.output, head) if self.output else head for head in (self.fine, self.coarse))
        return fine, coarse


class Evaluate(Section):
    """What is measured at the end."""

    splits: Annotated[
        list[Literal["train", "val", "test"]],
        Field(min_length=1, description="Which splits are scored; what is drawn and handed in is of the last of them."),
    ]
    views: Views
    batch_size: Positive = Field(description="Clips that the model is shown at a time: as many as memory holds.")
    bootstrap_samples: Count = Field(
        description="Draws of clips for the 95 % intervals of scores, keys in _low and _high; 0: there are none."
    )
    contributions: bool = Field(
        description="Also measure what each modality adds to the scores on the last of splits: every set of them is "
        "tried. For neck mbt alone."
    )
    attention_clips: Count = Field(
        description="Clips of the last of splits over which the attention of videomae is drawn; 0: none, as with other "
        "backbones."
    )
    worst_clips: Count = Field(
        description="Clips of the last of splits that a head is surest and wrong about, drawn with their skeletons, or "
        "with the boxes of a pair; 0: none."
    )
    grad_cam: GradCam | None = Field(
        description="What of a clip speaks for a class, drawn over clips of the last of splits; null: none."
    )
    submission: Submission | None = Field(
        description="The five likeliest classes of two heads, for the last of splits, as MA-52's challenge takes them; "
        "null: none."
    )
