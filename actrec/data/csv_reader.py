"""Rows from a table, by the names of its columns."""

import csv
import difflib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from actrec.data.manifest import Split
from actrec.data.problems import Kind, Problems
from actrec.data.rows import UNKNOWN_SPLIT, Row, id_of_part, plain_path, read_text, split_named
from actrec.errors import UserError

NO_PATH = Kind("no path", "Each row needs the path of its file.")
NO_LABEL = Kind("no label", "A clip needs a label for at least one head.")
NO_SPLIT_CELLS = Kind("a row with more cells than the header", "Quote cells that contain the delimiter.")
BAD_TIME = Kind("start or end that is not a number of seconds", "Write it like 12.5.")
BAD_PART = Kind("a part of no length", "It needs 0 <= start < end.")
NO_ID = Kind("no id", "Give each row an id, or set data.reader.id: null to use the path.")

_DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column holds what; None where there is no such column. `heads` maps head to column."""

    path: str
    heads: Mapping[str, str]
    id: str | None = None
    split: str | None = None
    group: str | None = None
    start_s: str | None = None
    end_s: str | None = None

    def named(self) -> list[str]:
        """Return the names of all columns that are read."""
        others = (self.id, self.split, self.group, self.start_s, self.end_s)
        return [self.path, *self.heads.values(), *(name for name in others if name is not None)]


def read_csv(file: Path, *, columns: Columns, problems: Problems) -> list[Row]:
    """Return the rows of a table with `,` `;` or tab between its cells.

    Args:
        file: The table; its first row names the columns.
        columns: What to read.
        problems: Receives the rows that cannot be used; they are not in the result.

    Raises:
        UserError: if it is no such table, lacks a column, or has no rows.
    """
    header, records = _read_table(file, columns.named())
    _check_columns(file, header, columns.named())
    rows = []
    for line, record in records:
        where = f"row {line}"
        if len(record) > len(header) and any(record[len(header) :]):
            problems.add(NO_SPLIT_CELLS, where, f"{len(record)} cells, the header has {len(header)}")
            continue
        cells = dict(zip(header, (cell.strip() for cell in record), strict=False))
        if row := _row(where, cells, columns, problems):
            rows.append(row)
    if not records:
        raise UserError(f"{file}: has a header but no rows. Expected a row for each clip.")
    return rows


def _read_table(file: Path, wanted: Sequence[str]) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header, and each record that is not blank with the number of its last line."""
    text = read_text(file)
    delimiter = max(_DELIMITERS, key=lambda mark: _fitness(text, mark, wanted))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        records = [(reader.line_num, record) for record in reader if any(cell.strip() for cell in record)]
    except csv.Error as error:
        raise UserError(f"{file}: row {reader.line_num} is not CSV: {error}. Check its quotation marks.") from None
    return header, records


def _fitness(text: str, delimiter: str, wanted: Sequence[str]) -> tuple[int, int]:
    first = text.partition("\n")[0]
    header = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
    return len(set(header) & set(wanted)), len(header)


def _check_columns(file: Path, header: Sequence[str], wanted: Sequence[str]) -> None:
    faults = []
    for name in dict.fromkeys(wanted):
        if name not in header:
            near = difflib.get_close_matches(name.casefold(), [column.casefold() for column in header], n=1)
            meant = next((column for column in header if near and column.casefold() == near[0]), None)
            faults.append(f"no column '{name}'" + (f" (did you mean '{meant}'?)" if meant else ""))
        elif header.count(name) > 1:
            faults.append(f"column '{name}' appears {header.count(name)} times")
    if faults:
        raise UserError(
            f"{file}: {'; '.join(faults)}. Found: {', '.join(header)}. "
            "Rename the column, or name the right one under data.reader in params.yaml."
        )


def _row(where: str, cells: dict[str, str], columns: Columns, problems: Problems) -> Row | None:
    def cell(name: str | None) -> str:
        return cells.get(name, "") if name else ""

    path = plain_path(cell(columns.path))
    labels = {head: cell(column) for head, column in columns.heads.items() if cell(column)}
    start_s, end_s, times_fit = _part(where, cell(columns.start_s), cell(columns.end_s), problems)
    clip_id = cell(columns.id) if columns.id else id_of_part(path, start_s, end_s)
    if not path:
        problems.add(NO_PATH, where)
    if not labels:
        problems.add(NO_LABEL, where, path)
    if not clip_id and columns.id:
        problems.add(NO_ID, where, path)
    split, split_fits = _split(where, cell(columns.split), problems)
    if not (path and labels and clip_id and times_fit and split_fits):
        return None
    return Row(where, clip_id, path, labels, split, cell(columns.group), start_s, end_s)


def _split(where: str, text: str, problems: Problems) -> tuple[Split | None, bool]:
    """Return the split, and whether the cell is in order; an empty one is: that clip's split is to be chosen."""
    split = split_named(text)
    if text and split is None:
        problems.add(UNKNOWN_SPLIT, where, f"'{text}'")
    return split, not text or split is not None


def _part(where: str, start: str, end: str, problems: Problems) -> tuple[float | None, float | None, bool]:
    """Return start and end in seconds, None for no limit, and whether they are in order."""
    try:
        start_s, end_s = (_finite(text) if text else None for text in (start, end))
    except ValueError:
        problems.add(BAD_TIME, where, f"start '{start}', end '{end}'")
        return None, None, False
    # From 0 is from the beginning: the whole file has one name.
    if (start_s or 0) < 0 or (end_s is not None and end_s <= (start_s or 0)):
        problems.add(BAD_PART, where, f"start '{start}', end '{end}'")
        return None, None, False
    return start_s or None, end_s, True


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value
