"""One clip's skeletons as every reader gives them, and the checks that all of them pass through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from actrec.errors import BadItem
from actrec.pose.clean import most_seen
from actrec.pose.layouts import Layout

# Scores are peaks of regressed heat-maps, which overshoot. Source: mmpose, issues 884 and 3122 (up to 1.28).
_LARGEST_SCORE = 1.5
_LARGEST_FLOAT16 = 65504
# 134 MB as float16; an hour of two people, 25 joints at 30 frames a second, is a sixth of it.
MAX_VALUES = 2**26


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The bodies of one clip, M persons in T frames of V joints; T is the clip's own number of frames.

    name: Which clip it is of.
    keypoint: (M, T, V, C). C = 2: pixels, x to the right, y down. C = 3: metres on the sensor's own axes, y up, z away
        from it. 0 where a joint is not seen.
    score: (M, T, V) in [0, 1]; 0 where a joint is not seen.
    img_shape: (height, width) in pixels of the picture that 2-D coordinates are of; None if the file does not say, and
        of 3-D.
    label: The class number that the file has, None if it has none.
    """

    name: str
    keypoint: NDArray[np.float16]
    score: NDArray[np.float16]
    img_shape: tuple[int, int] | None
    label: int | None = None

    @property
    def digest(self) -> str:
        """The sha256 of its joints, their scores and the picture's size, under whatever name and label."""
        content = sha256(repr((self.keypoint.shape, self.img_shape)).encode())
        content.update(np.ascontiguousarray(self.keypoint).data)
        content.update(np.ascontiguousarray(self.score).data)
        return content.hexdigest()


class Fault(NamedTuple):
    """A clip of a file that cannot be used; `reason` and `message` are those of `BadItem`."""

    name: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class SkeletonFile:
    """What a file holds: skeletons in its order, its split lists by their names, and the clips that are not usable."""

    skeletons: tuple[Skeleton, ...]
    splits: Mapping[str, tuple[str, ...]]
    faults: tuple[Fault, ...]


def make_skeleton(
    name: str,
    keypoint: NDArray[Any],
    score: NDArray[Any] | None,
    *,
    layout: Layout,
    max_persons: int,
    img_shape: tuple[int, int] | None = None,
    label: int | None = None,
) -> Skeleton:
    """Return a checked skeleton of float16, of at most `max_persons` persons (`clean.most_seen`).

    A joint counts as not seen where its score is 0 or its coordinates are all 0, as pyskl has it; then both become 0.
    Scores of up to 1.5 become 1: they are peaks of regressed heat-maps, which overshoot.

    Args:
        name: Which clip it is of; not empty.
        keypoint: (M, T, V, C) of any real type; see `Skeleton`.
        score: (M, T, V); None: 1 where coordinates are not all 0.
        layout: Says V.
        max_persons: At least 1.
        img_shape: See `Skeleton`.
        label: See `Skeleton`.

    Raises:
        BadItem: wrong_shape, wrong_layout, empty, not_finite, out_of_range, bad_score, no_body.
    """
    _check_shapes(keypoint, score, layout)
    _check_coordinates(keypoint, layout)
    rounded = keypoint.astype(np.float16)
    seen: NDArray[np.bool_] = np.any(rounded, axis=-1)
    scores = seen.astype(np.float16) if score is None else _checked_score(score, layout)
    seen &= scores > 0
    rounded[~seen] = 0
    scores[~seen] = 0
    kept = most_seen(rounded, seen, max_persons)
    if not kept:
        raise BadItem("no_body", f"no joint is seen in any of {seen.shape[1]} frames of {seen.shape[0]} persons")
    return Skeleton(name, rounded[kept], scores[kept], img_shape if keypoint.shape[-1] == 2 else None, label)


def _check_shapes(keypoint: NDArray[Any], score: NDArray[Any] | None, layout: Layout) -> None:
    for what, values in (("keypoint", keypoint), ("keypoint_score", score)):
        if values is not None and values.dtype.kind not in "fiu":
            raise BadItem("wrong_shape", f"{what}: expected real numbers, got an array of {values.dtype}")
    if keypoint.ndim != 4 or keypoint.shape[3] not in (2, 3):
        raise BadItem("wrong_shape", f"keypoint: expected (persons, frames, joints, 2 or 3), got {_shape(keypoint)}")
    num_joints = len(layout.joints)
    if keypoint.shape[2] != num_joints:
        raise BadItem(
            "wrong_layout",
            f"keypoint: expected {num_joints} joints, those of {layout.name}, got {keypoint.shape[2]} "
            f"(in {_shape(keypoint)}). Set data.skeletons.layout to the order that the file has",
        )
    if score is not None and score.shape != keypoint.shape[:3]:
        raise BadItem("wrong_shape", f"keypoint_score: expected {_shape(keypoint[..., 0])}, got {_shape(score)}")
    if not keypoint.shape[1]:
        raise BadItem("empty", "keypoint: expected at least one frame, got 0")
    if not keypoint.shape[0]:
        raise BadItem("no_body", "keypoint: expected at least one person, got 0")


def _check_coordinates(keypoint: NDArray[Any], layout: Layout) -> None:
    # In float64 a number of 64 bits and one of 16 compare alike.
    largest = np.abs(keypoint.astype(np.float64))
    if not np.isfinite(largest).all():
        where = _where(~np.isfinite(largest), layout)
        raise BadItem(
            "not_finite",
            f"keypoint: expected numbers, got {keypoint[~np.isfinite(largest)][0]} at {where}. "
            "Write 0, and a score of 0, for a joint that is not seen",
        )
    if (too_large := largest > _LARGEST_FLOAT16).any():
        raise BadItem(
            "out_of_range",
            f"keypoint: expected pixels, or metres, of at most {_LARGEST_FLOAT16} (float16), "
            f"got {keypoint[too_large][0]:g} at {_where(too_large, layout)}",
        )


def _checked_score(score: NDArray[Any], layout: Layout) -> NDArray[np.float16]:
    wide = score.astype(np.float64)
    # ~ of a comparison: NaN is wrong too.
    if (wrong := ~((wide >= 0) & (wide <= _LARGEST_SCORE))).any():
        raise BadItem(
            "bad_score",
            f"keypoint_score: expected 0 to 1, got {wide[wrong][0]:g} at {_where(wrong, layout)}. "
            "Scale the scores, or write 0 for a joint that is not seen",
        )
    return np.minimum(wide, 1).astype(np.float16)


def _shape(values: NDArray[Any]) -> str:
    return "x".join(map(str, values.shape)) or "one number"


def _where(wrong: NDArray[np.bool_], layout: Layout) -> str:
    """Return the first place that is wrong, in words."""
    person, frame, joint, *_ = (int(index[0]) for index in np.nonzero(wrong))
    return f"person {person}, frame {frame}, joint {joint} ({layout.joints[joint]})"


def check_size(num_values: int, where: str) -> None:
    """Stop before so many coordinates are given memory.

    Raises:
        BadItem: too_large.
    """
    if num_values > MAX_VALUES:
        raise BadItem(
            "too_large", f"{where}: {num_values} coordinates, more than the {MAX_VALUES} that one clip may have"
        )


def one_dimension(skeletons: Sequence[Skeleton]) -> tuple[tuple[Skeleton, ...], list[Fault]]:
    """Return the skeletons with as many coordinates a joint as the first one has, and a fault for each other one."""
    if not skeletons:
        return (), []
    expected = skeletons[0].keypoint.shape[-1]
    faults = [
        Fault(
            s.name,
            "wrong_shape",
            f"keypoint: expected {expected} coordinates a joint, as in {skeletons[0].name}, got {s.keypoint.shape[-1]}",
        )
        for s in skeletons
        if s.keypoint.shape[-1] != expected
    ]
    return tuple(s for s in skeletons if s.keypoint.shape[-1] == expected), faults
