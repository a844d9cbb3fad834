"""What measures of an output are called, for all that choose by one or draw one; `metrics.summary` computes them."""

import re

# Of one class a clip, and where a clip may have several.
METRICS = ("top1", "top5", "mean_per_class_acc", "f1_macro", "f1_weighted", "map_macro", "loss")
MULTI_LABEL_METRICS = ("map_macro", "f1_macro", "f1_weighted", "loss")
_COLUMN = re.compile(rf"val_(.+)_(?:{'|'.join(METRICS)})")


def val_column(output: str, metric: str) -> str:
    """Return the column of history.csv that has a metric of an output on val."""
    return f"val_{output}_{metric}"


def output_of(column: str) -> str | None:
    """Return the output that a column of history.csv is of, None if it is no such column."""
    match = _COLUMN.fullmatch(column)
    return match[1] if match else None
