"""What every reader's skeletons are checked for, and what becomes of them."""

from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest

from actrec.errors import BadItem
from actrec.pose.layouts import LAYOUTS
from actrec.pose.skeleton import make_skeleton, one_dimension

COCO = LAYOUTS["coco17"]


def people(persons=2, frames=4, dims=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(1, 200, (persons, frames, 17, dims)), rng.uniform(0.1, 1, (persons, frames, 17))


def make(keypoint, score, *, max_persons=5, **others):
    return make_skeleton("clip", keypoint, score, layout=COCO, max_persons=max_persons, **others)


def test_coordinates_and_scores_are_rounded_and_nothing_else():
    keypoint, score = people()
    skeleton = make(keypoint, score, img_shape=(100, 200), label=7)
    assert skeleton.keypoint.dtype == skeleton.score.dtype == np.float16
    np.testing.assert_array_equal(skeleton.keypoint, keypoint.astype(np.float16))
    np.testing.assert_array_equal(skeleton.score, score.astype(np.float16))
    assert (skeleton.name, skeleton.img_shape, skeleton.label) == ("clip", (100, 200), 7)
    assert keypoint.max() > 1, "the caller's arrays are left as they are"


def test_the_digest_is_of_what_is_in_a_skeleton_under_any_name():
    skeleton = make(*people(persons=1), img_shape=(100, 200), label=7)
    content = b"((1, 4, 17, 2), (100, 200))" + skeleton.keypoint.tobytes() + skeleton.score.tobytes()
    assert skeleton.digest == sha256(content).hexdigest()
    assert replace(skeleton, name="other", label=None).digest == skeleton.digest
    assert replace(skeleton, keypoint=np.asfortranarray(skeleton.keypoint)).digest == skeleton.digest
    for changed in ({"img_shape": None}, {"keypoint": skeleton.keypoint + 1}, {"score": skeleton.score / 2}):
        assert replace(skeleton, **changed).digest != skeleton.digest


def test_a_joint_is_seen_with_a_score_and_a_place_or_not_at_all():
    keypoint, score = people(persons=1, frames=1)
    score[0, 0, 3] = 0
    keypoint[0, 0, 5] = 0
    score[0, 0, 6] = 1e-9  # 0 as float16
    skeleton = make(keypoint, score)
    for joint in (3, 5, 6):
        assert skeleton.score[0, 0, joint] == 0 and not skeleton.keypoint[0, 0, joint].any()
    assert (skeleton.score > 0).sum() == 14


def test_without_scores_a_joint_is_seen_if_it_is_anywhere():
    keypoint, _ = people(persons=1, dims=3)
    keypoint[0, 1] = 0
    skeleton = make(keypoint, None, img_shape=(100, 200))
    assert skeleton.score[0, :, 0].tolist() == [1, 0, 1, 1]
    assert skeleton.img_shape is None  # metres are of no picture


def test_peaks_of_heat_maps_above_one_become_one():
    keypoint, score = people(persons=1, frames=1)
    score[0, 0, 0] = 1.28
    assert make(keypoint, score).score[0, 0, 0] == 1


def test_whole_numbers_and_other_byte_orders_are_taken():
    keypoint, score = people(persons=1)
    whole = np.round(keypoint)
    for kind in ("i2", "u1", ">f4", "f8"):
        np.testing.assert_array_equal(make(whole.astype(kind), score).keypoint, whole)


def with_value(values, index, value):
    values = values.copy()
    values[index] = value
    return values


K, S = people()
FAULTS = {
    "nan": (with_value(K, (1, 2, 3, 0), np.nan), S, "not_finite", "person 1, frame 2, joint 3 (left_ear)"),
    "infinite": (with_value(K, (0, 0, 16, 1), -np.inf), S, "not_finite", "-inf at person 0, frame 0, joint 16"),
    "too large": (with_value(K, (0, 1, 0, 0), 65505), S, "out_of_range", "got 65505 at person 0, frame 1, joint 0"),
    "far below": (with_value(K, (0, 1, 0, 0), -1e300), S, "out_of_range", "-1e+300"),
    "a percent": (
        K,
        with_value(S, (0, 0, 1), 87.0),
        "bad_score",
        "expected 0 to 1, got 87 at person 0, frame 0, joint 1",
    ),
    "below 0": (K, with_value(S, (1, 0, 1), -0.5), "bad_score", "got -0.5 at person 1"),
    "no score": (K, with_value(S, (1, 0, 1), np.nan), "bad_score", "got nan"),
    "other joints": (K[:, :, :16], S[:, :, :16], "wrong_layout", "expected 17 joints, those of coco17, got 16"),
    "one coordinate": (K[..., :1], S, "wrong_shape", "got 2x4x17x1"),
    "no persons' axis": (K[0], S[0], "wrong_shape", "got 4x17x2"),
    "scores of others": (K, S[:, :3], "wrong_shape", "expected 2x4x17, got 2x3x17"),
    "text": (K.astype("U5"), S, "wrong_shape", "real numbers"),
    "complex": (K.astype("c8"), S, "wrong_shape", "real numbers"),
    "scores of truth": (K, S > 0.5, "wrong_shape", "keypoint_score: expected real numbers"),
    "no frames": (K[:, :0], S[:, :0], "empty", "at least one frame, got 0"),
    "no persons": (K[:0], S[:0], "no_body", "at least one person, got 0"),
    "nobody": (K * 0, S, "no_body", "no joint is seen in any of 4 frames of 2 persons"),
    "no scores at all": (K, S * 0, "no_body", "no joint is seen"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_cannot_be_used_says_why(case):
    keypoint, score, reason, words = FAULTS[case]
    with pytest.raises(BadItem) as error:
        make(keypoint, score)
    assert error.value.reason == reason and words in error.value.message


def test_limits_are_the_last_that_are_let_in():
    keypoint = with_value(K, (0, 0, 0, 0), 65504)
    assert make(keypoint, with_value(S, (0, 0, 0), 1.5)).keypoint[0, 0, 0, 0] == 65504
    with pytest.raises(BadItem):
        make(K, with_value(S, (0, 0, 0), 1.5001))


def test_persons_that_are_seen_most_are_kept_in_their_own_order():
    keypoint, score = people(persons=4, frames=6)
    score[0, 2:] = 0  # in 2 frames
    score[1, 5:] = 0  # 5
    score[3, 3:] = 0  # 3, and person 2 in all 6
    for max_persons, kept in ((1, [2]), (2, [1, 2]), (3, [1, 2, 3]), (4, [0, 1, 2, 3]), (9, [0, 1, 2, 3])):
        skeleton = make(keypoint, score, max_persons=max_persons)
        np.testing.assert_array_equal(skeleton.score, score[kept].astype(np.float16))


def test_of_persons_seen_alike_those_who_move_more_are_kept():
    keypoint, score = people(persons=3)
    keypoint[0] = keypoint[0, :1]  # stands still, so only its joints differ from each other
    keypoint[2] = 100 + (keypoint[2] - 100) * 2
    skeleton = make(keypoint, score, max_persons=1)
    np.testing.assert_array_equal(skeleton.score[0], score[2].astype(np.float16))
    # Unseen joints are at 0: they are not motion.
    scattered = score.copy()
    scattered[0, ::2, ::2] = 0
    np.testing.assert_array_equal(make(keypoint, scattered, max_persons=1).score[0], score[2].astype(np.float16))


def test_equal_persons_are_kept_from_the_first():
    keypoint, score = people(persons=1)
    skeleton = make(np.repeat(keypoint, 3, axis=0), np.stack([score[0] * k for k in (0.5, 1, 0.7)]), max_persons=2)
    np.testing.assert_array_equal(skeleton.score[1], score[0].astype(np.float16))


def test_persons_who_are_never_seen_are_left_out():
    keypoint, score = people(persons=3)
    score[1] = 0
    assert make(keypoint, score).keypoint.shape[0] == 2


def test_skeletons_of_one_file_have_as_many_coordinates_as_the_first():
    flat, deep = make(*people()), make(people(dims=3)[0], None)
    kept, faults = one_dimension([flat, deep, flat])
    assert kept == (flat, flat)
    assert [fault.reason for fault in faults] == ["wrong_shape"] and "expected 2" in faults[0].message
    assert one_dimension([]) == ((), [])
