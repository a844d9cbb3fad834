"""Rows from folders: one a class, or one a split with one a class inside."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from actrec.console import say
from actrec.data.problems import Kind, Problems
from actrec.data.rows import UNKNOWN_SPLIT, Row, split_named
from actrec.errors import UserError

OUTSIDE_CLASS = Kind("a video that is in no class folder", "Move it into the folder of its class.")
LINKED_FOLDER = Kind("a linked folder", "Links to folders are not followed: move the folder itself below data.root.")
NO_GROUP = Kind("a path in which data.reader.group_regex finds no group", "Mend the expression, or set it to null.")

_VIDEO = re.compile(r".*\.(3g2|3gp|asf|avi|flv|gif|m2ts|m4v|mkv|mov|mp4|mpe?g|mts|ogv|ts|vob|webm|wmv)", re.I)


def read_folders(root: Path, *, head: str, splits: bool, group_regex: str | None, problems: Problems) -> list[Row]:
    """Return a row for each video below `root`, sorted by path.

    Files are taken by their extension, in any case; others are counted in a note, hidden ones passed over.

    Args:
        root: The data root.
        head: The head that the folders label.
        splits: Whether the folders below `root` are splits, with the class folders inside them.
        group_regex: Searched in the path below the root; what its first group matches names the clip's group.
        problems: Receives what cannot be used; it is not in the result.

    Raises:
        UserError: if there is no video, or the expression is not one with a group.
    """
    pattern = _compiled(group_regex) if group_regex is not None else None
    class_level = 1 if splits else 0
    rows, skipped = [], Counter()
    for path in sorted(_files(root, problems)):
        if not _VIDEO.fullmatch(path):
            skipped[Path(path).suffix.casefold() or "no extension"] += 1
        elif row := _row(path, head, class_level, pattern, problems):
            rows.append(row)
    if skipped:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(skipped.items()))
        say(f"{root}: passed over {skipped.total()} files that are no videos by their names ({kinds})")
    if not rows:
        problems.stop_if_any()
        layout = "<train|val|test>/<class>/<video>" if splits else "<class>/<video>"
        raise UserError(f"{root}: found no video. Expected {layout} below data.root; data.reader.splits says which.")
    return rows


def _files(root: Path, problems: Problems) -> Iterator[str]:
    """Yield the path below `root` of each file that is not hidden."""
    for folder, folders, files in os.walk(root):
        below = Path(folder).relative_to(root)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if (Path(folder) / name).is_symlink():
                problems.add(LINKED_FOLDER, (below / name).as_posix())
        yield from ((below / name).as_posix() for name in files if not name.startswith("."))


def _row(path: str, head: str, class_level: int, pattern: re.Pattern[str] | None, problems: Problems) -> Row | None:
    parts = path.split("/")
    if len(parts) < class_level + 2:
        problems.add(OUTSIDE_CLASS, path)
        return None
    split = split_named(parts[0]) if class_level else None
    if class_level and split is None:
        problems.add(UNKNOWN_SPLIT, path, f"folder '{parts[0]}'")
        return None
    group = ""
    if pattern:
        found = pattern.search(path)
        group = (found.group(1) or "") if found else ""
        if not group:
            problems.add(NO_GROUP, path)
            return None
    return Row(path, path, path, {head: parts[class_level]}, split, group)


def _compiled(group_regex: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(group_regex)
    except re.error as error:
        raise UserError(f"data.reader.group_regex is '{group_regex}': {error}") from None
    if not pattern.groups:
        raise UserError(f"data.reader.group_regex is '{group_regex}': expected one group in brackets, as in '(s\\d+)_'")
    return pattern
