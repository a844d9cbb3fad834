"""Whom a clip is about, where it is about certain people of a picture: their boxes, and what is around them."""

import json
import math
from dataclasses import dataclass
from typing import Self

from actrec.media.facts import Box

UNSEEN: Box = (math.nan, math.nan, math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class People:
    """The people of one clip.

    Args:
        boxes: (x, y, width, height) of each in pixels of the upright picture, x and y its upper left corner. Of a pair
            the order is that of the table; a box of a panorama may reach beyond one of its edges. UNSEEN of those
            whom nobody has seen: they never get into a manifest.
        persons: Everybody who is in the picture.
        wraps: The picture is a panorama all round: its left and right edge meet.
    """

    boxes: tuple[Box, ...]
    persons: int
    wraps: bool

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return what `dump` has written; None for ""."""
        if not text:
            return None
        found = json.loads(text)
        boxes = tuple((float(x), float(y), float(w), float(h)) for x, y, w, h in found["boxes"])
        return cls(boxes, int(found["persons"]), bool(found["wraps"]))

    def dump(self) -> str:
        """Return one line of JSON."""
        return json.dumps({"boxes": self.boxes, "persons": self.persons, "wraps": self.wraps}, separators=(",", ":"))


def is_unseen(box: Box) -> bool:
    """Tell whether a box says that nobody has seen its person."""
    return any(map(math.isnan, box))


def box_fault(box: Box, *, width_px: int, height_px: int, wraps: bool) -> tuple[str, str] | None:
    """Return the reason code and the message why nobody can be cut out of a picture by a box; None if it can be.

    What has no fault shows at least a pixel of the picture in both directions, so that its crop is never empty.

    Args:
        box: See `People`.
        width_px: Of the picture.
        height_px: Of the picture.
        wraps: See `People`.
    """
    if is_unseen(box):
        return "unknown_person", "no box says where in the picture this person is"
    x, y, width, height = box
    shown = f"x={x:g} y={y:g} w={width:g} h={height:g}"
    if width < 0 or height < 0:
        return "swapped_corners", f"{shown}: the second corner is left of or above the first"
    if width < 1 or height < 1:
        return "empty_box", f"{shown}: less than one pixel"
    if wraps and width > width_px:
        return "box_outside", f"{shown}: wider than the panorama of {width_px} pixels"
    # Of a panorama a box may begin before the seam or end after it, but not go round.
    left, right = (-width_px, 2 * width_px) if wraps else (0, width_px)
    if min(x + width, right) - max(x, left) < 1 or min(y + height, height_px) - max(y, 0) < 1:
        return "box_outside", f"{shown}: less than a pixel of it is in the picture of {width_px}x{height_px}"
    return None
