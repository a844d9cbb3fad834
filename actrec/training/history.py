"""The course of training: a row an epoch, or a C of an svm, as a file and as lines on the screen."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from actrec.cells import csv_text
from actrec.console import say
from actrec.outputs import output_and_metric
from actrec.store.files import write_atomic


def write_history(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write history.csv."""
    write_atomic(path, dump_history(rows))


def dump_history(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return history.csv: a row an epoch or C, columns as in the rows."""
    header = list(rows[0])
    return csv_text(header, ([row[name] for name in header] for row in rows))


def epoch_printer(select_on: str, total_epochs: int) -> Callable[[Mapping[str, Any]], None]:
    """Return what prints a finished epoch: loss, the selected validation metric if known, where the time went.

    `best` stands behind the best epoch so far; of equal ones it is the one with the lower loss on val.
    """

    def show(row: Mapping[str, Any]) -> None:
        score = "-     " if row["val_score"] is None else f"{row['val_score']:.4f}"
        waiting = row["data_s"] / max(row["data_s"] + row["compute_s"], 1e-9)
        say(
            f"epoch {row['epoch']:>3}/{total_epochs}  loss {row['train_loss']:.4f}  "
            f"val {select_on} {score}{' best' if row['is_best'] else '     '}  "
            f"{row['epoch_s']:.1f} s, {waiting:.0%} of it waiting for data"
        )

    return show


def fit_printer(select_on: str) -> Callable[[Mapping[str, Any]], None]:
    """Return what prints the row of an svm: its head and C, the loss, the score that C is chosen by, the time."""
    _, metric = output_and_metric(select_on)

    def show(row: Mapping[str, Any]) -> None:
        if row["val_score"] is not None:
            said = f"loss {row['train_loss']:.4f}  val {row['phase']}.{metric} {row['val_score']:.4f}"
            say(f"svm: {row['phase']}, C = {row['c']:<8g} {said}  {row['epoch_s']:.1f} s")

    return show
