"""Only the order of the frames may tell the action: what holds of poses, before a pixel is drawn."""

import numpy as np
import pytest
from drawn import reversed_in_time

from actrec.demo.figures import ACTIONS, KEYPOINTS, Motion, draw_body, draw_motion, poses

FRAMES = 32


def rng(*numbers: int) -> np.random.Generator:
    return np.random.default_rng([1, *numbers])


@pytest.mark.parametrize(
    ("forward", "backward"),
    [("windmill_cw_left", "windmill_ccw_right"), ("windmill_cw_right", "windmill_ccw_left")],
)
def test_a_clip_played_backwards_is_one_of_the_opposite_class(forward: str, backward: str) -> None:
    body, motion = draw_body(rng()), draw_motion(rng(2), forward, speed=1.1)
    mirrored = reversed_in_time(motion)
    np.testing.assert_allclose(poses(body, mirrored, FRAMES), poses(body, motion, FRAMES)[::-1], atol=1e-12)

    drawn = draw_motion(rng(2), backward, speed=1.1)
    for rate in ("shift", "arm_turn_rad", "leg_turn_rad"):
        assert getattr(mirrored, rate) == getattr(drawn, rate)


def test_the_action_decides_signs_and_nothing_else() -> None:
    drawn = {action: draw_motion(rng(3), action, speed=0.9) for action in ACTIONS}
    for action, (turn, walk) in ACTIONS.items():
        motion, other = drawn[action], drawn["windmill_cw_right"]
        assert (motion.x, motion.y, motion.arm_rad, motion.leg_rad) == (other.x, other.y, other.arm_rad, other.leg_rad)
        assert motion.arm_turn_rad == turn * other.arm_turn_rad
        assert (motion.shift, motion.leg_turn_rad) == (walk * other.shift, walk * other.leg_turn_rad)


def test_names_say_the_direction_that_a_viewer_sees() -> None:
    body = draw_body(rng())
    left_shoulder, left_wrist = KEYPOINTS.index("left_shoulder"), KEYPOINTS.index("left_wrist")
    for action in ACTIONS:
        start = draw_motion(rng(4), action, speed=1)
        motion = Motion(**{**{name: getattr(start, name) for name in Motion.__slots__}, "x": 0.5, "arm_rad": 0.0})
        pose = poses(body, motion, FRAMES)
        # From pointing right, a clockwise arm goes down, where y is larger.
        goes_down = pose[4, left_wrist, 1] > pose[4, left_shoulder, 1]
        assert goes_down == ("_cw_" in action)
        assert (pose[4, 0, 0] > pose[0, 0, 0]) == action.endswith("right")


@pytest.mark.parametrize("frame", [0, FRAMES - 1])
def test_poses_at_a_frame_are_spread_alike_in_all_classes(frame: int) -> None:
    draws = 400
    spread = {}
    for number, action in enumerate(ACTIONS):
        body = draw_body(rng())
        some = [poses(body, draw_motion(rng(number, i), action, speed=1), FRAMES)[frame] for i in range(draws)]
        spread[action] = np.stack(some)
    # Five standard errors; a walk that does not wrap would differ by 0.4, an arm that starts upright by more.
    first = spread["windmill_cw_right"]
    for other in spread.values():
        error = first.std(axis=0) / np.sqrt(draws) * np.sqrt(2) + 1e-4
        assert (np.abs(first.mean(axis=0) - other.mean(axis=0)) < 5 * error).all()
        assert (np.abs(first.std(axis=0) - other.std(axis=0)) < 5 * error).all()


def test_phases_on_an_even_grid_have_the_same_moments_at_every_frame_of_every_class() -> None:
    body, grid = draw_body(rng()), 2 * np.pi * np.arange(12) / 12
    found = []
    for action in ACTIONS:
        motion = draw_motion(rng(5), action, speed=1)
        fixed = {name: getattr(motion, name) for name in Motion.__slots__}
        some = [poses(body, Motion(**{**fixed, "arm_rad": a, "leg_rad": 2.5 * a}), FRAMES) for a in grid]
        arms = np.stack(some)[..., 5:11, :]
        arms = arms - arms[..., :2, :].mean(axis=-2, keepdims=True)
        found.append([arms.mean(axis=0), (arms**2).mean(axis=0), (arms[..., 0] * arms[..., 1]).mean(axis=0)])
    # Sums of sines over an even grid do not depend on where the grid begins: exact, but for rounding.
    for moments in zip(*found, strict=True):
        for moment in moments:
            np.testing.assert_allclose(moment, np.broadcast_to(moments[0][:1], moment.shape), atol=1e-12)


def test_the_turn_between_16_frames_is_seen_and_the_walk_is_a_good_part_of_the_picture() -> None:
    for i in range(50):
        motion = draw_motion(rng(i), "windmill_cw_left", speed=0.9 + 0.004 * i)
        assert 15 < np.rad2deg(motion.arm_turn_rad) / 16 < 35
        assert 0.35 <= -motion.shift <= 0.5


def test_the_body_is_its_own_mirror_image() -> None:
    body, motion = draw_body(rng()), draw_motion(rng(6), "windmill_cw_right", speed=1)
    pose = poses(body, motion, FRAMES)
    pose[..., 0] -= pose[:, 5:7, 0].mean(axis=1, keepdims=True)
    for name in ("eye", "ear", "shoulder", "hip", "knee", "ankle"):
        left, right = (pose[:, KEYPOINTS.index(f"{side}_{name}")] for side in ("left", "right"))
        np.testing.assert_allclose(left * (-1, 1), right, atol=1e-12)
