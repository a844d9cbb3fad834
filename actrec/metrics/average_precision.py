"""How well a class is told from the others by its probability alone, whatever the threshold."""

import numpy as np
import numpy.typing as npt


def average_precisions(probs: npt.NDArray[np.floating], positives: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return (c,) the average precision of each class against all others; NaN for a class without a positive.

    The sum over thresholds t of (recall(t) - recall before) * precision(t), from the highest probability down; equal
    probabilities are one threshold. Nothing is interpolated.

    Args:
        probs: (n, c) finite.
        positives: (n, c) which clips are of which class.

    Source: scikit-learn, User Guide, section "Precision, recall and F-measures".
    """
    once = np.ones((1, len(probs)), np.int32)
    return resampled_average_precisions(probs, positives, once)[0]


def resampled_average_precisions(
    probs: npt.NDArray[np.floating], positives: npt.NDArray[np.bool_], counts: npt.NDArray[np.int32]
) -> npt.NDArray[np.float64]:
    """Return (samples, c) the same, of samples in which clip i stands counts[:, i] times; counts is (samples, n)."""
    columns = zip(probs.T, positives.T, strict=True)
    return np.stack([_of_class(values, is_positive, counts) for values, is_positive in columns], axis=1)


def _of_class(
    values: npt.NDArray[np.floating], is_positive: npt.NDArray[np.bool_], counts: npt.NDArray[np.int32]
) -> npt.NDArray[np.float64]:
    order = np.argsort(-values, kind="stable")
    # For each positive, the last place that has its probability: there its threshold ends.
    ends = np.searchsorted(-values[order], -values[order][is_positive[order]], side="right") - 1
    if not len(ends):
        return np.full(len(counts), np.nan)
    own = counts[:, order[is_positive[order]]]
    taken = np.cumsum(counts[:, order], axis=1, dtype=np.int32)[:, ends]
    last_of_threshold = np.searchsorted(ends, ends, side="right") - 1
    hits = np.cumsum(own, axis=1, dtype=np.int32)[:, last_of_threshold]
    total = own.sum(axis=1, dtype=np.float64)
    # A clip that is not drawn adds nothing; nor is anything divided by 0.
    found = (own * (hits / np.maximum(taken, 1))).sum(axis=1)
    return np.divide(found, total, out=np.full(len(counts), np.nan), where=total > 0)
