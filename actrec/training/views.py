"""What a backbone is shown of a stored clip: the plain view, or a random one."""

import numpy as np
import torch
from torch.nn import functional

_ASPECT = (3 / 4, 4 / 3)
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def plain_view(clips: torch.Tensor, *, input_px: int) -> torch.Tensor:
    """Return uint8 clips (…, T, S, S, 3) resized to input_px."""
    return _resize(clips, input_px)


def random_view(
    clip: torch.Tensor,
    rng: np.random.Generator,
    *,
    input_px: int,
    min_area_frac: float,
    flip_prob: float,
    color_jitter: float,
) -> torch.Tensor:
    """Return a random crop of a uint8 clip (T, S, S, 3), resized to (T, input_px, input_px, 3), perhaps mirrored.

    All frames share the crop. Its area is uniform in [min_area_frac, 1] of the frame, the logarithm of its aspect ratio
    uniform in log [3/4, 4/3] (narrowed where the crop would not fit), its place uniform.

    Source: Szegedy et al., Going deeper with convolutions, CVPR 2015, section 6, as in torchvision's RandomResizedCrop.
    """
    height, width = clip.shape[1:3]
    area = rng.uniform(min_area_frac, 1.0) * height * width
    aspect = np.exp(rng.uniform(*np.log(np.clip(_ASPECT, area / height**2, width**2 / area))))
    crop_h = min(max(round(np.sqrt(area / aspect)), 1), height)
    crop_w = min(max(round(np.sqrt(area * aspect)), 1), width)
    top, left = int(rng.integers(height - crop_h + 1)), int(rng.integers(width - crop_w + 1))
    view = _resize(clip[:, top : top + crop_h, left : left + crop_w], input_px)
    view = view.flip(2) if rng.random() < flip_prob else view
    return jitter_color(view, rng.uniform(1 - color_jitter, 1 + color_jitter, size=3)) if color_jitter else view


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
