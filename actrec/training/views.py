"""What a backbone is shown of a stored clip: the plain view, or a random one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

_ASPECT = (3 / 4, 4 / 3)
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True, slots=True)
class PlainViews:
    """What is shown of a clip when nothing is random.

    Args:
        clips: How many samples of its frames, of backbones that take fewer than are stored.
        flip: Whether mirror images are shown as well.
        scale: The side of a view, as a multiple of the backbone's input_px.
    """

    clips: int = 1
    flip: bool = False
    scale: float = 1.0


PLAIN = PlainViews()


def views_of(section: Mapping[str, Any]) -> list[PlainViews]:
    """Return what the section `evaluate.views` asks for: views of one scale can be stacked, so one entry a scale."""
    same = {name: value for name, value in section.items() if name != "scales"}
    return [PlainViews(scale=scale, **same) for scale in section["scales"]]


class Crop(NamedTuple):
    """A part of a picture, in whole pixels of it, and whether it is mirrored after it has been cut out."""

    top: int
    left: int
    height: int
    width: int
    mirrored: bool


def scaled_px(input_px: int, scale: float) -> int:
    """Return the side of a view in pixels."""
    return max(round(input_px * scale), 1)


def plain_view(clips: torch.Tensor, *, input_px: int, crop_frac: float) -> torch.Tensor:
    """Return the middle of uint8 clips (…, T, H, W, 3), a square of crop_frac of their shorter side, at input_px."""
    height, width = clips.shape[-3:-1]
    side = max(round(min(height, width) * crop_frac), 1)
    top, left = (height - side) // 2, (width - side) // 2
    return _resize(clips[..., top : top + side, left : left + side, :], input_px)


def random_crop(rng: np.random.Generator, height: int, width: int, *, min_area_frac: float, flip_prob: float) -> Crop:
    """Return a random part of a picture, perhaps mirrored.

    Its area is uniform in [min_area_frac, 1] of the picture, the logarithm of its aspect ratio uniform in
    log [3/4, 4/3] (narrowed where it would not fit), its place uniform. A min_area_frac of 1 asks for no crop: it is
    the whole middle square.

    Source: Szegedy et al., Going deeper with convolutions, CVPR 2015, section 6, as in torchvision's RandomResizedCrop.
    """
    area = rng.uniform(min_area_frac, 1.0) * height * width
    aspect = np.exp(rng.uniform(*np.log(np.clip(_ASPECT, area / height**2, width**2 / area))))
    crop_h = min(max(round(np.sqrt(area / aspect)), 1), height)
    crop_w = min(max(round(np.sqrt(area * aspect)), 1), width)
    top, left = int(rng.integers(height - crop_h + 1)), int(rng.integers(width - crop_w + 1))
    if min_area_frac == 1:
        crop_h = crop_w = min(height, width)
        top, left = (height - crop_h) // 2, (width - crop_w) // 2
    return Crop(top, left, crop_h, crop_w, mirrored=rng.random() < flip_prob)


def cut(clip: torch.Tensor, crop: Crop, input_px: int) -> torch.Tensor:
    """Return the crop of a uint8 clip (T, H, W, 3), the same of all frames, resized to (T, input_px, input_px, 3)."""
    part = clip[:, crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    view = _resize(part, input_px)
    return view.flip(2) if crop.mirrored else view


def jittered(view: torch.Tensor, rng: np.random.Generator, color_jitter: float) -> torch.Tensor:
    """Return a uint8 clip with saturation, contrast and brightness times a number in [1 - j, 1 + j] each."""
    return jitter_color(view, rng.uniform(1 - color_jitter, 1 + color_jitter, size=3)) if color_jitter else view


def randaugmented(view: torch.Tensor, rng: np.random.Generator, spec: Mapping[str, Any] | None) -> torch.Tensor:
    """Return a uint8 clip (T, H, W, 3) with random changes of shape and colour, the same for all its frames.

    What a change that looks at the picture does, such as equalising it, follows from each frame by itself.

    Args:
        view: uint8 RGB.
        rng: Decides all; nothing is drawn from it without a spec.
        spec: `ops` changes one after the other, at `magnitude` of 30; None: the view stays as it is.

    Source: Cubuk et al., RandAugment, 2020, section 3, with the fourteen operations, magnitudes and probabilities of
    torchvision, and bilinear interpolation as in its training reference.
    """
    if spec is None:
        return view
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import RandAugment

    augment = RandAugment(spec["ops"], spec["magnitude"], interpolation=InterpolationMode.BILINEAR)
    with torch.random.fork_rng(devices=[]):  # which it draws from
        torch.default_generator.manual_seed(int(rng.integers(2**63)))
        return augment(view.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def random_mel(
    log_mel: torch.Tensor,
    rng: np.random.Generator,
    *,
    roll: bool,
    freq_masks: int,
    freq_mask_bins: int,
    time_masks: int,
    time_mask_steps: int,
) -> torch.Tensor:
    """Return a log-Mel spectrogram (F, T), perhaps turned round in time, with bands of it at its mean.

    Args:
        log_mel: float32, in dB.
        rng: Decides all.
        roll: Begin at a random step, and go on from the beginning after the end.
        freq_masks: How many bands of bins are hidden, each 0 to freq_mask_bins wide.
        freq_mask_bins: See there.
        time_masks: How many stretches of steps are hidden, each 0 to time_mask_steps long.
        time_mask_steps: See there.

    Source: Park et al., SpecAugment, Interspeech 2019, section 2, without time warping.
    """
    bins, steps = log_mel.shape
    shown = log_mel.roll(int(rng.integers(steps)), dims=1) if roll else log_mel.clone()
    mean = log_mel.mean()
    for first, end in _bands(rng, freq_masks, freq_mask_bins, bins):
        shown[first:end] = mean
    for first, end in _bands(rng, time_masks, time_mask_steps, steps):
        shown[:, first:end] = mean
    return shown


def _bands(rng: np.random.Generator, count: int, max_width: int, size: int) -> list[tuple[int, int]]:
    widths = rng.integers(min(max_width, size) + 1, size=count)
    starts = [int(rng.integers(size - width + 1)) for width in widths]
    return [(start, start + int(width)) for start, width in zip(starts, widths, strict=True)]


def jitter_color(clip: torch.Tensor, factors: np.ndarray) -> torch.Tensor:
    """Return a uint8 clip (T, H, W, 3) in other light, the same for all its frames.

    Args:
        clip: uint8 RGB.
        factors: (3,) saturation (0 is grey), contrast (0 is the mean grey) and brightness; 1 changes nothing.

    Source: torchvision's ColorJitter, in this order and without hue.
    """
    saturation, contrast, brightness = factors.tolist()
    pixels = clip.float()
    grey = (pixels * pixels.new_tensor(_LUMA)).sum(dim=-1, keepdim=True)
    pixels = saturation * pixels + (1 - saturation) * grey
    pixels = contrast * pixels + (1 - contrast) * grey.mean()
    return (pixels * brightness).round().clamp(0, 255).to(torch.uint8)


def _resize(clips: torch.Tensor, size_px: int) -> torch.Tensor:
    if clips.shape[-3:-1] == (size_px, size_px):
        return clips
    frames = clips.flatten(0, -4).permute(0, 3, 1, 2)
    small = functional.interpolate(frames, (size_px, size_px), mode="bilinear", antialias=True)
    return small.permute(0, 2, 3, 1).reshape(*clips.shape[:-3], size_px, size_px, 3)
