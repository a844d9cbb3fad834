"""Rows of frames, a clip each, under a line of text."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from actrec.report import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_FRAMES = 6
NAME_CHARS = 26
_FRAME_IN, _GAP_IN, _TITLE_IN = 1.5, 0.06, 0.3
# Room for the heading and the caption of the figure, and at its sides.
_HEAD_IN, _FOOT_IN, _SIDE_IN = 0.66, 0.4, 0.12
_MIN_WIDTH_IN = 6.4  # two names

# Draws one frame of a row, by their numbers.
Draw = Callable[["Axes", int, int], None]


def strips(titles: Sequence[str], columns: int, draw: Draw, *, title: str, subtitle: str, caption: str) -> bytes:
    """Return a PNG with a row a clip.

    Args:
        titles: The line above each row.
        columns: Frames a row.
        draw: See `Draw`.
        title: Of the figure.
        subtitle: See `canvas.figure`.
        caption: See there.
    """
    width_in = max((_FRAME_IN + _GAP_IN) * columns - _GAP_IN + 2 * _SIDE_IN, _MIN_WIDTH_IN)
    height_in = _HEAD_IN + (_TITLE_IN + _FRAME_IN) * len(titles) + _FOOT_IN
    with canvas.style():
        fig = canvas.figure(width_in, height_in, title=title, subtitle=subtitle, caption=caption)
        fig.set_layout_engine("none")  # frames are placed by the inch, in rows under their titles
        for row, line in enumerate(titles):
            for column, axes in enumerate(_row(fig, row, line, columns)):
                draw(axes, row, column)
        return canvas.png(fig)


def _row(fig: "Figure", row: int, line: str, columns: int) -> "list[Axes]":
    width_in, height_in = fig.get_size_inches()
    top_in = height_in - _HEAD_IN - (_TITLE_IN + _FRAME_IN) * row
    fig.text(_SIDE_IN / width_in, (top_in - _TITLE_IN + 0.07) / height_in, line, va="bottom")
    bottom_in = top_in - _TITLE_IN - _FRAME_IN
    lefts_in = [_SIDE_IN + (_FRAME_IN + _GAP_IN) * column for column in range(columns)]
    size = (_FRAME_IN / width_in, _FRAME_IN / height_in)
    return [fig.add_axes((left_in / width_in, bottom_in / height_in, *size)) for left_in in lefts_in]
