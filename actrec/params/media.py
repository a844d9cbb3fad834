"""The sections `frames`, `mels` and `features`: what becomes of the clips before training."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from actrec.params.section import ByModality, Count, Frac, NonNegative, Positive, PositiveFloat, Section


class UniformSampling(Section):
    """`clip_frames` frames spread evenly over the whole clip."""

    kind: Literal["uniform"]


class StrideSampling(Section):
    """Windows of consecutive frames, `frame_stride` apart, spread evenly over the clip."""

    kind: Literal["stride"]
    frame_stride: Positive


Sampling = Annotated[UniformSampling | StrideSampling, Field(discriminator="kind")]


class Frames(Section):
    """Videos and images to uint8 tensors (clips_per_video, clip_frames, size_px, size_px, 3)."""

    enabled: bool
    sampling: Sampling
    clip_frames: Positive
    clips_per_video: Positive
    size_px: Annotated[int, Field(ge=8)]
    # persons: the square around everybody that the skeletons show in the clip. boxes: a crop a box, of pairs.
    region: Literal["whole", "persons", "boxes"]
    # Of boxes: what is added to each side, as a share of the box's width or height.
    pad_frac: NonNegative
    # To a square; or keep: the short side becomes size_px, and views are cut out of the whole picture.
    resize: Literal["crop", "pad", "stretch", "keep"]
    timeout_s: PositiveFloat


class Mels(Section):
    """Sound to log-Mel spectrograms (n_mels, 1 + samples // hop_samples), in decibels.

    A longer clip is cut (`crop` says where), a shorter one comes again from its beginning or is followed by silence.
    """

    enabled: bool
    sample_rate_hz: Annotated[int, Field(ge=1000)]
    n_fft: Annotated[int, Field(ge=16)]
    hop_samples: Positive
    n_mels: Positive
    f_min_hz: NonNegative
    f_max_hz: PositiveFloat
    duration_s: PositiveFloat
    pad: Literal["repeat", "silence"]
    crop: Literal["start", "middle"]
    timeout_s: PositiveFloat

    @model_validator(mode="after")
    def _band_is_there(self) -> Self:
        if not self.f_min_hz < self.f_max_hz <= self.sample_rate_hz / 2:
            raise ValueError(
                f"expected f_min_hz < f_max_hz <= sample_rate_hz / 2 = {self.sample_rate_hz / 2:g}, "
                f"got {self.f_min_hz:g} and {self.f_max_hz:g}"
            )
        return self


class RandAugment(Section):
    """`ops` of torchvision's fourteen changes of shape and colour, drawn anew for each view, at `magnitude` of 30."""

    ops: Positive
    magnitude: Annotated[int, Field(ge=0, le=30)]


class RgbAugment(Section):
    """Random views for training: a resized crop of at least min_area_frac, a mirror image with flip_prob, other light.

    `color_jitter` j: saturation, contrast and brightness times a number in [1 - j, 1 + j] each. Without augmentation:
    min_area_frac 1, the others 0 or null.
    """

    min_area_frac: Annotated[float, Field(gt=0, le=1)]
    flip_prob: Frac
    color_jitter: Annotated[float, Field(ge=0, lt=1)]
    randaugment: RandAugment | None


class AudioAugment(Section):
    """Random views for training: turned round in time, and SpecAugment, bands of bins and of time steps hidden.

    `roll`: the sound begins anywhere and goes on from its beginning after its end.
    """

    roll: bool
    freq_masks: Count
    freq_mask_bins: Count
    time_masks: Count
    time_mask_steps: Count


class PoseAugment(Section):
    """Random views for training, as of rgb; beside pictures they must be the same."""

    min_area_frac: Annotated[float, Field(gt=0, le=1)]
    flip_prob: Frac


class Augment(ByModality):
    """Random views, a modality."""

    rgb: RgbAugment | None = None
    audio: AudioAugment | None = None
    pose: PoseAugment | None = None


class Features(Section):
    """Frozen backbones run once, into HDF5. `views`: the plain view and, for training clips, views - 1 random ones."""

    enabled: bool
    views: Positive
    augment: Augment
    precision: Literal["fp32", "bf16"]
    batch_size: Positive
