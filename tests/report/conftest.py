"""What several tests of the report share."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

METRICS = ("top1", "top5", "mean_per_class_acc", "f1_macro", "f1_weighted", "map_macro", "loss")


def _write_history(
    path: Path,
    *,
    epochs: int,
    heads: tuple[str, ...] = ("action",),
    metrics: tuple[str, ...] = METRICS,
    validated: bool = True,
    train_clips: int | None = None,
) -> Path:
    rows = []
    for epoch in range(1, epochs + 1):
        row: dict[str, object] = {"epoch": epoch, "phase": "frozen" if epoch < 3 else "main", "lr": 0.01 / epoch}
        row["train_loss"] = 2 / epoch
        if validated:
            row |= {f"val_{head}_{metric}": 1 / (epoch + 1) for head in heads for metric in metrics}
        row |= {} if train_clips is None else {"train_clips": train_clips}
        row |= {"data_s": 1.0, "compute_s": 2.0, "epoch_s": 4.0, "peak_memory_mb": 9.5, "is_best": epoch in (1, 2)}
        rows.append(row)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def write_history() -> Callable[..., Path]:
    """Return a function that writes history.csv as training does: (path, epochs=, heads=, metrics=, …) -> path."""
    return _write_history
