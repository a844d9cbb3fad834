"""What params.yaml may say: one frozen model a section, no defaults, choices as closed tagged unions.

No default lives here, so that the file shows everything that changes a result and `dvc params diff` misses nothing.
Types are plain (no Path, no Enum): what is checked is what stands in the file. Validators look at nothing outside it.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Frac = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Section(BaseModel):
    """A part of params.yaml: complete, frozen, and closed to unknown keys."""

    # Strict but for int -> float: `lr: abc` and `epochs: "3"` are mistakes, `lr: 1` is not.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FolderReader(Section):
    """A folder per class: `<root>/<class>/…` or, with `splits: true`, `<root>/<train|val|test>/<class>/…`."""

    kind: Literal["folder"]
    head: Name
    splits: bool
    # A regular expression with one group, searched in the path below the root: who or where was filmed.
    group_regex: str | None


class CsvReader(Section):
    """A table with a row a clip; each setting names the column to read, null where there is none."""

    kind: Literal["csv"]
    file: str
    path: str
    heads: Annotated[dict[Name, str], Field(min_length=1)]
    id: str | None
    split: str | None
    group: str | None
    start_s: str | None
    end_s: str | None


class ListFiles(Section):
    """The list file of each split; null where there is none."""

    train: str
    val: str | None
    test: str | None


class ListReader(Section):
    """Kinetics / mmaction2 lists: a line a clip, `path label_number`; `class_names` holds one name a line."""

    kind: Literal["list"]
    head: Name
    files: ListFiles
    media: str
    class_names: str | None


Reader = Annotated[FolderReader | CsvReader | ListReader, Field(discriminator="kind")]


class Split(Section):
    """How clips without a given split are shared out: whole groups, classes kept in proportion."""

    train_frac: Annotated[float, Field(gt=0, le=1)]
    val_frac: Frac
    test_frac: Frac
    seed: Count

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        total = self.train_frac + self.val_frac + self.test_frac
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train_frac + val_frac + test_frac must be 1, got {total:g}")
        return self


class Data(Section):
    """Where clips and labels come from."""

    name: Name
    root: Annotated[str, Field(min_length=1)]
    reader: Reader
    split: Split
    max_bad_frac: Frac


class Demo(Section):
    """The data set that the first stage makes."""

    enabled: bool
    subjects: Annotated[int, Field(ge=3)]
    takes: Positive
    clip_s: PositiveFloat
    size_px: Annotated[int, Field(ge=32, multiple_of=2)]
    seed: Count


class UniformSampling(Section):
    """`clip_frames` frames spread evenly over the whole clip."""

    kind: Literal["uniform"]


class StrideSampling(Section):
    """Windows of consecutive frames, `frame_stride` apart, spread evenly over the clip."""

    kind: Literal["stride"]
    frame_stride: Positive


Sampling = Annotated[UniformSampling | StrideSampling, Field(discriminator="kind")]


class Frames(Section):
    """Videos to uint8 tensors (clips_per_video, clip_frames, size_px, size_px, 3)."""

    enabled: bool
    sampling: Sampling
    clip_frames: Positive
    clips_per_video: Positive
    size_px: Annotated[int, Field(ge=8)]
    resize: Literal["crop", "pad", "stretch"]
    timeout_s: PositiveFloat


class Augment(Section):
    """Random views for training: a resized crop of at least min_area_frac, a mirror image with flip_prob, other light.

    `color_jitter` j: saturation, contrast and brightness times a number in [1 - j, 1 + j] each.
    """

    min_area_frac: Annotated[float, Field(gt=0, le=1)]
    flip_prob: Frac
    color_jitter: Annotated[float, Field(ge=0, lt=1)]


class Features(Section):
    """Frozen backbones run once, into HDF5. `views`: the plain view and, for training clips, views - 1 random ones."""

    enabled: bool
    views: Positive
    augment: Augment
    precision: Literal["fp32", "bf16"]
    batch_size: Positive


class Compute(Section):
    """On what the numbers are computed. Threads and memory layout change the last bits, so they are settings."""

    device: Literal["auto", "cpu", "cuda", "mps"]
    threads: Positive
    channels_last: bool


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


RgbBackbone = Annotated[VideoNet | ResNetFrames | Small3d, Field(discriminator="kind")]


class Backbones(Section):
    """One backbone a modality."""

    rgb: RgbBackbone


class MeanNeck(Section):
    """The mean over tokens."""

    kind: Literal["mean"]


class LinearHead(Section):
    """Dropout and one linear layer."""

    kind: Literal["linear"]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    loss_weight: NonNegative


class MlpHead(Section):
    """Dropout - linear - ReLU - dropout - linear."""

    kind: Literal["mlp"]
    hidden: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)]
    loss_weight: NonNegative


Head = Annotated[LinearHead | MlpHead, Field(discriminator="kind")]


class Model(Section):
    """Backbones, a neck, and a head for each label column."""

    backbones: Backbones
    neck: MeanNeck
    heads: Annotated[dict[Name, Head], Field(min_length=1)]


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
    select_on: Annotated[str, Field(pattern=r"^[^.]+\.(top1|top5|mean_per_class_acc|f1_macro|f1_weighted|loss)$")]
    early_stopping: EarlyStopping


class Evaluate(Section):
    """What is measured at the end."""

    splits: Annotated[list[Literal["train", "val", "test"]], Field(min_length=1)]
    batch_size: Positive
    bootstrap_samples: Count


class Params(Section):
    """The whole of params.yaml."""

    recipe: Name
    seed: Count
    data: Data
    demo: Demo
    frames: Frames
    features: Features
    compute: Compute
    model: Model
    train: Train
    evaluate: Evaluate

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        selected, _ = self.train.select_on.split(".")
        if selected not in self.model.heads:
            raise ValueError(f"train.select_on names the head '{selected}'; model.heads has {sorted(self.model.heads)}")
        reader = self.data.reader
        labelled = set(reader.heads) if isinstance(reader, CsvReader) else {reader.head}
        if missing := sorted(set(self.model.heads) - labelled):
            raise ValueError(f"model.heads has {missing} that data.reader does not label; it labels {sorted(labelled)}")
        if self.model.backbones.rgb and not self.frames.enabled:
            raise ValueError("model.backbones.rgb needs frames.enabled: true")
        if self.features.enabled and not self.model.backbones.rgb.frozen:
            raise ValueError("features.enabled caches frozen backbones: set model.backbones.rgb.frozen: true as well")
        if self.train.freeze.epochs and self.model.backbones.rgb.frozen:
            raise ValueError("train.freeze.epochs is for backbones that thaw; model.backbones.rgb.frozen is true")
        return self
