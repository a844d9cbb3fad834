"""Pictures of figures that stand and hold something up: one picture tells the class, with some trouble.

A class is a pose of the arms and a thing in a raised hand. Which side, which colours, how large and where the figure
is, what lies around and how the light falls say nothing of it; a mirror image is of the same class.
"""

from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actrec.console import progress
from actrec.demo.figures import KEYPOINTS, Body, scaled, standing
from actrec.demo.folder import rebuilt, write_csv, write_index
from actrec.demo.pictures import any_colour, encoded, lit
from actrec.demo.scene import Looks, Picture, draw_background, draw_person, draw_stroke
from actrec.demo.subjects import draw_subject, rng_for

# How far each arm is raised, in degrees from hanging down: of the one that holds the thing, and of the other.
POSES = {"cheer": (145, 145), "cross": (90, 90), "wave": (145, 25), "point": (90, 25)}
THINGS = ("ball", "stick")
CLASSES = tuple(f"{pose}_{thing}" for pose, thing in product(POSES, THINGS))
_RAISE_SPREAD_DEG = 8.0
_SCALES = (0.9, 1.15)
# One picture in so many is a PNG, the others JPEG.
_PNG_EVERY = 4
_MAX_CLUTTER = 3
_NOTE = "Synthetic: every picture is drawn by a program. It shows that the pipeline works, not what a model is worth."
_README = f"""# Demo pictures

{_NOTE}

A figure stands somewhere and holds something. The class is the pose of its arms and the thing: {", ".join(CLASSES)}. A
mirror image is of the same class. Colours, size, place, light and what lies around say nothing.

- `clips.csv`: path, act (the class), pose, thing, subject (no subject belongs in two splits)
- `pictures/*`: JPEG, and one in {_PNG_EVERY} PNG
- `index.json`: counts
"""


def write_stills(folder: Path, *, subjects: int, takes: int, size_px: int, seed: int) -> int:
    """Fill `folder` with the pictures, from scratch, and return their number. None depends on another one.

    Args:
        folder: Replaced as a whole, at the end.
        subjects: How many figures, who keep their body and their colours.
        takes: Pictures of each subject and class.
        size_px: Side of the picture.
        seed: Decides everything else.

    Raises:
        UserError: if the disk is full.
    """
    total = subjects * len(CLASSES) * takes
    rows = []
    with rebuilt(folder) as partial:
        (partial / "pictures").mkdir()
        combinations = product(range(subjects), range(len(CLASSES)), range(takes))
        for number, act, take in progress(combinations, total, "demo"):
            subject = draw_subject(number, seed=seed, size_px=size_px)
            pixels = draw_still(rng_for(seed, "still", number, act, take), subject.body, subject.looks, act, size_px)
            # Each class has as many of either kind.
            kind = "png" if (number + act + take) % _PNG_EVERY == 0 else "jpg"
            path = f"pictures/{subject.name}_{CLASSES[act]}_{take + 1:02d}.{kind}"
            (partial / path).write_bytes(encoded(pixels, kind))
            rows.append((path, CLASSES[act], *CLASSES[act].split("_"), subject.name))
        write_csv(partial / "clips.csv", ("path", "act", "pose", "thing", "subject"), rows)
        (partial / "README.md").write_text(_README, encoding="utf-8")
        write_index(partial, _index(pictures=total, subjects=subjects, takes=takes, size_px=size_px))
    return total


def draw_still(rng: np.random.Generator, body: Body, looks: Looks, act: int, size_px: int) -> NDArray[np.uint8]:
    """Return a picture, (size_px, size_px, 3).

    Args:
        rng: Decides everything that is no argument; it is asked the same for every class.
        body: Proportions, of a figure of full size.
        looks: Colours.
        act: The class, a number of `CLASSES`.
        size_px: The side.
    """
    pose, thing = CLASSES[act].split("_")
    picture = draw_background(rng, size_px)
    _draw_clutter(picture, rng)
    small = scaled(body, rng.uniform(*_SCALES))
    holding, other = np.deg2rad(POSES[pose] + rng.normal(0, _RAISE_SPREAD_DEG, 2))
    side = ("left", "right")[int(rng.integers(2))]
    raised = (holding, other) if side == "left" else (other, holding)
    keypoints = standing(small, left_raise_rad=raised[0], right_raise_rad=raised[1], leg_rad=rng.uniform(0, 2 * np.pi))
    at = (keypoints + _place(rng, small)) * size_px
    draw_person(picture, small, looks, at)
    _draw_thing(picture, rng, thing, at[KEYPOINTS.index(f"{side}_wrist")], small.hand_radius * size_px)
    return lit(picture, rng)


def _place(rng: np.random.Generator, body: Body) -> NDArray[np.float64]:
    """Return where the middle of the shoulders is: anywhere where arms, raised or not, are inside the picture."""
    reach = body.arm + 2 * body.hand_radius
    aside, below = reach + body.shoulder_half, body.torso + body.leg + body.limb_radius
    low, high = np.array([aside, reach]), np.array([1 - aside, 1 - below])
    # A tall figure fits in at one height alone, and a little is cut off.
    return np.where(low < high, rng.uniform(low, np.maximum(low, high)), (low + high) / 2)


def _draw_clutter(picture: Picture, rng: np.random.Generator) -> None:
    size_px = len(picture)
    for _ in range(int(rng.integers(_MAX_CLUTTER + 1))):
        start = rng.random(2) * size_px
        along = rng.normal(0, 0.08, 2) * size_px
        draw_stroke(
            picture, start, start + along, radius_px=rng.uniform(0.015, 0.05) * size_px, colour=any_colour(rng, 0.45)
        )


def _draw_thing(
    picture: Picture, rng: np.random.Generator, thing: str, hand: NDArray[np.float64], radius_px: float
) -> None:
    tilt, size, colour = rng.uniform(-0.6, 0.6), rng.uniform(0.85, 1.15) * radius_px, any_colour(rng, 0.8)
    half = 2.8 * size * np.array([np.sin(tilt), np.cos(tilt)]) if thing == "stick" else np.zeros(2)
    thick = 0.6 if thing == "stick" else 1.4
    draw_stroke(picture, hand - half, hand + half, radius_px=thick * size, colour=colour)


def _index(*, pictures: int, subjects: int, takes: int, size_px: int) -> dict[str, object]:
    return {
        "enabled": True,
        "synthetic": True,
        "note": _NOTE,
        "clips": pictures,
        "subjects": subjects,
        "takes": takes,
        "acts": list(CLASSES),
        "size_px": size_px,
    }
