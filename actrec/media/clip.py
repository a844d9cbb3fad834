"""A clip as an array: decode, choose frames, resize; and the file format it is kept in.

torch is imported inside the functions: the frames stage itself, when all clips are in the store, does without.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from actrec.errors import BadItem
from actrec.media.decode import open_frames
from actrec.media.facts import MediaFacts
from actrec.media.sampling import frame_range, strided, uniform
from actrec.media.unchanged import check_unchanged

if TYPE_CHECKING:
    import torch

# What decides on pixels besides our code, and takes long to import.
HEAVY_IMPORTS = ("torch", "decord", "av")
Resize = Literal["crop", "pad", "stretch"]
# (left, top, right, bottom) of a square in pixels, right and bottom excluded, and the (height, width) of the picture.
Region = tuple[tuple[int, int, int, int], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """How every clip of a data set is cut: it travels with features and checkpoints.

    `frame_stride` None means uniform sampling. `region` persons: the square around everybody whom the skeletons show;
    a clip without a skeleton is cut as of whole.
    """

    clip_frames: int
    clips_per_video: int
    frame_stride: int | None
    size_px: int
    resize: Resize
    region: Literal["whole", "persons"] = "whole"


def read_clip(
    path: Path,
    facts: MediaFacts,
    spec: ClipSpec,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    region: Region | None = None,
) -> torch.Tensor:
    """Return the clip's frames, uint8 RGB (views, T, S, S, 3).

    Args:
        path: A file that `probe` has accepted.
        facts: What `probe` said.
        spec: views = clips_per_video, T = clip_frames, S = size_px.
        start_s: The clip is the part in [start_s, end_s); None means from the beginning.
        end_s: None means to the end.
        region: What to cut out; what of it is beyond the picture is black. None: see `ClipSpec.resize`.

    Raises:
        BadItem: too_short, if no frame lies in the range; or what the decoder found.
    """
    import torch

    source = open_frames(path, facts)
    first, last = frame_range(source.times_s, start_s, end_s)
    if last <= first:
        raise BadItem(
            "too_short", f"no frame between {start_s or 0:g} s and {'the end' if end_s is None else f'{end_s:g} s'}"
        )
    indices = first + frame_indices(last - first, spec)
    distinct, inverse = np.unique(indices, return_inverse=True)
    pictures = torch.from_numpy(source.read(distinct))
    if region:
        frames = _interpolate(cut_out(pictures, *region), spec.size_px, spec.size_px)
    else:
        frames = to_square(pictures, spec.size_px, spec.resize)
    if not np.array_equal(distinct, indices.reshape(-1)):  # repeated, or of clips that interlace
        frames = frames[torch.from_numpy(inverse.reshape(-1))]
    return frames.reshape(*indices.shape, *frames.shape[1:])


def frame_indices(num_frames: int, spec: ClipSpec) -> np.ndarray:
    """Return which of `num_frames` frames make the clips, int64 (clips_per_video, clip_frames)."""
    if spec.frame_stride is None:
        return uniform(num_frames, clip_frames=spec.clip_frames, clips=spec.clips_per_video)
    return strided(num_frames, clip_frames=spec.clip_frames, clips=spec.clips_per_video, frame_stride=spec.frame_stride)


def to_square(frames: torch.Tensor, size_px: int, resize: Resize) -> torch.Tensor:
    """Return frames (n, H, W, 3) uint8 as (n, size_px, size_px, 3) uint8, by antialiased bilinear interpolation.

    `crop` keeps the middle square, `pad` adds black to the short side, `stretch` changes the proportions.
    """
    height, width = frames.shape[1:3]
    if resize == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        frames = frames[:, top : top + side, left : left + side]
    if resize != "pad":
        return _interpolate(frames, size_px, size_px)
    scale = size_px / max(height, width)
    small = _interpolate(frames, max(round(height * scale), 1), max(round(width * scale), 1))
    square = small.new_zeros((len(small), size_px, size_px, 3))
    top, left = (size_px - small.shape[1]) // 2, (size_px - small.shape[2]) // 2
    square[:, top : top + small.shape[1], left : left + small.shape[2]] = small
    return square


def cut_out(frames: torch.Tensor, box: tuple[int, int, int, int], shape: tuple[int, int]) -> torch.Tensor:
    """Return the part of frames (n, H, W, 3) in a box; black where it reaches beyond them.

    Args:
        frames: Perhaps of another size than the picture that the box is of.
        box: (left, top, right, bottom) in whole pixels, the last two excluded.
        shape: (height, width) of the picture that the box is of.
    """
    height, width = frames.shape[1:3]
    by_y, by_x = height / shape[0], width / shape[1]
    left, top, right, bottom = (round(side * by) for side, by in zip(box, (by_x, by_y, by_x, by_y), strict=True))
    inside = frames[:, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    part = frames.new_zeros((len(frames), bottom - top, right - left, 3))
    first_y, first_x = max(-top, 0), max(-left, 0)
    part[:, first_y : first_y + inside.shape[1], first_x : first_x + inside.shape[2]] = inside
    return part


def _interpolate(frames: torch.Tensor, height_px: int, width_px: int) -> torch.Tensor:
    from torch.nn import functional

    if frames.shape[1:3] == (height_px, width_px):
        return frames
    channels_first = frames.permute(0, 3, 1, 2)  # channels_last in memory: torch resizes uint8 so without a copy
    small = functional.interpolate(channels_first, (height_px, width_px), mode="bilinear", antialias=True)
    return small.permute(0, 2, 3, 1)


def encode(value: torch.Tensor | dict[str, torch.Tensor]) -> bytes:
    """Return the bytes of a `.pt` file; the same tensors give the same bytes."""
    import torch

    buffer = io.BytesIO()
    # Copies: torch.save keeps the whole memory that a tensor is a view of.
    is_shard = isinstance(value, dict)
    torch.save({key: _copy(v) for key, v in value.items()} if is_shard else _copy(value), buffer)
    return buffer.getvalue()


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    return tensor.clone(memory_format=torch.contiguous_format)


@dataclass(frozen=True, slots=True)
class ClipTask:
    """What a worker needs to make one clip's file."""

    path: Path
    sha256: str
    facts: MediaFacts
    spec: ClipSpec
    start_s: float | None
    end_s: float | None
    region: Region | None = None


def make_clip_file(task: ClipTask) -> bytes:
    """Return the bytes of the clip's `.pt` file: uint8 (views, T, S, S, 3).

    Raises:
        UserError: if the file is not the one that `ingest` saw.
        BadItem: see `read_clip`.
    """
    import torch

    torch.set_num_threads(1)  # the workers are the parallelism, and one thread a clip makes the same bytes everywhere
    check_unchanged(task.path, task.sha256)
    part = {"start_s": task.start_s, "end_s": task.end_s, "region": task.region}
    return encode(read_clip(task.path, task.facts, task.spec, **part))


def pack_clip_files(members: dict[str, Path]) -> bytes:
    """Return the bytes of a shard: a `.pt` file of {clip id: tensor}."""
    import torch

    return encode({clip_id: torch.load(path, weights_only=True) for clip_id, path in sorted(members.items())})


class ClipFolder:
    """The clips that the frames stage wrote, by id; a file a clip or sharded, read lazily."""

    def __init__(self, folder: Path, index: dict[str, Any]) -> None:
        self._folder = folder
        self._is_sharded = index["sharded"]
        self._files = {clip_id: clip["file"] for clip_id, clip in index["clips"].items()}
        self._shards: dict[str, dict[str, torch.Tensor]] = {}
        self.spec = ClipSpec(**index["spec"])
        self.digests: dict[str, str] = {clip_id: clip["sha256"] for clip_id, clip in index["clips"].items()}

    def __contains__(self, clip_id: str) -> bool:
        return clip_id in self._files

    def __getitem__(self, clip_id: str) -> torch.Tensor:
        """Return the clip, uint8 (views, T, S, S, 3)."""
        import torch

        name = self._files[clip_id]
        if not self._is_sharded:
            return torch.load(self._folder / name, weights_only=True)
        if name not in self._shards:
            self._shards[name] = torch.load(self._folder / name, weights_only=True, mmap=True)
        return self._shards[name][clip_id]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_shards": {}}  # loader workers open shards themselves
