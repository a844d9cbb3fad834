"""Mirror images: by hand, against mirrored pictures, and twice."""

import numpy as np
import pytest

from actrec.pose.flip import flip_keypoint
from actrec.pose.heatmap import joint_heatmaps, limb_heatmaps
from actrec.pose.layouts import LAYOUTS

SWAP = (0, 2, 1)  # a nose and two hands


def mirror_image(maps, swap):
    """Return heat-maps (K, T, H, W) mirrored, and the channels of left and right in each other's place."""
    return maps[list(swap), ..., ::-1]


def limb_swap(limbs, swap):
    """Return which limb each becomes: the one between the swapped joints, whichever end comes first."""
    places = {frozenset(limb): place for place, limb in enumerate(limbs)}
    return [places[frozenset(swap[joint] for joint in limb)] for limb in limbs]


def skeleton(joints, *, persons=2, frames=3, size_px=24, seed=0):
    rng = np.random.default_rng(seed)
    keypoint = rng.uniform(0, size_px - 1, (persons, frames, joints, 2)).astype(np.float32)
    return keypoint, (rng.uniform(0.2, 1, keypoint.shape[:3]) * rng.integers(0, 2, keypoint.shape[:3])).astype(
        np.float32
    )


def test_left_and_right_change_places_and_columns():
    keypoint = np.array([[[[4.0, 1.0], [0.0, 2.0], [9.0, 3.0]]]])
    score = np.array([[[0.5, 0.25, 1.0]]])
    mirrored, scores = flip_keypoint(keypoint, score, width_px=10, swap=SWAP)
    assert mirrored.tolist() == [[[[5.0, 1.0], [0.0, 3.0], [9.0, 2.0]]]]
    assert scores.tolist() == [[[0.5, 1.0, 0.25]]]
    assert keypoint[0, 0, 0].tolist() == [4.0, 1.0], "the original is left as it is"


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_twice_is_the_identity(layout):
    keypoint, score = skeleton(len(layout.joints))
    there = flip_keypoint(keypoint, score, width_px=24, swap=layout.swap)
    back, scores = flip_keypoint(*there, width_px=24, swap=layout.swap)
    assert not np.allclose(there[0], keypoint)
    np.testing.assert_allclose(back, keypoint, atol=4e-6)
    assert np.array_equal(scores, score)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_mirrored_maps_are_the_maps_of_mirrored_keypoints(layout):
    """But for the last pixel of a window, which is below 0.0112 of the score."""
    keypoint, score = skeleton(len(layout.joints))
    mirrored = flip_keypoint(keypoint, score, width_px=24, swap=layout.swap)
    joints = mirror_image(joint_heatmaps(keypoint, score, 24, 0.7), layout.swap)
    np.testing.assert_allclose(joints, joint_heatmaps(*mirrored, 24, 0.7), atol=0.0112)
    assert joints.max() > 0.5
    limbs = mirror_image(limb_heatmaps(keypoint, score, 24, 0.7, layout.limbs), limb_swap(layout.limbs, layout.swap))
    np.testing.assert_allclose(limbs, limb_heatmaps(*mirrored, 24, 0.7, layout.limbs), atol=0.0112)
    assert limbs.max() > 0.5
