"""Words of mistakes, and that limbs lie where the skeleton has them."""

import io

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from actrec.metrics.classification import Scores
from actrec.pose.layouts import LAYOUTS
from actrec.report import canvas
from actrec.report.skeletons import Strip, mistake_titles, side_of, skeleton_grid

PROBS = np.array([[0.6, 0.4], [0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.1, 0.9]])
SCORES = Scores("test", "act", tuple("vwxyz"), PROBS, np.array([1, 1, 0, 1, 0]), ("walk", "run"))
LEFT, RIGHT = canvas.ORANGE, canvas.SKY
JOINTS, LIMBS = ("neck", "left_hand", "right_hand"), ((0, 1), (0, 2))


def strip(*, frames: int = 1, pictures: bool = False, seen: tuple[bool, bool, bool] = (True, True, True)) -> Strip:
    """Return a neck in the middle of a square of 100 px, the left hand to the right of it and the right hand below."""
    places = np.array([[50.0, 50.0], [90.0, 50.0], [50.0, 90.0]])
    below = np.full((frames, 100, 100, 3), 120, np.uint8) if pictures else None
    return Strip(np.tile(places, (1, frames, 1, 1)), np.tile(np.array(seen), (1, frames, 1)), 100, below)


def drawn(*clips: Strip) -> np.ndarray:
    content = skeleton_grid(clips, ["one"] * len(clips), joints=JOINTS, limbs=LIMBS, subtitle="here")
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def places_of(picture: np.ndarray, colour: str) -> np.ndarray:
    """Return (y, x) of the pixels of a colour."""
    wanted = np.array(to_rgb(colour)) * 255
    return np.argwhere(np.abs(picture - wanted).max(axis=-1) < 12)


def test_titles_say_what_is_true_and_what_was_said():
    assert mistake_titles(SCORES, [4, 0]) == ["walk → run (0.90)\nz", "run → walk (0.60)\nv"]


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_a_mirror_image_changes_sides(layout):
    opposite = {"left": "right", "right": "left", "middle": "middle"}
    sides = set()
    for limb in layout.limbs:
        side = side_of(*(layout.joints[joint] for joint in limb))
        assert side_of(*(layout.joints[layout.swap[joint]] for joint in limb)) == opposite[side]
        sides.add(side)
    assert {"left", "right"} <= sides


def test_sides_of_limbs():
    assert side_of("neck", "left_hip") == side_of("left_hip", "neck") == side_of("left_hip", "left_knee") == "left"
    assert side_of("right_wrist", "right_hand_3") == "right"
    assert side_of("left_hip", "right_hip") == side_of("spine", "neck") == "middle"


@pytest.mark.parametrize("pictures", [False, True])
def test_limbs_lie_where_the_joints_are(pictures):
    picture = drawn(strip(pictures=pictures))
    left, right = places_of(picture, LEFT), places_of(picture, RIGHT)
    # A square of 1.5 in at 110 dots an inch, 0.96 in below the top: 165 px for 100.
    neck = np.array([0.96 * 110 + 50.5 * 1.65, 0.12 * 110 + 50.5 * 1.65])
    assert np.abs(left[:, 0] - neck[0]).max() <= 2, "level"
    assert (left[:, 1].min(), left[:, 1].max()) == pytest.approx((neck[1], neck[1] + 40 * 1.65), abs=5)
    assert np.abs(right[:, 1] - neck[1]).max() <= 2, "upright"
    assert (right[:, 0].min(), right[:, 0].max()) == pytest.approx((neck[0], neck[0] + 40 * 1.65), abs=5)


def test_what_is_not_seen_is_not_drawn():
    picture = drawn(strip(seen=(True, False, True)))
    assert not len(places_of(picture, LEFT)) and len(places_of(picture, RIGHT))


def test_rows_of_fewer_frames_end_early():
    picture = drawn(strip(frames=3, pictures=True), strip(pictures=True))
    rows = [round(110 * (0.66 + 1.8 * row + 0.3 + 0.1)) for row in range(2)]
    grey = (picture == 120).all(axis=-1)[rows]
    assert grey.sum(axis=1).tolist() == pytest.approx([3 * 165, 165], abs=6)


def test_the_same_bytes_for_the_same_picture():
    how = {"joints": JOINTS, "limbs": LIMBS, "subtitle": "here"}
    assert skeleton_grid([strip()], ["a"], **how) == skeleton_grid([strip()], ["a"], **how)
    nobody = strip(seen=(False, False, False))
    assert skeleton_grid([nobody], ["a"], **how) != skeleton_grid([strip()], ["a"], **how)
