"""How somebody holds themselves who walks, stands or sits: a pose of one moment, seen from any side.

One moment does not always tell. Legs that pass each other look as if they stood, and of a stride towards the viewer
little is to be seen.
"""

import numpy as np
from numpy.typing import NDArray

from actrec.demo.figures import KEYPOINTS, Body, head_places

POSTURES = ("walking", "standing", "sitting")
_GESTURE_PROB = 0.4
# How far aside a hanging hand is, as a share of the arm: arms are seen beside the body.
_SPREAD_FRAC = 0.12

Angles = tuple[float, float]


def draw_posture(rng: np.random.Generator, posture: str, body: Body, heading_rad: float) -> NDArray[np.float64]:
    """Return the keypoints of somebody, (17, 2), around the middle of the shoulders at 0, 0; lengths as in `body`.

    Args:
        rng: Decides the moment of the stride, the gesture, and so on.
        posture: One of `POSTURES`.
        body: Proportions.
        heading_rad: 0 is towards the viewer, pi / 2 to the right.
    """
    thighs, shins, upper_arms, forearms = _angles(rng, posture)
    forward, aside = np.array([np.sin(heading_rad), 0.0]), np.array([np.cos(heading_rad), 0.0])
    places = dict(zip(KEYPOINTS[:5], head_places(body), strict=True))
    for side, sign, thigh, shin, upper, fore in zip(
        ("left", "right"), (1, -1), thighs, shins, upper_arms, forearms, strict=True
    ):
        shoulder = sign * body.shoulder_half * aside
        elbow = shoulder + body.arm / 2 * (_down(upper, forward) + sign * _SPREAD_FRAC * aside)
        hip = np.array([0.0, body.torso]) + sign * body.hip_half * aside
        knee = hip + body.leg / 2 * _down(thigh, forward)
        limbs = {
            "shoulder": shoulder,
            "elbow": elbow,
            "wrist": elbow + body.arm / 2 * (_down(fore, forward) + sign * _SPREAD_FRAC * aside),
            "hip": hip,
            "knee": knee,
            "ankle": knee + body.leg / 2 * _down(shin, forward),
        }
        places.update({f"{side}_{joint}": place for joint, place in limbs.items()})
    return np.array([places[name] for name in KEYPOINTS])


def _down(angle_rad: float, forward: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where a limb of length 1 points that is so far from hanging down, towards where the figure faces."""
    return np.sin(angle_rad) * forward + (0.0, np.cos(angle_rad))


def _angles(rng: np.random.Generator, posture: str) -> tuple[Angles, Angles, Angles, Angles]:
    """Return the angles of thighs, shins, upper arms and forearms, left and right, in radians from hanging down."""
    match posture:
        case "walking":
            phase, stride = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 0.6)
            thigh, lifted = stride * np.sin(phase), 0.5 * np.cos(phase)
            swing = rng.normal(-0.4, 0.3) * thigh
            shins = (thigh - max(lifted, 0), -thigh - max(-lifted, 0))
            return (thigh, -thigh), shins, (swing, -swing), _forearms(rng, swing)
        case "standing":
            apart, swing = rng.normal(0, 0.09), rng.normal(0, 0.1)
            return (apart, -apart), (apart, -apart), (swing, -swing), _forearms(rng, swing)
        case _:
            thighs, shins = rng.uniform(1.2, 1.55, 2), rng.normal(0, 0.15, 2)
            return tuple(thighs), tuple(shins), tuple(rng.uniform(0.0, 0.4, 2)), _forearms(rng, 0.3)


def _forearms(rng: np.random.Generator, swing_rad: float) -> Angles:
    """Return how far the forearms are bent of somebody whose left upper arm is so far before the body."""
    bent = np.array([swing_rad, -swing_rad]) + rng.uniform(0, 0.6, 2)
    if rng.random() < _GESTURE_PROB:
        bent[rng.integers(2)] = rng.uniform(0.8, 2.2)
    return float(bent[0]), float(bent[1])
