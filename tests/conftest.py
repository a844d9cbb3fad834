"""Helpers that tests of several packages share."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

MakeVideo = Callable[..., Path]


def _write_video(
    path: Path,
    frames: np.ndarray,
    *,
    fps: int = 10,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    rotation_deg: int = 0,
    with_audio: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """Write `frames`, uint8 (T, H, W, 3) with even sides; players turn them clockwise by `rotation_deg`.

    `options` are the encoder's own.
    """
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=fps, options={"threads": "1", **(options or {})})
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], pixel_format
        stream.codec_context.thread_count = 1
        if rotation_deg:
            stream.set_display_rotation(-rotation_deg)
        audio: Any = container.add_stream("aac", rate=16000, layout="mono") if with_audio else None
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
        if audio is not None:
            silence = np.zeros((1, 16000 * len(frames) // fps), np.float32)
            sound = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = 16000, 0, Fraction(1, 16000)
            container.mux(audio.encode(sound))
            container.mux(audio.encode(None))
    return path


@pytest.fixture
def make_video() -> MakeVideo:
    """Return a function that writes a video file: make_video(path, frames, fps=10, codec="libx264", …) -> path."""
    return _write_video


@pytest.fixture
def make_clip(make_video: MakeVideo) -> MakeVideo:
    """Return a function that writes a tiny video whose bytes depend on a number: make_clip(path, shade, …) -> path."""

    def make(path: Path, shade: int = 0, *, num_frames: int = 4, **settings: object) -> Path:
        frames = np.zeros((num_frames, 16, 16, 3), np.uint8)
        frames[:, :, : shade % 15 + 1] = 40 + shade // 15
        return make_video(path, frames, **settings)

    return make
