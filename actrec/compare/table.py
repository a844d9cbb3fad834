"""Experiments as a table: for the terminal, as Markdown, and as CSV with every number."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from actrec.cells import csv_text
from actrec.compare.experiment import COSTS, SPLITS, Experiment, Measured, Point, differing

if TYPE_CHECKING:
    from rich.table import Table as RichTable

_NONE = "-"
_PLAIN_CHARS = 200
# More columns of settings than these are not read side by side; the CSV has them all.
MAX_SETTINGS = 8
_COST_NAMES = {"minutes": "minutes", "peak_memory_mb": "memory MB", "clips_per_s": "clips/s"}
_MINUTES_NOTE = "Minutes are of training alone, without decoding and without the extraction of cached features."
_NOTE_CHARS = 60
_HEADING_CHARS = 12
_GAP = 2


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text. `numeric` says of each column whether it is set to the right; `below` is a line under the rows."""

    header: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]
    below: str

    def markdown(self) -> str:
        """Return the table as Markdown, with the line below it."""
        rule = ["---:" if numeric else "---" for numeric in self.numeric]
        lines = [self.header, rule, *self.rows]
        table = "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
        return f"{table}\n{self.below}\n" if self.below else table

    def widths(self, line_chars: int, *, stacked: bool) -> list[int]:
        """Return the columns' widths of lines of `line_chars`: the widest columns give way first, and words stay whole.

        Where whole words need more than that, the lines take more. `stacked`: as `rich` has it.
        """
        columns = list(zip((_heading(name, stacked) for name in self.header), *self.rows, strict=True))
        least = [_longest(word for cell in column for word in cell.split()) for column in columns]
        whole = [_longest(line for cell in column for line in cell.splitlines()) for column in columns]
        for cap in range(max(whole), -1, -1):
            widths = [max(word, min(line, cap)) for word, line in zip(least, whole, strict=True)]
            if _line_chars(widths) <= line_chars:
                break
        return widths

    def turned(self) -> "Table":
        """Return the table with its rows as columns: of few experiments with many numbers, easier to read."""
        header, *rows = zip(self.header, *self.rows, strict=True)
        return Table(header, (False, *(True for _ in self.rows)), tuple(rows), self.below)

    def rich(self, line_chars: int, *, stacked: bool) -> "RichTable":
        """Return the table for lines of `line_chars`; `stacked` sets the parts of long headings below each other."""
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
        widths = self.widths(line_chars, stacked=stacked)
        for name, numeric, width in zip(self.header, self.numeric, widths, strict=True):
            justify = "right" if numeric else "left"
            table.add_column(Text(_heading(name, stacked)), justify=justify, width=width, overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(cell) for cell in row))  # Text: names are shown as they are, not read as markup
        return table

    def show(self, file: IO[str]) -> None:
        """Print the table: as wide as the terminal, or as plain lines where there is none."""
        from rich.console import Console

        console, turned = Console(file=file), self.turned()
        stacked = console.is_terminal
        least, least_turned = (_line_chars(table.widths(0, stacked=stacked)) for table in (self, turned))
        if not console.is_terminal:
            width = max(_PLAIN_CHARS, min(least, least_turned))  # a file has no edge to break words at
            console = Console(file=file, width=width, color_system=None, legacy_windows=False)
        table = self if least <= max(console.width, least_turned) else turned
        console.print(table.rich(console.width, stacked=stacked), crop=False)
        if self.below:
            console.print(self.below, markup=False, highlight=False)


def _heading(name: str, stacked: bool) -> str:
    return name.replace(".", ".\n") if stacked and len(name) > _HEADING_CHARS else name


def _longest(texts: Iterable[str]) -> int:
    return max(map(len, texts), default=0)


def _line_chars(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def table_of(shown: Sequence[Point], measures: Sequence[tuple[str, str]]) -> Table:
    """Return a row a point: its name, the settings that differ, the metrics with their intervals, and what it cost.

    Where that has minutes, the line below says of what they are.

    Args:
        shown: What `points` made.
        measures: (head, metric), each of val and of test.
    """
    settings = differing(shown)[:MAX_SETTINGS]
    several = any(len(point.experiments) > 1 for point in shown)
    metrics = [
        (split, head, metric)
        for head, metric in measures
        for split in SPLITS
        if any(point.measured(split, head, metric) for point in shown)
    ]
    costs = [name for name in COSTS if any(point.cost(name) is not None for point in shown)]
    noted = any(point.note for point in shown)
    header = [
        *("experiment", *short_settings(settings), *(["seeds"] if several else [])),
        *(f"{split} {head} {metric}" for split, head, metric in metrics),
        *(_COST_NAMES[name] for name in costs),
        *(["note"] if noted else []),
    ]
    rows = [
        (
            *(point.name, *(setting_text(point.params, name) for name in settings)),
            *([str(len(point.experiments))] if several else []),
            *(measured_text(point.measured(*each)) for each in metrics),
            *(_cost_text(point.cost(name)) for name in costs),
            *([_first_line(point.note)] if noted else []),
        )
        for point in shown
    ]
    num_texts = 1 + len(settings)
    numeric = [False] * num_texts + [True] * (len(header) - num_texts - noted) + [False] * noted
    return Table(tuple(header), tuple(numeric), tuple(rows), _MINUTES_NOTE if "minutes" in costs else "")


def experiments_csv(experiments: Sequence[Experiment]) -> str:
    """Return a row an experiment: settings that differ, every number of val and test, costs; empty: not there."""
    shown = [Point(each.name, each.name, each.params, (each,)) for each in experiments]
    settings = differing(shown)
    numbers = [_numbers(each.metrics) for each in experiments]
    names = list(dict.fromkeys(name for own in numbers for name in own))
    rows = [
        (
            point.name,
            *(_plain(point.params[name]) if name in point.params else "" for name in settings),
            *(own.get(name) for name in names),
            *("" if (cost := point.cost(name)) is None else f"{cost:.6g}" for name in COSTS),
            point.note,
        )
        for point, own in zip(shown, numbers, strict=True)
    ]
    return csv_text(("experiment", *settings, *names, *COSTS, "note"), rows)


def short_settings(names: Sequence[str]) -> list[str]:
    """Return the ends of dotted names: two parts, or as many as it takes to be another than the others."""
    return [_short(name, [other for other in names if other != name]) for name in names]


def _short(name: str, others: Sequence[str]) -> str:
    parts = name.split(".")
    for count in range(2, len(parts)):
        end = ".".join(parts[-count:])
        if not any(other == end or other.endswith(f".{end}") for other in others):
            return end
    return name


def setting_text(params: Mapping[str, Any], name: str) -> str:
    """Return a setting as params.yaml has it, - where there is none."""
    return _plain(params[name]) if name in params else _NONE


def measured_text(found: Measured | None) -> str:
    """Return 0.812 [0.790–0.834] with an interval, 0.812 (0.790–0.834) over seeds, - where there is nothing."""
    if found is None:
        return _NONE
    if found.low is None or found.high is None:
        return f"{found.value:.3f}"
    opening, closing = "()" if found.count > 1 else "[]"
    return f"{found.value:.3f} {opening}{found.low:.3f}–{found.high:.3f}{closing}"


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def _cost_text(value: float | None) -> str:
    return _NONE if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _first_line(text: str) -> str:
    line = text.partition("\n")[0]
    return line if len(line) <= _NOTE_CHARS else f"{line[: _NOTE_CHARS - 1]}…"


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {
        f"{split}.{head}.{metric}": value
        for split in SPLITS
        for head, own in metrics.get(split, {}).items()
        for metric, value in own.items()
        if isinstance(value, int | float)
    }
