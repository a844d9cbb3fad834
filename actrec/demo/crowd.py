"""Who is in a picture of the demo's pairs: small groups who walk, stand or sit together, and people on their own.

How two people stand to each other says something of what they do together, and not all: those who walk are spread more
in depth, those who sit share a bench, those who stand are close and turned to each other.

Lengths and places are fractions of the picture's height, x to the right, y down. Left and right edges are joined.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from actrec.demo.figures import Body, draw_body, extent, scaled
from actrec.demo.postures import POSTURES, draw_posture
from actrec.demo.scene import Looks, draw_looks
from actrec.demo.sound import VOICES

# Sizes of the groups, and how many are on their own: 2 to 7 in all, 3.5 pairs on average.
_MEMBERS = (((2,), 0), ((2,), 2), ((3,), 1), ((2, 2), 1), ((3, 2), 2), ((2, 2, 2), 1), ((3, 3), 1), ((3, 2, 2), 0))
MAX_GROUPS = max(len(sizes) for sizes, _ in _MEMBERS)
# Feet of the rearmost and of the foremost, and how large they are.
_FEET, _SCALE = (0.62, 0.95), (0.55, 0.95)


@dataclass(frozen=True, slots=True)
class Person:
    """One of those in a picture: `places` are keypoints (17, 2), `depth` is 0 at the back and 1 at the front."""

    body: Body
    looks: Looks
    places: NDArray[np.float64]
    depth: float
    sits: bool

    @property
    def box(self) -> NDArray[np.float64]:
        """Left, top, right, bottom of the figure as drawn; it may reach over the side edges."""
        return extent(self.body, self.places)


@dataclass(frozen=True, slots=True)
class Crowd:
    """Everybody in a picture, in no order, and of each group what it does and who is in it."""

    people: Sequence[Person]
    groups: Sequence[tuple[str, tuple[int, ...]]]

    def pairs(self) -> Iterator[tuple[int, int, str]]:
        """Yield the numbers of each two people of a group, the lower first, and what they do."""
        for relation, members in self.groups:
            for a, b in combinations(sorted(members), 2):
                yield a, b, relation


def draw_crowd(rng: np.random.Generator, relations: Sequence[str], aspect: int) -> Crowd:
    """Return a crowd.

    Args:
        rng: Decides who is where, and who looks how.
        relations: What groups do, each one of `POSTURES`; as many as `MAX_GROUPS`, of which the first are taken.
        aspect: The picture's width.
    """
    sizes, alone = _MEMBERS[rng.integers(len(_MEMBERS))]
    doing = [*relations[: len(sizes)], *(POSTURES[number] for number in rng.integers(len(POSTURES), size=alone))]
    slots = aspect * (rng.permutation(len(doing)) + rng.random() + rng.uniform(-0.15, 0.15, len(doing))) / len(doing)
    people, groups = [], []
    for size, relation, x in zip([*sizes, *[1] * alone], doing, slots, strict=True):
        groups.append((relation, tuple(range(len(people), len(people) + size))))
        people += _draw_group(rng, relation, size, x)
    # Numbers say nothing of who is where.
    number_of = rng.permutation(len(people))
    people = [people[i] for i in np.argsort(number_of)]
    together = [(relation, tuple(int(number_of[i]) for i in members)) for relation, members in groups[: len(sizes)]]
    return Crowd(people, together)


def _draw_group(rng: np.random.Generator, relation: str, size: int, x: float) -> list[Person]:
    depth = rng.uniform(0.1, 0.9)
    height = 0.6 * np.interp(depth, (0, 1), _SCALE)
    aside, behind, headings = _formation(rng, relation, size)
    return [
        _draw_member(rng, relation, x + height * dx, float(np.clip(depth + dz, 0, 1)), heading)
        for dx, dz, heading in zip(aside, behind, headings, strict=True)
    ]


def _formation(
    rng: np.random.Generator, relation: str, size: int
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]:
    """Return how far the members of a group are aside and before each other, and where each of them faces.

    Aside is in heights of a person, before in parts of the picture's depth, headings in radians.
    """
    places = np.arange(size) - (size - 1) / 2
    match relation:
        case "walking":
            aside = places * rng.uniform(0.3, 0.8) + rng.normal(0, 0.05, size)
            before = rng.normal(0, 0.15, size)
            headings = rng.choice([-1, 1]) * np.pi / 2 + rng.normal(0, 0.5) + rng.normal(0, 0.2, size)
        case "standing":
            aside = places * rng.uniform(0.3, 0.65) + rng.normal(0, 0.04, size)
            before = rng.normal(0, 0.06, size)
            headings = rng.uniform(0, 2 * np.pi) + rng.normal(0, 0.6, size)
        case _:
            aside = places * rng.uniform(0.5, 0.75)
            before = places * rng.normal(0, 0.03)
            headings = rng.choice([-1, 1]) * np.pi / 2 + rng.normal(0, 0.5) + rng.normal(0, 0.2, size)
    return aside, before, headings


def _draw_member(rng: np.random.Generator, relation: str, x: float, depth: float, heading_rad: float) -> Person:
    body = scaled(draw_body(rng), np.interp(depth, (0, 1), _SCALE))
    looks = draw_looks(rng, tuple(VOICES)[rng.integers(len(VOICES))])
    places = draw_posture(rng, relation, body, heading_rad)
    feet = np.interp(depth, (0, 1), _FEET) - places[:, 1].max()
    return Person(body, looks, places + np.array([x, feet]), depth, sits=relation == "sitting")
