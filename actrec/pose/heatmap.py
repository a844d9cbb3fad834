"""Heat-maps of joints and limbs: what a pose model is shown.

Source: Duan et al., Revisiting Skeleton-based Action Recognition, CVPR 2022, section 3.2; the windows and the least
score as in mmaction2's GeneratePoseTarget, joint by joint, to within rounding.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_MIN_SCORE = 1e-4
_WINDOW_SIGMAS = 3


def joint_heatmaps(keypoint: np.ndarray, score: np.ndarray, size_px: int, sigma_px: float) -> NDArray[np.float32]:
    """Return a map for each joint and frame, float32 (V, T, size_px, size_px), [v, t, y, x].

    A joint of a person is a Gaussian of height `score` round the keypoint; where persons meet, the larger value counts.
    It is cut off beyond 3 sigma: on each axis the first and last pixel are x - 3 sigma and x + 3 sigma without their
    fractions, so a pixel more on the low side than on the high one. What is left out is below 0.0112 of the score.

    Args:
        keypoint: (M, T, V, 2), finite, in pixels of the map: whole numbers are centres of pixels (see `box`).
        score: (M, T, V) in [0, 1]; joints below 1e-4 leave nothing.
        size_px: Height and width of the map.
        sigma_px: Of the Gaussian.
    """
    persons, frames, joints = score.shape
    maps = np.zeros((joints, frames, size_px, size_px), np.float32)
    flat, keypoint, score = maps.reshape(-1), keypoint.astype(np.float32), score.astype(np.float32)
    # Windows alone are computed, all of one size and moved inwards at the edges of the map: they are 1 % of it.
    width_px = min(int(np.ceil(2 * _WINDOW_SIGMAS * sigma_px)) + 1, size_px)
    for person in range(persons):
        frame, joint = np.nonzero(score[person] >= _MIN_SCORE)
        center, peak = keypoint[person, frame, joint], score[person, frame, joint]
        first, last = _window(center, center, sigma_px)
        pixels = first.clip(0, size_px - width_px)[..., None] + np.arange(width_px)
        is_shown = (pixels >= first[..., None]) & (pixels <= last[..., None])
        columns, rows = pixels[:, 0, None, :], pixels[:, 1, :, None]
        bells = _gaussian((pixels.astype(np.float32) - center[..., None]) ** 2, sigma_px) * is_shown
        values = bells[:, 0, None, :] * (bells[:, 1] * peak[:, None])[..., None]
        places = ((joint * frames + frame)[:, None, None] * size_px + rows) * size_px + columns
        flat[places] = np.maximum(flat[places], values)
    return maps


def limb_heatmaps(
    keypoint: np.ndarray, score: np.ndarray, size_px: int, sigma_px: float, limbs: Sequence[tuple[int, int]]
) -> NDArray[np.float32]:
    """Return a map for each limb and frame, float32 (len(limbs), T, size_px, size_px), [limb, t, y, x].

    A limb of a person is a Gaussian of the distance to the segment between its joints, times the smaller of their
    scores; where persons meet, the larger value counts. It is cut off at the rectangle that holds both joints' windows.

    Args: as of `joint_heatmaps`; and
        limbs: Pairs of joints.

    Source: as above, but for limbs shorter than a pixel: mmaction2 draws their first joint instead.
    """
    persons, frames = score.shape[:2]
    maps = np.zeros((len(limbs), frames, size_px, size_px), np.float32)
    flat, keypoint, score = maps.reshape(-1), keypoint.astype(np.float32), score.astype(np.float32)
    starts, ends = np.array(limbs, np.int64).reshape(-1, 2).T
    peaks = np.minimum(score[..., starts], score[..., ends])
    for person in range(persons):
        frame, limb = np.nonzero(peaks[person] >= _MIN_SCORE)
        start, end = keypoint[person, frame, starts[limb]], keypoint[person, frame, ends[limb]]
        first, last = _window(np.minimum(start, end), np.maximum(start, end), sigma_px)
        which, column, row = _rectangles(first.clip(min=0), last.clip(max=size_px - 1))
        distance_sq = _distance_sq(column, row, which, start, end)
        values = _gaussian(distance_sq, sigma_px) * peaks[person, frame, limb][which]
        places = ((limb * frames + frame) * size_px**2)[which] + row * size_px + column
        flat[places] = np.maximum(flat[places], values)
    return maps


def _window(low: np.ndarray, high: np.ndarray, sigma_px: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and the last pixel (n, 2) that points between `low` and `high` reach."""
    reach = _WINDOW_SIGMAS * sigma_px
    return (low - reach).astype(np.int64), (high + reach).astype(np.int64)


def _gaussian(distance_sq: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    return np.exp(distance_sq * np.float32(-0.5 / sigma_px**2))


def _rectangles(
    first: NDArray[np.int64], last: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the pixels of all rectangles with these corners (n, 2): of which it is, column and row, each (p,).

    A rectangle whose last corner comes before its first has none.
    """
    width, height = (last - first + 1).clip(min=0).T
    of_row, row = _ranges(height)
    of_pixel, column = _ranges(width[of_row])
    which = of_row[of_pixel]
    return which, first[which, 0] + column, (first[of_row, 1] + row)[of_pixel]


def _ranges(lengths: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return 0 … length - 1 for each length, one after the other, and before, for each number, which range it is of."""
    which = np.repeat(np.arange(len(lengths)), lengths)
    return which, np.arange(len(which)) - (np.cumsum(lengths) - lengths)[which]


def _distance_sq(
    column: NDArray[np.int64], row: NDArray[np.int64], which: NDArray[np.int64], start: np.ndarray, end: np.ndarray
) -> NDArray[np.float32]:
    """Return the squared distance (p,) of each pixel to its segment, `which` of those from start to end (n, 2)."""
    along = end - start
    length_sq = np.maximum((along**2).sum(axis=-1), np.finfo(np.float32).tiny)
    right, down = column.astype(np.float32) - start[which, 0], row.astype(np.float32) - start[which, 1]
    along_x, along_y = along[which, 0], along[which, 1]
    share = ((right * along_x + down * along_y) / length_sq[which]).clip(0, 1)
    return (right - share * along_x) ** 2 + (down - share * along_y) ** 2
