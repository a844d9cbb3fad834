"""How far a score could move with other clips of the same kind."""

import numpy as np
import numpy.typing as npt

from actrec.metrics.classification import Scores, predicted_classes, ratio

_TAIL_FRAC = 0.025


def accuracy_intervals(scores: Scores, *, samples: int, seed: int) -> dict[str, float]:
    """Return 95 % intervals: top1_low, top1_high, mean_per_class_acc_low, mean_per_class_acc_high; {} for 0 samples.

    Percentile bootstrap over clips: `samples` times, n of the n clips are drawn with replacement. A class of which a
    draw has no clip is left out of that draw's mean, as the metric itself does. Clips are taken as independent: where
    several come from one subject or scene the true interval is wider.

    Drawing clips and counting them by (class, right or wrong) is one multinomial draw of those counts, which needs
    (samples, 2 c) numbers in place of (samples, n).

    Args:
        scores: What to measure.
        samples: How many draws, >= 0.
        seed: The same seed gives the same interval.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
    """
    if samples == 0:
        return {}
    c = len(scores.class_names)
    right = predicted_classes(scores) == scores.labels
    counts = np.bincount(scores.labels * 2 + right, minlength=2 * c)
    draws = np.random.default_rng(seed).multinomial(counts.sum(), counts / counts.sum(), size=samples)
    wrongs, rights = draws[:, 0::2], draws[:, 1::2]
    return {
        **_interval("top1", rights.sum(axis=1) / len(right)),
        **_interval("mean_per_class_acc", np.nanmean(ratio(rights, wrongs + rights), axis=1)),
    }


def _interval(name: str, values: npt.NDArray[np.float64]) -> dict[str, float]:
    low, high = np.quantile(values, [_TAIL_FRAC, 1 - _TAIL_FRAC])
    return {f"{name}_low": float(low), f"{name}_high": float(high)}
