"""The sections `compute`, `train` and `evaluate`."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from actrec.outputs import stream_output
from actrec.params.media import Augment
from actrec.params.section import Count, Frac, Name, NonNegative, Positive, PositiveFloat, Section


class Compute(Section):
    """On what the numbers are computed. What changes the last bits is a setting: threads, layout, torch.compile."""

    device: Literal["auto", "cpu", "cuda", "mps"]
    threads: Positive
    channels_last: bool
    # Training runs through torch.compile: faster on a GPU after minutes of compiling, and it needs a C++ compiler.
    compile: bool


_SELECTABLE = r"^.+\.(top1|top5|mean_per_class_acc|f1_macro|f1_weighted|map_macro|loss)$"


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
    """The same rate throughout, after warm-up: in every kind, a rise from lr * warmup_from_frac to lr."""

    kind: Literal["none"]
    warmup_epochs: NonNegative
    warmup_from_frac: Frac


class CosineSchedule(Section):
    """Half a cosine from lr down to lr * final_frac."""

    kind: Literal["cosine"]
    warmup_epochs: NonNegative
    warmup_from_frac: Frac
    final_frac: Frac


class StepSchedule(Section):
    """lr * factor ** (epoch // every_epochs)."""

    kind: Literal["step"]
    warmup_epochs: NonNegative
    warmup_from_frac: Frac
    every_epochs: Positive
    factor: Frac


class PlateauSchedule(Section):
    """lr times factor whenever `select_on` has not improved for `patience_epochs`."""

    kind: Literal["plateau"]
    warmup_epochs: NonNegative
    warmup_from_frac: Frac
    patience_epochs: Positive
    factor: Frac


AnySchedule = ConstantSchedule | CosineSchedule | StepSchedule | PlateauSchedule
Schedule = Annotated[AnySchedule, Field(discriminator="kind")]


class Validation(Section):
    """Validate after epoch `from_epoch`, the first being 1, and each `every_epochs` after it; and after the last.

    Epochs without validation are not chosen, and count neither for early stopping nor for the plateau schedule.
    """

    from_epoch: Positive
    every_epochs: Positive


class EarlyStopping(Section):
    """Stop after patience_epochs, of those with validation, without a gain of min_delta in `select_on`; 0 = never."""

    patience_epochs: Count
    min_delta: NonNegative


class Freeze(Section):
    """A first phase of `epochs` at its own `lr` with backbones frozen; then `epochs` more with everything free."""

    epochs: Count
    lr: PositiveFloat


class SoftRecall(Section):
    """Added to the loss of heads of one class a clip: `weight` times how much classes differ in being known.

    form: variance, of the classes' mean probabilities of what is true; shortfall, 1 less their mean. And
    `accuracy_weight` times the mean probability of what is true is taken off.
    """

    form: Literal["variance", "shortfall"]
    weight: NonNegative
    accuracy_weight: NonNegative


class Train(Section):
    """How the model is fitted."""

    # How many GPUs of this machine, or processes on its CPU, take a part of each batch.
    devices: Positive
    lr: PositiveFloat
    # Backbones learn at lr times this.
    backbone_lr_factor: NonNegative
    epochs: Positive
    # Of all devices together.
    batch_size: Positive
    accumulate: Positive
    optimizer: Optimizer
    schedule: Schedule
    freeze: Freeze
    augment: Augment
    clip_norm: NonNegative
    # Each clip of a batch is shown mixed with another one, in a share drawn from Beta(alpha, alpha); 0: none is.
    mixup_alpha: NonNegative
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    # none; balanced, so that every class weighs the same in total; or {class: weight}, of a model with one head.
    class_weights: Literal["none", "balanced"] | dict[str, NonNegative]
    # An epoch shows every clip once; or, balanced, as many clips drawn so that each class is as likely.
    sampler: Literal["shuffled", "balanced"]
    soft_recall: SoftRecall | None
    precision: Literal["fp32", "bf16", "fp16"]
    # <head>.<metric>: which validation number chooses the best epoch, and steers plateau and early stopping.
    select_on: Annotated[str, Field(pattern=_SELECTABLE)]
    validation: Validation
    early_stopping: EarlyStopping
    # Also write the history to results/tensorboard, to be looked at meanwhile.
    tensorboard: bool

    @model_validator(mode="after")
    def _each_device_has_work(self) -> Self:
        if self.devices > self.batch_size:
            raise ValueError(
                f"devices is {self.devices}, but there are only {self.batch_size} clips in a batch for them to share: "
                f"set batch_size to {self.devices} or more"
            )
        return self


class PlainViews(Section):
    """What is shown of a clip: so many samples of its frames, and their mirror images. Probabilities are averaged.

    `clips` above 1 is for backbones with input_frames. `scales`: the sides of views, as multiples of input_px.
    `crop_frac`: of each picture's middle square, the side of the middle part that is shown.
    """

    clips: Positive
    flip: bool
    scales: Annotated[list[PositiveFloat], Field(min_length=1)]
    crop_frac: Annotated[float, Field(gt=0, le=1)]


class GradCam(Section):
    """What of a clip speaks for a class, drawn over it: of the last of `splits`.

    `clips`: so many drawn at random, each for the class that the head says. `worst_classes`: of so many, up to
    `clips_per_class` mistakes, for the class that was said and for the true one.
    """

    clips: Annotated[int, Field(ge=0, le=200)]
    worst_classes: Annotated[int, Field(ge=0, le=50)]
    clips_per_class: Positive


class Submission(Section):
    """What results/submission.csv holds: the five likeliest classes of two heads, as MA-52's challenge takes them.

    `output` is whose answer, a modality or several and their ratio, as rgbpose_1:1; "" where the model has one alone.
    """

    fine: Name
    coarse: Name
    output: str

    @property
    def outputs(self) -> tuple[str, str]:
        """The two outputs of the model."""
        fine, coarse = (stream_output(self.output, head) if self.output else head for head in (self.fine, self.coarse))
        return fine, coarse


class Evaluate(Section):
    """What is measured at the end."""

    splits: Annotated[list[Literal["train", "val", "test"]], Field(min_length=1)]
    views: PlainViews
    batch_size: Positive
    bootstrap_samples: Count
    # What each modality adds to the scores on the last of `splits`: every set of them is tried.
    contributions: bool
    # Clips of the last of `splits` over which the attention of VideoMAE is drawn.
    attention_clips: Count
    # Clips of the last of `splits` that a head is surest and wrong about: their skeletons are drawn.
    worst_clips: Count
    # null: none.
    grad_cam: GradCam | None
    # For the last of `splits`; null: none.
    submission: Submission | None
