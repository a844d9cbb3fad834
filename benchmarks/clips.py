"""H.264 clips that cost a decoder about what films do: moving textures under some grain."""

import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

_MARGIN_PX = 200
_FPS = 30
CACHE = Path(tempfile.gettempdir()) / "actrec-benchmarks"


def film(*, seed: int, gop_frames: int, frames: int, width_px: int, height_px: int) -> Path:
    """Return a clip, drawn on the first call and kept in CACHE.

    Args:
        seed: Of its picture.
        gop_frames: From key frame to key frame, at most.
        frames: At 30 a second.
        width_px: Even.
        height_px: Even.
    """
    import av

    path = CACHE / f"{width_px}x{height_px}-{frames}f-gop{gop_frames}-{seed}.mp4"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    options = {"preset": "veryfast", "crf": "21", "g": str(gop_frames), "threads": "1"}
    with av.open(str(partial), "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=_FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = width_px, height_px, "yuv420p"
        for pixels in _pictures(seed, frames, width_px, height_px):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    partial.rename(path)
    return path


def _pictures(seed: int, frames: int, width_px: int, height_px: int):
    rng = np.random.default_rng(seed)
    ground = texture(rng, height_px + _MARGIN_PX, width_px + _MARGIN_PX)
    side = min(width_px, height_px) // 3
    figure = texture(rng, side, side)
    for t in range(frames):
        top, left = _swing(_MARGIN_PX, t / 37), _swing(_MARGIN_PX, t / 53)
        picture = ground[top : top + height_px, left : left + width_px].copy()
        top, left = _swing(height_px - side, t / 11), _swing(width_px - side, t / 13)
        picture[top : top + side, left : left + side] = figure
        grain = rng.normal(0, 3, (height_px, width_px, 1)).astype(np.float32)
        yield (picture + grain).clip(0, 255).astype(np.uint8)


def _swing(range_px: int, phase: float) -> int:
    return int(range_px * (1 + np.sin(phase)) / 2)


def texture(rng: np.random.Generator, height_px: int, width_px: int) -> np.ndarray:
    """Return float32 (H, W, 3) in [0, 255]: squares of several sizes on each other, the large ones strongest."""
    total = np.zeros((height_px, width_px, 3), np.float32)
    for size in (4, 16, 64):
        cells = rng.random((height_px // size + 1, width_px // size + 1, 3), np.float32)
        total += np.kron(cells, np.ones((size, size, 1), np.float32))[:height_px, :width_px] * size**0.5
    return total / total.max() * 255


def multiply(sources: Sequence[Path], folder: Path, numbers: range) -> None:
    """Write a file for each number: the sources in turn, with other bytes each, in an atom that players skip."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = [source.read_bytes() for source in sources]
    for number in numbers:
        content = contents[number % len(contents)] + struct.pack(">I4sQ", 16, b"free", number)
        (folder / f"clip{number:05d}.mp4").write_bytes(content)
