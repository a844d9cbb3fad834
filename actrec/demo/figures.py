"""Who moves in a demo clip, and how: bodies, motions, and the 2-D pose at each frame.

An action is a direction of turning arms and a direction of walking. A pose depends on phases alone, and every phase
starts anywhere, with equal chance, on its circle; so does the place of the figure, on a picture whose left and right
edges are joined. A single frame, even one whose number is known, therefore looks the same in all four classes, and a
clip played backwards is a clip of the class in which both directions are opposite.

Lengths and places are fractions of the picture's side, x to the right, y down; 0, 0 is the upper left corner.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

# Name: (turn, walk). turn is +1 for clockwise as the viewer sees it, walk is +1 for to the right.
ACTIONS = {
    "windmill_ccw_left": (-1, -1),
    "windmill_ccw_right": (-1, 1),
    "windmill_cw_left": (1, -1),
    "windmill_cw_right": (1, 1),
}
# In a whole clip, so that 16 frames spread over it see the same motion whatever its length: about 23 degrees from one
# to the next, far below the 90 at which the direction of two opposite arms becomes ambiguous.
_TURNS, _SHIFT_FRAC, _STRIDES = 1.0, 0.42, 2.0
_LEG_SWING_RAD = 0.4

# Source: the order of COCO's person keypoints, https://cocodataset.org/#keypoints-2020
KEYPOINTS = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
)


@dataclass(frozen=True, slots=True)
class Body:
    """Proportions, the same on both sides: the figure faces the viewer and never turns."""

    head_radius: float
    shoulder_half: float
    hip_half: float
    torso: float
    arm: float
    leg: float
    limb_radius: float
    hand_radius: float


@dataclass(frozen=True, slots=True)
class Motion:
    """Where a figure starts, and how far it gets in a clip; the signs of the last three are directions.

    `arm_rad` is the angle of the left arm, clockwise from the right as the viewer sees it; the right arm is opposite.
    """

    x: float
    y: float
    arm_rad: float
    leg_rad: float
    shift: float
    arm_turn_rad: float
    leg_turn_rad: float


def draw_body(rng: np.random.Generator) -> Body:
    """Return the proportions of a new subject."""
    height = rng.uniform(0.54, 0.64)
    return Body(
        head_radius=height * rng.uniform(0.085, 0.11),
        shoulder_half=height * rng.uniform(0.07, 0.10),
        hip_half=height * rng.uniform(0.04, 0.06),
        torso=height * rng.uniform(0.28, 0.33),
        arm=height * rng.uniform(0.37, 0.42),
        leg=height * rng.uniform(0.38, 0.44),
        limb_radius=height * rng.uniform(0.042, 0.054),
        hand_radius=height * rng.uniform(0.080, 0.095),
    )


def scaled(body: Body, factor: float) -> Body:
    """Return a body so many times as large."""
    return replace(body, **{name: getattr(body, name) * factor for name in Body.__slots__})


def extent(body: Body, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the box around a figure as drawn, (…, 4): left, top, right, bottom.

    Args:
        body: Proportions.
        places: Keypoints (…, 17, 2).
    """
    radii = np.full((len(KEYPOINTS), 1), body.limb_radius)
    radii[[KEYPOINTS.index("left_wrist"), KEYPOINTS.index("right_wrist")]] = body.hand_radius
    radii[KEYPOINTS.index("nose")] = body.head_radius
    return np.concatenate([(places - radii).min(axis=-2), (places + radii).max(axis=-2)], axis=-1)


def draw_motion(rng: np.random.Generator, action: str, *, speed: float) -> Motion:
    """Return one performance of an action; the action decides the signs of the three rates and nothing else.

    Args:
        rng: Gives the same start and the same speeds for every action.
        action: A key of `ACTIONS`.
        speed: The subject's own factor, about 1.
    """
    turn, walk = ACTIONS[action]
    x, arm_rad, leg_rad = rng.random(3) * (1, 2 * np.pi, 2 * np.pi)
    y = rng.uniform(0.38, 0.44)
    walk_speed, turn_speed = speed * rng.uniform(0.95, 1.05, 2)
    return Motion(
        x=float(x),
        y=y,
        arm_rad=float(arm_rad),
        leg_rad=float(leg_rad),
        shift=walk * walk_speed * _SHIFT_FRAC,
        arm_turn_rad=turn * turn_speed * _TURNS * 2 * np.pi,
        leg_turn_rad=walk * walk_speed * _STRIDES * 2 * np.pi,
    )


def poses(body: Body, motion: Motion, num_frames: int) -> NDArray[np.float64]:
    """Return the keypoints of each frame, (T, 17, 2) in the order of `KEYPOINTS`, x and y as fractions.

    The middle of the shoulders lies in [0, 1); a limb may reach over the left or right edge, to below 0 or above 1.
    """
    # Midpoints of equal parts of the clip: played backwards, the times are the same.
    time = (np.arange(num_frames) + 0.5) / num_frames
    arm_rad = motion.arm_rad + motion.arm_turn_rad * time
    leg_rad = motion.leg_rad + motion.leg_turn_rad * time
    x = (motion.x + motion.shift * time) % 1
    # Up and down twice a stride: a function of the phase, and so the same in both directions.
    y = motion.y + 0.02 * body.leg * np.cos(2 * leg_rad)
    head = np.broadcast_to(head_places(body), (num_frames, 5, 2))
    offsets = np.concatenate([head, _arms(body, arm_rad), _legs(body, leg_rad)], axis=1)
    return offsets + np.stack([x, y], axis=-1)[:, None]


def standing(body: Body, *, left_raise_rad: float, right_raise_rad: float, leg_rad: float) -> NDArray[np.float64]:
    """Return the keypoints of somebody who stands still, (17, 2), around the middle of the shoulders at 0, 0.

    Args:
        body: Proportions.
        left_raise_rad: How far the left arm is raised sideways: 0 hangs down, pi / 2 points aside, pi up.
        right_raise_rad: The same of the right arm.
        leg_rad: The phase of the stride.
    """
    left = _arms(body, np.array([np.pi / 2 - left_raise_rad]))
    right = _arms(body, np.array([right_raise_rad - np.pi / 2]))
    is_left = np.array([name.startswith("left") for name in KEYPOINTS[5:11]])
    arms = np.where(is_left[:, None], left, right)
    return np.concatenate([head_places(body), arms[0], _legs(body, np.array([leg_rad]))[0]])


def head_places(body: Body) -> NDArray[np.float64]:
    """Return the first five keypoints, (5, 2), around the middle of the shoulders: a face towards the viewer."""
    r = body.head_radius
    up = -1.35 * r
    eye, ear = 0.25 * r, 0.1 * r
    return np.array([(0, up), (0.35 * r, up - eye), (-0.35 * r, up - eye), (0.9 * r, up - ear), (-0.9 * r, up - ear)])


def _arms(body: Body, arm_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    along = body.arm * np.stack([np.cos(arm_rad), np.sin(arm_rad)], axis=-1)
    shoulder = np.broadcast_to(np.array([body.shoulder_half, 0.0]), along.shape)
    joints = [part for bend in (0.0, 0.5, 1.0) for part in (shoulder + bend * along, -shoulder - bend * along)]
    return np.stack(joints, axis=1)


def _legs(body: Body, leg_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    swing = _LEG_SWING_RAD * np.sin(leg_rad)
    # Straight legs: a knee that bends would tell which way the figure walks.
    left = body.leg * np.stack([np.sin(swing), np.cos(swing)], axis=-1)
    right = left * (-1, 1)
    hip = np.array([body.hip_half, body.torso])
    joints = [part for bend in (0.0, 0.5, 1.0) for part in (hip + bend * left, hip * (-1, 1) + bend * right)]
    return np.stack(joints, axis=1)
