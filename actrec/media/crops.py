"""People cut out of a picture: all crops that any pair needs of it, from one decoded frame, in one file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from actrec.errors import BadItem
from actrec.media.clip import ClipSpec, encode, to_square
from actrec.media.decode import open_frames
from actrec.media.facts import Box, MediaFacts
from actrec.media.sampling import frame_at
from actrec.media.unchanged import check_unchanged

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class CropTask:
    """What a worker needs to cut people out of one picture."""

    path: Path
    sha256: str
    facts: MediaFacts
    spec: ClipSpec
    start_s: float | None
    boxes: tuple[Box, ...]
    wraps: bool


def make_crop_file(task: CropTask) -> bytes:
    """Return the bytes of the picture's `.pt` file: uint8 (P, S, S, 3), a crop a box.

    Raises:
        UserError: if the file is not the one that `ingest` saw.
        BadItem: see `read_crops`.
    """
    import torch

    torch.set_num_threads(1)  # as for clips: the workers are the parallelism
    check_unchanged(task.path, task.sha256)
    return encode(read_crops(task.path, task.facts, task.spec, task.boxes, wraps=task.wraps, start_s=task.start_s))


def read_crops(
    path: Path, facts: MediaFacts, spec: ClipSpec, boxes: Sequence[Box], *, wraps: bool, start_s: float | None = None
) -> torch.Tensor:
    """Return crops of the picture, or of the frame that a video shows at `start_s`: uint8 (P, S, S, 3).

    Args:
        path: A file that `probe` has accepted.
        facts: What `probe` said.
        spec: S = size_px; boxes are widened by pad_frac on each side, and then made square as `resize` says.
        boxes: Each shows a pixel of the picture or more, see `actrec.data.people.box_fault`.
        wraps: The left and right edge of the picture meet.
        start_s: None for the first frame.

    Raises:
        BadItem: too_short, if the video ends before; frame_mismatch, if the picture has another size than its header
            says, so that boxes may be beside it; or what the decoder found.
    """
    import torch

    assert spec.resize in ("stretch", "pad"), "the schema has seen to that"
    picture = torch.from_numpy(shown_at(path, facts, start_s))
    height, width = picture.shape[1:3]
    if (width, height) != facts.upright_px:
        expected = "x".join(map(str, facts.upright_px))
        raise BadItem("frame_mismatch", f"the header promises {expected} pixels, the picture has {width}x{height}")
    crops = [to_square(cut_person(picture, box, spec.pad_frac, wraps), spec.size_px, spec.resize) for box in boxes]
    return torch.cat(crops)


def shown_at(path: Path, facts: MediaFacts, start_s: float | None) -> np.ndarray:
    """Return the picture, or the frame that a video shows at `start_s`, uint8 RGB (1, H, W, 3). See `read_crops`."""
    source = open_frames(path, facts)
    times_s = source.times_s
    last_s = times_s[-1] - times_s[-2] if len(times_s) > 1 else facts.duration_s
    number = frame_at(times_s, start_s or 0.0, last_s=last_s)
    if number is None:
        raise BadItem("too_short", f"nothing is shown any more at {start_s:g} s")
    return source.read(np.array([number]))


def cut_person(picture: torch.Tensor, box: Box, pad_frac: float, wraps: bool) -> torch.Tensor:
    """Return the part of a picture (1, H, W, 3) in a box that is widened by pad_frac of its own size on each side.

    It ends where the picture does; where the picture wraps, it goes on at the other edge, once round at most.
    """
    height, width = picture.shape[1:3]
    x, y, w, h = box
    left, right = math.floor(x - pad_frac * w), math.ceil(x + w + pad_frac * w)
    top, bottom = max(math.floor(y - pad_frac * h), 0), min(math.ceil(y + h + pad_frac * h), height)
    if wraps:
        columns = np.arange(left, min(right, left + width)) % width
        return picture[:, top:bottom][:, :, columns]
    return picture[:, top:bottom, max(left, 0) : min(right, width)]
