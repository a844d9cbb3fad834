"""Pairs of people in the picture that they are in, and what a model took them for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from actrec.media.facts import Box
from actrec.report import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TILE_IN = (4.6, 2.6)  # width and height: nearly 16:9
_ACROSS = 2
_TITLE_IN, _HEAD_IN, _FOOT_IN, _GAP_IN = 0.5, 0.66, 0.35, 0.15  # two lines of title
_MARKS = (("A", canvas.ORANGE), ("B", canvas.SKY))
_LINE_WIDTH, _EDGE_WIDTH = 1.5, 2.8
_LETTER_IN, _LETTER_SIZE = 0.17, 8.0  # the height of a letter on its patch, and its size in points


@dataclass(frozen=True, slots=True, eq=False)
class PairView:
    """What is shown of a picture, and where the two people are in it.

    Args:
        picture: uint8 RGB (h, w, 3), perhaps with fewer pixels than it had.
        size_px: Width and height of what it shows, in the pixels of the boxes.
        boxes: (x, y, width, height) of A and B, from the upper left corner of what is shown; may reach beyond it.
    """

    picture: npt.NDArray[np.uint8]
    size_px: tuple[int, int]
    boxes: tuple[Box, Box]


def pair_grid(pairs: Sequence[PairView], titles: Sequence[str], *, subtitle: str) -> bytes:
    """Return a PNG of pairs, two side by side.

    Args:
        pairs: At least one.
        titles: The lines above each: see `mistake_titles`.
        subtitle: The line below the heading.
    """
    across = min(_ACROSS, len(pairs))
    rows = -(-len(pairs) // across)
    width_in = (TILE_IN[0] + _GAP_IN) * across + _GAP_IN
    height_in = _HEAD_IN + (_TITLE_IN + TILE_IN[1]) * rows + _FOOT_IN
    with canvas.style():
        fig = canvas.figure(
            width_in,
            height_in,
            title="Wrong, and sure of it",
            subtitle=subtitle,
            caption="true → predicted (probability) · A orange, B blue: the first and the second box of the row",
        )
        cells = fig.subplots(rows, across, squeeze=False).flat
        for number, axes in enumerate(cells):
            axes.set_axis_off()
            if number < len(pairs):
                _draw_pair(axes, pairs[number], titles[number])
        return canvas.png(fig)


def _draw_pair(axes: "Axes", pair: PairView, title: str) -> None:
    width, height = pair.size_px
    axes.imshow(pair.picture, extent=(0, width, height, 0))
    axes.set_anchor("NW")
    axes.set_title(title, loc="left", fontsize=9.5)
    (xa, _, wa, _), (xb, _, wb, _) = pair.boxes
    sides = ("left", "right") if xa + wa / 2 <= xb + wb / 2 else ("right", "left")
    for box, (letter, colour), side in zip(pair.boxes, _MARKS, sides, strict=True):
        _draw_box(axes, box, colour)
        _draw_letter(axes, pair.size_px, box, letter, colour, side)


def _draw_box(axes: "Axes", box: Box, colour: str) -> None:
    from matplotlib.patches import Rectangle

    x, y, width, height = box
    # A dark edge keeps it apart from pictures of any colour.
    for line, width_pt in ((canvas.INK, _EDGE_WIDTH), (colour, _LINE_WIDTH)):
        axes.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=line, linewidth=width_pt))


def _draw_letter(axes: "Axes", size_px: tuple[int, int], box: Box, letter: str, colour: str, side: str) -> None:
    """Draw the letter at the outer corner of a box, where the other one's cannot be: above it if there is room."""
    x, y, width, _ = box
    px_per_in = max(size_px[0] / TILE_IN[0], size_px[1] / TILE_IN[1])
    is_above = y >= _LETTER_IN * px_per_in
    axes.text(
        min(max(x if side == "left" else x + width, 0), size_px[0]),
        max(y, 0),
        letter,
        ha=side,
        va="bottom" if is_above else "top",
        fontsize=_LETTER_SIZE,
        fontweight="bold",
        color=canvas.INK,
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.5},
    )
