"""Clips with the places that a model looked at."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from actrec.report import canvas
from actrec.report.strips import NAME_CHARS, shown_frames, strips

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of the colour over the hottest places; the coldest are left as they are.
_OPACITY = 0.65


def clip_titles(class_names: Sequence[str], true: Sequence[int], predicted: Sequence[int]) -> list[str]:
    """Return a line a clip with its true and its predicted class, in letters that can be drawn.

    Args:
        class_names: Of the head.
        true: Class numbers; negative where there is no label.
        predicted: Class numbers.
    """
    names = canvas.short_names(class_names, max_chars=NAME_CHARS)
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
    shown = shown_frames(num_frames)

    def draw(axes: "Axes", row: int, column: int) -> None:
        axes.imshow(laid_over(frames[row, shown[column]], heat[row, shown[column]]), interpolation="nearest")
        axes.set_axis_off()

    return strips(
        titles,
        len(shown),
        draw,
        title="Where the model looks",
        subtitle=f"attention roll-out · frames {', '.join(str(n + 1) for n in shown)} of {num_frames}",
        caption="Yellow: looked at most, no colour: least. Each clip has a scale of its own.",
    )


def laid_over(frame: npt.NDArray[np.uint8], heat: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return a frame, uint8 RGB (S, S, 3), coloured by its heat (S, S) in [0, 1]: RGB in [0, 1], (S, S, 3)."""
    import matplotlib as mpl

    colours = mpl.colormaps["inferno"](heat)[..., :3]
    opacity = _OPACITY * np.clip(heat, 0, 1)[..., np.newaxis]
    return (1 - opacity) * (frame / 255) + opacity * colours
