"""Skeletons out of pictures, with a model that finds what it is painted; library and weights need not be here."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from actrec.errors import BadItem, UserError
from actrec.pose.extract import PoseModel, extract_skeleton, open_model

SIDE = 64


class Painted:
    """A session that finds people where the picture is bright: its answers are read off the pixels that it is given.

    Each colour channel is one person; it stands where that channel is above 200.
    """

    def __init__(self, shape=(1, 3, SIDE, SIDE), joints=17, score=0.9, doubles=False):
        self.shape, self.joints, self.score, self.doubles = list(shape), joints, score, doubles
        self.seen = []

    def get_inputs(self):
        return [SimpleNamespace(name="input", shape=self.shape)]

    def run(self, output_names, feed):
        assert output_names is None
        picture = feed["input"]
        assert picture.dtype == np.float32 and picture.shape == (1, 3, *self.shape[2:])
        self.seen.append(picture[0])
        found, joints = [], []
        for number, channel in enumerate(picture[0][::-1]):  # red first: the model is shown BGR
            rows, columns = np.nonzero(channel > 200)
            if len(rows):
                x0, y0, x1, y1 = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
                places = [[x0 + 0.5, y0 + 0.5, 0.5 + 0.1 * number]] * self.joints
                for shift, score in ((0, self.score), (1, self.score - 0.05))[: 1 + self.doubles]:
                    found.append([x0 + shift, y0, x1 + shift, y1, score])
                    joints.append(places)
        found.append([0, 0, 5, 5, 0.2])  # nobody is sure about this one
        joints.append([[1, 1, 0.1]] * self.joints)
        return np.array([found], np.float32), np.array([joints], np.float32)


def picture(*places, shape=(SIDE, SIDE)):
    """Return a picture with a square of 20 pixels of each colour, red, green, blue, at (x, y); None for none."""
    frame = np.zeros((*shape, 3), np.uint8)
    for channel, place in enumerate(places):
        if place:
            frame[place[1] : place[1] + 20, place[0] : place[0] + 20, channel] = 255
    return frame


def extract(frames, session=None, *, max_persons=3):
    return extract_skeleton("clip", iter(frames), PoseModel(session or Painted()), max_persons=max_persons)


def test_joints_are_where_the_people_are():
    skeleton = extract([picture((2 + t, 3)) for t in range(5)])
    assert (skeleton.name, skeleton.img_shape) == ("clip", (SIDE, SIDE))
    assert skeleton.keypoint.shape == (1, 5, 17, 2)
    np.testing.assert_array_equal(skeleton.keypoint[0, :, 7], [[2.5 + t, 3.5] for t in range(5)])
    assert (skeleton.score == np.float16(0.5)).all()


@pytest.mark.parametrize("shape", [(128, 64), (64, 128), (128, 128), (32, 16)])
def test_joints_are_in_pixels_of_the_picture_whatever_its_size(shape):
    session = Painted()
    ratio = SIDE / max(shape)
    places = [(4, 4), (8, 4)]
    if shape == (32, 16):
        places = [(0, 0), (1, 4)]
    skeleton = extract([picture(place, shape=shape) for place in places], session)
    np.testing.assert_allclose(skeleton.keypoint[0, :, 0], np.array(places) + 0.5 / ratio, atol=1 / ratio)
    height, width = (round(side * ratio) for side in shape)
    for shown in session.seen:
        assert (shown[:, height:] == 114).all() and (shown[:, :, width:] == 114).all()
        assert (shown[:, :height, :width] != 114).any()


def test_a_picture_is_resized_as_torch_does():
    frame = np.random.default_rng(0).integers(0, 256, (100, 75, 3), np.uint8)
    session = Painted(shape=(1, 3, 64, 48))
    PoseModel(session).people(frame)
    pixels = torch.from_numpy(frame[..., ::-1].copy()).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(pixels, size=(64, 48), mode="bilinear", align_corners=False)
    np.testing.assert_allclose(session.seen[0], expected[0].numpy(), atol=1e-3)


def test_a_person_is_the_same_one_while_boxes_overlap():
    """Two pass each other, and which of them the model names first changes from frame to frame."""
    places = [((2 + 3 * t, 2), (40 - 3 * t, 24)) for t in range(12)]
    frames = [picture(one, other) if t % 2 else picture(other, one) for t, (other, one) in enumerate(places)]
    skeleton = extract(frames)
    assert skeleton.keypoint.shape == (2, 12, 17, 2)
    np.testing.assert_array_equal(skeleton.keypoint[0, :, 0, 0], 2.5 + 3 * np.arange(12))
    np.testing.assert_array_equal(skeleton.keypoint[1, :, 0, 0], 40.5 - 3 * np.arange(12))


def test_who_is_lost_for_a_moment_comes_back_and_who_is_elsewhere_is_somebody_else():
    here, there = picture((2, 2)), picture((40, 40))
    skeleton = extract([here, picture(), here, there])
    assert skeleton.score[:, :, 0].astype(bool).tolist() == [[True, False, True, False], [False, False, False, True]]
    long_gone = extract([here] + [picture()] * 30 + [here])
    assert long_gone.keypoint.shape[0] == 2
    assert extract([here] + [picture()] * 29 + [here]).keypoint.shape[0] == 1


def test_a_person_who_is_found_twice_is_one_and_the_unsure_are_nobody():
    session = Painted(doubles=True)
    people = PoseModel(session).people(picture((2, 2), (40, 40)))
    assert people.boxes.tolist() == [[2, 2, 22, 22], [40, 40, 60, 60]]
    with pytest.raises(BadItem, match="nobody is found in 2 frames"):
        extract([picture((2, 2))] * 2, Painted(score=0.69))


def test_no_frames_and_nobody_are_bad_items():
    with pytest.raises(BadItem, match="empty"):
        extract([])
    with pytest.raises(BadItem, match="no_body"):
        extract([picture()])


def test_the_least_seen_are_left_out():
    frames = [picture((2, 2), (40, 2) if t < 3 else None, (2, 40) if t < 5 else None) for t in range(8)]
    skeleton = extract(frames, max_persons=2)
    assert skeleton.score.astype(bool).any(axis=2).sum(axis=1).tolist() == [8, 5]


@pytest.mark.parametrize(
    "session", [Painted(shape=(1, 3, "h", "w")), Painted(shape=(1, 64, 64)), Painted(shape=(1, 1, 9, 9))]
)
def test_a_model_that_takes_something_else_is_refused(session):
    with pytest.raises(UserError, match=r"expected \[1, 3, h, w\]"):
        PoseModel(session)


def test_a_model_of_other_joints_is_refused():
    with pytest.raises(UserError, match="RTMO"):
        PoseModel(Painted(joints=26)).people(picture((2, 2)))


def test_without_weights_it_says_which_file_to_put_where(tmp_path):
    with pytest.raises(UserError) as error:
        open_model(tmp_path / "rtmo.onnx", threads=1)
    assert str(tmp_path / "rtmo.onnx") in str(error.value) and "rtmo-s" in str(error.value)


def test_without_the_library_it_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "rtmo.onnx").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install 'actrec\[pose\]'"):
        open_model(tmp_path / "rtmo.onnx", threads=1)


def library(session):
    """Return what stands in for the module onnxruntime."""

    def opened(path, options, providers):
        assert providers == ["CPUExecutionProvider"] and options.intra_op_num_threads == 3
        if isinstance(session, Exception):
            raise session
        return session

    return SimpleNamespace(SessionOptions=SimpleNamespace, InferenceSession=opened)


def test_a_file_that_is_no_model_is_refused(tmp_path, monkeypatch):
    (tmp_path / "rtmo.onnx").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "onnxruntime", library(RuntimeError("Protobuf parsing failed.")))
    with pytest.raises(UserError, match="not a model that ONNX Runtime reads"):
        open_model(tmp_path / "rtmo.onnx", threads=3)
    monkeypatch.setitem(sys.modules, "onnxruntime", library(Painted()))
    assert len(open_model(tmp_path / "rtmo.onnx", threads=3).people(picture((2, 2))).boxes) == 1
