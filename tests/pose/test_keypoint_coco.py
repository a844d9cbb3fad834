"""Keypoints in COCO's JSON: frames from images, persons from annotations, and what is wrong with which."""

import json

import numpy as np
import pytest

from actrec.errors import BadItem
from actrec.pose.keypoint_coco import read_coco_json
from actrec.pose.layouts import LAYOUTS

COCO = LAYOUTS["coco17"]
RNG = np.random.default_rng(0)
K = RNG.uniform(1, 300, (2, 4, 17, 2)).round(2)
S = RNG.uniform(0.1, 0.9, (2, 4, 17)).round(3)


@pytest.fixture
def read(tmp_path):
    def read_content(content, max_persons=2):
        path = tmp_path / "keypoints.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return read_coco_json(path, layout=COCO, max_persons=max_persons)

    return read_content


def keypoints(person, frame, score=None):
    values = np.concatenate([K[person, frame], (S if score is None else score)[person, frame][:, None]], axis=1)
    return values.ravel().tolist()


def clip(name="clip7", *, first=1, start_id=0, persons=2, score=None, **others):
    """Return images and annotations of one clip, whose frames count from `first`."""
    images = [{"id": start_id + t, "file_name": f"{name}/img_{first + t:05d}.jpg", **others} for t in range(4)]
    annotations = [
        {"id": 0, "image_id": start_id + t, "category_id": 1, "keypoints": keypoints(m, t, score), "bbox": [0, 0, 1, 1]}
        for t in range(4)
        for m in range(persons)
    ]
    return {"images": images, "annotations": annotations}


def merged(*parts):
    return {key: [entry for part in parts for entry in part[key]] for key in ("images", "annotations")}


def test_frames_and_persons_come_out_in_order(read):
    content = merged(clip("a/b", first=0, width=640, height=480), clip("c", first=118, start_id=50, persons=1))
    content["images"].reverse()
    found = read(content | {"categories": [{"id": 1, "name": "person"}]})
    assert [(s.name, s.img_shape) for s in found.skeletons] == [("c", None), ("a/b", (480, 640))] and not found.faults
    for skeleton, persons in zip(found.skeletons, (1, 2), strict=True):
        np.testing.assert_array_equal(skeleton.keypoint, K[:persons].astype(np.float16))
        np.testing.assert_array_equal(skeleton.score, S[:persons].astype(np.float16))


def test_flags_of_visibility_are_no_scores(read):
    flags = np.full((2, 4, 17), 2.0)
    flags[0, 1, 3], flags[1, 2, 4] = 0, 1
    found = read(clip(score=flags)).skeletons[0]
    np.testing.assert_array_equal(found.score, np.where(flags > 0, 1, 0))
    assert not found.keypoint[0, 1, 3].any()


def test_video_and_frame_name_the_clip_before_the_file_does(read):
    content = clip()
    for image in content["images"]:
        image |= {"video": "S001", "frame": 10 * image["id"]}
    found = read(content).skeletons[0]
    assert found.name == "S001" and found.keypoint.shape == (2, 31, 17, 2)
    assert np.nonzero(found.score.any(axis=(0, 2)))[0].tolist() == [0, 10, 20, 30]


def test_images_without_people_are_frames(read):
    content = clip()
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] == 2]
    content["annotations"] += [{"image_id": 0, "bbox": [1, 2, 3, 4]}, {"image_id": 1, "keypoints": [0] * 51}]
    found = read(content).skeletons[0]
    assert found.keypoint.shape == (2, 4, 17, 2) and found.score.any(axis=(0, 2)).tolist() == [0, 0, 1, 0]


def test_tracks_hold_a_person_together(read):
    content = clip()
    for number, annotation in enumerate(content["annotations"]):
        annotation["track_id"] = 5 - number % 2
    found = read(content).skeletons[0]
    np.testing.assert_array_equal(found.keypoint, K[::-1].astype(np.float16))


@pytest.mark.parametrize("name", ["clip7/000012.jpg", "clip7/frame-12.jpeg", "clip7/v2_12.png", "clip7\\12"])
def test_the_last_number_of_a_name_is_its_frame(name, read):
    images = [{"id": 1, "file_name": name}, {"id": 2, "file_name": "clip7/10.jpg"}]
    found = read({"images": images, "annotations": [{"image_id": 1, "keypoints": keypoints(0, 0)}]}).skeletons[0]
    assert found.name == "clip7" and found.score.any(axis=(0, 2)).tolist() == [0, 0, 1]


def bad_clip(**changes):
    content = clip("bad", start_id=100)
    content["annotations"][2] |= changes
    return content


FAULTS = {
    "too few numbers": (
        bad_clip(keypoints=[1.0] * 34),
        "wrong_layout",
        "expected x, y, v of coco17, 51 numbers, got 34",
    ),
    "a word": (bad_clip(keypoints=["x"] * 51), "malformed", "annotations[10]: 'keypoints': expected a list of numbers"),
    "truth": (bad_clip(keypoints=[True] * 51), "malformed", "a list of numbers"),
    "a dict": (bad_clip(keypoints={"x": 1}), "malformed", "a list of numbers"),
    "a percent": (bad_clip(keypoints=[5.0, 5.0, 87.5] * 17), "bad_score", "got 87.5"),
    "not a number": (bad_clip(keypoints=[float("nan"), 5.0, 0.5] * 17), "not_finite", "nan"),
    "a number beyond any": (bad_clip(keypoints=[10**400, 5, 1] * 17), "out_of_range", "beyond any"),
    "a track by name": (bad_clip(track_id="Ann"), "malformed", "'track_id': expected a whole number, got str"),
    "a track twice": (bad_clip(track_id=1), "duplicate", "person 1, frame 1"),
    "nobody": (clip("bad", start_id=100) | {"annotations": []}, "no_body", "none of 4 frames"),
    "half a size": (clip("bad", start_id=100, width=640), "wrong_shape", "images[4]: height, width: expected pixels"),
    "a size of text": (clip("bad", start_id=100, width="640", height=480), "wrong_shape", "expected pixels"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_bad_clip_is_a_fault_and_the_others_are_read(case, read):
    bad, reason, words = FAULTS[case]
    found = read(merged(clip("one"), bad, clip("two", start_id=200)))
    assert [s.name for s in found.skeletons] == ["one", "two"]
    ((name, found_reason, message),) = found.faults
    assert (name, found_reason) == ("bad", reason) and words in message


def test_pictures_of_two_sizes_are_a_fault(read):
    content = clip(width=640, height=480)
    content["images"][2]["width"] = 641
    (fault,) = read(content).faults
    assert fault.reason == "wrong_shape" and "expected (480, 640) as before, got (480, 641)" in fault.message


def test_a_clip_of_many_years_is_a_fault(read):
    content = clip()
    content["images"].append({"id": 99, "file_name": "clip7/999999999.jpg"})
    assert [fault.reason for fault in read(content).faults] == ["too_large"]


OTHER_FILES = {
    "nothing": b"",
    "no JSON": b"{",
    "not UTF-8": b'{"images": "\xff"}',
    "brackets": b"[" * 100_000,
    "a number of 9,000 digits": b'{"images": [' + b"9" * 9000 + b'], "annotations": []}',
    "a list": [],
    "no annotations": {"images": []},
    "images by name": {"images": {}, "annotations": []},
    "an image that is none": {"images": [7], "annotations": []},
    "an image without id": {"images": [{"file_name": "a/1.jpg"}], "annotations": []},
    "an id twice": {"images": [{"id": 1, "file_name": "a/1.jpg"}] * 2, "annotations": []},
    "a name without folder": {"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": []},
    "a name without number": {"images": [{"id": 1, "file_name": "a/x.jpg"}], "annotations": []},
    "a frame below 0": {"images": [{"id": 1, "video": "a", "frame": -1}], "annotations": []},
    "an annotation of no image": clip() | {"images": []},
    "an annotation that is none": {"images": [], "annotations": [7]},
}


@pytest.mark.parametrize("case", OTHER_FILES)
def test_other_files_are_refused(case, read):
    with pytest.raises(BadItem, match="malformed"):
        read(OTHER_FILES[case])
