"""A split of clips of noise, whose classes go round."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from actrec.data.manifest import Clip, Manifest
from actrec.media.clip import ClipFolder, ClipSpec

CLASSES = ("crow", "jay", "owl")


class Stored(ClipFolder):
    """Clips of noise, each its own."""

    def __init__(self, clip_ids: Sequence[str], *, frames: int, views: int = 1, size_px: int = 32) -> None:
        self.spec = ClipSpec(
            clip_frames=frames, clips_per_video=views, frame_stride=None, size_px=size_px, resize="crop"
        )
        self.digests = {clip_id: clip_id for clip_id in clip_ids}

    def __getitem__(self, clip_id: str) -> torch.Tensor:
        spec = self.spec
        shape = (spec.clips_per_video, spec.clip_frames, spec.size_px, spec.size_px, 3)
        rng = np.random.default_rng(list(clip_id.encode()))
        return torch.from_numpy(rng.integers(0, 256, shape, dtype=np.uint8))


def manifest(count: int = 9, *, sample: bool = False) -> Manifest:
    facts: Any = None  # of no matter here
    clips = [
        Clip(
            f"clip{number}",
            f"{number}.mp4",
            "test",
            "",
            {"bird": CLASSES[number % 3]},
            None,
            None,
            "",
            0,
            facts,
            f"s{number // 3}" if sample else "",
        )
        for number in range(count)
    ]
    return Manifest(tuple(clips), ("bird",))
