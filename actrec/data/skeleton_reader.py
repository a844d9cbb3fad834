"""Rows from a file of skeletons that says what they show: names, class numbers, and lists of names as splits."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from actrec.console import say
from actrec.data.list_reader import UNKNOWN_CLASS
from actrec.data.manifest import Split
from actrec.data.problems import Kind, Problems
from actrec.data.public_sets import class_names as names_of_classes
from actrec.data.rows import NO_GROUP, Row, check_regex, found_in
from actrec.data.skeleton_index import SkeletonEntry, SkeletonIndex
from actrec.errors import UserError

NO_LABEL = Kind("a skeleton without a label", "Write its class number into the file, or label it by a csv reader.")


def read_skeleton_rows(
    index: SkeletonIndex,
    *,
    root: Path,
    head: str,
    splits: Mapping[Split, str | None] | None,
    class_names: str | None,
    group_regex: str | None,
    problems: Problems,
) -> list[Row]:
    """Return a row for each skeleton of the splits, or for each skeleton; one that cannot be used has no label.

    Args:
        index: What is in the file.
        root: The data root.
        head: The head that the numbers label.
        splits: The name that each split has in the file; None: all skeletons, and their splits are to be chosen.
        class_names: See `public_sets.class_names`; None: numbers are names.
        group_regex: Searched in each name for the clip's group, see `found_in`.
        problems: Receives what cannot be used; it is not in the result.

    Raises:
        UserError: if the file lacks a split or has no skeleton, or the expression is not one with a group.
    """
    check_regex("data.reader.group_regex", group_regex)
    classes = None if class_names is None else names_of_classes(root, class_names)
    rows = []
    for name, split in _named(index, splits):
        entry = index.entries[name]
        labels = _labels(name, entry, head, classes, problems)
        group = found_in(name, group_regex, NO_GROUP, name, problems)
        if labels or entry.reason:
            rows.append(Row(name, name, name, labels, split, group))
    return rows


def _named(index: SkeletonIndex, splits: Mapping[Split, str | None] | None) -> list[tuple[str, Split | None]]:
    if not index.entries:
        raise UserError("data.skeletons has no skeleton at all.")
    if splits is None:
        return [(name, None) for name in index.entries]
    named = []
    for split, list_name in splits.items():
        if list_name is None:
            continue
        if list_name not in index.splits:
            has = f"it has {', '.join(index.splits)}" if index.splits else "it has none: set data.reader.splits: null"
            raise UserError(f"data.reader.splits.{split} is '{list_name}', which data.skeletons lacks; {has}.")
        names = index.splits[list_name]
        named += [(name, split) for name in names if name in index.entries]
        if absent := sum(name not in index.entries for name in names):
            say(
                f"skeletons: {absent} of {len(names)} names in the list '{list_name}' have no skeleton and are left out"
            )
    return named


def _labels(
    name: str, entry: SkeletonEntry, head: str, classes: Sequence[str] | None, problems: Problems
) -> dict[str, str]:
    """Return the label, {} if there is none to be had."""
    if entry.label is None:
        if not entry.reason:
            problems.add(NO_LABEL, name)
        return {}
    if entry.label < 0 or (classes is not None and entry.label >= len(classes)):
        names = "" if classes is None else f"; there are {len(classes)} class names"
        problems.add(UNKNOWN_CLASS, name, f"{entry.label}{names}")
        return {}
    return {head: str(entry.label) if classes is None else classes[entry.label]}
