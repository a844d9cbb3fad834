"""The joints of each kind of skeleton: their names, the limbs between them, and what a mirror makes of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Layout:
    """One order of joints.

    `limbs` are pairs of joints. `swap[v]` is the joint that joint v becomes in a mirror image: left and right change
    places. Applied twice it changes nothing, so `keypoint[..., swap, :]` is right in both directions.
    """

    name: str
    joints: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    swap: tuple[int, ...]


def _layout(name: str, joints: str, limbs: str) -> Layout:
    names = tuple(joints.split())
    pairs = [limb.split("-") for limb in limbs.split()]
    return Layout(
        name,
        names,
        limbs=tuple((int(one), int(other)) for one, other in pairs),
        swap=tuple(names.index(_mirrored(joint)) for joint in names),
    )


def _mirrored(joint: str) -> str:
    side, _, rest = joint.partition("_")
    return {"left": f"right_{rest}", "right": f"left_{rest}"}.get(side, joint)


# Source: COCO keypoints (cocodataset.org); the limbs are the 17 of pyskl's limb heat-maps.
_COCO17 = _layout(
    "coco17",
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist "
    "right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle",
    "0-5 0-6 5-7 7-9 6-8 8-10 5-11 11-13 13-15 6-12 12-14 14-16 0-1 0-2 1-3 2-4 11-12",
)

# Source: Microsoft, Kinect for Windows SDK 2.0, JointType; NTU RGB+D lists the same joints counted from 1.
_NTU25 = _layout(
    "ntu25",
    "spine_base spine_mid neck head left_shoulder left_elbow left_wrist left_hand right_shoulder right_elbow "
    "right_wrist right_hand left_hip left_knee left_ankle left_foot right_hip right_knee right_ankle right_foot "
    "spine_shoulder left_hand_tip left_thumb right_hand_tip right_thumb",
    "0-1 1-20 20-2 2-3 20-4 4-5 5-6 6-7 7-21 7-22 20-8 8-9 9-10 10-11 11-23 11-24 0-12 12-13 13-14 14-15 "
    "0-16 16-17 17-18 18-19",
)

# OpenPose's 18 points of a body, then 5 of each hand, which hang on the wrists: 18-22 on the left one (7), 23-27 on the
# right one (4). Which finger is which is not published; only that both hands have them in the same order is assumed.
# Source: the lists of MA-52's published configs (PCAN), whose own flip forgets the hands.
_MA52_28 = _layout(
    "ma52_28",
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist right_hip right_knee "
    "right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear "
    "left_hand_1 left_hand_2 left_hand_3 left_hand_4 left_hand_5 "
    "right_hand_1 right_hand_2 right_hand_3 right_hand_4 right_hand_5",
    "0-1 1-2 2-3 3-4 1-5 5-6 6-7 1-8 8-9 9-10 1-11 11-12 12-13 0-14 0-15 14-16 15-17 7-18 7-19 7-20 7-21 "
    "7-22 4-23 4-24 4-25 4-26 4-27",
)

# Source: Microsoft, Kinect for Windows SDK 1, NUI_SKELETON_POSITION_INDEX; checked on UTKinect's own coordinates.
_UTKINECT20 = _layout(
    "utkinect20",
    "hip_center spine shoulder_center head left_shoulder left_elbow left_wrist left_hand right_shoulder right_elbow "
    "right_wrist right_hand left_hip left_knee left_ankle left_foot right_hip right_knee right_ankle right_foot",
    "0-1 1-2 2-3 2-4 4-5 5-6 6-7 2-8 8-9 9-10 10-11 0-12 12-13 13-14 14-15 0-16 16-17 17-18 18-19",
)

LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {layout.name: layout for layout in (_COCO17, _NTU25, _MA52_28, _UTKINECT20)}
)

# Which joint of another tool's output is each joint of coco17: keypoints[..., TO_COCO17["mediapipe33"], :].
# Source: MediaPipe, Pose landmark model (33 landmarks); OpenPose, Output format (BODY_25 and COCO).
TO_COCO17: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "mediapipe33": (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28),
        "openpose25": (0, 16, 15, 18, 17, 5, 2, 6, 3, 7, 4, 12, 9, 13, 10, 14, 11),
        "openpose18": (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10),
    }
)
