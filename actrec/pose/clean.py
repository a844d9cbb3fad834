"""Which of the bodies in a clip are kept, and where in time they stand."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Source: pyskl, tools/data/ntu_preproc.py, whose thresholds are those of NTU RGB+D's usual denoising.
_NOISE_FRAMES = 11
_WIDTH_TO_HEIGHT = 0.8
_BAD_FRAC = 0.69754


def most_seen(keypoint: NDArray[np.float16], seen: NDArray[np.bool_], max_persons: int) -> list[int]:
    """Return which persons to keep, in their own order; those who are never seen are never kept.

    First come those who are seen in more frames (any joint); of equals those who move more: the sum over coordinates of
    the variance of their seen joints, as NTU's cleaning ranks bodies; of equals the earlier.

    Args:
        keypoint: (M, T, V, C).
        seen: (M, T, V).
        max_persons: At least 1.
    """
    frames = seen.any(axis=2).sum(axis=1)
    present = [int(person) for person in np.nonzero(frames)[0]]
    if len(present) > max_persons:
        present.sort(key=lambda person: (-frames[person], -_motion(keypoint[person][seen[person]])))
    return sorted(present[:max_persons])


def _motion(points: NDArray[np.floating]) -> float:
    """Return the sum over coordinates of the variance of points (n, C)."""
    return float(points.astype(np.float64).var(axis=0).sum()) if len(points) else 0.0


@dataclass(frozen=True, slots=True)
class Body:
    """One tracked body: joints (n, V, 3) in metres, y up, in the n frames `frames` (n,), which ascend."""

    frames: NDArray[np.int64]
    joints: NDArray[np.floating]


def clean_bodies(bodies: Sequence[Body]) -> tuple[list[NDArray[np.int64]], int, int]:
    """Return who stands where after pyskl's cleaning of NTU RGB+D's bodies: slots, first frame, end.

    A body alone is taken as it is. Of several, those seen in 11 frames or less are noise; so are those that are wider
    than 0.8 of their height in 70 % of their frames or more (a chair, a curtain); a rule that would leave nobody is not
    applied, where pyskl stops. The others, by falling motion (the sum over x, y, z of the variance), go into the first
    of two slots that is free for all the time from their first frame to their last, or nowhere. Frames before the first
    body and after the last one are cut. If slot 0 is empty at the start and slot 1 is not, they change places.

    Two more differences from pyskl: a body that is lost for a while stays at its own frames, where pyskl closes the gap
    and so moves what comes after it; and slot 1 is taken from its first body on, where pyskl takes it from frame 0 on
    and so drops a body that would fit before.

    Args:
        bodies: At least one.

    Returns:
        Slots, one or two: for each an array (end,) of the body that is seen at a frame, -1 for none; then the first
        frame and the end of those to keep.

    Source: pyskl, tools/data/ntu_preproc.py.
    """
    order = sorted(range(len(bodies)), key=lambda body: -_motion_of(bodies[body]))
    if len(order) > 1:
        order = [body for body in order if len(bodies[body].frames) > _NOISE_FRAMES] or order
    if len(order) > 1:
        order = _without_spread(bodies, order)
    slots = [np.full(1 + max(int(bodies[body].frames[-1]) for body in order), -1) for _ in range(min(len(order), 2))]
    spans: list[tuple[int, int]] = [(0, 0)] * len(slots)
    for body in order:
        first, end = int(bodies[body].frames[0]), int(bodies[body].frames[-1]) + 1
        for slot, (start, stop) in enumerate(spans):
            if start == stop or max(start, first) >= min(stop, end):
                slots[slot][bodies[body].frames] = body
                spans[slot] = (min(start, first), max(stop, end)) if start < stop else (first, end)
                break
    taken = np.nonzero((np.stack(slots) >= 0).any(axis=0))[0]
    first, end = int(taken[0]), int(taken[-1]) + 1
    if len(slots) == 2 and slots[0][first] < 0 <= slots[1][first]:
        slots.reverse()
    return slots, first, end


def _without_spread(bodies: Sequence[Body], order: list[int]) -> list[int]:
    """Return the bodies that are upright often enough, by falling motion in the frames in which they are."""
    motions: dict[int, float] = {}
    for body in order:
        joints = bodies[body].joints
        width, height = (np.ptp(joints[..., axis], axis=1) for axis in (0, 1))
        upright = width <= _WIDTH_TO_HEIGHT * height
        if 1 - upright.mean() < _BAD_FRAC:
            motions[body] = min(_motion_of(bodies[body]), _motion(joints[upright].reshape(-1, 3)))
    return sorted(motions, key=lambda body: -motions[body]) or order


def _motion_of(body: Body) -> float:
    return _motion(body.joints.reshape(-1, 3))
