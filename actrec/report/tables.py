"""The tables in results/: each clip, each class, each confusion. And the summary on the terminal."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from actrec.cells import csv_text
from actrec.console import say
from actrec.metrics import classification, multi_label
from actrec.metrics.answers import listed, ranking
from actrec.metrics.classification import (
    TOP_K,
    Scores,
    chance_frac,
    confusion_matrix,
    predicted_classes,
    ratio,
    top_classes,
    true_ranks,
)
from actrec.metrics.multi_label import MultiScores, chance_map, class_f1, said_classes
from actrec.metrics.summary import AnyScores

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

# {split: {head: {metric: value}}}
MetricsTree = Mapping[str, Mapping[str, Mapping[str, float | int]]]

_MAX_PAIRS = 100
_PLAIN_COLUMNS = 160
_INTERVAL_CHARS = len("[0.123–0.456]")
_NONE = "-"


@dataclass(frozen=True, slots=True)
class ConfusedPair:
    """How many clips of one class were taken for another, and which share of its clips that is."""

    actual: int
    predicted: int
    num_clips: int
    actual_frac: float


def confused_pairs(scores: Scores) -> list[ConfusedPair]:
    """Return every confusion that happened, the commonest first, of equals the lowest class numbers first."""
    confusion = confusion_matrix(scores)
    totals = confusion.sum(axis=1)
    found = np.argwhere(_mistakes(confusion))
    pairs = [ConfusedPair(int(a), int(p), int(confusion[a, p]), float(confusion[a, p] / totals[a])) for a, p in found]
    return sorted(pairs, key=lambda pair: -pair.num_clips)


def _mistakes(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return confusion - np.diag(np.diag(confusion))


def predictions_csv(all_scores: Iterable[AnyScores]) -> str:
    """Return a row a clip: what it is, what the head says, and how the true class fared.

    `rank_of_true` is 1 if right. `top5` is `name:prob|…`, likeliest first, where a name's own \\ and | stand as \\\\
    and \\|. A name that a spreadsheet would take for a formula begins with ' (`cells.read_cell` takes it off).

    Of a head whose clips may have several classes, `true` and `predicted` are all of them, written `name|name`, with
    every class of a probability of 0.5 and more as predicted; `prob` is the highest; `true_prob` and `rank_of_true` are
    empty.
    """
    header = ("clip_id", "path", "split", "group", "head", "true", "predicted", "prob", "true_prob", "rank_of_true")
    return csv_text((*header, "top5"), (row for scores in all_scores for row in _prediction_rows(scores)))


def _prediction_rows(scores: AnyScores) -> Iterator[Sequence[str | int]]:
    names = scores.class_names
    blank = ("",) * len(scores.clip_ids)
    best = top_classes(scores.probs, TOP_K).tolist()
    clips = zip(scores.clip_ids, scores.paths or blank, scores.groups or blank, strict=True)
    for clip, answer, top, probs in zip(clips, _answers(scores), best, scores.probs, strict=True):
        clip_id, path, group = clip
        true, predicted, true_prob, rank = answer
        said = (true, predicted, _number(probs[top[0]]), true_prob, rank)
        yield (clip_id, path, scores.split, group, scores.head, *said, ranking((names[k], probs[k]) for k in top))


def _answers(scores: AnyScores) -> Iterator[tuple[str, str, str, str | int]]:
    """Yield of each clip what is true, what is said, the probability of the true class, and its rank."""
    names = scores.class_names
    match scores:
        case Scores():
            own = scores.probs[np.arange(len(scores.labels)), scores.labels]
            ranks, said = true_ranks(scores).tolist(), predicted_classes(scores).tolist()
            for label, guess, prob, rank in zip(scores.labels.tolist(), said, own, ranks, strict=True):
                yield names[label], names[guess], _number(prob), rank
        case MultiScores():
            for labels, guesses in zip(scores.labels, said_classes(scores.probs), strict=True):
                yield listed(compress(names, labels)), listed(compress(names, guesses)), "", ""


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6f}"


def per_class_csv(all_scores: Iterable[AnyScores]) -> str:
    """Return a row a class, in the order of their numbers.

    Empty cells: recall, ap and most_confused_with where the class has no true clip, precision where nothing was taken
    for it, f1 where both hold. most_confused_with is what its wrong clips were most often taken for; where clips may
    have several classes it is empty too, and a class is taken as said from a probability of 0.5 on. ap is the average
    precision.
    """
    header = ("split", "head", "class_number", "class", "num_clips", "precision", "recall", "f1", "most_confused_with")
    return csv_text((*header, "ap"), (row for scores in all_scores for row in _class_rows(scores)))


def _class_rows(scores: AnyScores) -> Iterator[Sequence[str | int]]:
    match scores:
        case Scores():
            confusion = confusion_matrix(scores)
            hits, actual, taken = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
            f1, ap = ratio(2 * hits, actual + taken), classification.class_precisions(scores)
            wrong = _mistakes(confusion)
            rivals = [scores.class_names[int(row.argmax())] if row.any() else "" for row in wrong]
        case MultiScores():
            said, true = said_classes(scores.probs), scores.labels.astype(bool)
            hits, actual, taken = (said & true).sum(axis=0), true.sum(axis=0), said.sum(axis=0)
            f1, ap = class_f1(scores), multi_label.class_precisions(scores)
            rivals = [""] * len(scores.class_names)
    columns = zip(scores.class_names, actual, ratio(hits, taken), ratio(hits, actual), f1, rivals, ap, strict=True)
    for k, (name, total, precision, recall, own_f1, rival, own_ap) in enumerate(columns):
        numbers = (_number(precision), _number(recall), _number(own_f1))
        yield (scores.split, scores.head, k, name, int(total), *numbers, rival, _number(own_ap))


def confusion_csv(all_scores: Iterable[Scores]) -> str:
    """Return a row a clip, split, head, actual and predicted: what DVC's confusion template counts."""
    rows = (
        (scores.split, scores.head, scores.class_names[a], scores.class_names[p])
        for scores in all_scores
        for a, p in zip(scores.labels, predicted_classes(scores), strict=True)
    )
    return csv_text(("split", "head", "actual", "predicted"), rows)


def confused_pairs_csv(all_scores: Iterable[Scores], *, limit: int = _MAX_PAIRS) -> str:
    """Return the `limit` commonest confusions of each split and head, and the share of the actual class they took."""
    rows = (
        (
            scores.split,
            scores.head,
            scores.class_names[pair.actual],
            scores.class_names[pair.predicted],
            pair.num_clips,
            _number(pair.actual_frac),
        )
        for scores in all_scores
        for pair in confused_pairs(scores)[:limit]
    )
    return csv_text(("split", "head", "actual", "predicted", "num_clips", "actual_frac"), rows)


def with_interval(values: Mapping[str, float | int], name: str) -> str:
    """Return a metric as text, followed by its 95 % interval if it has one."""
    text = f"{values[name]:.3f}"
    if f"{name}_low" in values:
        text += f" [{values[f'{name}_low']:.3f}–{values[f'{name}_high']:.3f}]"
    return text


def summary_table(all_scores: Sequence[AnyScores], metrics: MetricsTree) -> "Table":
    """Return a row a split and head: the metrics, with intervals, beside what an answer without looking would get.

    That is the top1 of always the commonest class. Of a head whose clips may have several classes it is the mean
    average precision of the same answer for all clips; a column of that metric is there if there is such a head.
    """
    from rich.table import Table

    table = Table(title=None, box=None, pad_edge=False, header_style="bold")
    for name in ("split", "head"):
        table.add_column(name)
    has_map = any(isinstance(scores, MultiScores) for scores in all_scores)
    names = ["clips", "chance", "top1", "top5", "mean per class", *(["mAP"] if has_map else []), "F1", "loss"]
    for name in names:
        # On a narrow terminal an interval goes whole to the next line.
        width = _INTERVAL_CHARS if name in ("top1", "mean per class", "mAP") else None
        table.add_column(name, justify="right", min_width=width)
    for scores in all_scores:
        cells = _cells(scores, metrics[scores.split][scores.head])
        table.add_row(*(cells[name] for name in ("split", "head", *names)))
    return table


def _cells(scores: AnyScores, values: Mapping[str, float | int]) -> "dict[str, RenderableType]":
    """Return the cells of a row by column."""
    from rich.text import Text

    common: dict[str, RenderableType] = {
        # Text: names are shown as they are, not read as markup.
        "split": Text(scores.split),
        "head": Text(scores.head),
        "clips": str(values["num_clips"]),
        "F1": f"{values['f1_macro']:.3f}",
        "loss": f"{values['loss']:.3f}",
    }
    match scores:
        case Scores():
            # Of five classes or fewer, all are among the best five.
            top5 = f"{values['top5']:.3f}" if len(scores.class_names) > TOP_K else _NONE
            return {
                **common,
                "chance": f"{chance_frac(scores):.3f}",
                "top1": Text(with_interval(values, "top1"), style="bold"),
                "top5": top5,
                "mean per class": Text(with_interval(values, "mean_per_class_acc")),
                "mAP": Text(with_interval(values, "map_macro")),
            }
        case MultiScores():
            return {
                **common,
                **dict.fromkeys(("top1", "top5", "mean per class"), _NONE),
                "chance": f"{chance_map(scores):.3f}",
                "mAP": Text(with_interval(values, "map_macro"), style="bold"),
            }


def show_summary(all_scores: Sequence[AnyScores], metrics: MetricsTree) -> None:
    """Print the summary to standard error: a table on a terminal, plain lines elsewhere."""
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal:
        # A number cut off at the edge would read as another number.
        console.print(summary_table(all_scores, metrics), crop=False)
    else:
        say(summary_text(all_scores, metrics))


def summary_text(all_scores: Sequence[AnyScores], metrics: MetricsTree) -> str:
    """Return the summary as plain lines, for a log file or a pipe."""
    from rich.console import Console

    out = StringIO()
    console = Console(file=out, width=_PLAIN_COLUMNS, color_system=None, force_terminal=False, legacy_windows=False)
    console.print(summary_table(all_scores, metrics))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())
