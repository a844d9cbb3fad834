import torch
from tiny_runs import make_clip

from actrec.training.labels import NO_LABEL, label_tensors

CLIPS = [
    make_clip("1", "train", {"a": "y", "acts": "eat|run"}),
    make_clip("2", "train", {"acts": "run"}),
    make_clip("3", "train", {"a": "x"}),
]
CLASSES = {"a": ("x", "y"), "acts": ("eat", "howl", "run")}


def test_one_class_is_its_number():
    labels = label_tensors(CLIPS, CLASSES, {"acts"})["a"]
    assert labels.tolist() == [1, NO_LABEL, 0] and labels.dtype == torch.int64


def test_several_are_a_row_of_ones():
    labels = label_tensors(CLIPS, CLASSES, {"acts"})["acts"]
    assert labels.tolist() == [[1, 0, 1], [0, 0, 1], [NO_LABEL] * 3] and labels.dtype == torch.float32


def test_a_class_that_the_model_does_not_know_is_none():
    clips = [make_clip("1", "test", {"a": "z", "acts": "run|fly"}), make_clip("2", "test", {"acts": "fly"})]
    labels = label_tensors(clips, CLASSES, {"acts"})
    assert labels["a"].tolist() == [NO_LABEL, NO_LABEL]
    assert labels["acts"].tolist() == [[0, 0, 1], [NO_LABEL] * 3]


def test_no_clips_no_rows():
    labels = label_tensors([], CLASSES, {"acts"})
    assert labels["a"].shape == (0,) and labels["acts"].shape == (0, 3)
