"""The table that every measure adds its rows to."""

from collections.abc import Sequence
from dataclasses import dataclass

COLUMNS = ("measure", "ours", "anchor", "ratio", "goal", "met")


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison. `at_most` and `at_least` are goals for the ratio; with neither it is for information."""

    measure: str
    ours: str
    anchor: str
    ratio: float
    at_most: float | None = None
    at_least: float | None = None

    def cells(self) -> tuple[str, ...]:
        """Return a text for each of COLUMNS."""
        return self.measure, self.ours, self.anchor, f"{self.ratio:.3g}", *self._verdict()

    def _verdict(self) -> tuple[str, str]:
        if self.at_most is not None:
            return f"≤ {self.at_most:g}", "yes" if self.ratio <= self.at_most else "NO"
        if self.at_least is not None:
            return f"≥ {self.at_least:g}", "yes" if self.ratio >= self.at_least else "NO"
        return "", ""


def render(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    cells = [COLUMNS, *(row.cells() for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(COLUMNS))]
    lines = [_line([text.ljust(width) for text, width in zip(row, widths, strict=True)]) for row in cells]
    return "\n".join([lines[0], _line(["-" * width for width in widths]), *lines[1:]])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
