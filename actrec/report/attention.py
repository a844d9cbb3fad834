"""Clips with the places that a model looked at."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from actrec.report import canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_FRAMES = 6
_FRAME_IN, _GAP_IN, _TITLE_IN = 1.5, 0.06, 0.3
# Room for the heading and the caption of the figure, and at its sides.
_HEAD_IN, _FOOT_IN, _SIDE_IN = 0.66, 0.4, 0.12
_MIN_WIDTH_IN = 6.4  # two names
_NAME_CHARS = 26
# Of the colour over the hottest places; the coldest are left as they are.
_OPACITY = 0.65


def clip_titles(class_names: Sequence[str], true: Sequence[int], predicted: Sequence[int]) -> list[str]:
    """Return a line a clip with its true and its predicted class, in letters that can be drawn.

    Args:
        class_names: Of the head.
        true: Class numbers; negative where there is no label.
        predicted: Class numbers.
    """
    names = canvas.short_names(class_names, max_chars=_NAME_CHARS)
    return [
        f"true: {names[label] if label >= 0 else '(no label)'} · predicted: {names[said]}"
        for label, said in zip(true, predicted, strict=True)
    ]


def attention_grid(frames: npt.NDArray[np.uint8], heat: npt.NDArray[np.float32], titles: Sequence[str]) -> bytes:
    """Return a PNG of clips, a row each: up to six frames spread over the clip, hot places coloured.

    Args:
        frames: uint8 RGB (n, T, S, S, 3).
        heat: (n, T, S, S) in [0, 1].
        titles: The line above each row: see `clip_titles`.

    Raises:
        ValueError: if there are no clips, or the three do not fit each other.
    """
    if frames.shape[:-1] != heat.shape or len(titles) != len(frames) or not len(frames):
        raise ValueError(f"frames {frames.shape}, heat {heat.shape} and {len(titles)} titles do not fit each other")
    num_frames = frames.shape[1]
    shown = np.linspace(0, num_frames - 1, min(num_frames, _MAX_FRAMES)).round().astype(int)
    width_in = max((_FRAME_IN + _GAP_IN) * len(shown) - _GAP_IN + 2 * _SIDE_IN, _MIN_WIDTH_IN)
    with canvas.style():
        fig = canvas.figure(
            width_in,
            _HEAD_IN + (_TITLE_IN + _FRAME_IN) * len(frames) + _FOOT_IN,
            title="Where the model looks",
            subtitle=f"attention roll-out · frames {', '.join(str(n + 1) for n in shown)} of {num_frames}",
            caption="Yellow: looked at most, no colour: least. Each clip has a scale of its own.",
        )
        fig.set_layout_engine("none")  # frames are placed by the inch, in rows under their titles
        for row, title in enumerate(titles):
            _draw_row(fig, row, title, _laid_over(frames[row, shown], heat[row, shown]))
        return canvas.png(fig)


def _draw_row(fig: "Figure", row: int, title: str, pictures: npt.NDArray[np.float64]) -> None:
    width_in, height_in = fig.get_size_inches()
    top_in = height_in - _HEAD_IN - (_TITLE_IN + _FRAME_IN) * row
    fig.text(_SIDE_IN / width_in, (top_in - _TITLE_IN + 0.07) / height_in, title, va="bottom")
    for column, picture in enumerate(pictures):
        left_in, bottom_in = _SIDE_IN + (_FRAME_IN + _GAP_IN) * column, top_in - _TITLE_IN - _FRAME_IN
        place = (left_in / width_in, bottom_in / height_in, _FRAME_IN / width_in, _FRAME_IN / height_in)
        axes = fig.add_axes(place)
        axes.imshow(picture, interpolation="nearest")
        axes.set_axis_off()


def _laid_over(frames: npt.NDArray[np.uint8], heat: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return RGB in [0, 1], (k, S, S, 3)."""
    import matplotlib as mpl

    colours = mpl.colormaps["inferno"](heat)[..., :3]
    opacity = _OPACITY * np.clip(heat, 0, 1)[..., np.newaxis]
    return (1 - opacity) * (frames / 255) + opacity * colours
