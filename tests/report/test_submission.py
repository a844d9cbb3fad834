"""The table that MA-52's challenge takes."""

from dataclasses import replace

import numpy as np
import pytest

from actrec.errors import UserError
from actrec.metrics.classification import Scores
from actrec.report.submission import submission_csv

HEADER = "vid," + ",".join(f"{kind}_pred_{place}" for kind in ("action", "body") for place in range(1, 6))
OUTPUTS = ("rgbpose_1:1/action", "rgbpose_1:1/body")


@pytest.fixture
def levels() -> list[Scores]:
    probs = np.array([[0.05, 0.3, 0.1, 0.25, 0.2, 0.1], [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]])
    paths = ("videos/a_0001.mp4", "videos/b_0002.mp4")
    fine = Scores("val", OUTPUTS[0], ("x", "y"), probs, np.array([0, 5]), tuple("abcdef"), paths)
    coarse = replace(
        fine, head=OUTPUTS[1], probs=np.array([[0.2, 0.8], [0.5, 0.5]]), labels=np.array([0, 1]), class_names=("p", "q")
    )
    return [fine, coarse]


def test_class_numbers_likeliest_first_and_blank_where_classes_end(levels: list[Scores]) -> None:
    other = [replace(scores, split="train", probs=scores.probs[:, ::-1]) for scores in levels]
    assert submission_csv([*other, *levels], split="val", outputs=OUTPUTS).splitlines() == [
        HEADER,
        "a_0001.mp4,1,3,4,2,5,1,0,,,",
        "b_0002.mp4,5,0,1,2,3,0,1,,,",
    ]


def test_not_asked_for_it_has_no_rows(levels: list[Scores]) -> None:
    assert submission_csv(levels, split="val", outputs=None) == HEADER + "\n"


def test_what_cannot_be_answered_is_said(levels: list[Scores]) -> None:
    fine, coarse = levels
    with pytest.raises(UserError, match=r"asks for rgb/action.*the model has rgbpose_1:1/action"):
        submission_csv(levels, split="val", outputs=("rgb/action", OUTPUTS[1]))
    one = replace(coarse, clip_ids=("x",), probs=coarse.probs[:1], labels=coarse.labels[:1], paths=coarse.paths[:1])
    with pytest.raises(UserError, match=r"1 clips of val have a label for one of .* alone, such as y"):
        submission_csv([fine, one], split="val", outputs=OUTPUTS)
    twice = [replace(scores, paths=("one/a.mp4", "two/a.mp4")) for scores in levels]
    with pytest.raises(UserError, match=r"a\.mp4 is that of several clips"):
        submission_csv(twice, split="val", outputs=OUTPUTS)
