"""Plain files of keypoints, for what is no benchmark: npz, csv and COCO JSON, out of MediaPipe, OpenPose or a Kinect.

In all three, 2-D coordinates are pixels of the picture, x to the right and y down; tools that give fractions need x
times the width and y times the height (MediaPipe). 3-D coordinates are metres, y up. A joint that is not seen has a
score of 0. The joints must be those of the layout (`layouts.LAYOUTS`). Out of MediaPipe's 33 landmarks, or OpenPose's
25 or 18 points, coco17 takes these, for arrays whose last axes are joints and coordinates:

    from actrec.pose.layouts import TO_COCO17
    keypoint = landmarks[..., TO_COCO17["mediapipe33"], :]      # or "openpose25", "openpose18"

MediaPipe's `visibility` is a score. OpenPose writes a file for each frame, whose `people[i].pose_keypoints_2d` is x, y
and score of each point in turn; it does not follow people, so that the i-th person of one frame may be another one in
the next. UTKinect's text (a frame number, then x y z of 20 joints a line) is utkinect20 as it is:

    table = np.loadtxt("joints_s01_e01.txt")
    arrays["s01_e01/keypoint"] = table[:, 1:].reshape(1, -1, 20, 3)
    np.savez("skeletons.npz", **arrays)
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from actrec.errors import BadItem
from actrec.pose.layouts import Layout
from actrec.pose.skeleton import Fault, Skeleton, SkeletonFile, check_size, make_skeleton

# 4 GB of float16. NTU RGB+D 120 has a fifth of it.
_MAX_FILE_VALUES = 2**31


class Gathered:
    """The skeletons and faults of a file, as they come; keeps count of the memory that they take."""

    def __init__(self) -> None:
        self._skeletons: list[Skeleton] = []
        self._faults: list[Fault] = []
        self._num_values = 0

    def reserve(self, num_values: int, where: str) -> None:
        """Stop before a clip of so many coordinates is given memory.

        Raises:
            BadItem: too_large.
        """
        check_size(num_values, where)
        self._num_values += num_values
        if self._num_values > _MAX_FILE_VALUES:
            raise BadItem("too_large", f"{where}: more than {_MAX_FILE_VALUES} coordinates in one file")

    def add(self, skeleton: Skeleton) -> None:
        """Take a skeleton."""
        self._skeletons.append(skeleton)

    def fail(self, name: str, error: BadItem) -> None:
        """Take a clip that cannot be used."""
        self._faults.append(Fault(name, error.reason, error.message))

    def file(self) -> SkeletonFile:
        """Return all of it."""
        return SkeletonFile(tuple(self._skeletons), {}, tuple(self._faults))


@dataclass(slots=True)
class Points:
    """The joints of one clip as they come out of a table: where each belongs, and its coordinates."""

    frames: array[int] = field(default_factory=lambda: array("q"))
    persons: array[int] = field(default_factory=lambda: array("q"))
    joints: array[int] = field(default_factory=lambda: array("q"))
    coordinates: array[float] = field(default_factory=lambda: array("d"))
    scores: array[float] = field(default_factory=lambda: array("d"))
    img_shape: tuple[int, int] | None = None

    def add(self, frame: int, person: int, joint: int, coordinates: Sequence[float], score: float) -> None:
        """Take one joint.

        Raises:
            BadItem: malformed, if a number does not fit into 64 bits.
        """
        try:
            self.frames.append(frame)
            self.persons.append(person)
        except OverflowError:
            raise BadItem("malformed", f"expected numbers of 64 bits, got frame {frame}, person {person}") from None
        self.joints.append(joint)
        self.coordinates.extend(coordinates)
        self.scores.append(score)


def add_points(
    gathered: Gathered, name: str, points: Points, num_frames: int, *, layout: Layout, max_persons: int
) -> None:
    """Make the joints of a clip one skeleton, whose persons are in the order of their numbers, or a fault."""
    try:
        keypoint, score = _dense(gathered, points, num_frames, layout)
        gathered.add(
            make_skeleton(name, keypoint, score, layout=layout, max_persons=max_persons, img_shape=points.img_shape)
        )
    except BadItem as error:
        gathered.fail(name, error)


def _dense(
    gathered: Gathered, points: Points, num_frames: int, layout: Layout
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if not points.frames:
        raise BadItem("no_body", f"none of {num_frames} frames has a person")
    numbers, person = np.unique(np.array(points.persons, np.int64), return_inverse=True)
    frame, joint = np.array(points.frames, np.int64), np.array(points.joints, np.int64)
    shape = (len(numbers), num_frames, len(layout.joints))
    coordinates = np.array(points.coordinates).reshape(len(frame), -1)
    gathered.reserve(len(numbers) * num_frames * len(layout.joints) * coordinates.shape[1], f"{num_frames} frames")
    place = np.ravel_multi_index((person, frame, joint), shape)
    values, counts = np.unique(place, return_counts=True)
    if (counts > 1).any():
        at = np.unravel_index(int(values[counts > 1][0]), shape)
        raise BadItem(
            "duplicate",
            f"person {numbers[at[0]]}, frame {at[1]}, joint {at[2]} ({layout.joints[at[2]]}): expected once, got twice",
        )
    keypoint, score = np.zeros((*shape, coordinates.shape[1])), np.zeros(shape)
    keypoint[person, frame, joint] = coordinates
    score[person, frame, joint] = np.array(points.scores)
    return keypoint, score
