"""Keypoints in a table, one row a joint."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actrec.errors import BadItem
from actrec.pose.keypoint_files import Gathered, Points, add_points
from actrec.pose.layouts import Layout
from actrec.pose.skeleton import SkeletonFile

_NEEDED = ("name", "frame", "person", "joint", "x", "y")
_OPTIONAL = ("z", "score", "width", "height")


def read_csv(path: Path, *, layout: Layout, max_persons: int) -> SkeletonFile:
    """Return the skeletons of a table of UTF-8, separated by commas, in the order in which their names come up.

    Its first row names the columns, in any order; others than these are not looked at:

    - `name`: the clip
    - `frame`: from 0; the clip ends with its last frame that has a row
    - `person`: a whole number, the same for one person in all frames
    - `joint`: its name in the layout, or its number from 0
    - `x`, `y`, and for 3-D joints `z`
    - `score`, optional: 0 to 1; without the column 1
    - `width`, `height`, optional: of the clip's picture in pixels; without them, the size of its video has to be taken

    Rows come in any order. A joint that is not seen has no row, or one with empty coordinates or a score of 0.
    See `keypoint_files` for units and for data of other tools.

    Args:
        path: The file.
        layout: Of its joints.
        max_persons: See `skeleton.make_skeleton`.

    Raises:
        BadItem: malformed, if it is no such table.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            clips, failed = _clips(csv.reader(file, strict=True), layout)
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadItem("malformed", f"expected a table of UTF-8 with commas, got another file ({error})") from None
    gathered = Gathered()
    for name, points in clips.items():
        if name not in failed:
            num_frames = max(points.frames) + 1
            add_points(gathered, name, points, num_frames, layout=layout, max_persons=max_persons)
    for name, error in failed.items():
        gathered.fail(name, error)
    return gathered.file()


def _clips(reader: Any, layout: Layout) -> tuple[dict[str, Points], dict[str, BadItem]]:
    """Return the joints of each clip, and of each clip with a bad row what is wrong with the first such row."""
    columns = _Columns([name.strip() for name in next(reader, [])], layout)
    clips: dict[str, Points] = {}
    failed: dict[str, BadItem] = {}
    for cells in reader:
        name = columns.name(cells)
        if name in failed or not any(cells):
            continue
        try:
            if not name:
                raise BadItem("no_name", "expected the name of a clip, got nothing")
            columns.add(clips.setdefault(name, Points()), cells)
        except BadItem as error:
            row = f"row {reader.line_num}"
            failed[name or row] = BadItem(error.reason, f"{row}: {error.message}")
    return clips, failed


class _Columns:
    """Where each column is, and how its cells are read."""

    def __init__(self, header: list[str], layout: Layout) -> None:
        if missing := [name for name in _NEEDED if name not in header]:
            raise BadItem(
                "malformed",
                f"row 1: expected columns {', '.join(_NEEDED)}, got {', '.join(header)[:200] or 'nothing'}: "
                f"{', '.join(missing)} not there",
            )
        self._at = {name: header.index(name) for name in (*_NEEDED, *_OPTIONAL) if name in header}
        self._axes = [axis for axis in ("x", "y", "z") if axis in self._at]
        self._layout = layout
        self._joints = {name: number for number, name in enumerate(layout.joints)}

    def name(self, cells: Sequence[str]) -> str:
        """Return the clip of a row."""
        return self._cell(cells, "name")

    def add(self, points: Points, cells: Sequence[str]) -> None:
        """Add the joint of a row to its clip.

        Raises:
            BadItem: malformed; wrong_layout; wrong_shape.
        """
        frame, person = self._whole(cells, "frame", least=0), self._whole(cells, "person")
        joint = self._joint(self._cell(cells, "joint"))
        self._check_picture(points, cells)
        texts = [self._cell(cells, axis) for axis in self._axes]
        if any(texts):
            coordinates = [self._number(axis, text) for axis, text in zip(self._axes, texts, strict=True)]
            score = self._number("score", self._cell(cells, "score")) if "score" in self._at else 1.0
        else:
            coordinates, score = [0.0] * len(self._axes), 0.0
        points.add(frame, person, joint, coordinates, score)

    def _cell(self, cells: Sequence[str], name: str) -> str:
        at = self._at[name]
        return cells[at].strip() if at < len(cells) else ""

    def _whole(self, cells: Sequence[str], name: str, *, least: float = -math.inf) -> int:
        text = self._cell(cells, name)
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < least:
            raise BadItem("malformed", f"{name}: expected a whole number{' from 0' * (least == 0)}, got '{text[:40]}'")
        return value

    def _number(self, name: str, text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise BadItem("malformed", f"{name}: expected a number, got '{text[:40]}'") from None

    def _joint(self, text: str) -> int:
        joint = int(text) if text.isdecimal() and len(text) < 9 else self._joints.get(text, -1)
        if not 0 <= joint < len(self._joints):
            raise BadItem(
                "wrong_layout",
                f"joint: expected 0 to {len(self._joints) - 1} or a joint of {self._layout.name}, got '{text[:40]}'",
            )
        return joint

    def _check_picture(self, points: Points, cells: Sequence[str]) -> None:
        if not {"width", "height"} <= self._at.keys():
            return
        shape = self._whole(cells, "height", least=0), self._whole(cells, "width", least=0)
        if 0 in shape or points.img_shape not in (None, shape):
            expected = "pixels" if 0 in shape else f"{points.img_shape} as before"
            raise BadItem("wrong_shape", f"height, width: expected {expected}, got {shape}")
        points.img_shape = shape
