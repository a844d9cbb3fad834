"""What `actrec fuse` does: the modalities' saved probabilities in another ratio, measured."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from actrec.errors import UserError
from actrec.metrics import multi_label
from actrec.metrics.classification import Scores, class_recalls, confusion_matrix, predicted_classes
from actrec.metrics.fusion import fused
from actrec.metrics.summary import AnyScores
from actrec.outputs import fused_output, label_head, modality_of, stream_output
from actrec.report.scores_file import SavedScores, load_scores

_COLUMNS = ("split", "output", "top1", "mean_per_class_acc", "map_macro")
_NONE = "-"


def fused_table(ratio: str, *, scores: Path) -> str:
    """Return a line a split and head: what the modalities say together, averaged in a ratio, and what each says alone.

    top1 and mean_per_class_acc, or map_macro where clips may have several classes.

    Args:
        ratio: A number a modality, with : between them.
        scores: What `evaluate` wrote, results/scores.npz.

    Raises:
        UserError: if there are no scores of single modalities, or the ratio does not fit them.
    """
    saved = load_scores(scores)
    if not saved.modalities:
        raise UserError(
            f"{scores}: there is nothing to fuse: this model has one answer for all its modalities. With model.neck: "
            "{kind: late} each has its own"
        )
    weights = parse_ratio(ratio, saved.modalities)
    alone = [each for each in saved.scores if modality_of(each.head) in saved.modalities]
    rows = [_COLUMNS, *(_row(each) for each in (*fused_scores(saved, weights), *alone))]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    shares = ", ".join(f"{modality} {weight:g}" for modality, weight in zip(saved.modalities, weights, strict=True))
    return "\n".join([f"{scores}: {shares}; below, each alone", *(_line(row, widths) for row in rows)])


def parse_ratio(text: str, modalities: Sequence[str]) -> list[float]:
    """Return the numbers of a ratio such as 3:1 or 0.5:1.

    Raises:
        UserError: if it is not one of a number >= 0 for each modality, not all 0.
    """
    parts = text.split(":")
    try:
        weights = [float(part) for part in parts]
    except ValueError:
        weights = []
    fits = len(weights) == len(modalities) and all(0 <= weight < np.inf for weight in weights) and sum(weights) > 0
    if not fits:
        raise UserError(
            f"the ratio is '{text}'. Expected a number >= 0 for each of {', '.join(modalities)}, not all 0, such as "
            f"{':'.join(['3', *('1' for _ in modalities[1:])])}"
        )
    return weights


def fused_scores(saved: SavedScores, ratio: Sequence[float]) -> list[AnyScores]:
    """Return what all modalities say together, averaged in a ratio, of each split and head."""
    found: dict[tuple[str, str], AnyScores] = {(scores.split, scores.head): scores for scores in saved.scores}
    heads = dict.fromkeys((scores.split, label_head(scores.head)) for scores in saved.scores)
    return [
        fused(
            [found[split, stream_output(modality, head)] for modality in saved.modalities],
            ratio,
            output=fused_output(saved.modalities, ratio, head),
        )
        for split, head in heads
    ]


def _row(scores: AnyScores) -> tuple[str, ...]:
    # Not `summarise`: it loads scikit-learn for the F1, which takes longer than all the rest.
    if isinstance(scores, Scores):
        top1 = (predicted_classes(scores) == scores.labels).mean()
        per_class = np.nanmean(class_recalls(confusion_matrix(scores)))
        return (scores.split, scores.head, f"{top1:.4f}", f"{per_class:.4f}", _NONE)
    precision = np.nanmean(multi_label.class_precisions(scores))
    return (scores.split, scores.head, _NONE, _NONE, f"{precision:.4f}")


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.ljust(width) if place < 2 else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()
