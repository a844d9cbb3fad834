"""Which frames of a clip are looked at."""

import numpy as np


def frame_range(times_s: np.ndarray, start_s: float | None, end_s: float | None) -> tuple[int, int]:
    """Return the half-open range of the frames that are shown in [start_s, end_s).

    Args:
        times_s: When each frame is shown, ascending, in seconds from the first.
        start_s: None for the beginning.
        end_s: None for the end.
    """
    # Half a millisecond forgives times that were rounded on their way through a table.
    first = 0 if start_s is None else int(np.searchsorted(times_s, start_s - 5e-4))
    last = len(times_s) if end_s is None else int(np.searchsorted(times_s, end_s - 5e-4))
    return first, last


def frame_at(times_s: np.ndarray, time_s: float, *, last_s: float) -> int | None:
    """Return the number of the frame that is shown at a time, None after the end.

    Args:
        times_s: When each frame is shown, ascending, in seconds from the first.
        time_s: 0 or later.
        last_s: For how long the last frame is shown.
    """
    if time_s - 5e-4 >= times_s[-1] + last_s:
        return None
    # Half a millisecond is forgiven as above: a frame's own time that was rounded down means that frame.
    return int(np.searchsorted(times_s, time_s + 5e-4, side="right")) - 1


def uniform(num_frames: int, *, clip_frames: int, clips: int) -> np.ndarray:
    """Return frame numbers (clips, clip_frames) that cover all `num_frames` evenly.

    The frames are cut into `clip_frames` equal bins; clip j of k takes the frame at (j + 1/2) / k of each bin. Fewer
    frames than bins: frames repeat.
    """
    # In whole numbers: half of a part of a bin is one of 2 * clips * clip_frames, and floats miss some by one frame.
    halves = 2 * (np.arange(clip_frames)[None, :] * clips + np.arange(clips)[:, None]) + 1
    return halves * num_frames // (2 * clips * clip_frames)


def strided(num_frames: int, *, clip_frames: int, clips: int, frame_stride: int) -> np.ndarray:
    """Return frame numbers (clips, clip_frames): windows of every `frame_stride`-th frame, spread evenly.

    One clip is the middle window; several reach from the first frame to the last. Where a window is longer than the
    video, its last frame repeats.
    """
    spare = max(num_frames - ((clip_frames - 1) * frame_stride + 1), 0)
    starts = np.round(np.linspace(0, spare, clips)) if clips > 1 else np.array([spare // 2])
    indices = starts.astype(np.int64)[:, None] + np.arange(clip_frames)[None, :] * frame_stride
    return np.minimum(indices, num_frames - 1)
