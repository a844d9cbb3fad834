"""Which frames of a clip a pose model looks at: one of each of equal parts, drawn at random.

Source: Duan et al., Revisiting Skeleton-based Action Recognition, CVPR 2022, section 3.3; the cases as in mmaction2's
UniformSampleFrames.
"""

import numpy as np
from numpy.typing import NDArray

_TEST_SEED = 255


def sample_train(num_frames: int, clip_frames: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return frame numbers for training, int64 (clip_frames,), in [0, num_frames).

    - Fewer frames than wanted: consecutive ones from a random start, and on from the first after the last.
    - Less than twice as many: ascending; those left out lie before, between or after the wanted ones, at most one in
      each of these clip_frames + 1 slots, which are drawn without repetition.
    - Else the frames are cut into equal parts, and one of each is drawn.

    Args:
        num_frames: Frames of the clip, at least 1.
        clip_frames: How many are wanted.
        rng: Decides all. mmaction2 draws from numpy's global state instead: the same distribution, other frames.
    """
    if num_frames < clip_frames:
        return (int(rng.integers(num_frames)) + np.arange(clip_frames)) % num_frames
    if num_frames < 2 * clip_frames:
        return _leave_out(num_frames, rng.permutation(clip_frames + 1))
    first, sizes = _parts(num_frames, clip_frames)
    return first + rng.integers(sizes)


def sample_test(num_frames: int, clip_frames: int, num_clips: int) -> NDArray[np.int64]:
    """Return frame numbers for evaluation, int64 (num_clips, clip_frames): they depend on these three numbers alone.

    As `sample_train`, with random numbers from a fixed seed; but where there are fewer frames than wanted, nothing is
    random: the starts are spread evenly over the clip, the first at its beginning.

    These are mmaction2's frames, number by number: its seed, and numpy's legacy generator, which is frozen (NEP 19) and
    here has a state of its own. pyskl draws a number more for each clip, so its frames are others.
    """
    if num_frames < clip_frames:
        clips = np.arange(num_clips)
        starts = clips if num_frames < num_clips else clips * num_frames // num_clips
        return (starts[:, None] + np.arange(clip_frames)) % num_frames
    random = np.random.RandomState(_TEST_SEED)
    if num_frames < 2 * clip_frames:
        return np.stack([_leave_out(num_frames, random.permutation(clip_frames + 1)) for _ in range(num_clips)])
    first, sizes = _parts(num_frames, clip_frames)
    return np.stack([first + random.randint(sizes, dtype=np.int64) for _ in range(num_clips)])


def _leave_out(num_frames: int, slots: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return len(slots) - 1 of the frames: of the slots around those, as many as are too many leave one out each."""
    clip_frames = len(slots) - 1
    is_skipped = np.zeros(clip_frames + 1, np.int64)
    is_skipped[slots[: num_frames - clip_frames]] = 1
    return np.arange(clip_frames) + np.cumsum(is_skipped)[:-1]


def _parts(num_frames: int, clip_frames: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first frame and the size of each of `clip_frames` equal parts."""
    bounds = np.arange(clip_frames + 1) * num_frames // clip_frames
    return bounds[:-1], np.diff(bounds)
