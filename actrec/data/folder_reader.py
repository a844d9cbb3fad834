"""Rows from folders: one a class, or one a split with one a class inside."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from actrec.console import say
from actrec.data.manifest import SPLITS, Media, Split
from actrec.data.problems import Kind, Problems
from actrec.data.rows import NO_GROUP, Row, check_regex, found_in, plain_path, split_named
from actrec.data.sounds import SOUND_SUFFIXES
from actrec.errors import UserError
from actrec.media.suffixes import IMAGE, SOUND, VIDEO, visible_files
from actrec.words import counted

OUTSIDE_CLASS = Kind("a file that is in no class folder", "Move it into the folder of its class.")
LINKED_FOLDER = Kind("a linked folder", "Links to folders are not followed: move the folder itself below data.root.")


def read_folders(
    root: Path,
    *,
    media: Media,
    head: str,
    splits: Mapping[Split, str | None] | None,
    group_regex: str | None,
    problems: Problems,
) -> list[Row]:
    """Return a row for each video below `root`, or for each image, or for each video and each sound, sorted by path.

    Files are taken by their extension, in any case; others are counted in a note, hidden ones passed over. A sound
    beside a video or an image of the same name belongs to that (see `sounds_beside`), and is no clip of its own.

    Args:
        root: The data root.
        media: What is a clip: videos, images, or sounds and videos.
        head: The head that the folders label.
        splits: The folder below `root` that each split is, with the class folders inside; None for a split without
            one. Other folders are named in a note. None: the folders below `root` are the classes.
        group_regex: Searched in the path below the root for the clip's group, see `found_in`.
        problems: Receives what cannot be used; it is not in the result.

    Raises:
        UserError: if there is no such file or folder, two splits are one folder, or the expression is not one with a
            group.
    """
    check_regex("data.reader.group_regex", group_regex)
    folders = _split_folders(root, splits) if splits else {"": None}
    below = {f"{folder}{path}": folder for folder in folders for path in files_below(root / folder, problems)}
    seen = IMAGE if media == "image" else VIDEO
    taken = (*seen, *SOUND) if media == "sound" else seen
    stems = {PurePosixPath(path).with_suffix("") for path in below if path.casefold().endswith(seen)}
    rows, skipped = [], Counter()
    for path, folder in sorted(below.items()):
        name = PurePosixPath(path)
        if name.suffix.casefold() in SOUND_SUFFIXES and name.with_suffix("") in stems:
            continue
        if not path.casefold().endswith(taken):
            skipped[name.suffix.casefold() or "no extension"] += 1
        elif row := _row(path, folder, folders[folder], head, group_regex, problems):
            rows.append(row)
    wanted = "sound or video" if media == "sound" else media
    if skipped:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(skipped.items()))
        say(f"{root}: passed over {counted(skipped.total(), 'file')}, no {wanted} by name ({kinds})")
    if not rows:
        problems.stop_if_any()
        layout = f"<train|val|test>/<class>/<{media}>" if splits else f"<class>/<{media}>"
        raise UserError(f"{root}: found no {wanted}. Expected {layout} below data.root; data.reader.splits says which.")
    if not splits:
        _refuse_splits_as_classes(root, sorted({row.labels[head] for row in rows}))
    return rows


def _refuse_splits_as_classes(root: Path, names: Sequence[str]) -> None:
    known = {split_named(name): name for name in names}
    if len(names) > 1 and "train" in known and None not in known:
        said = ", ".join(f"{split}: {known.get(split, 'null')}" for split in SPLITS)
        raise UserError(
            f"{root}: its folders are {', '.join(names)}, which are splits and not classes. Set data.reader.splits: "
            f"{{{said}}}"
        )


def _split_folders(root: Path, splits: Mapping[Split, str | None]) -> dict[str, Split | None]:
    """Return the split that each folder is, by the folder's path with a slash after it; name the others in a note."""
    there = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    folders: dict[str, Split | None] = {}
    for split, name in splits.items():
        if name is None:
            continue
        setting, folder = f"data.reader.splits.{split} is '{name}'", f"{plain_path(name)}/"
        if not _is_below(root, folder):
            has = ", ".join(there) or "none"
            raise UserError(f"{setting}: no such folder below {root}, which has {has}. null: the split has no folder.")
        if twin := next(
            (s for other, s in folders.items() if folder.startswith(other) or other.startswith(folder)), ""
        ):
            raise UserError(f"{setting}: these are clips of {twin} already. Give each split its own folder, or null.")
        folders[folder] = split
    others = [name for name in there if not any(folder.startswith(f"{name}/") for folder in folders)]
    if others:
        say(f"{root}: passed over {', '.join(others[:10])}{' …' if len(others) > 10 else ''}: no data.reader.splits")
    return folders


def _is_below(root: Path, folder: str) -> bool:
    real = (root / folder).resolve()
    is_plain = folder != "/" and ".." not in folder.split("/")
    return is_plain and real.is_dir() and real.is_relative_to(root.resolve())


def videos_below(root: Path, folder: str, problems: Problems) -> list[str]:
    """Return the path below `root` of each file in a folder, or in folders of that, that is a video by its name.

    Raises:
        UserError: if there is no such folder below the root.
    """
    top = root / folder
    if not (top.is_dir() and top.resolve().is_relative_to(root.resolve())):
        raise UserError(f"data.reader.media is '{folder}': no such folder below {root}. Write . for that itself.")
    found = sorted(files_below(top, problems))
    return [plain_path(f"{folder}/{path}") for path in found if path.casefold().endswith(VIDEO)]


def files_below(root: Path, problems: Problems) -> Iterator[str]:
    """Yield the path below `root` of each file that is not hidden; folders that are links are problems."""
    return visible_files(root, tell_link=lambda name: problems.add(LINKED_FOLDER, name))


def images_below(root: Path, folder: str, problems: Problems) -> list[str]:
    """Return the path below `root` of each file in a folder, or in folders of that, that is an image by its name."""
    found = sorted(files_below(root / folder, problems))
    return [f"{folder}/{path}" for path in found if path.casefold().endswith(IMAGE)]


def _row(
    path: str, folder: str, split: Split | None, head: str, group_regex: str | None, problems: Problems
) -> Row | None:
    name, _, rest = path.removeprefix(folder).partition("/")
    if not rest:
        problems.add(OUTSIDE_CLASS, path)
        return None
    group = found_in(path, group_regex, NO_GROUP, path, problems)
    return Row(path, path, path, {head: name}, split, group)
