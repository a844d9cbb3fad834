"""The metrics of clips with several classes: by hand, and against scikit-learn."""

import math

import numpy as np
import pytest
from sklearn import metrics as sk

from actrec.errors import UserError
from actrec.metrics.multi_label import MultiScores, chance_map, class_f1, class_precisions, said_classes, summarise


def scores_of(probs: list[list[float]] | np.ndarray, labels: list[list[int]] | np.ndarray) -> MultiScores:
    values = np.array(probs)
    ids = tuple(f"clip{number}" for number in range(len(values)))
    return MultiScores("test", "actions", ids, values, np.array(labels), tuple("abcdefghij"[: values.shape[1]]))


def random_scores(seed: int, n: int, c: int, absent: int = 0) -> MultiScores:
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, c)) < 0.3).astype(np.int64)
    labels[:, c - absent :] = 0
    logits = rng.normal(size=(n, c)) + 1.5 * labels - 0.5
    return scores_of((1 / (1 + np.exp(-logits))).astype(np.float32), labels)


def test_every_metric_by_hand() -> None:
    # a: true of 1 and 2, said of 1 and 3. b: true of 2, said of 2. c: never true, said of 3.
    scores = scores_of([[0.9, 0.1, 0.2], [0.4, 0.5, 0.1], [0.6, 0.2, 0.7]], [[1, 0, 0], [1, 1, 0], [0, 0, 0]])
    values = summarise(scores)
    # a: first and third of three, precision 1 and 2/3. b: first.
    assert values["map_macro"] == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)
    assert said_classes(scores.probs).tolist() == [[True, False, False], [False, True, False], [True, False, True]]
    # F1 of a: 1 hit, 2 true, 2 said = 1/2; of b: 1. c has no true clip and takes no part.
    assert values["f1_macro"] == pytest.approx((1 / 2 + 1) / 2)
    assert values["f1_weighted"] == pytest.approx(2 / 3 * 1 / 2 + 1 / 3 * 1)
    right = [0.9, 0.9, 0.8, 0.4, 0.5, 0.9, 0.4, 0.8, 0.3]
    assert values["loss"] == pytest.approx(-sum(map(math.log, right)) / 9)
    assert (values["num_clips"], values["num_classes"]) == (3, 3)
    assert chance_map(scores) == pytest.approx((2 / 3 + 1 / 3) / 2)
    np.testing.assert_allclose(class_precisions(scores), [5 / 6, 1, np.nan])
    np.testing.assert_allclose(class_f1(scores), [1 / 2, 1, 0])


@pytest.mark.parametrize(("n", "c", "absent"), [(300, 8, 0), (300, 8, 3), (40, 2, 0), (9, 5, 1)])
def test_scikit_learn_says_the_same(n: int, c: int, absent: int) -> None:
    scores = random_scores(n + c, n, c, absent)
    present, values = np.flatnonzero(scores.labels.any(axis=0)), summarise(scores)
    true, probs = scores.labels[:, present], scores.probs[:, present]
    assert values["map_macro"] == pytest.approx(sk.average_precision_score(true, probs, average="macro"))
    for name in ("macro", "weighted"):
        assert values[f"f1_{name}"] == pytest.approx(sk.f1_score(true, probs >= 0.5, average=name))
    losses = [sk.log_loss(scores.labels[:, k], scores.probs[:, k].astype(float), labels=[0, 1]) for k in range(c)]
    assert values["loss"] == pytest.approx(np.mean(losses), rel=1e-6)


def test_an_answer_that_is_the_same_for_all_clips_has_the_map_of_chance() -> None:
    scores = random_scores(0, 50, 6)
    flat = scores_of(np.tile([0.1, 0.2, 0.5, 0.7, 0.9, 1.0], (50, 1)), scores.labels)
    assert summarise(flat)["map_macro"] == pytest.approx(chance_map(flat))


def test_a_sure_mistake_costs_a_finite_loss_and_sure_answers_none() -> None:
    assert summarise(scores_of([[1.0, 0.0]], [[0, 1]]))["loss"] == pytest.approx(-math.log(1e-12), rel=1e-4)
    assert summarise(scores_of([[1.0, 0.0]], [[1, 0]]))["loss"] == pytest.approx(0, abs=1e-11)


def test_no_clip_at_all_is_explained() -> None:
    with pytest.raises(UserError, match=r"no clip with a label for the head 'actions'"):
        MultiScores("test", "actions", (), np.zeros((0, 2)), np.zeros((0, 2), int), ("a", "b"))


@pytest.mark.parametrize(
    ("probs", "labels", "message"),
    [
        ([[0.5, 0.5]], [[2, 0]], "labels must be 0 or 1"),
        ([[0.5, 0.5]], [[-1, -1]], "labels must be 0 or 1"),
        ([[0.5, 0.5]], [[0, 0]], "one of them 1"),
        ([[0.5, 0.5], [0.5, math.nan]], [[1, 0], [1, 0]], "clip clip1 are not numbers"),
        ([[1.5, 0.5]], [[1, 0]], "clip clip0 are not numbers"),
        ([[-0.5, 0.5]], [[1, 0]], "clip clip0 are not numbers"),
        ([[0.5, 0.5]], [[1, 0, 1]], "1 clips, 2 classes"),
        ([[0.5, 0.5]], [1], "1 clips, 2 classes"),
    ],
)
def test_wrong_shapes_and_ranges_are_refused(probs: list, labels: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scores_of(probs, labels)
