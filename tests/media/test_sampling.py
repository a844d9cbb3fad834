"""Which frames are looked at: numbers worked out by hand."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest

from actrec.media.sampling import frame_at, frame_range, strided, uniform


@pytest.mark.parametrize(
    ("num_frames", "clip_frames", "clips", "expected"),
    [
        (8, 4, 1, [[1, 3, 5, 7]]),  # bins of two, the later of each middle
        (10, 3, 1, [[1, 5, 8]]),  # bins of 10/3: middles 1.67, 5, 8.33
        (8, 4, 2, [[0, 2, 4, 6], [1, 3, 5, 7]]),  # quarters and three quarters of each bin
        (9, 3, 3, [[0, 3, 6], [1, 4, 7], [2, 5, 8]]),
        (3, 4, 1, [[0, 1, 1, 2]]),  # fewer frames than bins
        (1, 3, 2, [[0, 0, 0], [0, 0, 0]]),
        (100, 1, 1, [[50]]),
        (100, 1, 2, [[25], [75]]),
    ],
)
def test_uniform(num_frames, clip_frames, clips, expected):
    assert uniform(num_frames, clip_frames=clip_frames, clips=clips).tolist() == expected


def test_uniform_is_exact():
    """Against exact fractions: in floating point, 22 of these cases were one frame early."""
    for num_frames in range(1, 130, 7):
        for clip_frames in (1, 3, 5, 16):
            for clips in (1, 3, 6, 7, 10):
                offsets = [Fraction(2 * j + 1, 2 * clips) for j in range(clips)]
                expected = [
                    [floor((i + offset) * num_frames / clip_frames) for i in range(clip_frames)] for offset in offsets
                ]
                assert uniform(num_frames, clip_frames=clip_frames, clips=clips).tolist() == expected


@pytest.mark.parametrize("num_frames", [64, 65, 100, 1000])
def test_uniform_clips_share_no_frame_where_there_are_enough(num_frames):
    found = uniform(num_frames, clip_frames=16, clips=4)
    assert len(np.unique(found)) == 64
    assert found.min() >= 0 and found.max() < num_frames
    assert (np.diff(found, axis=1) > 0).all()


@pytest.mark.parametrize(
    ("num_frames", "clip_frames", "clips", "frame_stride", "expected"),
    [
        (10, 3, 1, 2, [[2, 4, 6]]),  # a window of 5: as much before it as after, but for one frame
        (11, 3, 1, 2, [[3, 5, 7]]),
        (10, 3, 2, 2, [[0, 2, 4], [5, 7, 9]]),  # from the first frame to the last
        (11, 3, 3, 2, [[0, 2, 4], [3, 5, 7], [6, 8, 10]]),
        (5, 3, 2, 2, [[0, 2, 4], [0, 2, 4]]),  # exactly one window
        (4, 3, 1, 2, [[0, 2, 3]]),  # the last frame repeats
        (1, 3, 2, 4, [[0, 0, 0], [0, 0, 0]]),
        (7, 4, 1, 1, [[1, 2, 3, 4]]),
    ],
)
def test_strided(num_frames, clip_frames, clips, frame_stride, expected):
    found = strided(num_frames, clip_frames=clip_frames, clips=clips, frame_stride=frame_stride)
    assert found.tolist() == expected


TIMES_S = np.arange(10) / 10


@pytest.mark.parametrize(
    ("start_s", "end_s", "expected"),
    [
        (None, None, (0, 10)),
        (0.2, 0.5, (2, 5)),  # half open: the frame at 0.5 s is the next part's
        (0.25, 0.5, (3, 5)),
        (None, 0.5, (0, 5)),
        (0.5, None, (5, 10)),
        (0.0, 100.0, (0, 10)),
        (0.2001, 0.4999, (2, 5)),  # rounded times
        (0.21, 0.29, (3, 3)),  # nothing in between
        (5.0, None, (10, 10)),
        (0.9, 1.0, (9, 10)),
    ],
)
def test_the_frames_of_a_part(start_s, end_s, expected):
    assert frame_range(TIMES_S, start_s, end_s) == expected


def test_parts_in_a_row_share_no_frame_and_miss_none():
    """At 29.97 frames a second, with cuts rounded to milliseconds as tables have them."""
    times_s = np.arange(300) * 1001 / 30000
    cuts = [round(float(times_s[i]), 3) for i in (0, 17, 101, 250)]
    ranges = [frame_range(times_s, *pair) for pair in zip(cuts, [*cuts[1:], None], strict=True)]
    assert ranges == [(0, 17), (17, 101), (101, 250), (250, 300)]


def test_uneven_times():
    times_s = np.array([0.0, 0.1, 0.5, 0.55, 2.0])
    assert frame_range(times_s, 0.3, 1.9) == (2, 4)


@pytest.mark.parametrize(
    ("time_s", "expected"),
    [
        (0.0, 0),
        (0.05, 0),  # between two frames the earlier one is shown
        (0.0999, 1),  # a frame's own time, rounded
        (0.1, 1),
        (0.29, 2),
        (0.3, 3),
        (0.69, 3),  # the last one for 0.4 seconds
        (0.71, None),
        (9.0, None),
    ],
)
def test_the_frame_that_is_shown(time_s, expected):
    assert frame_at(np.array([0, 0.1, 0.2, 0.3]), time_s, last_s=0.4) == expected


def test_a_still_picture_is_shown_at_no_other_time():
    assert frame_at(np.zeros(1), 0.0, last_s=0.0) == 0
    assert frame_at(np.zeros(1), 1.0, last_s=0.0) is None
