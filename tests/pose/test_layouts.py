"""Layouts against what is published of them, against their own symmetry, and against real coordinates."""

from pathlib import Path

import numpy as np
import pytest

from actrec.pose.layouts import LAYOUTS, TO_COCO17

UTKINECT = Path(__file__).resolve().parents[3] / "shared/data/utkinect/utkinect.npz"
ALL = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)


def test_their_joints_are_as_many_as_their_names_say():
    assert {name: len(layout.joints) for name, layout in LAYOUTS.items()} == {
        "coco17": 17,
        "ntu25": 25,
        "ma52_28": 28,
        "utkinect20": 20,
    }
    assert all(
        layout.name == name and len(set(layout.joints)) == len(layout.joints) for name, layout in LAYOUTS.items()
    )


@ALL
def test_a_mirror_twice_changes_nothing(layout):
    assert sorted(layout.swap) == list(range(len(layout.joints)))
    assert [layout.swap[layout.swap[joint]] for joint in range(len(layout.joints))] == list(range(len(layout.joints)))


@ALL
def test_a_mirror_swaps_sides_and_nothing_else(layout):
    for joint, other in enumerate(layout.swap):
        name, mirrored = layout.joints[joint], layout.joints[other]
        if name.startswith(("left_", "right_")):
            assert name != mirrored and name.partition("_")[2] == mirrored.partition("_")[2]
        else:
            assert name == mirrored


@ALL
def test_limbs_join_all_joints_into_one_body_that_a_mirror_maps_to_itself(layout):
    reached = {0}
    for _ in layout.joints:
        reached |= {end for limb in layout.limbs for end in limb if reached & set(limb)}
    # COCO's head hangs on the shoulders by the nose.
    assert reached == set(range(len(layout.joints)))
    limbs = {frozenset(limb) for limb in layout.limbs}
    assert len(limbs) == len(layout.limbs) and all(len(limb) == 2 for limb in limbs)
    assert {frozenset(layout.swap[joint] for joint in limb) for limb in limbs} == limbs


def test_coco_is_the_published_one():
    """Left 1, 3, … 15, right 2, 4, … 16; 17 limbs."""
    coco = LAYOUTS["coco17"]
    assert coco.swap == (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)
    assert len(coco.limbs) == 17


def test_ntu_is_the_published_one():
    """The parent of each joint, counted from 1, as the skeleton graphs of NTU RGB+D list them."""
    parents = {1: 2, 2: 21, 3: 21, 4: 3, 5: 21, 6: 5, 7: 6, 8: 7, 9: 21, 10: 9, 11: 10, 12: 11, 13: 1, 14: 13, 15: 14}
    parents |= {16: 15, 17: 1, 18: 17, 19: 18, 20: 19, 22: 8, 23: 8, 24: 12, 25: 12}
    limbs = {frozenset(limb) for limb in LAYOUTS["ntu25"].limbs}
    assert limbs == {frozenset((joint - 1, parent - 1)) for joint, parent in parents.items()}
    # Left arm 5-8, 22, 23; right arm 9-12, 24, 25; left leg 13-16; right leg 17-20, all counted from 1.
    left, right = (4, 5, 6, 7, 21, 22, 12, 13, 14, 15), (8, 9, 10, 11, 23, 24, 16, 17, 18, 19)
    assert all(LAYOUTS["ntu25"].swap[a] == b for a, b in zip(left, right, strict=True))


def test_the_hands_of_ma52_change_places():
    """PCAN's own lists swap the body alone; hands hang on wrist 7 (left) and 4 (right)."""
    layout = LAYOUTS["ma52_28"]
    one, other = (2, 3, 4, 8, 9, 10, 14, 16), (5, 6, 7, 11, 12, 13, 15, 17)
    assert all(layout.swap[a] == b for a, b in zip(one, other, strict=True))
    assert layout.swap[18:] == (23, 24, 25, 26, 27, 18, 19, 20, 21, 22)
    assert all((7, finger) in layout.limbs and (4, finger + 5) in layout.limbs for finger in range(18, 23))
    assert (layout.joints[7], layout.joints[4]) == ("left_wrist", "right_wrist")


def test_utkinect_is_the_order_of_the_data():
    """Heads are on top, feet below, what hangs together stays together, and left is where people have it."""
    if not UTKINECT.exists():
        pytest.skip("no UTKinect data here")
    data = np.load(UTKINECT, allow_pickle=False)
    frames = np.concatenate([x[:length] for x, length in zip(data["x"], data["length"], strict=True)])
    layout = LAYOUTS["utkinect20"]
    at = {name: number for number, name in enumerate(layout.joints)}
    highest, lowest = frames[..., 1].argmax(axis=1), frames[..., 1].argmin(axis=1)
    low = [at[f"{side}_{part}"] for side in ("left", "right") for part in ("foot", "ankle")]
    assert (highest == at["head"]).mean() > 0.85  # hands go above it when they wave
    assert np.isin(lowest, low).mean() > 0.99
    lengths = [np.linalg.norm(frames[:, a] - frames[:, b], axis=1) for a, b in layout.limbs]
    assert all(0.05 < np.median(length) < 0.5 for length in lengths)  # a thigh is the longest
    # People face the sensor, whose x grows to their right.
    for part in ("shoulder", "elbow", "hip", "knee", "ankle"):
        assert (frames[:, at[f"left_{part}"], 0] < frames[:, at[f"right_{part}"], 0]).mean() > 0.9
    toes = frames[:, at["left_foot"], 2] - frames[:, at["left_ankle"], 2]
    assert np.median(toes) < 0  # towards the sensor


def test_other_tools_are_mapped_by_their_own_names():
    mediapipe = (
        "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear "
        "mouth_left mouth_right left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_pinky "
        "right_pinky left_index right_index left_thumb right_thumb left_hip right_hip left_knee right_knee left_ankle "
        "right_ankle left_heel right_heel left_foot_index right_foot_index"
    )
    body25 = (
        "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist MidHip RHip RKnee RAnkle LHip LKnee LAnkle REye "
        "LEye REar LEar LBigToe LSmallToe LHeel RBigToe RSmallToe RHeel"
    )
    body18 = (
        "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist RHip RKnee RAnkle LHip LKnee LAnkle REye LEye REar "
        "LEar"
    )
    coco = LAYOUTS["coco17"].joints
    short = [name.replace("left_", "l").replace("right_", "r") for name in coco]
    assert [mediapipe.split()[joint] for joint in TO_COCO17["mediapipe33"]] == list(coco)
    for tool, names in (("openpose25", body25), ("openpose18", body18)):
        assert [names.split()[joint].lower() for joint in TO_COCO17[tool]] == short
