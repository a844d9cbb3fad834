"""Run in a child: what anyone would write for the frames stage, timed from when everything is imported.

`python -m benchmarks.decode_loop decord|PyAV|torchcodec FOLDER OUT CLIP_FRAMES SIZE_PX`; prints the seconds. Each
decoder is imported only where it is meant: torchcodec is none of the project's packages.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

# Of a file and how many frames: those in the middle of as many equal parts, uint8 (T, H, W, 3).
Reader = Callable[[Path, int], torch.Tensor]


def main(reader: Reader, folder: Path, out: Path, clip_frames: int, size_px: int) -> None:
    torch.set_num_threads(1)
    out.mkdir(parents=True)
    started = time.perf_counter()
    for path in sorted(folder.glob("*.mp4")):
        frames = reader(path, clip_frames)
        height, width = frames.shape[1:3]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = frames[:, top : top + side, left : left + side].permute(0, 3, 1, 2)
        small = functional.interpolate(square, (size_px, size_px), mode="bilinear", antialias=True)
        torch.save(small.permute(0, 2, 3, 1).contiguous()[None], out / f"{path.stem}.pt")
    print(time.perf_counter() - started)


def by_decord() -> Reader:
    import decord

    def read(path: Path, clip_frames: int) -> torch.Tensor:
        reader = decord.VideoReader(str(path), num_threads=1)
        return torch.from_numpy(reader.get_batch(_indices(len(reader), clip_frames)).asnumpy())

    return read


def by_pyav() -> Reader:
    import av

    def read(path: Path, clip_frames: int) -> torch.Tensor:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_count = 1
            wanted = set(_indices(stream.frames, clip_frames).tolist())
            decoded = enumerate(container.decode(stream))
            return torch.from_numpy(np.stack([frame.to_ndarray(format="rgb24") for i, frame in decoded if i in wanted]))

    return read


def by_torchcodec() -> Reader:
    from torchcodec.decoders import VideoDecoder  # pyright: ignore[reportMissingImports]

    def read(path: Path, clip_frames: int) -> torch.Tensor:
        decoder: Any = VideoDecoder(str(path), dimension_order="NHWC", num_ffmpeg_threads=1)
        return decoder.get_frames_at(_indices(len(decoder), clip_frames).tolist()).data

    return read


def _indices(num_frames: int, clip_frames: int) -> np.ndarray:
    return ((np.arange(clip_frames) + 0.5) * num_frames / clip_frames).astype(int)


READERS = {"decord": by_decord, "PyAV": by_pyav, "torchcodec": by_torchcodec}


if __name__ == "__main__":
    main(READERS[sys.argv[1]](), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
