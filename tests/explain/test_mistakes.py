"""Skeletons of mistakes: in the square and in the frames that the model was shown."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from actrec.data.manifest import Clip
from actrec.explain.mistakes import mistake_pictures, on_pictures, on_plain
from actrec.media.clip import ClipFolder, ClipSpec
from actrec.metrics.classification import Scores
from actrec.metrics.multi_label import MultiScores
from actrec.pose.folder import PoseFolder
from actrec.pose.layouts import LAYOUTS
from actrec.pose.pyskl_file import dump_pickle
from actrec.pose.skeleton import Skeleton, make_skeleton

SPEC = ClipSpec(clip_frames=4, clips_per_video=1, frame_stride=None, size_px=50, resize="crop", region="persons")


def walker(name: str, *, frames: int = 8, size: int = 2, layout: str = "coco17") -> Skeleton:
    """Return somebody whose first joint is at x = 10 + 10 t, y = 20, and the others 80 px (or m) below it."""
    joints = len(LAYOUTS[layout].joints)
    keypoint = np.zeros((1, frames, joints, size))
    keypoint[..., 0] = 10 + 10 * np.arange(frames)[:, None]
    keypoint[..., 1] = 100
    keypoint[:, :, 0, 1] = 20
    shape = (200, 200) if size == 2 else None
    score = np.ones((1, frames, joints))
    score[0, 0, 1] = 0
    return make_skeleton(name, keypoint, score, layout=LAYOUTS[layout], max_persons=1, img_shape=shape)


class Stored(ClipFolder):
    """Stored clips whose frames are as bright as their number says."""

    def __init__(self) -> None:
        self.spec = SPEC

    def __getitem__(self, clip_id: str) -> torch.Tensor:
        brightness = torch.arange(4, dtype=torch.uint8).view(1, 4, 1, 1, 1) * 60
        return brightness.expand(1, 4, 50, 50, 3).clone()


def test_keypoints_lie_in_the_square_around_the_body():
    strip = on_plain(walker("a"))
    # x from 10 to 80, y from 20 to 100: a square of 1.25 * 80 px about the middle (45, 60), whose corner is (-4, 11).
    assert strip.keypoint[0, 0, 0].tolist() == pytest.approx([14.5 * 2.56 - 0.5, 9.5 * 2.56 - 0.5])
    assert strip.keypoint.shape == (1, 6, 17, 2) and strip.pictures is None
    times = (strip.keypoint[0, :, 0, 0] - strip.keypoint[0, 0, 0, 0]) / 2.56 / 10
    assert times.tolist() == pytest.approx([0, 1, 3, 4, 6, 7], abs=1e-4)
    assert not strip.is_seen[0, 0, 1] and strip.is_seen[0, 1:].all()


def test_a_skeleton_lies_in_the_frames_that_were_stored():
    strip = on_pictures(walker("a"), Stored(), "a")
    # Four frames of eight: the second half of each pair.
    times = (strip.keypoint[0, :, 0, 0] + 0.5) * 2 - 14.5
    assert (times / 10).tolist() == pytest.approx([1, 3, 5, 7], abs=1e-4)
    assert strip.pictures is not None and strip.pictures[:, 0, 0, 0].tolist() == [0, 60, 120, 180]
    assert strip.size_px == 50


def test_a_skeleton_in_space_is_drawn_upright():
    keypoint = on_plain(walker("a", size=3, layout="ntu25")).keypoint
    # y points up in space and down in a picture: the first joint is the lowest there.
    assert (keypoint[0, :, 0, 1] > keypoint[0, :, 1, 1]).all()


@pytest.fixture
def folder(tmp_path: Path) -> PoseFolder:
    path = tmp_path / "skeletons.pkl"
    path.write_bytes(dump_pickle([walker("a"), walker("b")], splits={"test": ["a", "b"]}, layout=LAYOUTS["coco17"]))
    return PoseFolder(path)


def clip(clip_id: str, sample: str = "") -> Clip:
    facts: Any = None  # of no matter here
    return Clip(
        clip_id, f"{clip_id}.mp4", "test", "", {"act": "x"}, None, None, "", 0, facts, sample, "", "", "", "", ""
    )


SCORES = Scores("test", "rgbpose_1:1/act", ("a", "b"), np.array([[0.8, 0.2], [0.9, 0.1]]), np.array([1, 0]), ("x", "y"))


def test_a_picture_a_head_of_its_first_output(folder: PoseFolder) -> None:
    right = replace(SCORES, head="rgbpose_1:1/kind", labels=np.array([0, 0]))
    several = MultiScores("test", "acts", ("a",), SCORES.probs[:1], np.array([[1, 0]]), ("x", "y"))
    found = mistake_pictures(
        [SCORES, right, replace(SCORES, head="rgb/act"), several], [clip("a"), clip("b")], {"pose": folder}, limit=3
    )
    assert list(found) == ["test_rgbpose_1-1_act_skeletons.png"]
    with Image.open(io.BytesIO(found["test_rgbpose_1-1_act_skeletons.png"])) as image:
        assert image.height == pytest.approx(110 * (0.66 + 0.3 + 0.16 + 1.5 + 0.4), abs=1), (
            "one clip, two lines above it"
        )


def test_of_a_sample_its_first_clip_is_drawn(folder: PoseFolder) -> None:
    sample = replace(SCORES, clip_ids=("s",), probs=SCORES.probs[:1], labels=SCORES.labels[:1])
    clips = [clip("a", "s"), clip("gone", "s")]
    assert mistake_pictures([sample], clips, {"pose": folder}, limit=1)
