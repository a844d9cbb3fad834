"""How often, and how surely, a head is right."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from actrec.errors import UserError
from actrec.metrics.average_precision import average_precisions
from actrec.outputs import label_head, modality_of

TOP_K = 5
# Below this a probability counts as this: one sure mistake must not make the mean loss infinite.
MIN_PROB = 1e-12
_SUM_TOLERANCE = 1e-2


@dataclass(frozen=True, slots=True, eq=False)
class ClipScores(ABC):
    """What one head says of the clips of one split, beside what is true, be it one class a clip or several.

    Args:
        split: train, val or test.
        head: Which of the label columns this is.
        clip_ids: (n,) ids of the clips that this head has a label for, n >= 1.
        probs: (n, c) float, the probability of each class, in [0, 1].
        labels: What is true of each clip.
        class_names: (c,) name of each class.
        paths: (n,) file of each clip, or empty.
        groups: (n,) who or where was filmed, or empty.

    Raises:
        UserError: if there is no clip.
        ValueError: if shapes or ranges are not as said.
    """

    split: str
    head: str
    clip_ids: tuple[str, ...]
    probs: npt.NDArray[np.floating]
    labels: npt.NDArray[np.integer]
    class_names: tuple[str, ...]
    paths: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n, c = len(self.clip_ids), len(self.class_names)
        if not n:
            head, modality = label_head(self.head), modality_of(self.head)
            asked = f"{modality} and a label" if modality else "a label"
            raise UserError(
                f"the {self.split} split has no clip with {asked} for the head '{head}', so there is nothing to "
                f"measure. Label some, take '{self.split}' out of evaluate.splits, or '{head}' out of model.heads."
            )
        if self.probs.shape != (n, c) or self.labels.shape != self._labels_shape():
            shapes = f"probs {self.probs.shape}, labels {self.labels.shape}"
            raise ValueError(f"{self.where}: {n} clips, {c} classes, {shapes}")
        if len(self.paths) not in (0, n) or len(self.groups) not in (0, n):
            paths, groups = len(self.paths), len(self.groups)
            raise ValueError(f"{self.where}: {n} clips, but {paths} paths and {groups} groups")
        self._check_values()

    @property
    def where(self) -> str:
        """How an error names these scores."""
        return f"scores of {self.split}/{self.head}"

    @abstractmethod
    def _labels_shape(self) -> tuple[int, ...]: ...

    @abstractmethod
    def _check_values(self) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class Scores(ClipScores):
    """Scores where a clip has one class: `labels` (n,) int is its number, in [0, c), and rows of `probs` sum to 1."""

    def _labels_shape(self) -> tuple[int, ...]:
        return (len(self.clip_ids),)

    def _check_values(self) -> None:
        c = len(self.class_names)
        if not (np.issubdtype(self.labels.dtype, np.integer) and ((self.labels >= 0) & (self.labels < c)).all()):
            raise ValueError(f"{self.where}: labels must be whole numbers in [0, {c})")
        sums = self.probs.sum(axis=1, dtype=np.float64)
        # Written so that NaN fails too.
        if not ((self.probs >= 0).all() and (np.abs(sums - 1) <= _SUM_TOLERANCE).all()):
            worst = self.clip_ids[int(np.argmax(np.nan_to_num(np.abs(sums - 1), nan=np.inf)))]
            raise ValueError(f"{self.where}: the probabilities of clip {worst} are not numbers in [0, 1] that sum to 1")


def predicted_classes(scores: Scores) -> npt.NDArray[np.int64]:
    """Return (n,) the likeliest class of each clip; of equals the one with the lowest number."""
    return scores.probs.argmax(axis=1)


def true_ranks(scores: Scores) -> npt.NDArray[np.int64]:
    """Return (n,) the place of the true class among all, 1 = likeliest; of equals the lowest number comes first.

    The same rule as `predicted_classes`, so that rank 1 and a right prediction are one thing. A head that answers the
    same for every class is therefore right on class 0 alone, and not, as with a generous rule, always.
    """
    rows = np.arange(len(scores.labels))
    own = scores.probs[rows, scores.labels][:, None]
    before = np.arange(scores.probs.shape[1])[None, :] < scores.labels[:, None]
    return 1 + (scores.probs > own).sum(axis=1) + ((scores.probs == own) & before).sum(axis=1)


def top_classes(probs: npt.NDArray[np.floating[Any]], k: int) -> npt.NDArray[np.int64]:
    """Return (…, min(k, c)) the likeliest classes of probs (…, c), likeliest first; of equals the lowest number."""
    return np.argsort(-probs, axis=-1, kind="stable")[..., :k]


def confusion_matrix(scores: Scores) -> npt.NDArray[np.int64]:
    """Return (c, c) how many clips of each true class (row) were taken for each class (column)."""
    c = len(scores.class_names)
    return np.bincount(scores.labels * c + predicted_classes(scores), minlength=c * c).reshape(c, c)


def class_recalls(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return (c,) the share of each class that was recognised; NaN for a class without a clip."""
    return ratio(np.diag(confusion), confusion.sum(axis=1))


def ratio(part: npt.NDArray[np.integer], whole: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Return part / whole, NaN where whole is 0."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole != 0)


def class_precisions(scores: Scores) -> npt.NDArray[np.float64]:
    """Return (c,) the average precision of each class against all others; NaN for one without a true clip."""
    return average_precisions(scores.probs, np.arange(len(scores.class_names)) == scores.labels[:, None])


def chance_frac(scores: Scores) -> float:
    """Return the top1 of an answer that is always the commonest class of this split."""
    return float(np.bincount(scores.labels).max() / len(scores.labels))


def summarise(scores: Scores) -> dict[str, float | int]:
    """Return top1, top5, mean_per_class_acc, f1_macro, f1_weighted, map_macro, loss, num_clips and num_classes.

    top5 is the share of clips whose true class is among the min(5, c) likeliest. mean_per_class_acc is the mean
    recall, f1_macro the mean F1, and map_macro the mean average precision of each class against all others, over the
    classes with at least one true clip; f1_weighted weighs these classes by their clips. A class without a clip has no
    recall, so that it neither lifts nor sinks a mean; a clip wrongly taken for it still counts against its own class.
    loss is the mean cross-entropy in nats, no probability below 1e-12. num_classes is c, with or without clips.
    """
    from sklearn.metrics import f1_score  # 2 s of CPU time, which a stage that measures nothing should not pay

    ranks, predicted, present = true_ranks(scores), predicted_classes(scores), np.unique(scores.labels)
    own = scores.probs[np.arange(len(scores.labels)), scores.labels].astype(np.float64)
    f1 = {
        average: float(f1_score(scores.labels, predicted, labels=present, average=average))
        for average in ("macro", "weighted")
    }
    return {
        "top1": float((ranks == 1).mean()),
        "top5": float((ranks <= TOP_K).mean()),
        "mean_per_class_acc": float(np.nanmean(class_recalls(confusion_matrix(scores)))),
        "f1_macro": f1["macro"],
        "f1_weighted": f1["weighted"],
        "map_macro": float(np.nanmean(class_precisions(scores))),
        "loss": float(0.0 - np.log(np.clip(own, MIN_PROB, 1.0)).mean()),  # 0.0 -: never the text -0.0
        "num_clips": len(scores.labels),
        "num_classes": len(scores.class_names),
    }
