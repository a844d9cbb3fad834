"""Who performs in the demo."""

from dataclasses import dataclass

import numpy as np

from actrec.demo.figures import Body, draw_body
from actrec.demo.scene import Looks, Picture, draw_background, draw_looks
from actrec.demo.sound import VOICES

_PURPOSES = ("subject", "motion", "sound", "still", "scene", "crowd", "pack")


@dataclass(frozen=True, slots=True)
class Subject:
    """Someone who performs: the same body, colours, place, pace and voice in all of their clips."""

    name: str
    species: str
    body: Body
    looks: Looks
    background: Picture
    speed: float


def draw_subject(number: int, *, seed: int, size_px: int) -> Subject:
    """Return subject `number`, counted from 0, who is the same whatever other subjects there are."""
    rng = rng_for(seed, "subject", number, 0, 0)
    species = tuple(VOICES)[number % len(VOICES)]
    return Subject(
        name=f"subject{number + 1:03d}",
        species=species,
        body=draw_body(rng),
        looks=draw_looks(rng, species),
        background=draw_background(rng, size_px),
        speed=rng.uniform(0.9, 1.1),
    )


def rng_for(seed: int, purpose: str, subject: int, action: int, take: int) -> np.random.Generator:
    """Return random numbers for one thing alone, so that no clip depends on another one."""
    # The purpose, because numpy fills short seeds up with zeros: [seed, subject] would be [seed, subject, 0, 0].
    return np.random.default_rng([_PURPOSES.index(purpose), subject, action, take, seed])
