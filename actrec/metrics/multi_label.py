"""How well a head tells several classes of a clip, each on its own."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from actrec.metrics.average_precision import average_precisions
from actrec.metrics.classification import MIN_PROB, ClipScores, ratio

# From this probability on a class counts as said.
THRESHOLD = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class MultiScores(ClipScores):
    """Scores where a clip may have several classes: `labels` (n, c) of 0 and 1; rows of `probs` have no fixed sum.

    At least one label is 1.
    """

    def _labels_shape(self) -> tuple[int, ...]:
        return self.probs.shape

    def _check_values(self) -> None:
        if not np.isin(self.labels, (0, 1)).all() or not self.labels.any():
            raise ValueError(f"{self.where}: labels must be 0 or 1, and one of them 1")
        # Written so that NaN fails too.
        fits = ((self.probs >= 0) & (self.probs <= 1)).all(axis=1)
        if not fits.all():
            worst = self.clip_ids[int(fits.argmin())]
            raise ValueError(f"{self.where}: the probabilities of clip {worst} are not numbers in [0, 1]")


def said_classes(probs: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.bool_]:
    """Return (…, c) which classes a head gives a clip of these probabilities (…, c)."""
    return probs >= THRESHOLD


def class_precisions(scores: MultiScores) -> npt.NDArray[np.float64]:
    """Return (c,) the average precision of each class; NaN for one without a true clip."""
    return average_precisions(scores.probs, scores.labels.astype(bool))


def class_f1(scores: MultiScores) -> npt.NDArray[np.float64]:
    """Return (c,) the F1 of each class; NaN where it is neither true nor said."""
    said, true = said_classes(scores.probs), scores.labels.astype(bool)
    return ratio(2 * (said & true).sum(axis=0), said.sum(axis=0) + true.sum(axis=0))


def chance_map(scores: MultiScores) -> float:
    """Return the map_macro of an answer that is the same for every clip."""
    shares = scores.labels.mean(axis=0, dtype=np.float64)
    return float(shares[shares > 0].mean())


def summarise(scores: MultiScores) -> dict[str, float | int]:
    """Return map_macro, f1_macro, f1_weighted, loss, num_clips and num_classes.

    map_macro is the mean average precision, and f1_macro the mean F1, over the classes with at least one true clip;
    f1_weighted weighs these by their true clips. F1 takes a class as said from a probability of 0.5 on. loss is the
    mean binary cross-entropy over clips and classes in nats, no probability nearer to 0 or 1 than 1e-12. num_classes is
    c, with or without clips.
    """
    totals, f1 = scores.labels.sum(axis=0), class_f1(scores)
    present = totals > 0
    probs = np.clip(scores.probs.astype(np.float64), MIN_PROB, 1 - MIN_PROB)
    return {
        "map_macro": float(class_precisions(scores)[present].mean()),
        "f1_macro": float(f1[present].mean()),
        "f1_weighted": float(np.average(f1[present], weights=totals[present])),
        "loss": float(-np.where(scores.labels == 1, np.log(probs), np.log1p(-probs)).mean()),
        "num_clips": len(scores.labels),
        "num_classes": len(scores.class_names),
    }
