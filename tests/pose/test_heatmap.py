"""Heat-maps: by hand, and against a loop over the joints and a sum over points of the limb."""

import numpy as np
import pytest

from actrec.pose.heatmap import joint_heatmaps, limb_heatmaps
from benchmarks.heatmaps import joint_loop, limb_loop

LIMBS = ((0, 1), (1, 2), (4, 3))


def one(x, y, score=1.0):
    """Return the skeleton of one person of one joint in one frame."""
    return np.array([[[[x, y]]]], np.float32), np.array([[[score]]], np.float32)


def skeleton(persons=2, frames=6, joints=5, *, low=-6.0, high=30.0, seed=0):
    """Return a skeleton of which joints lie inside, outside and on the edge of a map of 24 px; some are not seen."""
    rng = np.random.default_rng(seed)
    keypoint = rng.uniform(low, high, (persons, frames, joints, 2)).astype(np.float32)
    keypoint[:, :2] = np.round(keypoint[:, :2])
    score = rng.uniform(0.0, 1, keypoint.shape[:3]) * (rng.random(keypoint.shape[:3]) > 0.3)
    return keypoint, score.astype(np.float32)


def test_a_joint_by_hand():
    maps = joint_heatmaps(*one(5, 3, 0.8), 12, 0.6)
    assert (maps.shape, maps.dtype) == ((1, 1, 12, 12), np.float32)
    # 3 sigma are 1.8: columns 3 to 6 and rows 1 to 4, as 5 - 1.8 and 5 + 1.8 without their fractions.
    assert np.argwhere(maps[0, 0]).min(axis=0).tolist() == [1, 3]
    assert np.argwhere(maps[0, 0]).max(axis=0).tolist() == [4, 6]
    assert maps[0, 0, 3, 5] == np.float32(0.8)
    assert maps[0, 0, 3, 6] == pytest.approx(0.8 * np.exp(-1 / 0.72))
    assert maps[0, 0, 4, 6] == pytest.approx(0.8 * np.exp(-2 / 0.72))
    assert maps[0, 0, 1, 3] == pytest.approx(0.8 * np.exp(-8 / 0.72))


def test_between_pixels_the_peak_is_lower_than_the_score():
    maps = joint_heatmaps(*one(5.25, 3.5), 12, 0.7)
    assert maps[0, 0, 3, 5] == pytest.approx(np.exp(-(0.25**2 + 0.5**2) / 0.98))
    assert maps[0, 0, 3, 5] == maps[0, 0, 4, 5] == maps.max()


@pytest.mark.parametrize("sigma_px", [0.6, 0.7, 2.0, 9.0])
@pytest.mark.parametrize("seed", range(3))
def test_all_maps_are_those_of_the_loops(sigma_px, seed):
    keypoint, score = skeleton(seed=seed)
    for maps, expected in (
        (joint_heatmaps(keypoint, score, 24, sigma_px), joint_loop(keypoint, score, 24, sigma_px)),
        (limb_heatmaps(keypoint, score, 24, sigma_px, LIMBS), limb_loop(keypoint, score, 24, sigma_px, LIMBS)),
    ):
        assert expected.max() > 0.3 and (expected == 0).any()
        np.testing.assert_allclose(maps, expected, rtol=0, atol=1e-6)


def test_only_the_window_is_missing_of_a_gaussian():
    keypoint, score = skeleton(persons=1, low=0, high=23)
    distance_sq = ((np.mgrid[:24, :24][::-1].T[:, :, None, None] - keypoint[0]) ** 2).sum(axis=-1)
    full = (score[0] * np.exp(-distance_sq / 0.98)).transpose(3, 2, 1, 0)
    cut_off = full - joint_heatmaps(keypoint, score, 24, 0.7)
    assert cut_off.min() > -1e-6 and 0.002 < cut_off.max() < np.exp(-4.5)


def test_a_limb_is_near_its_points():
    """The nearest of many points along each limb, without any formula for the distance to a segment."""
    keypoint, score = skeleton(persons=1, low=2, high=21)
    maps = limb_heatmaps(keypoint, score, 24, 0.7, LIMBS)
    rows, columns = np.mgrid[:24, :24]
    for limb, frame in np.ndindex(len(LIMBS), 6):
        a, b = LIMBS[limb]
        start, end = keypoint[0, frame, a], keypoint[0, frame, b]
        points = start + np.linspace(0, 1, 2001)[:, None] * (end - start)
        distance_sq = ((columns[..., None] - points[:, 0]) ** 2 + (rows[..., None] - points[:, 1]) ** 2).min(axis=-1)
        expected = min(score[0, frame, a], score[0, frame, b]) * np.exp(-distance_sq / 0.98)
        shown = maps[limb, frame] > 0
        np.testing.assert_allclose(maps[limb, frame][shown], expected[shown], atol=1e-4)
        assert expected[~shown].max(initial=0) < np.exp(-4.5)


def test_a_limb_by_hand():
    keypoint = np.array([[[[2, 5], [8, 5]]]], np.float32)
    limb = limb_heatmaps(keypoint, np.array([[[0.9, 0.4]]], np.float32), 12, 0.7, [(0, 1)])[0, 0]
    assert limb[5, 2:9].tolist() == pytest.approx([0.4] * 7)  # of the smaller score, all along
    assert limb[6, 2:9].tolist() == pytest.approx([0.4 * np.exp(-1 / 0.98)] * 7)
    assert limb[5, [1, 9]].tolist() == pytest.approx([0.4 * np.exp(-1 / 0.98)] * 2)
    assert not limb[8:].any() and not limb[:2].any() and not limb[:, 11:].any()


def test_a_limb_of_no_length_is_a_joint():
    keypoint, score = np.full((1, 1, 2, 2), 6.25, np.float32), np.array([[[0.5, 0.7]]], np.float32)
    limb = limb_heatmaps(keypoint, score, 12, 0.7, [(0, 1)])
    np.testing.assert_allclose(limb, joint_heatmaps(keypoint[:, :, :1], score[:, :, :1], 12, 0.7), atol=1e-6)


def test_what_is_not_seen_leaves_zeros():
    keypoint, score = skeleton()
    score[..., 1] = 0
    score[..., 3] = 9e-5
    assert not joint_heatmaps(keypoint, score, 24, 0.7)[[1, 3]].any()
    assert not limb_heatmaps(keypoint, score, 24, 0.7, LIMBS).any()  # each limb has one of the two
    assert joint_heatmaps(keypoint, score, 24, 0.7)[0].any()
    assert not joint_heatmaps(keypoint, np.zeros_like(score), 24, 0.7).any()


@pytest.mark.parametrize("place", [(-4, 5), (5, -4), (27, 5), (5, 27), (-60000, 60000)])
def test_what_lies_outside_leaves_zeros(place):
    assert not joint_heatmaps(*one(*place), 24, 0.7).any()


def test_where_persons_meet_the_larger_value_counts():
    keypoint, score = skeleton(persons=2)
    alone = [joint_heatmaps(keypoint[[m]], score[[m]], 24, 2.0) for m in (0, 1)]
    together = joint_heatmaps(keypoint, score, 24, 2.0)
    assert np.array_equal(together, np.maximum(*alone))
    assert ((alone[0] > 0) & (alone[1] > 0)).any()
    alone = [limb_heatmaps(keypoint[[m]], score[[m]], 24, 2.0, LIMBS) for m in (0, 1)]
    assert np.array_equal(limb_heatmaps(keypoint, score, 24, 2.0, LIMBS), np.maximum(*alone))
    assert ((alone[0] > 0) & (alone[1] > 0)).any()


def test_half_precision_is_what_it_stands_for():
    keypoint, score = (values.astype(np.float16) for values in skeleton())
    full = joint_heatmaps(keypoint.astype(np.float32), score.astype(np.float32), 24, 0.7)
    assert np.array_equal(joint_heatmaps(keypoint, score, 24, 0.7), full)


def test_nothing_to_draw():
    assert joint_heatmaps(np.zeros((0, 2, 3, 2)), np.zeros((0, 2, 3)), 8, 0.7).shape == (3, 2, 8, 8)
    assert limb_heatmaps(np.zeros((1, 2, 3, 2)), np.zeros((1, 2, 3)), 8, 0.7, []).shape == (0, 2, 8, 8)
