"""Cells of the CSV files that a user opens: a spreadsheet shows them and never runs them."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

# A spreadsheet takes a cell that begins so for a formula; one that is already quoted is quoted once more, so that
# reading back is exact.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_QUOTED = re.compile(r"'+[=+\-@\t\r]")


def text_cell(text: str) -> str:
    """Return a text as a cell: with ' before it if a spreadsheet would take it for a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def read_cell(cell: str) -> str:
    """Return the text that `text_cell` wrote."""
    return cell[1:] if _QUOTED.match(cell) else cell


def csv_text(header: Sequence[str], rows: Iterable[Iterable[str | float | None]]) -> str:
    """Return a table as CSV text, with one newline a row on every system.

    Texts stand as `text_cell` has them; numbers as Python writes them; None is an empty cell.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([text_cell(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return out.getvalue()


def read_csv(lines: Iterable[str]) -> list[list[str]]:
    """Return header and rows that `csv_text` wrote, each cell as the text that it was.

    Args:
        lines: A file opened with newline="", or such lines.
    """
    return [[read_cell(cell) for cell in row] for row in csv.reader(lines)]
