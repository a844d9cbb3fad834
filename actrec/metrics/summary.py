"""Scores of either kind to numbers."""

from actrec.metrics import classification, multi_label
from actrec.metrics.classification import Scores
from actrec.metrics.multi_label import MultiScores

AnyScores = Scores | MultiScores


def summarise(scores: AnyScores) -> dict[str, float | int]:
    """Return the metrics of a head, see `classification.summarise` and `multi_label.summarise`."""
    match scores:
        case Scores():
            return classification.summarise(scores)
        case MultiScores():
            return multi_label.summarise(scores)
