"""Rows from folders: one a class, or one a split with one a class inside."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from actrec.console import say
from actrec.data.manifest import Media
from actrec.data.problems import Kind, Problems
from actrec.data.rows import NO_GROUP, UNKNOWN_SPLIT, Row, check_regex, found_in, plain_path, split_named
from actrec.data.sounds import SOUND_SUFFIXES
from actrec.errors import UserError

OUTSIDE_CLASS = Kind("a file that is in no class folder", "Move it into the folder of its class.")
LINKED_FOLDER = Kind("a linked folder", "Links to folders are not followed: move the folder itself below data.root.")

_VIDEO = re.compile(r".*\.(3g2|3gp|asf|avi|flv|gif|m2ts|m4v|mkv|mov|mp4|mpe?g|mts|ogv|ts|vob|webm|wmv)", re.I)
_SOUND = re.compile(r".*\.(flac|m4a|mka|mp3|oga|ogg|opus|wav|wma)", re.I)


def read_folders(
    root: Path, *, media: Media, head: str, splits: bool, group_regex: str | None, problems: Problems
) -> list[Row]:
    """Return a row for each video below `root`, or for each video and each sound, sorted by path.

    Files are taken by their extension, in any case; others are counted in a note, hidden ones passed over. A sound
    beside a video of the same name belongs to that (see `sounds_beside`), and is no clip of its own.

    Args:
        root: The data root.
        media: Whether sounds are clips.
        head: The head that the folders label.
        splits: Whether the folders below `root` are splits, with the class folders inside them.
        group_regex: Searched in the path below the root for the clip's group, see `found_in`.
        problems: Receives what cannot be used; it is not in the result.

    Raises:
        UserError: if there is no such file, or the expression is not one with a group.
    """
    check_regex("data.reader.group_regex", group_regex)
    class_level = 1 if splits else 0
    paths = sorted(files_below(root, problems))
    stems = {PurePosixPath(path).with_suffix("") for path in paths if _VIDEO.fullmatch(path)}
    rows, skipped = [], Counter()
    for path in paths:
        name = PurePosixPath(path)
        if name.suffix.casefold() in SOUND_SUFFIXES and name.with_suffix("") in stems:
            continue
        if not (_VIDEO.fullmatch(path) or (media == "sound" and _SOUND.fullmatch(path))):
            skipped[name.suffix.casefold() or "no extension"] += 1
        elif row := _row(path, head, class_level, group_regex, problems):
            rows.append(row)
    wanted = "video" if media == "video" else "sound or video"
    if skipped:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(skipped.items()))
        say(f"{root}: passed over {skipped.total()} files that are no {wanted} by their names ({kinds})")
    if not rows:
        problems.stop_if_any()
        layout = "<train|val|test>/<class>/<video>" if splits else "<class>/<video>"
        raise UserError(f"{root}: found no {wanted}. Expected {layout} below data.root; data.reader.splits says which.")
    return rows


def videos_below(root: Path, folder: str, problems: Problems) -> list[str]:
    """Return the path below `root` of each file in a folder, or in folders of that, that is a video by its name.

    Raises:
        UserError: if there is no such folder below the root.
    """
    top = root / folder
    if not (top.is_dir() and top.resolve().is_relative_to(root.resolve())):
        raise UserError(f"data.reader.media is '{folder}': no such folder below {root}. Write . for that itself.")
    return [plain_path(f"{folder}/{path}") for path in sorted(files_below(top, problems)) if _VIDEO.fullmatch(path)]


def files_below(root: Path, problems: Problems) -> Iterator[str]:
    """Yield the path below `root` of each file that is not hidden."""
    for folder, folders, files in os.walk(root):
        below = Path(folder).relative_to(root)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if (Path(folder) / name).is_symlink():
                problems.add(LINKED_FOLDER, (below / name).as_posix())
        yield from ((below / name).as_posix() for name in files if not name.startswith("."))


def _row(path: str, head: str, class_level: int, group_regex: str | None, problems: Problems) -> Row | None:
    parts = path.split("/")
    if len(parts) < class_level + 2:
        problems.add(OUTSIDE_CLASS, path)
        return None
    split = split_named(parts[0]) if class_level else None
    if class_level and split is None:
        problems.add(UNKNOWN_SPLIT, path, f"folder '{parts[0]}'")
        return None
    group = "" if group_regex is None else found_in(path, group_regex)
    if group_regex is not None and not group:
        problems.add(NO_GROUP, path)
        return None
    return Row(path, path, path, {head: parts[class_level]}, split, group)
