"""Average precision: by hand, from scikit-learn's own example, and against scikit-learn with ties and repeats."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from actrec.metrics.average_precision import average_precisions, resampled_average_precisions


def of_one(probs: list[float], positives: list[int]) -> float:
    return float(average_precisions(np.array(probs)[:, None], np.array(positives, bool)[:, None])[0])


@pytest.mark.parametrize(
    ("probs", "positives", "expected"),
    [
        # The example in the documentation of sklearn.metrics.average_precision_score: 0.83.
        ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], (1 / 1 + 2 / 3) / 2),
        # Places 2, 3 and 6 of 6: precision 1/2, 2/3, 3/6.
        ([0.9, 0.8, 0.7, 0.5, 0.4, 0.1], [0, 1, 1, 0, 0, 1], (1 / 2 + 2 / 3 + 3 / 6) / 3),
        # All the same: one threshold that takes everything, so that precision is the share of positives.
        ([0.5, 0.5, 0.5, 0.5], [1, 0, 0, 0], 1 / 4),
        # 0.9 takes one positive of two clips; 0.2 the other of four.
        ([0.9, 0.9, 0.2, 0.2], [1, 0, 0, 1], (1 / 2 + 2 / 4) / 2),
        ([0.3, 0.2], [1, 1], 1.0),
        ([0.3, 0.2], [0, 0], np.nan),
    ],
)
def test_by_hand(probs: list[float], positives: list[int], expected: float) -> None:
    assert of_one(probs, positives) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(("n", "c", "steps"), [(200, 12, None), (200, 12, 4), (40, 3, 1), (5, 30, 10)])
def test_scikit_learn_says_the_same(n: int, c: int, steps: int | None) -> None:
    """With probabilities in so many steps, so that many are equal."""
    rng = np.random.default_rng(n + c)
    positives = rng.random((n, c)) < 0.15
    probs = (rng.random((n, c)) + 0.3 * positives).astype(np.float32)
    if steps:
        probs = np.round(probs * steps) / np.float32(steps)
    expected = [
        average_precision_score(positives[:, k], probs[:, k]) if positives[:, k].any() else np.nan for k in range(c)
    ]
    np.testing.assert_allclose(average_precisions(probs, positives), expected)


def test_counts_are_as_good_as_repeated_clips() -> None:
    rng = np.random.default_rng(0)
    probs, positives = np.round(rng.random((60, 5)), 1), rng.random((60, 5)) < 0.1
    counts = rng.multinomial(60, np.full(60, 1 / 60), size=8).astype(np.int32)
    found = resampled_average_precisions(probs, positives, counts)
    assert found.shape == (8, 5)
    for row, times in zip(found, counts, strict=True):
        np.testing.assert_allclose(
            row, average_precisions(np.repeat(probs, times, axis=0), np.repeat(positives, times, axis=0))
        )
    assert np.isnan(found).any() and np.isfinite(found).any()
