"""Keypoints in COCO's JSON: pictures, and the people in them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actrec.errors import BadItem
from actrec.pose.keypoint_files import Gathered, Points, add_points
from actrec.pose.layouts import Layout
from actrec.pose.skeleton import SkeletonFile

# As objects of Python it takes ten times the memory.
_MAX_BYTES = 2**30
_FRAME_NUMBER = re.compile(r"([0-9]{1,9})[^0-9]*\Z", re.ASCII)
_FLAGS = {0, 1, 2}


@dataclass(slots=True)
class _Clip:
    points: Points = field(default_factory=Points)
    first: int = 0
    last: int = 0
    fault: BadItem | None = None


def read_coco_json(path: Path, *, layout: Layout, max_persons: int) -> SkeletonFile:
    """Return the skeletons of a JSON file in COCO's layout, in the order in which their clips come up in its images.

    {"images": [{"id", "file_name", "width", "height"}, …], "annotations": [{"image_id", "keypoints"}, …]}, of which

    - an image is a frame: its clip is `video` and its number `frame`, if it has these; else its `file_name` is
      "<clip>/<frame>.jpg", where the last number of the last part is that of the frame. The clip's smallest number is
      its first frame, its largest its last one, whether or not anybody is in them
    - `width` and `height` are optional: without them, the size of the clip's video has to be taken
    - `keypoints` is x, y, v of each joint in turn, in pixels. If all v of a person are 0, 1 or 2, they are COCO's
      flags: 0 is not seen, 1 and 2 are a score of 1. Else they are scores from 0 to 1
    - a person is the same one in all frames by `track_id`; without it, by the order of annotations in the image

    Other entries are not looked at; annotations without `keypoints` are passed over. See `keypoint_files` for data of
    other tools.

    Args:
        path: The file.
        layout: Of its joints.
        max_persons: See `skeleton.make_skeleton`.

    Raises:
        BadItem: malformed, if it is no such file; too_large.
    """
    content = _content(path)
    clips: dict[str, _Clip] = {}
    images: dict[int | str, tuple[_Clip, int]] = {}
    for number, image in enumerate(content["images"]):
        _add_image(number, image, clips, images)
    orders: dict[int | str, int] = {}
    for number, annotation in enumerate(content["annotations"]):
        _add_annotation(f"annotations[{number}]", annotation, images, orders, layout)
    gathered = Gathered()
    for name, clip in clips.items():
        if clip.fault:
            gathered.fail(name, clip.fault)
            continue
        for at, frame in enumerate(clip.points.frames):
            clip.points.frames[at] = frame - clip.first
        num_frames = clip.last - clip.first + 1
        add_points(gathered, name, clip.points, num_frames, layout=layout, max_persons=max_persons)
    return gathered.file()


def _content(path: Path) -> Mapping[str, list[Any]]:
    if (size := path.stat().st_size) > _MAX_BYTES:
        raise BadItem("too_large", f"{size} bytes, more than the {_MAX_BYTES} of a JSON file. Write it as npz")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BadItem("malformed", f"expected JSON, got another file ({error})") from None
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in ("images", "annotations")):
        got = ", ".join(list(content)[:5]) if isinstance(content, dict) else type(content).__name__
        raise BadItem("malformed", f"expected {{'images': […], 'annotations': […]}}, got {got or 'nothing'}")
    return content


def _add_image(number: int, image: Any, clips: dict[str, _Clip], images: dict[int | str, tuple[_Clip, int]]) -> None:
    match image:
        case {"id": int() | str() as image_id}:
            name, frame = _clip_and_frame(f"images[{number}]", image)
        case _:
            raise BadItem("malformed", f"images[{number}]: expected an object with an 'id'")
    if image_id in images:
        raise BadItem("malformed", f"images[{number}]: id {str(image_id)[:40]} is there twice")
    clip = clips.setdefault(name, _Clip(first=frame, last=frame))
    clip.first, clip.last = min(clip.first, frame), max(clip.last, frame)
    images[image_id] = clip, frame
    shape = image.get("height"), image.get("width")
    if shape == (None, None):
        return
    is_size = all(type(side) is int and 0 < side < 2**31 for side in shape)
    if not is_size or clip.points.img_shape not in (None, shape):
        expected = f"{clip.points.img_shape} as before" if is_size else "pixels"
        message = f"images[{number}]: height, width: expected {expected}, got {shape}"
        clip.fault = clip.fault or BadItem("wrong_shape", message)
    else:
        clip.points.img_shape = shape


def _clip_and_frame(where: str, image: Mapping[str, Any]) -> tuple[str, int]:
    match image:
        case {"video": str(name), "frame": int(frame)} if name and 0 <= frame < 10**9:
            return name, frame
        case {"file_name": str(file_name)} if "video" not in image:
            name, _, last = file_name.replace("\\", "/").rpartition("/")
            found = _FRAME_NUMBER.search(last.rpartition(".")[0] or last)
            if name and found:
                return name, int(found[1])
    raise BadItem(
        "malformed", f"{where}: expected 'video' and 'frame', or a 'file_name' such as clip7/00012.jpg, got neither"
    )


def _add_annotation(
    where: str,
    annotation: Any,
    images: Mapping[int | str, tuple[_Clip, int]],
    orders: dict[int | str, int],
    layout: Layout,
) -> None:
    match annotation:
        case {"image_id": int() | str() as image_id} if image_id in images:
            clip, frame = images[image_id]
        case _:
            raise BadItem("malformed", f"{where}: expected an object with the 'image_id' of an image")
    if annotation.get("keypoints") is None:
        return
    order = orders[image_id] = orders.get(image_id, -1) + 1
    person = annotation.get("track_id", order)
    try:
        if type(person) is not int:
            raise BadItem("malformed", f"'track_id': expected a whole number, got {type(person).__name__}")
        _add_person(clip.points, frame, person, annotation["keypoints"], layout)
    except BadItem as error:
        clip.fault = clip.fault or BadItem(error.reason, f"{where}: {error.message}")


def _add_person(points: Points, frame: int, person: int, values: Any, layout: Layout) -> None:
    expected = 3 * len(layout.joints)
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
        raise BadItem("malformed", "'keypoints': expected a list of numbers")
    if len(values) != expected:
        raise BadItem(
            "wrong_layout", f"'keypoints': expected x, y, v of {layout.name}, {expected} numbers, got {len(values)}"
        )
    try:
        numbers = [float(value) for value in values]
    except OverflowError:
        raise BadItem("out_of_range", "'keypoints': expected pixels, got a number beyond any") from None
    scores = numbers[2::3]
    if set(scores) <= _FLAGS:
        scores = [float(score > 0) for score in scores]
    for joint, score in enumerate(scores):
        seen = score != 0
        points.add(frame, person, joint, numbers[3 * joint : 3 * joint + 2] if seen else (0.0, 0.0), score)
