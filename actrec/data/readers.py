"""What the reader of params.yaml finds: rows, and the heads that they label."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actrec.data.csv_reader import Columns, read_tables
from actrec.data.folder_reader import read_folders
from actrec.data.list_reader import read_lists
from actrec.data.manifest import Media
from actrec.data.problems import Problems
from actrec.data.rows import Row


@dataclass(frozen=True, slots=True)
class Index:
    """Rows, the heads in their order, and which of these may have several classes a clip."""

    rows: list[Row]
    heads: tuple[str, ...]
    multi_label: frozenset[str] = frozenset()


def read_index(root: Path, reader: Mapping[str, Any], *, media: Media, problems: Problems) -> Index:
    """Return what a reader finds.

    Args:
        root: The data root.
        reader: The section `data.reader` of params.yaml, as a plain dict.
        media: What each clip must have.
        problems: Receives what cannot be used.

    Raises:
        UserError: if there is nothing that could be read.
    """
    match reader:
        case {"kind": "csv", "file": file, **columns}:
            rows = read_tables(root, file=file, columns=Columns(**columns), problems=problems)
            return Index(rows, tuple(columns["heads"]), frozenset(columns["multi_label"]))
        case {"kind": "folder", "head": head, **layout}:
            return Index(read_folders(root, media=media, head=head, problems=problems, **layout), (head,))
        case {"kind": "list", "head": head, **lists}:
            return Index(read_lists(root, head=head, problems=problems, **lists), (head,))
        case _:
            raise ValueError(f"unknown reader {reader}")
