"""Clips as rows of frames, each under a title, one below the other or also side by side."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from actrec.report import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_FRAMES = 6
NAME_CHARS = 26
FRAME_IN = 1.5
_GAP_IN, _ACROSS_GAP_IN = 0.06, 0.24
_TITLE_IN, _LINE_IN = 0.3, 0.16  # of a title of one line, and each further one
# Room for the heading and the caption of the figure, and at its sides.
_HEAD_IN, _FOOT_IN, _CAPTION_LINE_IN, _SIDE_IN = 0.66, 0.21, 0.19, 0.12
_MIN_WIDTH_IN = 6.4  # two names

# Draws one frame of a clip, by their numbers.
Draw = Callable[["Axes", int, int], None]


def shown_frames(num_frames: int) -> npt.NDArray[np.int64]:
    """Return which frames of a clip are drawn: up to six, from the first to the last."""
    return np.linspace(0, num_frames - 1, min(num_frames, MAX_FRAMES)).round().astype(np.int64)


def strips(
    titles: Sequence[str],
    columns: int,
    draw: Draw,
    *,
    title: str,
    subtitle: str,
    caption: str,
    across: int = 1,
    frame_in: float = FRAME_IN,
) -> bytes:
    """Return a PNG of clips.

    Args:
        titles: What is above each clip; all have the same number of lines.
        columns: Frames a clip.
        draw: See `Draw`.
        title: Of the figure.
        subtitle: See `canvas.figure`.
        caption: See there.
        across: Clips side by side.
        frame_in: The side of a frame in inches.
    """
    across = min(across, len(titles))
    title_in = _TITLE_IN + _LINE_IN * titles[0].count("\n")
    clip_in = ((frame_in + _GAP_IN) * columns - _GAP_IN, title_in + frame_in)
    rows = -(-len(titles) // across)
    width_in = max((clip_in[0] + _ACROSS_GAP_IN) * across - _ACROSS_GAP_IN + 2 * _SIDE_IN, _MIN_WIDTH_IN)
    height_in = _HEAD_IN + clip_in[1] * rows + _FOOT_IN + _CAPTION_LINE_IN * (1 + caption.count("\n"))
    with canvas.style():
        fig = canvas.figure(width_in, height_in, title=title, subtitle=subtitle, caption=caption)
        fig.set_layout_engine("none")  # frames are placed by the inch, under their titles
        for number, line in enumerate(titles):
            row, place = divmod(number, across)
            left_in = _SIDE_IN + (clip_in[0] + _ACROSS_GAP_IN) * place
            bottom_in = height_in - _HEAD_IN - clip_in[1] * (row + 1)
            fig.text(left_in / width_in, (bottom_in + frame_in + 0.07) / height_in, line, va="bottom")
            for column, axes in enumerate(_frames(fig, left_in, bottom_in, columns, frame_in)):
                draw(axes, number, column)
        return canvas.png(fig)


def _frames(fig: "Figure", left_in: float, bottom_in: float, columns: int, frame_in: float) -> "list[Axes]":
    width_in, height_in = fig.get_size_inches()
    lefts_in = [left_in + (frame_in + _GAP_IN) * column for column in range(columns)]
    size = (frame_in / width_in, frame_in / height_in)
    return [fig.add_axes((left / width_in, bottom_in / height_in, *size)) for left in lefts_in]
