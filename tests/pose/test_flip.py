"""Mirror images: by hand, against mirrored pictures, and twice."""

import numpy as np
import pytest

from actrec.pose.flip import flip_heatmaps, flip_keypoint, limb_swap
from actrec.pose.heatmap import joint_heatmaps, limb_heatmaps
from actrec.pose.layouts import LAYOUTS

SWAP = (0, 2, 1)  # a nose and two hands


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
    of_limbs = limb_swap(layout.limbs, layout.swap)
    for channels, swap in ((len(layout.joints), layout.swap), (len(layout.limbs), of_limbs)):
        maps = np.random.default_rng(1).random((channels, 2, 5, 6))
        assert not np.array_equal(flip_heatmaps(maps, swap), maps)
        assert np.array_equal(flip_heatmaps(flip_heatmaps(maps, swap), swap), maps)


def test_maps_are_mirrored_from_left_to_right():
    maps = np.arange(3 * 1 * 2 * 4).reshape(3, 1, 2, 4)
    mirrored = flip_heatmaps(maps, SWAP)
    assert mirrored[0, 0].tolist() == [[3, 2, 1, 0], [7, 6, 5, 4]]
    assert mirrored[1, 0].tolist() == [[19, 18, 17, 16], [23, 22, 21, 20]]
    assert mirrored.flags.c_contiguous  # torch takes no negative strides


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_mirrored_maps_are_the_maps_of_mirrored_keypoints(layout):
    """But for the last pixel of a window, which is below 0.0112 of the score."""
    keypoint, score = skeleton(len(layout.joints))
    mirrored = flip_keypoint(keypoint, score, width_px=24, swap=layout.swap)
    joints = flip_heatmaps(joint_heatmaps(keypoint, score, 24, 0.7), layout.swap)
    np.testing.assert_allclose(joints, joint_heatmaps(*mirrored, 24, 0.7), atol=0.0112)
    assert joints.max() > 0.5
    limbs = flip_heatmaps(limb_heatmaps(keypoint, score, 24, 0.7, layout.limbs), limb_swap(layout.limbs, layout.swap))
    np.testing.assert_allclose(limbs, limb_heatmaps(*mirrored, 24, 0.7, layout.limbs), atol=0.0112)
    assert limbs.max() > 0.5


def test_the_mirror_image_of_a_limb_is_between_the_swapped_joints():
    assert limb_swap(((0, 1), (2, 0), (1, 2)), SWAP) == (1, 0, 2)  # whichever end comes first


def test_a_limb_without_a_mirror_image_is_named():
    with pytest.raises(ValueError, match=r"no mirror image: \(0, 1\) becomes \(0, 2\), which the layout does not list"):
        limb_swap(((0, 1), (1, 2)), SWAP)
