"""Rows from a table, by the names of its columns."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from actrec.data.manifest import Split, join_names
from actrec.data.people_columns import PeopleColumns, count_persons, people_id, read_people
from actrec.data.problems import Kind, Problems
from actrec.data.rows import (
    NO_GROUP,
    UNKNOWN_SPLIT,
    Row,
    check_regex,
    found_in,
    id_of_part,
    plain_path,
    read_text,
    split_named,
)
from actrec.errors import UserError, nearest

NO_PATH = Kind("no path", "Each row needs the path of its file.")
NO_LABEL = Kind("no label", "A clip needs a label for at least one head.")
NO_SPLIT_CELLS = Kind("a row with more cells than the header", "Quote cells that contain the delimiter.")
BAD_TIME = Kind("start or end that is not a number of seconds", "Write it like 12.5.")
BAD_PART = Kind("a part of no length", "It needs 0 <= start < end.")
BAR_IN_NAME = Kind("a class name with a | in it", "Rename the class: | stands between the classes of a clip.")
NO_SAMPLE = Kind("a path in which data.reader.sample_regex finds no sample", "Mend the expression, or set it to null.")
NO_ID = Kind("no id", "Give each row an id, or set data.reader.id: null to use the path.")

_DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column holds what; None where there is no such column. `heads` maps head to column.

    Where there is no column of groups, or of samples, a regular expression may find them in the path, see `found_in`.
    `multi_label` maps the heads whose cells hold several class names to what stands between these. `people`: rows are
    about certain people of a picture.
    """

    path: str
    heads: Mapping[str, str]
    id: str | None = None
    split: str | None = None
    group: str | None = None
    sample: str | None = None
    group_regex: str | None = None
    sample_regex: str | None = None
    multi_label: Mapping[str, str] = field(default_factory=dict)
    start_s: str | None = None
    end_s: str | None = None
    people: PeopleColumns | None = None

    def named(self) -> list[str]:
        """Return the names of all columns that are read."""
        others = (self.id, self.split, self.group, self.sample, self.start_s, self.end_s)
        people = self.people.named() if self.people else []
        return [self.path, *self.heads.values(), *(name for name in others if name is not None), *people]


def read_tables(
    root: Path, *, file: str | Mapping[Split, str | None], columns: Columns, problems: Problems
) -> list[Row]:
    """Return the rows of one table, or of a table for each split.

    Args:
        root: The data root.
        file: The table, below the root; or that of each split, None where there is none: then all its rows are in it.
        columns: What to read.
        problems: Receives the rows that cannot be used; they are not in the result.

    Raises:
        UserError: from `read_csv`.
    """
    if isinstance(file, str):
        return count_persons(read_csv(root / file, columns=columns, problems=problems), problems)
    rows = [
        replace(row, split=split)
        for split, name in file.items()
        if name is not None
        for row in read_csv(root / name, columns=columns, problems=problems, name=name)
    ]
    return count_persons(rows, problems)


def read_csv(file: Path, *, columns: Columns, problems: Problems, name: str = "") -> list[Row]:
    """Return the rows of a table with `,` `;` or tab between its cells.

    Args:
        file: The table; its first row names the columns.
        columns: What to read.
        problems: Receives the rows that cannot be used; they are not in the result.
        name: Of the table, where rows must tell it from others.

    Raises:
        UserError: if it is no such table, lacks a column, or has no rows; if an expression cannot be searched.
    """
    check_regex("data.reader.group_regex", columns.group_regex)
    check_regex("data.reader.sample_regex", columns.sample_regex)
    header, records = _read_table(file, columns.named())
    _check_columns(file, header, columns.named())
    rows = []
    for line, record in records:
        where = f"{name} row {line}".strip()
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
            meant = nearest(name, header)
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
    labels = _labels(where, cells, columns, problems)
    start_s, end_s, times_fit = _part(where, cell(columns.start_s), cell(columns.end_s), problems)
    people, names, people_fit = read_people(where, cells, columns.people, problems)
    clip_id = cell(columns.id) if columns.id else id_of_part(path, start_s, end_s) + people_id(people, names)
    if not path:
        problems.add(NO_PATH, where)
    if not labels:
        problems.add(NO_LABEL, where, path)
    if not clip_id and columns.id:
        problems.add(NO_ID, where, path)
    split, split_fits = _split(where, cell(columns.split), problems)
    if not (path and labels and clip_id and times_fit and split_fits and people_fit):
        return None
    group, sample = cell(columns.group), cell(columns.sample)
    if not columns.group:
        group = found_in(path, columns.group_regex, NO_GROUP, where, problems)
    if not columns.sample:
        sample = found_in(path, columns.sample_regex, NO_SAMPLE, where, problems)
    return Row(where, clip_id, path, labels, split, group, start_s, end_s, sample, people, names)


def _labels(where: str, cells: Mapping[str, str], columns: Columns, problems: Problems) -> dict[str, str]:
    """Return the text of each head that has one."""
    labels = {head: cells.get(column, "") for head, column in columns.heads.items()}
    for head, mark in columns.multi_label.items():
        names = [name.strip() for name in labels[head].split(mark)]
        if any("|" in name for name in names):
            problems.add(BAR_IN_NAME, where, labels[head])
        labels[head] = join_names(filter(None, names))
    return {head: text for head, text in labels.items() if text}


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
