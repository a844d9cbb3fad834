"""`actrec skeletons` over files and folders, with a stand-in for the model: no weights are here."""

import pickle
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from actrec import skeletons
from actrec.cli import app
from actrec.errors import UserError
from actrec.pose.extract import PoseModel


@dataclass
class OnePerson:
    """Sees one person in each picture, whose joints are all in the middle of the model's input."""

    def get_inputs(self):
        return [SimpleNamespace(name="image", shape=[1, 3, 64, 64])]

    def run(self, names, feed):
        assert feed["image"].shape == (1, 3, 64, 64)
        joints = np.full((1, 1, 17, 3), 32.0, np.float32)
        joints[..., 2] = 0.9
        return [np.array([[[16, 16, 48, 48, 0.99]]], np.float32), joints]


@pytest.fixture(autouse=True)
def model(monkeypatch):
    """In this process: a worker of its own would open real weights."""
    monkeypatch.setattr(skeletons, "open_model", lambda weights, threads: PoseModel(OnePerson()))
    monkeypatch.setattr(skeletons, "run_each", in_this_process)
    skeletons._model.cache_clear()


def in_this_process(function, tasks, **_):
    for task in tasks:
        try:
            yield SimpleNamespace(item=task, result=function(task), reason="", message="")
        except Exception as error:
            yield SimpleNamespace(item=task, result=None, reason="unreadable", message=str(error))


def test_a_folder_becomes_a_pickle_that_data_skeletons_takes(tmp_path, make_clip):
    make_clip(tmp_path / "clips/a/one.mp4", 3, num_frames=5)
    make_clip(tmp_path / "clips/two.mp4", 4, num_frames=6)
    (tmp_path / "clips/bad.mp4").write_bytes(b"no video")
    out = tmp_path / "found.pkl"
    result = CliRunner().invoke(app, ["skeletons", str(tmp_path / "clips"), "--weights", "w.onnx", "--out", str(out)])
    assert result.exit_code == 0, result.output
    annotations = pickle.loads(out.read_bytes())["annotations"]  # our own file, and the form that others read
    assert [(a["frame_dir"], a["total_frames"]) for a in annotations] == [("a/one", 5), ("two", 6)]
    height, width = annotations[0]["img_shape"]
    # The picture is shrunk into the upper left of the model's square: its middle is at half the longer side.
    assert np.allclose(annotations[0]["keypoint"], max(height, width) / 2, atol=0.1)
    assert np.allclose(annotations[0]["keypoint_score"], 0.9, atol=1e-3)


def test_a_sound_beside_a_video_is_no_fault(tmp_path, make_clip):
    make_clip(tmp_path / "one.mp4", 3, num_frames=5)
    (tmp_path / "one.wav").write_bytes(b"the sound of it")
    found, wrong = skeletons.skeletons_to_pickle(tmp_path, weights=tmp_path / "w.onnx", max_persons=1)
    assert [a["frame_dir"] for a in pickle.loads(found)["annotations"]] == ["one"] and not wrong


def test_two_videos_of_one_name_are_told_before_any_work(tmp_path, make_clip, monkeypatch):
    make_clip(tmp_path / "one.mp4", 3, num_frames=5)
    make_clip(tmp_path / "one.mkv", 4, num_frames=5)
    monkeypatch.setattr(skeletons, "run_each", None)
    with pytest.raises(UserError, match=r"one\.mkv and .*one\.mp4: a skeleton is named .* Rename one of them\."):
        skeletons.skeletons_to_pickle(tmp_path, weights=tmp_path / "w.onnx", max_persons=1)


def test_nobody_anywhere_is_told_file_by_file(tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match=r"no skeleton was found\n.*bad\.mp4: unreadable"):
        skeletons.skeletons_to_pickle(tmp_path / "bad.mp4", weights=tmp_path / "w.onnx", max_persons=1)
