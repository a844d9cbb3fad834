"""Which of a head's mistakes are worth a look."""

import numpy as np

from actrec.metrics.classification import Scores, class_recalls, confusion_matrix, predicted_classes


def surest_mistakes(scores: Scores, limit: int) -> list[int]:
    """Return the rows of at most `limit` clips that are taken for another class, the surest ones first."""
    said = predicted_classes(scores)
    wrong = np.flatnonzero(said != scores.labels)
    order = np.argsort(-scores.probs[wrong, said[wrong]], kind="stable")
    return wrong[order][:limit].tolist()


def worst_mistakes(scores: Scores, *, classes: int, per_class: int) -> list[int]:
    """Return the rows of mistakes of the classes with the lowest recall, the lowest first; of each the surest ones.

    Args:
        scores: Of one head and split.
        classes: At most so many classes; those without a mistake are none.
        per_class: At most so many mistakes of each.
    """
    recalls = class_recalls(confusion_matrix(scores))
    wrong = np.flatnonzero(recalls < 1)  # NaN, of a class without a clip, is not less
    worst = wrong[np.argsort(recalls[wrong], kind="stable")][:classes]
    surest = np.array(surest_mistakes(scores, len(scores.labels)), dtype=np.int64)
    return [int(row) for number in worst for row in surest[scores.labels[surest] == number][:per_class]]
