"""Which mistakes are chosen, and in which order."""

from dataclasses import replace

import numpy as np
import pytest

from actrec.metrics.classification import Scores
from actrec.metrics.mistakes import surest_mistakes, worst_mistakes

PROBS = np.array([[0.6, 0.4], [0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.1, 0.9]])
SCORES = Scores("test", "act", tuple("vwxyz"), PROBS, np.array([1, 1, 0, 1, 0]), ("walk", "run"))


def made(labels: list[int], said: list[int], sure: list[float], names: tuple[str, ...]) -> Scores:
    """Return scores of which each clip's class is said with a probability, the others sharing the rest."""
    probs = np.full((len(said), len(names)), 0.0)
    for row, (own, prob) in enumerate(zip(said, sure, strict=True)):
        probs[row] = (1 - prob) / (len(names) - 1)
        probs[row, own] = prob
    return Scores("test", "bird", tuple(map(str, range(len(labels)))), probs, np.array(labels), names)


def test_the_surest_of_the_wrong_clips():
    assert surest_mistakes(SCORES, 9) == [1, 4, 2, 0], "of equals the first"
    assert surest_mistakes(SCORES, 2) == [1, 4]
    assert surest_mistakes(SCORES, 0) == []


# Recall: a 1/2, b 0/2, c 1, d 1/3, and e has no clip.
LABELS = [0, 0, 1, 1, 2, 3, 3, 3]
SAID = [0, 1, 0, 4, 2, 3, 0, 1]
SURE = [0.9, 0.6, 0.5, 0.8, 0.9, 0.9, 0.7, 0.95]
WORST = made(LABELS, SAID, SURE, ("a", "b", "c", "d", "e"))


@pytest.mark.parametrize(
    ("classes", "per_class", "rows"),
    [(1, 5, [3, 2]), (2, 5, [3, 2, 7, 6]), (2, 1, [3, 7]), (9, 1, [3, 7, 1]), (9, 9, [3, 2, 7, 6, 1]), (0, 9, [])],
)
def test_mistakes_of_the_classes_with_the_lowest_recall_the_surest_first(classes, per_class, rows):
    assert worst_mistakes(WORST, classes=classes, per_class=per_class) == rows


def test_without_mistakes_there_are_none():
    assert worst_mistakes(replace(WORST, labels=np.array(SAID)), classes=9, per_class=9) == []
