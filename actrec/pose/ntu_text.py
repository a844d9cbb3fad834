"""NTU RGB+D's raw `.skeleton` text: the bodies that a Kinect v2 tracked in one clip."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actrec.errors import BadItem
from actrec.pose.clean import Body, clean_bodies
from actrec.pose.layouts import LAYOUTS, Layout
from actrec.pose.skeleton import Skeleton, make_skeleton

# Of the Kinect v2's colour camera, whose pixels colorX and colorY are.
_COLOUR_SHAPE = (1080, 1920)
_JOINTS = len(LAYOUTS["ntu25"].joints)
_BODY_NUMBERS, _JOINT_NUMBERS = 10, 12
_XYZ, _COLOUR = slice(0, 3), slice(5, 7)
# The largest of NTU RGB+D's own files has about 2 MB.
_MAX_BYTES = 64 * 2**20


def read_ntu_text(path: Path, *, dims: int, layout: Layout, max_persons: int) -> Skeleton:
    """Return the cleaned skeleton of one file; its name is that of the file, without the suffix.

    The text: a line with the number of frames; for each frame a line with the number of bodies; for each body a line of
    10 numbers of which the first is its id, a line with the number of joints (25), and for each joint 12 numbers: x y z
    in metres, depthX depthY, colorX colorY in pixels, four of orientation, tracking state. Frames without any body are
    left out, as pyskl does, so T is at most the number of frames of the video. Bodies are cleaned by
    `clean.clean_bodies` on x y z, whatever `dims` says. A score is 1 where a body is seen, and 0 elsewhere.

    Args:
        path: The file.
        dims: 3 gives x y z; 2 gives colorX colorY, of a picture of 1920x1080, where a joint whose place in the picture
            the sensor could not tell (NaN or infinite in the file) is not seen.
        layout: Must be ntu25.
        max_persons: At least 1; the cleaning leaves two at most.

    Raises:
        BadItem: malformed, with the number of the line; too_large; empty; no_body; not_finite; as `make_skeleton`.

    Source: the layout of the text is that of NTU RGB+D's own reader (shahroudy/NTURGB-D).
    """
    bodies = _bodies(_read_lines(path))
    tracked = [Body(np.array(frames), np.stack(joints)[..., _XYZ]) for frames, joints in bodies]
    slots, first, end = clean_bodies(tracked)
    keypoint = np.zeros((len(slots), end - first, _JOINTS, dims))
    for slot, body_at in enumerate(slots):
        for body in set(body_at[body_at >= 0].tolist()):
            frames, joints = bodies[body]
            keypoint[slot, np.array(frames) - first] = np.stack(joints)[..., _XYZ if dims == 3 else _COLOUR]
    if dims == 2:
        keypoint[~np.isfinite(keypoint).all(axis=-1)] = 0
    return make_skeleton(
        path.stem,
        keypoint,
        None,
        layout=layout,
        max_persons=max_persons,
        img_shape=_COLOUR_SHAPE if dims == 2 else None,
    )


class _Lines:
    """The lines of a file, read one after another; remembers which one it is at, for messages."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self.number = 0

    def next(self, expected: str) -> str:
        """Return the next line; `expected` says what it should be."""
        if self.number == len(self._lines):
            raise BadItem("malformed", f"line {self.number + 1}: expected {expected}, got the end of the file")
        self.number += 1
        return self._lines[self.number - 1]

    def count(self, what: str) -> int:
        """Return the number that is alone on the next line."""
        line = self.next(f"the number of {what}").strip()
        if not (line.isdecimal() and len(line) <= 9):
            raise self.fault(f"the number of {what}", line)
        return int(line)

    def fault(self, expected: str, got: str) -> BadItem:
        """Return the error for the line that was read last."""
        return BadItem("malformed", f"line {self.number}: expected {expected}, got '{got[:60]}'")

    def check_end(self, num_frames: int) -> None:
        """Stop if anything is left."""
        for line in self._lines[self.number :]:
            self.number += 1
            if line.strip():
                raise self.fault(f"the end of the file after {num_frames} frames", line)


def _read_lines(path: Path) -> _Lines:
    if (size := path.stat().st_size) > _MAX_BYTES:
        raise BadItem("too_large", f"{size} bytes, more than the {_MAX_BYTES} that a .skeleton file may have")
    try:
        # Not splitlines(), which knows eight more line ends than an editor that counts lines.
        lines = path.read_bytes().decode("ascii").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        raise BadItem(
            "malformed", f"byte {error.start}: expected plain text, got 0x{error.object[error.start]:02x}"
        ) from None
    return _Lines(lines[:-1] if lines[-1] == "" else lines)


def _bodies(lines: _Lines) -> list[tuple[list[int], list[NDArray[np.float64]]]]:
    """Return of each body its frames, counted from 0 without those that hold no body, and its joints (25, 12) there."""
    num_frames = lines.count("frames")
    bodies: dict[str, tuple[list[int], list[NDArray[np.float64]]]] = {}
    num_taken = 0
    for _ in range(num_frames):
        ids: set[str] = set()
        for _ in range(lines.count("bodies")):
            body_id = _body_id(lines)
            if body_id in ids:
                raise BadItem("malformed", f"line {lines.number}: body {body_id} is in this frame twice")
            ids.add(body_id)
            frames, joints = bodies.setdefault(body_id, ([], []))
            frames.append(num_taken)
            joints.append(_joints(lines))
        num_taken += bool(ids)
    lines.check_end(num_frames)
    if not num_frames:
        raise BadItem("empty", "line 1: expected at least one frame, got 0")
    if not bodies:
        raise BadItem("no_body", f"none of {num_frames} frames has a body")
    return list(bodies.values())


def _body_id(lines: _Lines) -> str:
    expected = f"a body: {_BODY_NUMBERS} numbers, its id first"
    line = lines.next(expected)
    numbers = line.split()
    if len(numbers) != _BODY_NUMBERS or not numbers[0].isdecimal():
        raise lines.fault(expected, line)
    return numbers[0]


def _joints(lines: _Lines) -> NDArray[np.float64]:
    if (num_joints := lines.count("joints")) != _JOINTS:
        raise lines.fault(f"{_JOINTS} joints", str(num_joints))
    return np.array(list(_numbers_of_joints(lines)))


def _numbers_of_joints(lines: _Lines) -> Iterator[list[float]]:
    expected = f"a joint: {_JOINT_NUMBERS} numbers, x y z first"
    for _ in range(_JOINTS):
        line = lines.next(expected)
        try:
            numbers = [float(text) for text in line.split()]
        except ValueError:
            raise lines.fault(expected, line) from None
        if len(numbers) != _JOINT_NUMBERS:
            raise lines.fault(expected, line)
        if not np.isfinite(numbers[0] + numbers[1] + numbers[2]):
            raise BadItem("not_finite", f"line {lines.number}: expected x y z in metres, got '{line[:60]}'")
        yield numbers
