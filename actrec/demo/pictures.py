"""What all single pictures of the demo have in common: light, colours, and how they are filed."""

import colorsys
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from actrec.demo.scene import Picture

_JPEG_QUALITY = 90


def any_colour(rng: np.random.Generator, value: float) -> tuple[float, float, float]:
    """Return a colour (r, g, b) of any hue, about as light as `value`, in [0, 1]."""
    return colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.4, 1.0), value * rng.uniform(0.75, 1.25))


def lit(picture: Picture, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the picture in some light: its colour, its strength, the side that it comes from; and with grain.

    Args:
        picture: (H, W, 3) in [0, 1].
        rng: Decides the light.
    """
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None] - 0.5
    from_side, from_above = rng.uniform(-0.5, 0.5, 2)
    light = rng.uniform(0.6, 1.25) * rng.uniform(0.85, 1.15, 3) * (1 + from_side * x + from_above * y)[..., None]
    grain = rng.normal(0, rng.uniform(0.005, 0.03), picture.shape)
    return np.rint(np.clip(picture * light + grain, 0, 1) * 255).astype(np.uint8)


def encoded(pixels: NDArray[np.uint8], kind: str) -> bytes:
    """Return a file of the picture, whose `kind` is jpg or png; the same pixels give the same bytes."""
    out = BytesIO()
    settings = {"quality": _JPEG_QUALITY} if kind == "jpg" else {"compress_level": 9}
    Image.fromarray(pixels).save(out, format="JPEG" if kind == "jpg" else "PNG", **settings)
    return out.getvalue()
