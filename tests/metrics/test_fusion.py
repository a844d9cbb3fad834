from dataclasses import replace

import numpy as np
import pytest

from actrec.metrics.classification import Scores
from actrec.metrics.fusion import fused
from actrec.metrics.multi_label import MultiScores


def stream(modality: str, probs: dict[str, list[float]]) -> Scores:
    """Return scores of clips whose class is 1 if their id has a capital."""
    ids = tuple(probs)
    return Scores(
        split="val",
        head=f"{modality}/act",
        clip_ids=ids,
        probs=np.array([probs[i] for i in ids], np.float32),
        labels=np.array([i.isupper() for i in ids], np.int64),
        class_names=("x", "y"),
        paths=tuple(f"{i}.mp4" for i in ids),
        groups=tuple(f"of {i}" for i in ids),
    )


RGB = stream("rgb", {"a": [0.8, 0.2], "B": [0.5, 0.5]})
POSE = stream("pose", {"a": [0.2, 0.8], "B": [1.0, 0.0]})


@pytest.mark.parametrize(
    ("ratio", "of_a", "of_b"),
    [([1, 1], 0.5, 0.75), ([2, 1], 1.8 / 3, 2 / 3), ([0, 1], 0.2, 1.0), ([0.5, 1.5], 0.7 / 2, 1.75 / 2)],
)
def test_streams_are_averaged_in_a_ratio(ratio, of_a, of_b):
    found = fused([RGB, POSE], ratio, output="both/act")
    assert found.probs.dtype == np.float32
    assert found.probs.tolist() == [pytest.approx([of_a, 1 - of_a]), pytest.approx([of_b, 1 - of_b])]
    rest = [getattr(found, name) for name in ("head", "split", "clip_ids", "class_names", "paths", "groups")]
    assert rest == ["both/act", "val", ("a", "B"), ("x", "y"), ("a.mp4", "B.mp4"), ("of a", "of B")]
    assert found.labels.tolist() == [0, 1]


def test_of_three_modalities_the_ratio_is_in_their_order():
    streams = [stream(m, {"a": own}) for m, own in (("rgb", [1.0, 0.0]), ("audio", [0.0, 1.0]), ("pose", [0.5, 0.5]))]
    found = fused(streams, [1, 2, 3], output="all/act")
    assert found.probs.tolist() == [pytest.approx([(1 + 1.5) / 6, (2 + 1.5) / 6])]


def test_a_modality_has_no_say_about_clips_that_lack_it():
    audio = stream("audio", {"B": [0.2, 0.8], "C": [0.0, 1.0]})
    found = fused([audio, RGB], [3, 1], output="both/act")
    assert found.clip_ids == ("B", "C", "a") and found.labels.tolist() == [1, 1, 0]
    assert found.paths == ("B.mp4", "C.mp4", "a.mp4") and found.groups == ("of B", "of C", "of a")
    assert found.probs[:, 0].tolist() == pytest.approx([(3 * 0.2 + 0.5) / 4, 0.0, 0.8])
    three = stream("rgb", {"a": [0.8, 0.2], "B": [0.5, 0.5], "c": [0.1, 0.9]})
    assert fused([audio, three], [3, 1], output="both/act").clip_ids == ("a", "B", "c", "C")  # the longest's order


def test_a_clip_that_only_modalities_without_weight_saw_is_left_out():
    audio = stream("audio", {"B": [0.2, 0.8]})
    assert fused([audio, RGB], [1, 0], output="both/act").clip_ids == ("B",)
    assert fused([audio, RGB], [1, 0], output="both/act").probs.tolist() == audio.probs.tolist()


def test_several_classes_and_scores_without_paths():
    one = MultiScores(
        "val", "rgb/acts", ("a", "b"), np.array([[1.0, 0], [0.5, 1]], np.float32), np.eye(2, dtype=int), ("x", "y")
    )
    other = replace(one, head="audio/acts", clip_ids=("b",), probs=one.probs[:1], labels=one.labels[1:])
    found = fused([one, other], [1, 1], output="both/acts")
    assert isinstance(found, MultiScores) and found.paths == found.groups == ()
    assert found.probs.tolist() == [[1.0, 0.0], [0.75, 0.5]] and found.labels.tolist() == [[1, 0], [0, 1]]
