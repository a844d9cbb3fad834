"""Clips with the skeletons that a model was shown, and what it took them for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from actrec.metrics.classification import Scores, predicted_classes
from actrec.report import canvas
from actrec.report.strips import NAME_CHARS, strips

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CLIP_CHARS = 56
_LINE_WIDTH, _EDGE_WIDTH, _DOT_SIZE = 1.6, 3.0, 7.0
_COLOURS = {"left": canvas.ORANGE, "right": canvas.SKY, "middle": "#B4B4B4"}
Side = Literal["left", "right", "middle"]


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """Some frames of one clip.

    Args:
        keypoint: (M, k, V, 2) in pixels of a square, x right, y down; whole numbers are the centres of pixels.
        is_seen: bool (M, k, V).
        size_px: The side of the square.
        pictures: uint8 (k, size_px, size_px, 3), what lies below the skeletons; None: nothing.
    """

    keypoint: npt.NDArray[np.floating]
    is_seen: npt.NDArray[np.bool_]
    size_px: int
    pictures: npt.NDArray[np.uint8] | None = None


def mistake_titles(scores: Scores, rows: Sequence[int]) -> list[str]:
    """Return two lines a clip: its true class, what it is taken for, and how surely; and its id. All can be drawn."""
    names = canvas.short_names(scores.class_names, max_chars=NAME_CHARS)
    clips = canvas.short_names([scores.clip_ids[row] for row in rows], max_chars=_CLIP_CHARS)
    said = predicted_classes(scores)
    return [
        f"{names[scores.labels[row]]} → {names[said[row]]} ({scores.probs[row, said[row]]:.2f})\n{clip}"
        for row, clip in zip(rows, clips, strict=True)
    ]


def skeleton_grid(
    clips: Sequence[Strip],
    titles: Sequence[str],
    *,
    joints: Sequence[str],
    limbs: Sequence[tuple[int, int]],
    subtitle: str,
) -> bytes:
    """Return a PNG of clips, a row each, with the limbs between joints that are seen.

    Args:
        clips: At least one; of those that have fewer frames than others, the rest of the row stays empty.
        titles: The lines above each row: see `mistake_titles`.
        joints: The names of a layout's joints, which say what is left and right.
        limbs: Pairs of joints.
        subtitle: The line below the heading.
    """
    sides: list[Side] = [side_of(joints[one], joints[other]) for one, other in limbs]

    def draw(axes: "Axes", row: int, column: int) -> None:
        clip = clips[row]
        axes.set_axis_off()
        if column < clip.keypoint.shape[1]:
            _draw_square(axes, clip, column)
            _draw_bodies(axes, clip.keypoint[:, column], clip.is_seen[:, column], limbs, sides)

    return strips(
        titles,
        max(clip.keypoint.shape[1] for clip in clips),
        draw,
        title="Wrong, and sure of it",
        subtitle=subtitle,
        caption="true → predicted (probability) · orange: their left side, blue: their right side",
    )


def side_of(one: str, other: str) -> Side:
    """Return the side of a body that a limb between two joints is on: left if one of them is, and none is right."""
    sides = {name.partition("_")[0] for name in (one, other)} & {"left", "right"}
    if sides == {"left"}:
        return "left"
    return "right" if sides == {"right"} else "middle"


def _draw_square(axes: "Axes", clip: Strip, column: int) -> None:
    from matplotlib.patches import Rectangle

    edges = (-0.5, clip.size_px - 0.5)
    if clip.pictures is None:
        axes.add_patch(Rectangle((edges[0], edges[0]), clip.size_px, clip.size_px, color=canvas.FAINT, linewidth=0))
    else:
        axes.imshow(clip.pictures[column], interpolation="nearest")
    axes.set(xlim=edges, ylim=edges[::-1], aspect="equal")


def _draw_bodies(
    axes: "Axes",
    keypoint: npt.NDArray[np.floating],
    is_seen: npt.NDArray[np.bool_],
    limbs: Sequence[tuple[int, int]],
    sides: Sequence[Side],
) -> None:
    """Draw all persons of a frame: keypoint (M, V, 2), is_seen (M, V)."""
    from matplotlib.collections import LineCollection

    lines = list(_lines(keypoint, is_seen, limbs, sides))
    # A dark edge keeps them apart from pictures of any colour.
    edges = LineCollection([line for line, _ in lines], colors=canvas.INK, linewidths=_EDGE_WIDTH, capstyle="round")
    colours = [_COLOURS[side] for _, side in lines]
    axes.add_collection(edges)
    axes.add_collection(LineCollection([line for line, _ in lines], colors=colours, linewidths=_LINE_WIDTH))
    alone = keypoint[is_seen]
    axes.scatter(alone[:, 0], alone[:, 1], s=_DOT_SIZE, color="white", edgecolors=canvas.INK, linewidths=0.4, zorder=3)


def _lines(
    keypoint: npt.NDArray[np.floating],
    is_seen: npt.NDArray[np.bool_],
    limbs: Sequence[tuple[int, int]],
    sides: Sequence[Side],
) -> Iterator[tuple[npt.NDArray[np.floating], Side]]:
    for body, seen in zip(keypoint, is_seen, strict=True):
        for (one, other), side in zip(limbs, sides, strict=True):
            if seen[one] and seen[other]:
                yield body[[one, other]], side
