"""Skeletons out of the pictures themselves, for videos that have none: RTMO through ONNX Runtime (actrec[pose]).

The weights are a file of the user's; nothing is fetched. RTMO finds all people of a picture and their 17 joints of
coco17 in one pass; who is who from frame to frame is decided here, by how far boxes overlap.
"""

import importlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from actrec.errors import BadItem, UserError
from actrec.pose.layouts import LAYOUTS
from actrec.pose.skeleton import Skeleton, make_skeleton
from actrec.words import counted

_LAYOUT = LAYOUTS["coco17"]
_JOINTS = len(_LAYOUT.joints)
# Source: RTMO's own demo (rtmlib, Apache-2.0): grey of the padding, least score of a person, most overlap of two.
_GREY = 114.0
_LEAST_SCORE = 0.7
_MOST_OVERLAP = 0.45
# Less, and it is somebody else.
_SAME_PERSON_OVERLAP = 0.3
# Without being seen; then whoever comes is somebody else.
_MOST_LOST_FRAMES = 30
_WHERE_FROM = (
    "the ONNX file of an RTMO model for the 17 joints of COCO, such as rtmo-s (Apache-2.0; MMPose, projects/rtmo, "
    "'onnx_sdk': the end2end.onnx in its zip)"
)

Frame = NDArray[np.uint8]


class Session(Protocol):
    """What is used of onnxruntime.InferenceSession."""

    def get_inputs(self) -> Sequence[Any]:
        """Return the inputs, with name and shape."""
        ...

    def run(self, output_names: None, feed: dict[str, NDArray[np.float32]]) -> Sequence[Any]:
        """Return all outputs."""
        ...


@dataclass(frozen=True, slots=True)
class Detections:
    """The n people in one picture: boxes (n, 4) x0 y0 x1 y1, joints (n, 17, 2) in its pixels, their scores (n, 17)."""

    boxes: NDArray[np.float32]
    joints: NDArray[np.float32]
    scores: NDArray[np.float32]


class PoseModel:
    """Finds people and their joints in pictures.

    Args:
        session: Of an RTMO model: input (1, 3, h, w) of BGR from 0 to 255; outputs (1, n, 5), boxes and the score of
            each person, and (1, n, 17, 3), joints and their scores.

    Raises:
        UserError: if the model takes something else.

    Source: P. Lu et al., RTMO, CVPR 2024; the exported graph's inputs and outputs as rtmlib uses them.
    """

    def __init__(self, session: Session) -> None:
        inputs = session.get_inputs()
        shape = list(inputs[0].shape) if len(inputs) == 1 else []
        if len(shape) != 4 or shape[1] != 3 or not all(isinstance(side, int) for side in shape[2:]):
            raise UserError(f"the model takes {[list(i.shape) for i in inputs]}, expected [1, 3, h, w]. {_needed()}")
        self._session = session
        self._input = str(inputs[0].name)
        self._height, self._width = shape[2:]

    def people(self, frame: Frame) -> Detections:
        """Return who is in a picture, uint8 RGB (H, W, 3), best first.

        Raises:
            UserError: if the model gives something else.
        """
        ratio = min(self._height / frame.shape[0], self._width / frame.shape[1])
        outputs = self._session.run(None, {self._input: self._padded(frame, ratio)})
        shapes = [np.shape(output) for output in outputs]
        num_people = shapes[0][1:2]
        if shapes != [(1, *num_people, 5), (1, *num_people, _JOINTS, 3)]:
            raise UserError(f"the model gives {shapes}, expected [(1, n, 5), (1, n, {_JOINTS}, 3)]. {_needed()}")
        found, joints = (np.asarray(output[0], np.float32) for output in outputs)
        kept = _without_doubles(found[:, :4], found[:, 4])
        return Detections(found[kept, :4] / ratio, joints[kept, :, :2] / ratio, np.clip(joints[kept, :, 2], 0, 1))

    def _padded(self, frame: Frame, ratio: float) -> NDArray[np.float32]:
        """Return the picture as the model wants it: shrunk into the upper left, grey below or to the right of it."""
        height, width = (max(round(side * ratio), 1) for side in frame.shape[:2])
        padded = np.full((1, 3, self._height, self._width), _GREY, np.float32)
        padded[0, :, :height, :width] = _resized(frame, height, width)[..., ::-1].transpose(2, 0, 1)
        return padded


def open_model(weights: Path, *, threads: int) -> PoseModel:
    """Return the model in an ONNX file, on `threads` threads.

    Raises:
        UserError: if the file is not there, ONNX Runtime is not installed, or it is no such model.
    """
    if not weights.is_file():
        raise UserError(f"{weights}: there is no such file. {_needed()}")
    try:
        onnxruntime = importlib.import_module("onnxruntime")
    except ImportError:
        raise UserError("finding joints in pictures needs ONNX Runtime: pip install 'actrec[pose]'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no base but this
        raise UserError(f"{weights}: not a model that ONNX Runtime reads ({str(error)[:200]}). {_needed()}") from None
    return PoseModel(session)


def _needed() -> str:
    return f"Put {_WHERE_FROM} where you like, and give its path"


def extract_skeleton(name: str, frames: Iterable[Frame], model: PoseModel, *, max_persons: int) -> Skeleton:
    """Return the skeleton of a clip, coco17 in pixels.

    A person of one frame is the one of an earlier frame, at most 30 frames before, whose box overlaps most, best pairs
    first, if the overlap is 0.3 at least (intersection over union).

    Args:
        name: Of the clip.
        frames: All its pictures in order, uint8 RGB (H, W, 3), of one size.
        model: What `open_model` gives.
        max_persons: How many of them are kept; which, `clean.most_seen` says.

    Raises:
        BadItem: empty, without frames; no_body, if nobody is in them.
    """
    tracks: list[_Track] = []
    shape: tuple[int, int] | None = None
    number = -1
    for number, frame in enumerate(frames):
        shape = frame.shape[0], frame.shape[1]
        _follow(tracks, number, model.people(frame))
    if shape is None:
        raise BadItem("empty", "expected at least one frame, got 0")
    if not tracks:
        raise BadItem("no_body", f"nobody is found in {counted(number + 1, 'frame')}")
    keypoint, score = np.zeros((len(tracks), number + 1, _JOINTS, 2)), np.zeros((len(tracks), number + 1, _JOINTS))
    for person, track in enumerate(tracks):
        keypoint[person, track.frames], score[person, track.frames] = np.stack(track.joints), np.stack(track.scores)
    return make_skeleton(name, keypoint, score, layout=_LAYOUT, max_persons=max_persons, img_shape=shape)


@dataclass(slots=True)
class _Track:
    """One person through a clip; `box` is the last one."""

    box: NDArray[np.float32]
    frames: list[int] = field(default_factory=list)
    joints: list[NDArray[np.float32]] = field(default_factory=list)
    scores: list[NDArray[np.float32]] = field(default_factory=list)


def _follow(tracks: list[_Track], frame: int, people: Detections) -> None:
    """Add the people of one frame to the tracks that they belong to, or to new ones."""
    alive = [track for track in tracks if frame - track.frames[-1] <= _MOST_LOST_FRAMES]
    boxes = np.array([track.box for track in alive], np.float32).reshape(-1, 4)
    overlaps = _overlaps(boxes, people.boxes)
    track_of: dict[int, _Track] = {}
    while overlaps.size and overlaps.max() >= _SAME_PERSON_OVERLAP:
        row, person = np.unravel_index(int(overlaps.argmax()), overlaps.shape)
        track_of[int(person)] = alive[int(row)]
        overlaps[row], overlaps[:, person] = 0, 0
    for person, box in enumerate(people.boxes):
        if person not in track_of:
            tracks.append(track_of.setdefault(person, _Track(box)))
        track = track_of[person]
        track.box = box
        track.frames.append(frame)
        track.joints.append(people.joints[person])
        track.scores.append(people.scores[person])


def _overlaps(ones: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return intersection over union of each pair of boxes (n, 4) and (m, 4), as (n, m)."""
    low = np.maximum(ones[:, None, :2], others[None, :, :2])
    high = np.minimum(ones[:, None, 2:], others[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1) for boxes in (ones, others)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, np.float32(1e-6))


def _without_doubles(boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> list[int]:
    """Return the people that are sure enough, best first, each once: a box is dropped if a better one covers it."""
    kept: list[int] = []
    for person in np.argsort(-scores, kind="stable").tolist():
        if scores[person] >= _LEAST_SCORE and not (_overlaps(boxes[kept], boxes[[person]]) > _MOST_OVERLAP).any():
            kept.append(person)
    return kept


def _resized(frame: Frame, height: int, width: int) -> NDArray[np.float32]:
    """Return the picture at another size by linear interpolation between the four pixels around each place."""
    top, bottom, down = _neighbours(frame.shape[0], height)
    left, right, along = _neighbours(frame.shape[1], width)
    values: NDArray[Any] = frame.astype(np.float32)
    values = values[top] + (values[bottom] - values[top]) * down[:, None, None]
    return values[:, left] + (values[:, right] - values[:, left]) * along[None, :, None]


def _neighbours(size: int, new_size: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return for each new pixel the old ones before and after its centre, and how far it is from the first."""
    place = np.clip((np.arange(new_size) + 0.5) * size / new_size - 0.5, 0, size - 1)
    before = place.astype(np.int64)
    return before, np.minimum(before + 1, size - 1), (place - before).astype(np.float32)
