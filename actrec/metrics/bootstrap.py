"""How far a score could move with other clips of the same kind."""

import numpy as np
import numpy.typing as npt

from actrec.metrics.average_precision import resampled_average_precisions
from actrec.metrics.classification import Scores, predicted_classes, ratio
from actrec.metrics.multi_label import MultiScores, class_precisions
from actrec.metrics.summary import AnyScores

_TAIL_FRAC = 0.025
# Numbers held at a time.
_MAX_CELLS = 4_000_000


def intervals(scores: AnyScores, *, samples: int, seed: int) -> dict[str, float]:
    """Return 95 % intervals of a head's main metrics, see `accuracy_intervals` and `precision_interval`."""
    match scores:
        case Scores():
            return accuracy_intervals(scores, samples=samples, seed=seed)
        case MultiScores():
            return precision_interval(scores, samples=samples, seed=seed)


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


def precision_interval(scores: MultiScores, *, samples: int, seed: int) -> dict[str, float]:
    """Return the 95 % interval of map_macro: map_macro_low and map_macro_high; {} for 0 samples.

    Clips are drawn as above, but the interval is the basic one: from 2 m - (97.5 % quantile) to 2 m - (2.5 % quantile),
    m being the metric. Average precision is too high where there are few positives, in a draw more so than in the data,
    so that quantiles themselves miss the truth: in six simulations of 100 to 1,000 clips, and classes of 2 to 20 % of
    them, they held it 0 to 96 times in 100, and this interval 86 to 100 times. At worst m itself lies outside.

    Args:
        scores: What to measure.
        samples: How many draws, >= 0.
        seed: The same seed gives the same interval.

    Source: Davison and Hinkley, Bootstrap Methods and their Application (1997), section 5.2.1.
    """
    if samples == 0:
        return {}
    n, rng, positives = len(scores.labels), np.random.default_rng(seed), scores.labels.astype(bool)
    at_once = max(_MAX_CELLS // n, 1)
    means = []
    for first in range(0, samples, at_once):
        size = min(at_once, samples - first)
        counts = rng.multinomial(n, np.full(n, 1 / n), size=size).astype(np.int32)
        means.append(np.nanmean(resampled_average_precisions(scores.probs, positives, counts), axis=1))
    drawn = _interval("map_macro", np.concatenate(means))
    twice = 2 * float(np.nanmean(class_precisions(scores)))
    low, high = np.clip([twice - drawn["map_macro_high"], twice - drawn["map_macro_low"]], 0, 1)
    return {"map_macro_low": float(low), "map_macro_high": float(high)}


def _interval(name: str, values: npt.NDArray[np.float64]) -> dict[str, float]:
    low, high = np.quantile(values, [_TAIL_FRAC, 1 - _TAIL_FRAC])
    return {f"{name}_low": float(low), f"{name}_high": float(high)}
