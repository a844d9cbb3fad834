"""A clip as an array: decode, choose frames, resize; and the file format it is kept in.

torch is imported inside the functions: the frames stage itself, when all clips are in the store, does without.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from hashlib import sha256
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

# What decides on pixels besides our code, and takes long to import; pillow, whose module is PIL, does not.
HEAVY_IMPORTS = ("torch", "decord", "av", "pillow")
Square = Literal["crop", "pad", "stretch"]
Resize = Square | Literal["keep"]
_LONGEST = 4
# (left, top, right, bottom) of a square in pixels, right and bottom excluded, and the (height, width) of the picture.
Region = tuple[tuple[int, int, int, int], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """How every clip of a data set is cut: it travels with features and checkpoints.

    `frame_stride` None means uniform sampling. `region` persons: the square around everybody whom the skeletons show;
    a clip without a skeleton is cut as of whole. `region` boxes: a crop a box, see `actrec.media.crops`.
    """

    clip_frames: int
    clips_per_video: int
    frame_stride: int | None
    size_px: int
    resize: Resize
    region: Literal["whole", "persons", "boxes"] = "whole"
    pad_frac: float = 0.0


def read_clip(
    path: Path,
    facts: MediaFacts,
    spec: ClipSpec,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    region: Region | None = None,
) -> torch.Tensor:
    """Return the clip's frames, uint8 RGB (views, T, S, S, 3); of resize keep (views, T, H, W, 3).

    Args:
        path: A file that `probe` has accepted; a still picture is a video of one frame.
        facts: What `probe` said.
        spec: views = clips_per_video, T = clip_frames, S = size_px = min(H, W).
        start_s: The clip is the part in [start_s, end_s); None means from the beginning.
        end_s: None means to the end.
        region: What to cut out; what of it is beyond the picture is black. None: see `to_square`, `to_short_side`.

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
    elif spec.resize == "keep":
        frames = to_short_side(pictures, spec.size_px)
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


def to_square(frames: torch.Tensor, size_px: int, resize: Square) -> torch.Tensor:
    """Return frames (n, H, W, 3) uint8 as (n, size_px, size_px, 3) uint8, by antialiased bilinear interpolation.

    `crop` keeps the middle square, `pad` adds black to the short side, `stretch` changes the proportions.
    """
    height, width = frames.shape[1:3]
    if resize == "crop":
        side = min(height, width)
        frames = _middle(frames, side, side)
    if resize != "pad":
        return _interpolate(frames, size_px, size_px)
    scale = size_px / max(height, width)
    small = _interpolate(frames, max(round(height * scale), 1), max(round(width * scale), 1))
    square = small.new_zeros((len(small), size_px, size_px, 3))
    top, left = (size_px - small.shape[1]) // 2, (size_px - small.shape[2]) // 2
    square[:, top : top + small.shape[1], left : left + small.shape[2]] = small
    return square


def to_short_side(frames: torch.Tensor, size_px: int) -> torch.Tensor:
    """Return frames (n, H, W, 3) uint8 with min(H, W) = size_px and their proportions, see `to_square`.

    A longer side above 4 * size_px is cut to its middle.
    """
    short = min(frames.shape[1:3])
    height, width = (min(side, _LONGEST * short) for side in frames.shape[1:3])
    scale = size_px / short
    return _interpolate(_middle(frames, height, width), round(height * scale), round(width * scale))


def _middle(frames: torch.Tensor, height_px: int, width_px: int) -> torch.Tensor:
    top, left = (frames.shape[1] - height_px) // 2, (frames.shape[2] - width_px) // 2
    return frames[:, top : top + height_px, left : left + width_px]


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
    """Return the bytes of the clip's `.pt` file: uint8, see `read_clip`.

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


def part_name(item_id: str, row: int) -> str:
    """Return the id of one crop of a picture's file; no clip can have it, since ids have no empty part."""
    return f"{item_id}//{row}"


class ClipFolder:
    """The clips that the frames stage wrote, by id; a file a clip or sharded, mapped when first asked for.

    Of pairs there is a file a picture, with the crops of all its people (P, S, S, 3): a clip is two of these, and each
    of these can also be had alone, by its name among `parts` of a clip.
    """

    def __init__(self, folder: Path, index: dict[str, Any]) -> None:
        self._folder = folder
        self._is_sharded = index["sharded"]
        self._files = {item_id: item["file"] for item_id, item in index["clips"].items()}
        self._opened: dict[str, Any] = {}  # a tensor, or of a shard {clip id: tensor}
        self.spec = ClipSpec(**index["spec"])
        self.digests: dict[str, str] = {item_id: item["sha256"] for item_id, item in index["clips"].items()}
        # {clip id: (item, its rows)}; a part is such a clip of one row.
        self._crops: dict[str, tuple[str, list[int]]] = {}
        self._parts: dict[str, tuple[str, ...]] = {}
        if "pairs" in index:
            self._take_apart(index["pairs"])

    def _take_apart(self, pairs: dict[str, tuple[str, list[int]]]) -> None:
        items, self.digests = self.digests, {}
        for clip_id, (item_id, rows) in pairs.items():
            if item_id not in items:  # its picture could not be used
                continue
            self._parts[clip_id] = tuple(part_name(item_id, row) for row in rows)
            singly = zip(self._parts[clip_id], ([row] for row in rows), strict=True)
            for name, own in ((clip_id, rows), *singly):
                self._crops[name] = (item_id, own)
                self.digests[name] = sha256(f"{items[item_id]} {own}".encode()).hexdigest()

    def parts(self, clip_id: str) -> tuple[str, ...]:
        """Return the ids of what a clip is put together of, which others may share: of two people, else of itself."""
        return self._parts.get(clip_id, (clip_id,))

    def __getitem__(self, clip_id: str) -> torch.Tensor:
        """Return the clip, uint8 (views, T, H, W, 3); H = W = size_px unless resize is keep."""
        if clip_id not in self._crops:
            return self._item(clip_id)
        item_id, rows = self._crops[clip_id]
        return self._item(item_id)[rows][None]

    def _item(self, item_id: str) -> torch.Tensor:
        import torch

        name = self._files[item_id]
        if name not in self._opened:
            # Mapped, and kept: to open the file of a picture in each epoch costs more than all else that is done to it.
            self._opened[name] = torch.load(self._folder / name, weights_only=True, mmap=True)
        return self._opened[name][item_id] if self._is_sharded else self._opened[name]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": {}}  # loader workers open files themselves
