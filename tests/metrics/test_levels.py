"""F1_mean, worked by hand and beside scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from actrec.metrics.classification import Scores, summarise
from actrec.metrics.levels import f1_mean


def scores(labels: list[int], said: list[int], names: str) -> Scores:
    probs = np.eye(len(names))[said]
    return Scores("test", "any", tuple(f"c{i}" for i in range(len(labels))), probs, np.array(labels), tuple(names))


def test_by_hand():
    # Fine: F1 of a is 2/3 (one of its two clips, nothing else taken for it), of b 2/4, of c 0; two of four right.
    fine = scores([0, 0, 1, 2], [0, 1, 1, 1], "abc")
    # Coarse, a and b being kinds of x: F1 of x is 6/7, of y 0; three of four right.
    coarse = scores([0, 0, 0, 1], [0, 0, 0, 0], "xy")
    expected = (7 / 18 + 1 / 2 + 3 / 7 + 3 / 4) / 4
    assert f1_mean(summarise(fine), summarise(coarse)) == pytest.approx(expected)
    assert expected == pytest.approx(521 / 1008)


def test_as_scikit_learn_where_every_class_has_a_clip():
    rng = np.random.default_rng(0)
    levels = []
    for count in (7, 3):
        labels = rng.permutation(np.arange(60) % count)
        levels.append((labels, rng.integers(count, size=60), "abcdefg"[:count]))
    each = [f1_score(true, said, average=kind) for true, said, _ in levels for kind in ("macro", "micro")]
    fine, coarse = (summarise(scores(true.tolist(), said.tolist(), names)) for true, said, names in levels)
    assert f1_mean(fine, coarse) == pytest.approx(np.mean(each))
