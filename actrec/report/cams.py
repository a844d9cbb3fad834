"""Clips with what speaks for a class in them, as Grad-CAM finds it: an image a tile, a video a row of frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from actrec.metrics.classification import Scores, predicted_classes
from actrec.metrics.summary import AnyScores
from actrec.report import canvas
from actrec.report.attention import laid_over
from actrec.report.strips import FRAME_IN, NAME_CHARS, Draw, strips

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TILE_IN, _TILE_NAME_CHARS, _TILES_ACROSS = 2.2, 17, 4
_MISTAKE_NAME_CHARS, _MISTAKES_ACROSS = 22, 2  # of images, which stand side by side
_SCALE = "Yellow: speaks most for the class; no colour: not at all. Each heat has a scale of its own."
Picture = npt.NDArray[np.uint8] | npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Heated:
    """Some frames of a clip, or the one of an image, with what in them speaks for some classes.

    Args:
        frames: uint8 RGB (t, S, S, 3).
        heat: float32 (k, t, S, S) in [0, 1], of k classes.
    """

    frames: npt.NDArray[np.uint8]
    heat: npt.NDArray[np.float32]

    @property
    def is_image(self) -> bool:
        """Whether there is one frame alone."""
        return len(self.frames) == 1

    def coloured(self, number: int) -> list[Picture]:
        """Return the frames coloured by the heat of one of the classes."""
        return [laid_over(frame, heat) for frame, heat in zip(self.frames, self.heat[number], strict=True)]


def said_grid(clips: Sequence[Heated], scores: AnyScores, rows: Sequence[int], *, subtitle: str) -> bytes:
    """Return a PNG of clips with the heat of the class that the head says.

    Args:
        clips: With the heat of that class alone; at least one.
        scores: What the head says.
        rows: The row of each clip in it.
        subtitle: The line below the heading.
    """
    is_image = clips[0].is_image
    titles = said_titles(scores, rows, max_chars=_TILE_NAME_CHARS if is_image else NAME_CHARS)
    pictures, between = [clip.coloured(0) for clip in clips], "\n" if is_image else " · "
    return strips(
        [f"{said}{between}{true}" for said, true in titles],
        len(pictures[0]),
        _drawing(pictures),
        title="What speaks for the class that is said",
        subtitle=subtitle,
        caption=f"{'Images' if is_image else 'Clips'} drawn at random.\n{_SCALE}",
        across=_TILES_ACROSS if is_image else 1,
        frame_in=_TILE_IN if is_image else FRAME_IN,
    )


def mistake_grid(clips: Sequence[Heated], scores: Scores, rows: Sequence[int], *, subtitle: str) -> bytes:
    """Return a PNG of mistakes with the heat of the class that is said and of the true one.

    Of images the two are side by side after the image itself, of videos one below the other.

    Args:
        clips: With the heat of the class said and of the true one; at least one.
        scores: What the head says.
        rows: The row of each clip in it.
        subtitle: The line below the heading.
    """
    is_image = clips[0].is_image
    names = canvas.short_names(scores.class_names, max_chars=_MISTAKE_NAME_CHARS if is_image else NAME_CHARS)
    titles = _mistake_titles(scores, rows, names)
    if is_image:
        pictures = [[clip.frames[0], *clip.coloured(0), *clip.coloured(1)] for clip in clips]
        order = "Left to right: the image, what speaks for the class said, what for the true one."
    else:
        pictures = [clip.coloured(number) for clip in clips for number in (0, 1)]
        own = (f"for the true class, {names[scores.labels[row]]}" for row in rows)
        titles = [line for pair in zip(titles, own, strict=True) for line in pair]
        order = "Above: what speaks for the class said; below: what for the true one."
    return strips(
        titles,
        len(pictures[0]),
        _drawing(pictures),
        title="Mistakes of the worst classes",
        subtitle=subtitle,
        caption=f"true → said, with their probabilities.\n{order}\n{_SCALE}",
        across=_MISTAKES_ACROSS if is_image else 1,
    )


def said_titles(scores: AnyScores, rows: Sequence[int], *, max_chars: int) -> list[tuple[str, str]]:
    """Return what a head says of clips and what is true, with its probability; in letters that can be drawn.

    Of several true classes the likeliest stands there, and how many others there are.
    """
    names, lines = canvas.short_names(scores.class_names, max_chars=max_chars), []
    for row in rows:
        probs, label = scores.probs[row], scores.labels[row]
        true = np.flatnonzero(label) if label.ndim else np.array([label])
        own = [f"{names[k]} {probs[k]:.2f}" for k in (probs.argmax(), *true[np.argsort(-probs[true])][:1])]
        more = f" +{len(true) - 1}" if len(true) > 1 else ""
        lines.append((f"said: {own[0]}", f"true: {own[1]}{more}" if len(true) else "true: none"))
    return lines


def _mistake_titles(scores: Scores, rows: Sequence[int], names: Sequence[str]) -> list[str]:
    numbers = zip(scores.labels[rows].tolist(), predicted_classes(scores)[rows].tolist(), strict=True)
    return [
        f"{names[true]} {scores.probs[row, true]:.2f} → {names[said]} {scores.probs[row, said]:.2f}"
        for row, (true, said) in zip(rows, numbers, strict=True)
    ]


def _drawing(pictures: Sequence[Sequence[Picture]]) -> Draw:
    def draw(axes: "Axes", row: int, column: int) -> None:
        axes.imshow(pictures[row][column])
        axes.set_axis_off()

    return draw
