"""The metrics: by hand, and against scikit-learn."""

import math

import numpy as np
import pytest
from sklearn import metrics as sk

from actrec.errors import UserError
from actrec.metrics.classification import (
    Scores,
    chance_frac,
    class_recalls,
    confusion_matrix,
    predicted_classes,
    summarise,
    top_classes,
    true_ranks,
)


def scores_of(
    probs: list[list[float]] | np.ndarray, labels: list[int] | np.ndarray, dtype: type = np.float64
) -> Scores:
    values = np.array(probs, dtype)
    ids = tuple(f"clip{number}" for number in range(len(values)))
    return Scores("test", "action", ids, values, np.array(labels), tuple("abcdefghij"[: values.shape[1]]))


def random_scores(seed: int, n: int, c: int, absent: int = 0) -> Scores:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, c - absent, n)
    logits = rng.normal(size=(n, c)) + 1.5 * np.eye(c)[labels]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return scores_of(probs, labels, np.float32)


def test_every_metric_by_hand() -> None:
    # Class a: 2 of 3 right, b: 0 of 1 (taken for a), c: never true, taken for once. Predictions: a a c a.
    scores = scores_of([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.1, 0.3, 0.6], [0.8, 0.1, 0.1]], [0, 0, 0, 1])
    values = summarise(scores)
    assert values["top1"] == 0.5
    assert values["top5"] == 1.0
    assert values["mean_per_class_acc"] == pytest.approx((2 / 3 + 0) / 2)
    # F1 of a: 2 hits, 3 predicted, 3 true = 2/3; of b: 0. c has no true clip and takes no part.
    assert values["f1_macro"] == pytest.approx(1 / 3)
    assert values["f1_weighted"] == pytest.approx(3 / 4 * 2 / 3)
    assert values["loss"] == pytest.approx(-(math.log(0.7) + math.log(0.5) + math.log(0.1) + math.log(0.1)) / 4)
    # a: of the clips by its probability 0.8 0.7 0.5 0.1 the second to fourth are true. b: 0.3 twice, 0.2, and 0.1 true.
    assert values["map_macro"] == pytest.approx(((1 / 2 + 2 / 3 + 3 / 4) / 3 + 1 / 4) / 2)
    assert (values["num_clips"], values["num_classes"]) == (4, 3)
    assert confusion_matrix(scores).tolist() == [[2, 0, 1], [1, 0, 0], [0, 0, 0]]
    np.testing.assert_array_equal(class_recalls(confusion_matrix(scores)), [2 / 3, 0, np.nan])
    assert chance_frac(scores) == 0.75


@pytest.mark.parametrize(("n", "c", "absent"), [(300, 8, 0), (300, 8, 3), (40, 2, 0), (9, 5, 0), (7, 10, 1)])
def test_scikit_learn_says_the_same(n: int, c: int, absent: int) -> None:
    scores = random_scores(n + c, n, c, absent)
    true, predicted, values = scores.labels, predicted_classes(scores), summarise(scores)
    present = np.unique(true)
    wide = scores.probs.astype(np.float64)
    assert values["top1"] == pytest.approx(sk.accuracy_score(true, predicted))
    assert values["mean_per_class_acc"] == pytest.approx(
        sk.recall_score(true, predicted, labels=present, average="macro")
    )
    for name in ("macro", "weighted"):
        expected = sk.f1_score(true, predicted, labels=present, average=name)
        assert values[f"f1_{name}"] == pytest.approx(expected)
    assert values["loss"] == pytest.approx(
        sk.log_loss(true, wide / wide.sum(1, keepdims=True), labels=range(c)), rel=1e-5
    )
    by_class = [sk.average_precision_score(true == k, scores.probs[:, k]) for k in present]
    assert values["map_macro"] == pytest.approx(np.mean(by_class))
    assert (confusion_matrix(scores) == sk.confusion_matrix(true, predicted, labels=range(c))).all()
    if c > 5:
        assert values["top5"] == pytest.approx(sk.top_k_accuracy_score(true, wide, k=5, labels=range(c)))
    else:
        assert values["top5"] == 1.0


def test_mean_per_class_is_balanced_accuracy_where_every_class_has_clips() -> None:
    scores = random_scores(1, 500, 6)
    expected = sk.balanced_accuracy_score(scores.labels, predicted_classes(scores))
    assert summarise(scores)["mean_per_class_acc"] == pytest.approx(expected)


def test_of_equal_probabilities_the_lowest_class_number_comes_first() -> None:
    flat = np.full((7, 7), 1 / 7)
    scores = scores_of(flat, [0, 1, 2, 3, 4, 5, 6])
    assert predicted_classes(scores).tolist() == [0] * 7
    assert true_ranks(scores).tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert top_classes(scores.probs, 3).tolist() == [[0, 1, 2]] * 7
    assert (summarise(scores)["top1"], summarise(scores)["top5"]) == (1 / 7, 5 / 7)


def test_ranks_agree_with_the_sorted_classes() -> None:
    # Probabilities in steps of 0.1 make many ties.
    rng = np.random.default_rng(0)
    probs = rng.multinomial(10, [1 / 6] * 6, size=200) / 10
    scores = scores_of(probs, rng.integers(0, 6, 200))
    order = top_classes(scores.probs, 6)
    assert (order[np.arange(200), true_ranks(scores) - 1] == scores.labels).all()
    assert (order[:, 0] == predicted_classes(scores)).all()


def test_a_single_class_is_always_right() -> None:
    values = summarise(scores_of([[1.0], [1.0]], [0, 0]))
    assert [values[name] for name in ("top1", "top5", "mean_per_class_acc", "f1_macro", "f1_weighted")] == [1.0] * 5
    assert math.copysign(1, values["loss"]) == 1 and values["loss"] == 0


def test_a_sure_mistake_costs_a_finite_loss() -> None:
    assert summarise(scores_of([[1.0, 0.0]], [1]))["loss"] == pytest.approx(-math.log(1e-12))


def test_no_clip_at_all_is_explained() -> None:
    with pytest.raises(UserError, match=r"test split has no clip with a label for the head 'action'.*evaluate\.splits"):
        Scores("test", "action", (), np.zeros((0, 2)), np.zeros(0, int), ("a", "b"))


@pytest.mark.parametrize(
    ("probs", "labels", "message"),
    [
        ([[0.5, 0.5]], [2], "labels must be"),
        ([[0.5, 0.5]], [-1], "labels must be"),
        ([[0.5, 0.5]], [0.0], "labels must be"),
        ([[0.5, math.nan]], [0], "clip clip0 are not numbers"),
        ([[0.9, 0.9]], [0], "sum to 1"),
        ([[1.5, -0.5]], [0], "sum to 1"),
        ([[0.5, 0.5]], [0, 1], "1 clips, 2 classes"),
    ],
)
def test_wrong_shapes_and_ranges_are_refused(probs: list, labels: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scores_of(probs, labels)


def test_paths_and_groups_are_one_a_clip_or_none() -> None:
    with pytest.raises(ValueError, match="1 clips, but 2 paths"):
        Scores("test", "action", ("x",), np.ones((1, 1)), np.zeros(1, int), ("a",), paths=("p", "q"))
