"""What is drawn, and that boxes and keypoints are true of it."""

import numpy as np
import pytest
from drawn import reversed_in_time

from actrec.demo.figures import KEYPOINTS, Motion, draw_body, draw_motion
from actrec.demo.scene import Figure, boxes, draw_background, draw_looks, draw_stroke, keypoints, render

SIZE, FRAMES = 64, 8


def rng(*numbers: int) -> np.random.Generator:
    return np.random.default_rng([2, *numbers])


def standing(x: float, arm_rad: float = 0.0, seed: int = 0) -> Figure:
    motion = Motion(x=x, y=0.4, arm_rad=arm_rad, leg_rad=1.0, shift=0.0, arm_turn_rad=0.0, leg_turn_rad=0.0)
    return Figure(draw_body(rng(seed)), draw_looks(rng(seed), "fox"), motion)


def black() -> np.ndarray:
    return np.zeros((SIZE, SIZE, 3), np.float32)


def stroke(start: tuple[float, float], end: tuple[float, float], radius_px: float) -> np.ndarray:
    picture = black()
    draw_stroke(picture, np.array(start), np.array(end), radius_px=radius_px, colour=(1.0, 1.0, 1.0))
    return picture[..., 0]


def test_strokes_have_the_area_of_a_disc_and_of_a_capsule() -> None:
    assert stroke((30.3, 31.2), (30.3, 31.2), 8).sum() == pytest.approx(np.pi * 64, rel=0.01)
    assert stroke((20, 20), (44, 38), 4).sum() == pytest.approx(np.pi * 16 + 8 * 30, rel=0.01)


def test_a_stroke_over_the_edge_goes_on_at_the_other_side() -> None:
    middle = stroke((25, 20), (40, 30), 3)
    np.testing.assert_allclose(stroke((-7, 20), (8, 30), 3), np.roll(middle, -32, axis=1), atol=1e-6)
    np.testing.assert_allclose(stroke((57, 20), (72, 30), 3), np.roll(middle, 32, axis=1), atol=1e-6)


def test_a_stroke_above_the_picture_is_cut_off() -> None:
    picture = stroke((30, 0), (30, 0), 5)
    assert picture.sum() == pytest.approx(np.pi * 25 / 2, rel=0.05)
    assert not picture[SIZE // 2 :].any()


def test_frames_of_the_opposite_motion_are_the_same_ones_backwards() -> None:
    figure = standing(0.5)
    motion = draw_motion(rng(3), "windmill_cw_left", speed=1)
    background = draw_background(rng(4), SIZE)
    forward = render([Figure(figure.body, figure.looks, motion)], background, FRAMES)
    backward = render([Figure(figure.body, figure.looks, reversed_in_time(motion))], background, FRAMES)
    assert np.abs(forward[::-1].astype(int) - backward).max() <= 1
    assert (forward[0] != forward[-1]).any()


@pytest.mark.parametrize("arm_rad", [0.0, 0.8, 1.6, 2.4])
def test_the_box_holds_the_figure_tightly(arm_rad: float) -> None:
    figure = standing(0.5, arm_rad)
    large_px = 256
    (picture,) = render([figure], np.zeros((large_px, large_px, 3), np.float32), 1)
    ys, xs = np.nonzero(picture.max(axis=-1) > 80)
    x, y, w, h = boxes(figure, 1, large_px)[0]
    drawn = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
    np.testing.assert_allclose([x, y, x + w, y + h], drawn, atol=1.0)


def test_box_and_keypoints_at_the_edge_are_those_of_the_copy_with_the_shoulders() -> None:
    figure = standing(0.05)
    x, _, w, _ = boxes(figure, 1, SIZE)[0]
    assert x == 0
    assert SIZE * 0.2 < w < SIZE * 0.5
    places, scores = keypoints(figure, 1, SIZE)
    assert places.shape == (1, 17, 2)
    assert (places.dtype, scores.dtype) == (np.float16, np.float16)
    left, right = KEYPOINTS.index("left_wrist"), KEYPOINTS.index("right_wrist")
    assert places[0, right, 0] < 0 < places[0, left, 0]
    assert (scores[0, right], scores[0, left]) == (0, 1)


def test_keypoints_lie_on_what_is_drawn() -> None:
    figure = standing(0.5, 0.3)
    (picture,) = render([figure], black(), 1)
    places, _ = keypoints(figure, 1, SIZE)
    for name, colour in (("left_wrist", figure.looks.left_hand), ("right_wrist", figure.looks.right_hand)):
        x, y = places[0, KEYPOINTS.index(name)].astype(int)
        np.testing.assert_allclose(picture[y, x] / 255, colour, atol=1 / 255)


def test_of_two_figures_the_last_is_in_front() -> None:
    rear, front = standing(0.5, seed=1), standing(0.5, seed=2)
    (picture,) = render([rear, front], black(), 1)
    waist_row = round((0.4 + front.body.torso / 2) * SIZE)
    np.testing.assert_allclose(picture[waist_row, SIZE // 2] / 255, front.looks.body, atol=1 / 255)
    apart = render([standing(0.25, 1.57), standing(0.75, 1.57)], black(), 1)[0]
    assert apart[:, : SIZE // 2].any()
    assert apart[:, SIZE // 2 :].any()


def test_a_background_has_no_seam_and_little_grain() -> None:
    background = draw_background(rng(5), SIZE)
    seam = np.abs(background[:, 0] - background[:, -1]).mean()
    inside = np.abs(np.diff(background, axis=1)).mean()
    assert seam < 2 * inside < 0.06
