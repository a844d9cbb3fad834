"""The sections `frames`, `mels` and `features`: what becomes of the clips before training."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from actrec.params.section import (
    BelowOne,
    ByModality,
    Count,
    Frac,
    NonNegative,
    Positive,
    PositiveFloat,
    Section,
    TimeoutS,
)


class UniformSampling(Section):
    """`clip_frames` frames spread evenly over the whole clip."""

    kind: Literal["uniform"]


class StrideSampling(Section):
    """Windows of `clip_frames` frames, `frame_stride` apart, spread evenly over the clip."""

    kind: Literal["stride"]
    frame_stride: Positive = Field(
        description="How far apart the frames of a window are: 1 takes consecutive ones, 2 every other one."
    )


Sampling = Annotated[
    UniformSampling | StrideSampling, Field(discriminator="kind", description="Which frames of a video are stored.")
]


class Frames(Section):
    """Videos and images to uint8 tensors (clips_per_video, clip_frames, size_px, size_px, 3)."""

    enabled: bool = Field(
        description="Decode pictures, which model.backbones.rgb needs; false: the stage has nothing to do."
    )
    sampling: Sampling
    clip_frames: Positive = Field(
        description="Frames of a stored clip: 1 of images, 2 of pairs (a crop of each person). Backbones with "
        "input_frames choose theirs of these."
    )
    clips_per_video: Positive = Field(
        description="Clips stored of each video: training shows one of them at random, and elsewhere their "
        "probabilities are averaged. Backbones with input_frames need 1."
    )
    size_px: Annotated[
        int,
        Field(
            ge=8,
            description="Side of the square pictures that are stored, in pixels; with resize: keep, their short side. "
            "What the network is shown is cut out of them, model.backbones.rgb.input_px wide.",
        ),
    ]
    region: Literal["whole", "persons", "boxes"] = Field(
        description="What is stored of a picture. whole: all of it. persons: the square around everybody that the "
        "skeletons show in the clip, and all of it where there is none. boxes: a crop of each person, of pairs alone."
    )
    pad_frac: NonNegative = Field(
        description="Of region: boxes, what is added on each side, as a share of the box's width or height."
    )
    resize: Literal["crop", "pad", "stretch", "keep"] = Field(
        description="How that becomes a square; persons is one already, and boxes take pad or stretch. crop: its "
        "middle is taken. pad: black is added. stretch: its proportions change. keep: it stays as it is, its short "
        "side becomes size_px, and views are cut out of the whole picture."
    )
    timeout_s: TimeoutS


class Mels(Section):
    """Sound to log-Mel spectrograms (n_mels, 1 + samples // hop_samples), in decibels."""

    enabled: bool = Field(
        description="Make spectrograms, which model.backbones.audio needs; false: the stage has nothing to do."
    )
    sample_rate_hz: Annotated[
        int, Field(ge=1000, description="Samples a second that sound is resampled to, as one channel.")
    ]
    n_fft: Annotated[
        int,
        Field(
            ge=16,
            description="Samples of the window of each Fourier transform, 2,048 at 16,000 Hz being 128 ms: more tell "
            "frequencies apart better, and moments worse.",
        ),
    ]
    hop_samples: Positive = Field(
        description="Samples from one time step of a spectrogram to the next, 512 at 16,000 Hz being 32 ms."
    )
    n_mels: Positive = Field(description="Frequency bins of a spectrogram, evenly spaced on the Mel scale.")
    f_min_hz: NonNegative = Field(description="The lowest frequency that a bin holds.")
    f_max_hz: PositiveFloat = Field(
        description="The highest frequency that a bin holds, at most half of sample_rate_hz."
    )
    duration_s: PositiveFloat = Field(
        description="Seconds of each clip that a spectrogram shows: longer sound is cut, shorter sound filled up."
    )
    pad: Literal["repeat", "silence"] = Field(
        description="What shorter sound is filled up with. repeat: itself, from its beginning. silence: zeros."
    )
    crop: Literal["start", "middle"] = Field(description="Which part of longer sound is taken.")
    timeout_s: TimeoutS

    @model_validator(mode="after")
    def _band_is_there(self) -> Self:
        if not self.f_min_hz < self.f_max_hz <= self.sample_rate_hz / 2:
            raise ValueError(
                f"expected f_min_hz < f_max_hz <= sample_rate_hz / 2 = {self.sample_rate_hz / 2:g}, "
                f"got {self.f_min_hz:g} and {self.f_max_hz:g}"
            )
        return self


class RandAugment(Section):
    """Some of torchvision's fourteen changes of shape and colour, drawn anew for each view."""

    ops: Positive = Field(description="Changes that are made one after the other; torchvision's own choice is 2.")
    magnitude: Annotated[
        int, Field(ge=0, le=30, description="How strong they are, of 30; torchvision's own choice is 9.")
    ]


MinAreaFrac = Annotated[
    float,
    Field(
        gt=0,
        le=1,
        description="Least share of the picture's area that a random crop shows; 1: no crop, but the middle square.",
    ),
]
FlipProb = Annotated[
    Frac, Field(description="How often a view is mirrored; 0 where a mirror image would be of another class.")
]


class RgbAugment(Section):
    """Random views for training. Without augmentation: min_area_frac 1, the others 0 or null."""

    min_area_frac: MinAreaFrac
    flip_prob: FlipProb
    color_jitter: BelowOne = Field(
        description="j: saturation, contrast and brightness times a random number in [1 - j, 1 + j] each; 0: as they "
        "are."
    )
    randaugment: RandAugment | None = Field(
        description="Some of torchvision's fourteen changes of shape and colour, drawn anew for each view; null: none, "
        "as must be beside skeletons."
    )


class AudioAugment(Section):
    """Random views for training: turned round in time, and SpecAugment, bands of bins and of time steps hidden."""

    roll: bool = Field(description="Begin the sound anywhere, and go on from its beginning after its end.")
    freq_masks: Count = Field(description="Bands of frequency bins that are hidden behind the mean; 0: none.")
    freq_mask_bins: Count = Field(description="Most bins that such a band has; how many is drawn, from 0 on.")
    time_masks: Count = Field(description="Stretches of time steps that are hidden behind the mean; 0: none.")
    time_mask_steps: Count = Field(description="Most steps that such a stretch has; how many is drawn, from 0 on.")


class PoseAugment(Section):
    """Random views for training, as of rgb; beside pictures they must be the same."""

    min_area_frac: MinAreaFrac
    flip_prob: FlipProb


class Augment(ByModality):
    """Random views, of the modalities that the model looks at."""

    rgb: RgbAugment | None = Field(
        default=None, description="Random views of pictures: crops, mirror images, other colours."
    )
    audio: AudioAugment | None = Field(
        default=None,
        description="Random views of spectrograms: turned round in time, bands of bins and of time steps hidden.",
    )
    pose: PoseAugment | None = Field(
        default=None, description="Random views of skeletons, as of pictures: beside those they must be the same."
    )


class Features(Section):
    """Frozen backbones run once, into HDF5."""

    enabled: bool = Field(
        description="Run backbones once and train on what they say, for which all must be frozen; hog and svm need it. "
        "false: backbones run along in each epoch."
    )
    views: Positive = Field(
        description="Views of each training clip that are kept: the plain one and, above 1, views - 1 random ones. Of "
        "other clips it is the plain one."
    )
    augment: Augment = Field(description="How the random views that are kept are made, for each modality.")
    precision: Literal["fp32", "bf16"] = Field(
        description="fp32: compute with 32 bits, and keep float32. bf16: with 16 bits where that is safe, and keep "
        "float16."
    )
    batch_size: Positive = Field(description="Views that a backbone is shown at a time: as many as memory holds.")
