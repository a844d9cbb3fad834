"""scores.npz: what goes in comes out, in the same bytes."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from actrec.errors import UserError
from actrec.metrics.classification import Scores
from actrec.metrics.multi_label import MultiScores
from actrec.report.scores_file import dump_scores, load_scores

PROBS = np.array([[0.75, 0.25], [0.5, 0.5]], np.float32)


@pytest.fixture
def streams() -> list[Scores | MultiScores]:
    rgb = Scores("test", "rgb/act", ("x", "y"), PROBS, np.array([0, 1]), ("挥手", "b"), ("v/x.mp4", "v/y.mp4"))
    pose = replace(rgb, head="pose/act", probs=PROBS[:, ::-1].copy())
    several = MultiScores("test", "rgb/acts", ("x",), PROBS[:1], np.array([[1, 0]]), ("a", "b"))
    return [rgb, pose, replace(rgb, split="val"), several]


def test_a_round_trip(tmp_path: Path, streams: list[Scores | MultiScores]) -> None:
    path = tmp_path / "scores.npz"
    path.write_bytes(dump_scores(streams, modalities=("rgb", "pose")))
    saved = load_scores(path)
    assert saved.modalities == ("rgb", "pose")
    assert [(type(s), s.split, s.head) for s in saved.scores] == [(type(s), s.split, s.head) for s in streams]
    for found, meant in zip(saved.scores, streams, strict=True):
        assert (found.clip_ids, found.class_names) == (meant.clip_ids, meant.class_names)
        assert found.probs.dtype == np.float32 and (found.probs == meant.probs).all()
        assert (found.labels == meant.labels).all()


def test_the_same_scores_are_the_same_bytes(streams: list[Scores | MultiScores]) -> None:
    content = dump_scores(streams, modalities=())
    assert content == dump_scores([replace(s, probs=s.probs.copy()) for s in streams], modalities=())
    assert content != dump_scores(streams[:-1], modalities=())


def test_its_arrays_are_named_and_hold_no_objects(streams: list[Scores | MultiScores]) -> None:
    with np.load(io.BytesIO(dump_scores(streams[:2], modalities=("rgb", "pose"))), allow_pickle=False) as arrays:
        assert set(arrays.files) == {
            *("modalities", "classes/act"),
            *("test/rgb/act/clip_ids", "test/rgb/act/labels", "test/rgb/act/probs"),
            *("test/pose/act/clip_ids", "test/pose/act/labels", "test/pose/act/probs"),
        }
        assert arrays["test/pose/act/probs"].tolist() == [[0.25, 0.75], [0.5, 0.5]]


def test_another_file_is_refused(tmp_path: Path, streams: list[Scores | MultiScores]) -> None:
    path = tmp_path / "scores.npz"
    with pytest.raises(UserError, match="no scores yet"):
        load_scores(path)
    whole = dump_scores(streams, modalities=())
    plain, objects = io.BytesIO(), io.BytesIO()
    np.save(plain, PROBS)
    np.savez(objects, modalities=np.array([{}], dtype=object))
    for content in (b"", b"no zip", whole[: len(whole) // 2], plain.getvalue(), objects.getvalue()):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"not the scores.*dvc repro"):
            load_scores(path)
