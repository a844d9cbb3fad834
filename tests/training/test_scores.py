from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import make_clip

from actrec.data.manifest import Clip
from actrec.errors import UserError
from actrec.metrics.classification import Scores
from actrec.metrics.multi_label import MultiScores
from actrec.training.labels import label_tensors
from actrec.training.scores import scores_of

CLASSES = {"a": ("x", "y"), "acts": ("eat", "howl", "run")}


@dataclass
class Rows:
    clips: list[Clip]
    present: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def labels(self):
        return label_tensors(self.clips, CLASSES, {"acts"})


def clip(name: str, labels: dict[str, str], sample: str = "", group: str = "") -> Clip:
    return replace(make_clip(name, "test", labels), sample=sample, group=group)


def scores(clips: list[Clip], **probs: list[list[float]]) -> Any:
    arrays = {head: np.array(values, np.float32) for head, values in probs.items()}
    return scores_of("test", Rows(clips), arrays, CLASSES)  # pyright: ignore[reportArgumentType]


def test_clips_without_a_label_for_a_head_are_left_out():
    clips = [clip("1", {"a": "y"}), clip("2", {"acts": "run|eat"}), clip("3", {"a": "x", "acts": "howl"}, group="g")]
    probs = [[0.875, 0.125], [0.5, 0.5], [0.25, 0.75]]
    one, several = scores(clips, a=probs, acts=[[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]])
    assert isinstance(one, Scores) and isinstance(several, MultiScores)
    assert (one.clip_ids, one.labels.tolist(), one.groups) == (("1", "3"), [1, 0], ("", "g"))
    assert one.probs.tolist() == [[0.875, 0.125], [0.25, 0.75]]
    assert (several.clip_ids, several.labels.tolist()) == (("2", "3"), [[1, 0, 1], [0, 1, 0]])
    assert (several.class_names, several.split, several.paths) == (CLASSES["acts"], "test", ("2.mp4", "3.mp4"))


def test_clips_of_a_sample_are_averaged_as_probabilities():
    """Of segments 0 and 2 of sample s, and of the lone clip between them."""
    clips = [clip("0", {"a": "y"}, "s"), clip("1", {"a": "x"}), clip("2", {"a": "y"}, "s"), clip("3", {"a": "x"}, "t")]
    (found,) = scores(clips, a=[[0.75, 0.25], [0.5, 0.5], [0.25, 0.75], [1.0, 0.0]])
    assert found.clip_ids == ("s", "1", "t")
    assert found.probs.tolist() == [[0.5, 0.5], [0.5, 0.5], [1.0, 0.0]]
    assert (found.labels.tolist(), found.paths) == ([1, 0, 0], ("0.mp4", "1.mp4", "3.mp4"))


def test_several_classes_are_averaged_alike():
    clips = [clip("0", {"acts": "eat|run"}, "s"), clip("1", {"acts": "eat|run"}, "s"), clip("2", {}, "s")]
    (found,) = scores(clips, acts=[[1.0, 0.0, 0.5], [0.5, 0.0, 0.0], [0.0, 1.0, 1.0]])
    assert found.probs.tolist() == [[0.75, 0.0, 0.25]] and found.labels.tolist() == [[1, 0, 1]]


def test_a_clip_named_like_a_sample_stands_alone():
    (found,) = scores([clip("s", {"a": "x"}), clip("1", {"a": "y"}, "s")], a=[[1.0, 0.0], [0.0, 1.0]])
    assert len(found.clip_ids) == 2


@pytest.mark.parametrize(("head", "labels"), [("a", ("x", "y")), ("acts", ("eat", "eat|run"))])
def test_different_labels_in_a_sample_are_named(head, labels):
    clips = [clip("0", {head: labels[0]}, "walk 7"), clip("1", {head: labels[1]}, "walk 7")]
    probs = {"a": [[0.5, 0.5]] * 2, "acts": [[0.5] * 3] * 2}
    with pytest.raises(UserError) as caught:
        scores(clips, **{head: probs[head]})
    text = str(caught.value)
    assert "sample 'walk 7'" in text and f"for {head}: '{labels[0]}' (0), '{labels[1]}' (1)" in text


@pytest.mark.parametrize("head", ["a", "acts"])
def test_a_split_without_any_label_is_explained(head):
    with pytest.raises(UserError, match=f"no clip with a label for the head '{head}'"):
        scores([clip("0", {})], **{head: [[0.5] * len(CLASSES[head])]})


def test_one_modality_is_judged_by_the_clips_that_have_it_and_all_together_by_all():
    clips = [clip("0", {"a": "y"}), clip("1", {"a": "x"}), clip("2", {"a": "y"}), clip("3", {})]
    present = {"rgb": torch.tensor([True, True, True, True]), "audio": torch.tensor([True, False, True, True])}
    said = {"rgb/a": [[0.5, 0.5], [0.25, 0.75], [1.0, 0.0], [1.0, 0.0]], "audio/a": [[0.0, 1.0]] * 4}
    probs = {output: np.array(values, np.float32) for output, values in said.items()}
    source: Any = Rows(clips, present)
    both, rgb, audio = scores_of("test", source, probs, CLASSES, ratios=[[1, 1]])
    assert [s.head for s in (both, rgb, audio)] == ["rgbaudio_1:1/a", "rgb/a", "audio/a"]
    assert (rgb.clip_ids, audio.clip_ids, both.clip_ids) == (("0", "1", "2"), ("0", "2"), ("0", "1", "2"))
    assert both.probs.tolist() == [[0.25, 0.75], [0.25, 0.75], [0.5, 0.5]]
    assert (audio.labels.tolist(), both.labels.tolist()) == ([1, 1], [1, 0, 1])


def test_a_modality_that_no_clip_has_cannot_be_judged():
    source: Any = Rows([clip("0", {"a": "y"})], {"rgb": torch.tensor([True]), "audio": torch.tensor([False])})
    probs = {f"{modality}/a": np.array([[0.5, 0.5]], np.float32) for modality in source.present}
    with pytest.raises(UserError, match="the test split has no clip with audio and a label for the head 'a', so"):
        scores_of("test", source, probs, CLASSES)
