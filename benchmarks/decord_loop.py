"""Run in a child: what anyone would write for the frames stage, timed from when everything is imported.

`python -m benchmarks.decord_loop FOLDER OUT CLIP_FRAMES SIZE_PX`; prints the seconds.
"""

import sys
import time
from pathlib import Path

import decord
import numpy as np
import torch
from torch.nn import functional


def main(folder: Path, out: Path, clip_frames: int, size_px: int) -> None:
    torch.set_num_threads(1)
    out.mkdir(parents=True)
    started = time.perf_counter()
    for path in sorted(folder.glob("*.mp4")):
        reader = decord.VideoReader(str(path), num_threads=1)
        indices = ((np.arange(clip_frames) + 0.5) * len(reader) / clip_frames).astype(int)
        frames = torch.from_numpy(reader.get_batch(indices).asnumpy())
        height, width = frames.shape[1:3]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = frames[:, top : top + side, left : left + side].permute(0, 3, 1, 2)
        small = functional.interpolate(square, (size_px, size_px), mode="bilinear", antialias=True)
        torch.save(small.permute(0, 2, 3, 1).contiguous()[None], out / f"{path.stem}.pt")
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
