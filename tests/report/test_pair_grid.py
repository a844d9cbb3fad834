"""Boxes and letters of pairs lie where the two are, in the pixels of the picture."""

import io

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from actrec.media.facts import Box
from actrec.report import canvas
from actrec.report.pairs import TILE_IN, PairView, pair_grid

A, B, GREEN = canvas.ORANGE, canvas.SKY, "#008000"  # of letters no edge is green
LEFT, RIGHT = (20.0, 30.0, 30.0, 40.0), (110.0, 20.0, 20.0, 60.0)


def pair(a: Box = LEFT, b: Box = RIGHT, *, size_px: tuple[int, int] = (160, 90), smaller: int = 1) -> PairView:
    """Return two boxes in a green picture, which has a `smaller`-th of the pixels."""
    picture = np.zeros((size_px[1] // smaller, size_px[0] // smaller, 3), np.uint8)
    picture[..., 1] = 0x80
    return PairView(picture, size_px, (a, b))


def drawn(*pairs: PairView) -> np.ndarray:
    content = pair_grid(pairs, ["one"] * len(pairs), subtitle="here")
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def places_of(picture: np.ndarray, colour: str) -> np.ndarray:
    """Return (y, x) of the pixels of a colour."""
    wanted = np.array(to_rgb(colour)) * 255
    return np.argwhere(np.abs(picture - wanted).max(axis=-1) < 12)


def corners_of(picture: np.ndarray, colour: str) -> np.ndarray:
    """Return (left, top, right, bottom) of what has a colour."""
    places = places_of(picture, colour)
    return np.array([*places.min(axis=0)[::-1], *places.max(axis=0)[::-1] + 1])


def in_pixels_of(pair: PairView, picture: np.ndarray, colour: str) -> np.ndarray:
    """Return where a colour is in the pixels of the boxes, from where the green picture is in the figure."""
    left, top, right, _ = corners_of(picture, GREEN)
    scale = pair.size_px[0] / (right - left)
    return (corners_of(picture, colour) - [left, top, left, top]) * scale


@pytest.mark.parametrize("smaller", [1, 5])
def test_boxes_lie_where_the_two_are(smaller):
    own = pair(smaller=smaller)
    picture = drawn(own)
    for colour, (left, top, right, bottom) in ((A, (20, 30, 50, 70)), (B, (110, 20, 130, 80))):
        found = in_pixels_of(own, picture, colour)
        assert found[[0, 2, 3]] == pytest.approx([left, right, bottom], abs=1.2)
        # A letter of 0.17 inches at most stands on it.
        assert 0.1 < (top - found[1]) * TILE_IN[0] / 160 < 0.17


def test_a_letter_is_in_the_box_where_above_it_is_no_room():
    own = pair(a=(20.0, 3.0, 30.0, 40.0))
    assert in_pixels_of(own, drawn(own), A) == pytest.approx([20, 3, 50, 43], abs=1.2)


def test_a_box_ends_where_the_picture_does():
    own = pair(a=(-20.0, 30.0, 60.0, 100.0))
    found = in_pixels_of(own, drawn(own), A)
    assert found[0] >= -2.5 and found[2:] == pytest.approx([40, 90], abs=1.2), "a letter alone may stand beside it"


@pytest.mark.parametrize(("a", "b"), [(LEFT, LEFT), (LEFT, RIGHT), (RIGHT, LEFT), ((20, 10, 60, 70), (40, 30, 10, 20))])
def test_letters_are_apart(a, b):
    picture = drawn(pair(a, b))
    # A patch is filled, so that a row of it has more of its colour than the two sides of a box.
    for colour in (A, B):
        places = places_of(picture, colour)
        assert np.bincount(places[:, 0]).max() > 2 * 5


def test_two_side_by_side():
    one, two, three = (drawn(*[pair()] * count) for count in (1, 2, 3))
    assert two.shape[0] == one.shape[0] < three.shape[0] and one.shape[1] < two.shape[1] == three.shape[1]
    # 4.6 of 2.6 inches: as high as 16:9 may be, or as wide.
    left, top, right, bottom = corners_of(one, GREEN)
    assert (right - left) / (bottom - top) == pytest.approx(16 / 9, rel=0.02)
    assert right - left == pytest.approx(110 * TILE_IN[0], rel=0.05)


def test_the_same_bytes_for_the_same_picture():
    assert pair_grid([pair()], ["a"], subtitle="here") == pair_grid([pair()], ["a"], subtitle="here")
    assert pair_grid([pair()], ["a"], subtitle="here") != pair_grid([pair(RIGHT, LEFT)], ["a"], subtitle="here")
