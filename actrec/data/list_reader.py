"""Rows from Kinetics / mmaction2 list files: a line a clip, `path label_number`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from actrec.data.manifest import Split
from actrec.data.problems import Kind, Problems
from actrec.data.public_sets import class_names as names_of_classes
from actrec.data.rows import Row, has_scheme, plain_path, read_text
from actrec.errors import UserError

BAD_LINE = Kind("a line that is not `path label_number`", "The last word of each line is the number of its class.")
UNKNOWN_CLASS = Kind("unknown label", "Each number needs a line in data.reader.class_names, the first being 0.")


def read_lists(
    root: Path,
    *,
    files: Mapping[Split, str | None],
    head: str,
    media: str,
    class_names: str | None,
    problems: Problems,
) -> list[Row]:
    """Return the rows of all list files.

    Args:
        root: The data root.
        files: The list file of each split, below the root; None where there is none.
        head: The head that the numbers label.
        media: The folder, below the root, that the paths start from; "." for the root itself.
        class_names: See `public_sets.class_names`; None: numbers are names.
        problems: Receives the lines that cannot be used; they are not in the result.

    Raises:
        UserError: if a file cannot be read or a list has no line.
    """
    names = names_of_classes(root, class_names) if class_names else None
    rows = []
    for split, name in files.items():
        if name is None:
            continue
        file = root / name
        lines = [(i, line) for i, line in enumerate(read_text(file).splitlines(), start=1) if line.strip()]
        if not lines:
            raise UserError(f"{file}: has no lines. Expected `path label_number` on each; null means there is no list.")
        for number, line in lines:
            where = f"{name} row {number}"
            path, label = _parse(where, line, names, problems)
            if label:
                path = plain_path(path)
                if not (path.startswith("/") or has_scheme(path)):
                    path = plain_path(f"{media}/{path}")
                rows.append(Row(where, path, path, {head: label}, split, ""))
    return rows


def _parse(where: str, line: str, names: Sequence[str] | None, problems: Problems) -> tuple[str, str]:
    """Return path and class name; the name is "" if the line cannot be used."""
    words = line.rsplit(maxsplit=1)
    if len(words) < 2 or not words[1].isdecimal():
        problems.add(BAD_LINE, where, f"'{line.strip()}'")
        return "", ""
    path, number = words
    label = int(number)
    if names is not None and label >= len(names):
        problems.add(UNKNOWN_CLASS, where, f"{label}; there are {len(names)} class names")
        return path, ""
    return path.strip(), names[label] if names is not None else str(label)
