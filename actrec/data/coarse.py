"""A head more for rows that have been read: what kind of class theirs is, by a table that is data."""

import csv
import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from actrec.data.problems import Kind, Problems
from actrec.data.readers import Index
from actrec.data.rows import read_text
from actrec.errors import UserError
from actrec.words import counted

UNKNOWN_FINE = Kind(
    "a class that the table of data.coarse.map lacks",
    "Give it a line there. The tables of the package know its own names: data.reader.class_names says whose they are.",
)
_MAPS = Path(__file__).with_name("maps")
_COLUMNS = ["fine", "coarse"]


def with_coarse(index: Index, coarse: Mapping[str, str] | None, *, root: Path, problems: Problems) -> Index:
    """Return the index with a head more, which labels each row that has a label of the finer one.

    Args:
        index: What a reader found.
        coarse: The section `data.coarse` of params.yaml, as a plain dict; None leaves all as it is.
        root: The data root.
        problems: Receives classes that the table lacks.

    Raises:
        UserError: if the table cannot be read, or names a class twice.
    """
    if coarse is None:
        return index
    fine, head, kind_of = coarse["of"], coarse["head"], read_map(root, coarse["map"])
    rows, unknown = [], {}
    for row in index.rows:
        kind = kind_of.get(row.labels.get(fine, ""))
        if kind is None and fine in row.labels:
            unknown.setdefault(row.labels[fine], []).append(row.where)
        rows.append(replace(row, labels={**row.labels, head: kind}) if kind else row)
    for name, wheres in sorted(unknown.items()):
        problems.add(UNKNOWN_FINE, f"{fine} '{name}'", f"{counted(len(wheres), 'clip')}, the first is {wheres[0]}")
    return Index(rows, (*index.heads, head), index.multi_label)


def read_map(root: Path, name: str) -> dict[str, str]:
    """Return {fine class: coarse class}.

    Args:
        root: The data root.
        name: One that comes with the package (ma52, ntu60_semantic, ntu60_by_8), else a CSV file below the root.

    Raises:
        UserError: if it is no table with the columns fine and coarse, lacks a name, or has a fine class twice.
    """
    packaged = _MAPS / f"{name}.csv"
    file = packaged if packaged.name in {path.name for path in _MAPS.iterdir()} else root / name
    try:
        header, *records = [record for record in csv.reader(io.StringIO(read_text(file))) if any(record)] or [[]]
    except csv.Error as error:
        raise UserError(f"{file} is not CSV: {error}. Expected: {','.join(_COLUMNS)}") from None
    if [column.strip() for column in header] != _COLUMNS:
        raise UserError(f"{file}: its first row is '{','.join(header)}'. Expected: {','.join(_COLUMNS)}")
    found: dict[str, str] = {}
    for number, record in enumerate(records, start=2):
        fine, coarse = (cell.strip() for cell in record) if len(record) == len(_COLUMNS) else ("", "")
        if not (fine and coarse):
            raise UserError(f"{file}: row {number} is '{','.join(record)}'. Expected two names: fine,coarse")
        if fine in found:
            raise UserError(f"{file}: row {number} has '{fine}' once more. Each fine class needs one line.")
        found[fine] = coarse
    return found
