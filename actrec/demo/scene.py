"""A picture with figures in it, and the boxes and keypoints that are true of it.

The left and right edges of a picture are joined (`actrec.demo.figures` says why): a figure that leaves on one side
comes in on the other. Its box and keypoints belong to the copy that has the middle of its shoulders.
"""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from actrec.demo.figures import KEYPOINTS, Body, Motion, extent, poses

Picture = NDArray[np.float32]
_INDEX = {name: number for number, name in enumerate(KEYPOINTS)}
# A slight liking for a hue, far weaker than what the voice says of the species.
_HUES = {"fox": 0.06, "hare": 0.12, "owl": 0.65}


# What a figure may carry in its left hand, in which colour: a disc, or an upright bar. No keypoint tells of it.
THINGS = {"ball": (0.1, 0.25, 0.7), "stick": (0.75, 0.15, 0.1)}


@dataclass(frozen=True, slots=True)
class Looks:
    """Colours, each (r, g, b) in [0, 1]. The hands are big and light, the left one warmer than the right one."""

    body: tuple[float, float, float]
    arms: tuple[float, float, float]
    head: tuple[float, float, float]
    left_hand: tuple[float, float, float]
    right_hand: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a scene: what it is and what it does. `carries` is a key of `THINGS`, "" for nothing."""

    body: Body
    looks: Looks
    motion: Motion
    carries: str = ""


def draw_looks(rng: np.random.Generator, species: str) -> Looks:
    """Return the colours of a new subject: light ones, to stand out from the background."""
    hue = (_HUES[species] + rng.normal(0, 0.2)) % 1
    saturation = rng.uniform(0.15, 0.5)
    body, arms, head = (
        colorsys.hsv_to_rgb((hue + shift) % 1, saturation, value)
        for shift, value in zip(rng.uniform(-0.1, 0.1, 3), rng.uniform(0.65, 0.9, 3), strict=True)
    )
    return Looks(body, arms, head, left_hand=(1.0, 0.95, 0.8), right_hand=(0.8, 0.95, 1.0))


def draw_background(rng: np.random.Generator, size_px: int, *, aspect: int = 1) -> Picture:
    """Return a dark, smooth, slightly grainy picture in [0, 1]; left and right edges match.

    Args:
        rng: Decides what is in it.
        size_px: Its height.
        aspect: Its width is so many times that: (size_px, aspect * size_px, 3).
    """
    width_px = aspect * size_px
    y, x = np.mgrid[:size_px, :width_px] / np.array([size_px, width_px])[:, None, None]
    base = np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.2, 0.7), rng.uniform(0.25, 0.4)))
    wave = np.sin(2 * np.pi * (x + rng.random())) * rng.uniform(0.02, 0.06) + (y - 0.5) * rng.uniform(-0.2, 0.2)
    grain = rng.normal(0, 0.01, (size_px, width_px))
    return np.clip(base + (wave + grain)[..., None], 0, 1).astype(np.float32)


def render(figures: Sequence[Figure], background: Picture, num_frames: int) -> NDArray[np.uint8]:
    """Return the frames of a scene, (T, H, W, 3), each figure before the ones listed ahead of it.

    Args:
        figures: From the rearmost to the foremost.
        background: (size_px, size_px, 3) in [0, 1].
        num_frames: How many frames the motions take.
    """
    frames = np.repeat(background[None], num_frames, axis=0)
    for figure in figures:
        for frame, pose in zip(frames, poses(figure.body, figure.motion, num_frames), strict=True):
            at = pose * len(frame)
            draw_person(frame, figure.body, figure.looks, at)
            if figure.carries:
                _draw_thing(frame, figure, at[_INDEX["left_wrist"]])
    return np.rint(frames * 255).astype(np.uint8)


def keypoints(figure: Figure, num_frames: int, size_px: int) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    """Return where a figure's keypoints are, (T, 17, 2) in pixels, and their scores, (T, 17): 1 in the picture, else 0.

    Args:
        figure: One of the scene's.
        num_frames: The clip's.
        size_px: The side of the picture.
    """
    places = poses(figure.body, figure.motion, num_frames)
    is_inside = np.all((places >= 0) & (places <= 1), axis=-1)
    return (places * size_px).astype(np.float16), is_inside.astype(np.float16)


def boxes(figure: Figure, num_frames: int, size_px: int) -> NDArray[np.float64]:
    """Return the box around a figure in each frame, clipped to the picture: (T, 4), x, y, width, height in pixels."""
    inside = np.clip(extent(figure.body, poses(figure.body, figure.motion, num_frames)), 0, 1)
    upper_left, lower_right = inside[:, :2], inside[:, 2:]
    return np.concatenate([upper_left, lower_right - upper_left], axis=1) * size_px


def draw_person(
    picture: Picture, body: Body, looks: Looks, pose: NDArray[np.float64], *, is_bent: bool = False
) -> None:
    """Draw somebody into `picture`.

    Args:
        picture: (H, W, 3) in [0, 1], changed in place.
        body: Proportions.
        looks: Colours.
        pose: (17, 2), the keypoints in the order of `KEYPOINTS`, x and y in pixels.
        is_bent: Elbows and knees need not lie between the joints beside them.
    """
    size_px = len(picture)
    at = dict(zip(KEYPOINTS, pose, strict=True))
    neck = (at["left_shoulder"] + at["right_shoulder"]) / 2
    waist = (at["left_hip"] + at["right_hip"]) / 2
    limb = body.limb_radius * size_px
    leg = ("hip", "knee", "ankle") if is_bent else ("hip", "ankle")
    arm = ("shoulder", "elbow", "wrist") if is_bent else ("shoulder", "wrist")
    for side, (upper, lower) in product(("left", "right"), pairwise(leg)):
        draw_stroke(picture, at[f"{side}_{upper}"], at[f"{side}_{lower}"], radius_px=limb, colour=looks.body)
    draw_stroke(picture, neck, waist, radius_px=body.shoulder_half * 0.8 * size_px, colour=looks.body)
    draw_stroke(picture, at["nose"], at["nose"], radius_px=body.head_radius * size_px, colour=looks.head)
    for side, (upper, lower) in product(("left", "right"), pairwise(arm)):
        draw_stroke(picture, at[f"{side}_{upper}"], at[f"{side}_{lower}"], radius_px=limb, colour=looks.arms)
    hands = (("left_wrist", looks.left_hand), ("right_wrist", looks.right_hand))
    for wrist, colour in hands:
        draw_stroke(picture, at[wrist], at[wrist], radius_px=body.hand_radius * size_px, colour=colour)


def _draw_thing(picture: Picture, figure: Figure, hand: NDArray[np.float64]) -> None:
    radius_px = figure.body.hand_radius * len(picture)
    up = np.array([0.0, radius_px * 1.5]) if figure.carries == "stick" else np.zeros(2)
    draw_stroke(picture, hand - up, hand + up, radius_px=radius_px * 0.7, colour=THINGS[figure.carries])


def draw_stroke(
    picture: Picture,
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    *,
    radius_px: float,
    colour: tuple[float, float, float],
) -> None:
    """Draw a thick line with round, smooth ends into `picture`; past the left or right edge it goes on at the other.

    Args:
        picture: (H, W, 3) in [0, 1], changed in place.
        start: (x, y) in pixels, where 0, 0 is the corner of the first pixel.
        end: The same; a disc where it equals `start`.
        radius_px: Half the width of the line.
        colour: (r, g, b) in [0, 1].
    """
    height, width = picture.shape[:2]
    reach = radius_px + 1
    left, top = np.floor(np.minimum(start, end) - reach).astype(int)
    right, bottom = np.ceil(np.maximum(start, end) + reach).astype(int)
    xs, ys = np.arange(left, right), np.arange(max(top, 0), min(bottom, height))
    cover = _coverage(xs + 0.5 - start[0], (ys + 0.5 - start[1])[:, None], end - start, radius_px)[..., None]
    part = np.ix_(ys, xs % width)
    picture[part] += cover * (np.array(colour, dtype=np.float32) - picture[part])


def _coverage(
    dx: NDArray[np.float64], dy: NDArray[np.float64], along: NDArray[np.float64], radius_px: float
) -> Picture:
    """Return how much of each pixel a stroke from the origin to `along` covers, by the distance to its middle line."""
    nearest = np.clip((dx * along[0] + dy * along[1]) / max(float(along @ along), 1e-9), 0, 1)
    distance = np.hypot(dx - nearest * along[0], dy - nearest * along[1])
    return np.clip(radius_px + 0.5 - distance, 0, 1).astype(np.float32)
