"""Pictures of several people of whom some do something together: what it is, is asked of each two of them.

Neither what two people look like nor how they stand to each other tells all: legs that pass each other, or are hidden,
look alike whoever walks or stands, and people who stand or walk together may be as far apart as others who sit.
"""

from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actrec.console import progress
from actrec.demo.crowd import MAX_GROUPS, Crowd, Person, draw_crowd
from actrec.demo.figures import KEYPOINTS
from actrec.demo.folder import rebuilt, write_csv, write_index
from actrec.demo.pictures import any_colour, encoded, lit
from actrec.demo.scene import Picture, draw_background, draw_person, draw_stroke
from actrec.demo.subjects import rng_for

# Of eleven groups so many do this: about as uneven as in JRDB-Social.
SHARES = {"walking": 6, "standing": 4, "sitting": 1}
# A picture is so many times as wide as high.
ASPECT = 2
# How often something stands before the legs of each.
_HIDDEN_PROB = 0.3
_JITTER_FRAC = 0.02
_BOXES = ("ax", "ay", "aw", "ah", "bx", "by", "bw", "bh")
_NOTE = "Synthetic: every picture is drawn by a program. It shows that the pipeline works, not what a model is worth."
_README = f"""# Demo pairs

{_NOTE}

Each picture is a panorama all round, with two to seven figures. Some of them walk, stand or sit together: of each two
of these the table says what they do. Poses, places, colours and light vary, and something may stand before the legs.

- `pairs.csv`: path; a and b, two of the picture's figures; the box of each as x, y, w, h in pixels, tight but for a
  little jitter (one may reach over the right edge, where the picture goes on at the left); persons, how many are in the
  picture; relation; scene, a place (no scene belongs in two splits)
- `pictures/*.jpg`
- `index.json`: counts
"""


def write_pairs(folder: Path, *, subjects: int, takes: int, size_px: int, seed: int) -> tuple[int, int]:
    """Fill `folder` with the pictures, from scratch, and return how many they are, and how many pairs are in them.

    Args:
        folder: Replaced as a whole, at the end.
        subjects: How many scenes: places with their own background.
        takes: Pictures of each scene. None depends on another one.
        size_px: Height of a picture.
        seed: Decides everything else.

    Raises:
        UserError: if the disk is full.
    """
    rows = []
    with rebuilt(folder) as partial:
        (partial / "pictures").mkdir()
        for scene, take in progress(product(range(subjects), range(takes)), subjects * takes, "demo", "pictures"):
            name = f"scene{scene + 1:02d}"
            path = f"pictures/{name}_{take + 1:02d}.jpg"
            pixels, crowd, boxes = draw_pairs(scene, take, size_px=size_px, seed=seed)
            (partial / path).write_bytes(encoded(pixels, "jpg"))
            cells = [[f"{value:.1f}" for value in box] for box in boxes]
            rows += [
                (path, a + 1, b + 1, *cells[a], *cells[b], len(boxes), relation, name)
                for a, b, relation in crowd.pairs()
            ]
        write_csv(partial / "pairs.csv", ("path", "a", "b", *_BOXES, "persons", "relation", "scene"), rows)
        (partial / "README.md").write_text(_README, encoding="utf-8")
        write_index(partial, _index(scenes=subjects, takes=takes, pairs=len(rows), size_px=size_px))
    return subjects * takes, len(rows)


def draw_pairs(
    scene: int, take: int, *, size_px: int, seed: int
) -> tuple[NDArray[np.uint8], Crowd, NDArray[np.float64]]:
    """Return a picture (size_px, ASPECT * size_px, 3), who is in it, and the box of each: x, y, width, height in px."""
    rng = rng_for(seed, "crowd", scene, 0, take)
    crowd = draw_crowd(rng, _relations(scene, take, seed), ASPECT)
    picture = draw_background(rng_for(seed, "scene", scene, 0, 0), size_px, aspect=ASPECT)
    for person in sorted(crowd.people, key=lambda person: person.depth):
        _draw(picture, person)
    for person in crowd.people:
        if rng.random() < _HIDDEN_PROB:
            _hide_legs(picture, rng, person)
    boxes = np.array([_box(person, rng) for person in crowd.people]) * size_px
    return lit(picture, rng), crowd, boxes


def _relations(scene: int, take: int, seed: int) -> list[str]:
    """Return what the groups of a picture do: each scene deals from packs in which every relation has its share."""
    pack = [relation for relation, share in SHARES.items() for _ in range(share)]
    dealt = []
    for number in range(take * MAX_GROUPS, (take + 1) * MAX_GROUPS):
        order = rng_for(seed, "pack", scene, 0, number // len(pack)).permutation(len(pack))
        dealt.append(pack[order[number % len(pack)]])
    return dealt


def _draw(picture: Picture, person: Person) -> None:
    size_px = len(picture)
    if person.sits:
        seat = person.places[[KEYPOINTS.index("left_hip"), KEYPOINTS.index("right_hip")]].mean(axis=0)
        radius = person.body.hip_half + person.body.limb_radius
        top, floor = seat[1] + radius + person.body.limb_radius, person.places[:, 1].max()
        ends = np.array([(seat[0], top), (seat[0], max(floor - radius, top))]) * size_px
        draw_stroke(picture, *ends, radius_px=radius * size_px, colour=(0.25, 0.22, 0.2))
    draw_person(picture, person.body, person.looks, person.places * size_px, is_bent=True)


def _hide_legs(picture: Picture, rng: np.random.Generator, person: Person) -> None:
    size_px = len(picture)
    feet = np.array([person.places[:, 0].mean(), person.places[:, 1].max()])
    radius = person.body.leg * rng.uniform(0.35, 0.5)
    half = np.array([rng.uniform(0.0, 0.15), 0.0])
    middle = feet - (0, radius * 0.8)
    draw_stroke(
        picture,
        (middle - half) * size_px,
        (middle + half) * size_px,
        radius_px=radius * size_px,
        colour=any_colour(rng, 0.4),
    )


def _box(person: Person, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Return x, y, width, height of somebody, about right; x is inside, its other end may be beyond the edge."""
    left, top, right, bottom = person.box
    size = np.array([right - left, bottom - top] * 2)
    left, top, right, bottom = person.box + rng.uniform(-_JITTER_FRAC, _JITTER_FRAC, 4) * size
    top, bottom = max(top, 0.0), min(bottom, 1.0)
    return left % ASPECT, top, right - left, bottom - top


def _index(*, scenes: int, takes: int, pairs: int, size_px: int) -> dict[str, object]:
    return {
        "enabled": True,
        "synthetic": True,
        "note": _NOTE,
        "pictures": scenes * takes,
        "pairs": pairs,
        "scenes": scenes,
        "takes": takes,
        "relations": list(SHARES),
        "size_px": [ASPECT * size_px, size_px],
    }
