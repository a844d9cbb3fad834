"""The tables in results/: each clip, each class, each confusion. And the summary on the terminal."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from actrec.console import say
from actrec.metrics.classification import (
    TOP_K,
    Scores,
    chance_frac,
    class_recalls,
    confusion_matrix,
    predicted_classes,
    ratio,
    top_classes,
    true_ranks,
)
from actrec.report.cells import csv_text, text_cell

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

# {split: {head: {metric: value}}}
MetricsTree = Mapping[str, Mapping[str, Mapping[str, float | int]]]

_MAX_PAIRS = 100
_PLAIN_COLUMNS = 160
_INTERVAL_CHARS = len("[0.123–0.456]")


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


def predictions_csv(all_scores: Iterable[Scores]) -> str:
    """Return a row a clip: what it is, what the head says, and how the true class fared.

    `rank_of_true` is 1 if right. `top5` is `name:prob|…`, likeliest first, where a name's own \\ and | stand as \\\\
    and \\|. A name that a spreadsheet would take for a formula begins with ' (`cells.read_cell` takes it off).
    """
    header = ("clip_id", "path", "split", "group", "head", "true", "predicted", "prob", "true_prob", "rank_of_true")
    return csv_text((*header, "top5"), (row for scores in all_scores for row in _prediction_rows(scores)))


def _prediction_rows(scores: Scores) -> Iterator[Sequence[str | int]]:
    names = scores.class_names
    blank = ("",) * len(scores.clip_ids)
    columns = zip(
        scores.clip_ids,
        scores.paths or blank,
        scores.groups or blank,
        scores.labels.tolist(),
        true_ranks(scores).tolist(),
        top_classes(scores, TOP_K).tolist(),
        scores.probs,
        strict=True,
    )
    for clip_id, path, group, label, rank, best, probs in columns:
        top = "|".join(f"{_escape(names[k])}:{probs[k]:.4f}" for k in best)
        yield (
            text_cell(clip_id),
            text_cell(path),
            scores.split,
            text_cell(group),
            scores.head,
            text_cell(names[label]),
            text_cell(names[best[0]]),
            _number(probs[best[0]]),
            _number(probs[label]),
            rank,
            text_cell(top),
        )


def _escape(name: str) -> str:
    return name.replace("\\", "\\\\").replace("|", "\\|")


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6f}"


def per_class_csv(all_scores: Iterable[Scores]) -> str:
    """Return a row a class, in the order of their numbers.

    Empty cells: recall and most_confused_with where the class has no true clip, precision where nothing was taken for
    it, f1 where both hold. most_confused_with is what its wrong clips were most often taken for.
    """
    header = ("split", "head", "class_number", "class", "num_clips", "precision", "recall", "f1", "most_confused_with")
    return csv_text(header, (row for scores in all_scores for row in _class_rows(scores)))


def _class_rows(scores: Scores) -> Iterator[Sequence[str | int]]:
    confusion = confusion_matrix(scores)
    hits, actual, taken = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall, f1 = ratio(hits, taken), class_recalls(confusion), ratio(2 * hits, actual + taken)
    wrong = _mistakes(confusion)
    for k, name in enumerate(scores.class_names):
        rival = text_cell(scores.class_names[int(wrong[k].argmax())]) if wrong[k].any() else ""
        numbers = (_number(precision[k]), _number(recall[k]), _number(f1[k]))
        yield (scores.split, scores.head, k, text_cell(name), int(actual[k]), *numbers, rival)


def confusion_csv(all_scores: Iterable[Scores]) -> str:
    """Return a row a clip, split, head, actual and predicted: what DVC's confusion template counts."""
    rows = (
        (scores.split, scores.head, text_cell(scores.class_names[a]), text_cell(scores.class_names[p]))
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
            text_cell(scores.class_names[pair.actual]),
            text_cell(scores.class_names[pair.predicted]),
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


def summary_table(all_scores: Iterable[Scores], metrics: MetricsTree) -> "Table":
    """Return a row a split and head: the metrics, with intervals, beside the top1 of always the commonest class."""
    from rich.table import Table

    table = Table(title=None, box=None, pad_edge=False, header_style="bold")
    for name in ("split", "head"):
        table.add_column(name)
    for name in ("clips", "chance", "top1", "top5", "mean per class", "F1", "loss"):
        # On a narrow terminal an interval goes whole to the next line.
        width = _INTERVAL_CHARS if name in ("top1", "mean per class") else None
        table.add_column(name, justify="right", min_width=width)
    for scores in all_scores:
        table.add_row(*_summary_cells(scores, metrics[scores.split][scores.head]))
    return table


def _summary_cells(scores: Scores, values: Mapping[str, float | int]) -> "list[RenderableType]":
    from rich.text import Text

    return [
        # Text: names are shown as they are, not read as markup.
        Text(scores.split),
        Text(scores.head),
        str(values["num_clips"]),
        f"{chance_frac(scores):.3f}",
        Text(with_interval(values, "top1"), style="bold"),
        # Of five classes or fewer, all are among the best five.
        f"{values['top5']:.3f}" if len(scores.class_names) > TOP_K else "-",
        Text(with_interval(values, "mean_per_class_acc")),
        f"{values['f1_macro']:.3f}",
        f"{values['loss']:.3f}",
    ]


def show_summary(all_scores: Sequence[Scores], metrics: MetricsTree) -> None:
    """Print the summary to standard error: a table on a terminal, plain lines elsewhere."""
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal:
        # A number cut off at the edge would read as another number.
        console.print(summary_table(all_scores, metrics), crop=False)
    else:
        say(summary_text(all_scores, metrics))


def summary_text(all_scores: Iterable[Scores], metrics: MetricsTree) -> str:
    """Return the summary as plain lines, for a log file or a pipe."""
    from rich.console import Console

    out = StringIO()
    console = Console(file=out, width=_PLAIN_COLUMNS, color_system=None, force_terminal=False, legacy_windows=False)
    console.print(summary_table(all_scores, metrics))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())
