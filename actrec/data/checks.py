"""What must hold of the rows before anything is decoded: every fault of every row is found in one go."""

import re
import stat
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from actrec.data.manifest import SPLITS, Clip, Split, classes_of
from actrec.data.problems import Kind, Problems
from actrec.data.rows import Row, has_scheme, id_fault

HAS_SCHEME = Kind("a path with a scheme", "Only files are read: download it, and give its path below data.root.")
ABSOLUTE = Kind(
    "an absolute path", "Paths start from data.root: set that to the folder above all files, and cut it off."
)
OUTSIDE = Kind(
    "a path that leads out of data.root",
    "Set data.root to a folder that holds all files. With DVC: dvc config cache.type reflink,hardlink,copy",
)
MISSING = Kind("a missing file", "Paths start from data.root.")
NOT_A_FILE = Kind("a path that is no regular file", "Expected a media file.")
BAD_ID = Kind("an id that cannot be a file name", "Rename the file, or name a column of ids in data.reader.id.")
SAME_ID = Kind("an id that appears twice", "Remove one row, or tell parts of a file apart by start and end.")
GROUP_TWICE = Kind(
    "a group in two splits, so that scores would be too high", "Move all its rows to one, or leave the split empty."
)
SAMPLE_TWICE = Kind("a sample in two splits, though it is judged as one", "Move all its rows to one.")
SAMPLE_DIFFERS = Kind(
    "a sample of val or test whose clips have different labels, though it is judged as one",
    "Mend the labels, or what makes clips a sample: data.reader.sample, sample_regex. With null for both each clip is "
    "judged by itself.",
)
BYTES_TWICE = Kind(
    "files with the same bytes in two splits", "Remove the copies, or move all rows of such a file to one split."
)
SKELETON_TWICE = Kind("skeletons that are the same in two splits", "Remove the copies, or move them to one split.")
UNSEEN = Kind("a label that no clip of train has", "Move some of its clips to train, or remove it.")
EMPTY_SPLIT = Kind(
    "a split without clips",
    "Name its rows, or give it a fraction in data.split and a group of clips. data.split.test_frac: 0 with "
    "evaluate.splits: [val] does without test.",
)

_DRIVE = re.compile(r"[A-Za-z]:")


Hasher = Callable[[Sequence[Path]], Mapping[Path, str]]


def check_rows(
    rows: Sequence[Row],
    *,
    multi_label: Collection[str],
    root: Path,
    val_frac: float,
    test_frac: float,
    hasher: Hasher,
    problems: Problems,
) -> dict[str, Path]:
    """Return where each path of the rows is; what is wrong with them goes into `problems`.

    Args:
        rows: What a reader found.
        multi_label: The heads whose clips may have several classes.
        root: The data root.
        val_frac: If above 0, val may be taken out of train.
        test_frac: If 0, test may be empty.
        hasher: Gives the sha256 of files; it is asked only about files whose equal size lets them be copies.
        problems: May hold faults already: then rows are missing, and what follows from absent ones is not judged.
    """
    is_complete = not problems
    found = _check_paths(rows, root, problems)
    _check_names(rows, problems)
    _check_copies(rows, found, hasher, problems)
    if is_complete:
        _check_splits(rows, multi_label, val_frac, test_frac, problems)
    return found


def check_skeleton_rows(
    rows: Sequence[Row],
    digests: Mapping[str, str],
    *,
    multi_label: Collection[str],
    val_frac: float,
    test_frac: float,
    problems: Problems,
) -> None:
    """Note what is wrong with rows that are nothing but skeletons, and so have no file of their own.

    Args:
        rows: What a reader found.
        digests: The sha256 of each clip's own skeleton, by the clip's id, where it has one.
        multi_label: See `check_rows`.
        val_frac: See `check_rows`.
        test_frac: See `check_rows`.
        problems: See `check_rows`.
    """
    is_complete = not problems
    _check_names(rows, problems)
    _check_parted([(digests[row.clip_id], row) for row in rows if row.clip_id in digests], SKELETON_TWICE, problems)
    if is_complete:
        _check_splits(rows, multi_label, val_frac, test_frac, problems)


def _check_names(rows: Sequence[Row], problems: Problems) -> None:
    _check_ids(rows, problems)
    _check_together([(row.group, row.split) for row in rows], GROUP_TWICE, problems)
    _check_together([(row.sample, row.split) for row in rows], SAMPLE_TWICE, problems)


def _check_splits(
    rows: Sequence[Row], multi_label: Collection[str], val_frac: float, test_frac: float, problems: Problems
) -> None:
    """Note labels and splits that are empty, if all splits are given."""
    if all(row.split for row in rows):
        labels = {row.where: (row.split, classes_of(row.labels, multi_label)) for row in rows if row.split}
        check_labels(labels, problems)
        check_samples(rows, problems)
        splits = {row.split for row in rows if row.split}
        check_splits_filled(splits | {"val"} if val_frac else splits, test_frac=test_frac, problems=problems)


def _check_paths(rows: Sequence[Row], root: Path, problems: Problems) -> dict[str, Path]:
    real_root = root.resolve()
    found: dict[str, Path] = {}
    missing: list[Row] = []
    for row in rows:
        if row.path in found:
            continue
        kind, file = locate(row.path, root, real_root)
        if file is not None:
            found[row.path] = file
        elif kind is MISSING:
            missing.append(row)
        elif kind is not None:
            problems.add(kind, row.where, row.path)
    hint = Kind(MISSING.what, f"{MISSING.fix} {_where_they_are(missing, root)}".strip())
    for row in missing:
        problems.add(hint, row.where, row.path)
    return found


def locate(path: str, root: Path, real_root: Path) -> tuple[Kind | None, Path | None]:
    """Return the regular file at a path below the root, or what is wrong with the path.

    Args:
        path: As a row has it.
        root: The data root.
        real_root: The same without links, which no file may lead out of.
    """
    if has_scheme(path):
        return HAS_SCHEME, None
    if path.startswith("/") or _DRIVE.match(path):
        return ABSOLUTE, None
    if "\0" in path:
        return BAD_ID, None
    # Accents are one character or two, depending on the system that packed the archive.
    for form in (path, unicodedata.normalize("NFC", path), unicodedata.normalize("NFD", path)):
        file = root / form
        if not file.resolve().is_relative_to(real_root):
            return OUTSIDE, None
        try:
            mode = file.stat().st_mode
        except OSError:
            continue
        return (None, file) if stat.S_ISREG(mode) else (NOT_A_FILE, None)
    return MISSING, None


def _where_they_are(missing: Sequence[Row], root: Path) -> str:
    """Return the usual explanations that fit: another folder, or another case."""
    if not missing:
        return ""
    try:
        folders = [root.absolute().parent, *sorted(entry for entry in root.iterdir() if entry.is_dir())]
        there = Counter({folder: sum((folder / row.path).is_file() for row in missing) for folder in folders})
        folder, count = max(there.items(), key=lambda item: item[1])
        if count:
            remedy = "set data.root to that; tables are sought below it too."
            return f"{count} of these {len(missing)} exist under {folder}: {remedy}"
        first = root / missing[0].path
        names = [entry.name for entry in first.parent.iterdir() if entry.name.casefold() == first.name.casefold()]
        return f"Upper and lower case differ: the first is named {names[0]}." if names else ""
    except (OSError, ValueError):
        return ""


def _check_ids(rows: Sequence[Row], problems: Problems) -> None:
    seen: dict[str, Row] = {}
    for row in rows:
        # The crops of a picture are kept under its path, those of a clip under its id.
        for name in (row.clip_id, row.path) if row.people else (row.clip_id,):
            if fault := id_fault(name):
                problems.add(BAD_ID, row.where, f"{name!r}: {fault}")
                break
        # Ids become file names, and some file systems hold these for the same.
        key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", row.clip_id).casefold())
        first = seen.setdefault(key, row)
        if first is not row:
            problems.add(SAME_ID, row.where, f"'{row.clip_id}', first in {first.where}")


def _check_together(given: Iterable[tuple[str, Split | None]], kind: Kind, problems: Problems) -> None:
    """Note each name that has clips in several splits."""
    members: dict[str, Counter[Split]] = defaultdict(Counter)
    for name, split in given:
        if name and split:
            members[name][split] += 1
    for name, counts in sorted(members.items()):
        if len(counts) > 1:
            problems.add(kind, f"'{name}'", ", ".join(f"{n} in {split}" for split, n in sorted(counts.items())))


def _check_copies(rows: Sequence[Row], found: Mapping[str, Path], hasher: Hasher, problems: Problems) -> None:
    """Note files with equal bytes and given splits that differ. Only files of equal size are read for that."""
    given = [row for row in rows if row.split and row.path in found]
    by_size: dict[int, list[Row]] = defaultdict(list)
    for row in given:
        by_size[found[row.path].stat().st_size].append(row)
    suspects = [row for same in by_size.values() if len({row.split for row in same}) > 1 for row in same]
    digests = hasher(sorted({found[row.path] for row in suspects}))
    _check_parted([(digests[found[row.path]], row) for row in suspects], BYTES_TWICE, problems)


def _check_parted(content: Iterable[tuple[str, Row]], kind: Kind, problems: Problems) -> None:
    """Note rows with equal digests of what they show, and given splits that differ."""
    same_content: dict[str, list[Row]] = defaultdict(list)
    for digest, row in content:
        if row.split:
            same_content[digest].append(row)
    for same in same_content.values():
        if len({row.split for row in same}) > 1:
            paths = dict.fromkeys(row.path for row in same[:10])
            problems.add(kind, ", ".join(f"{row.where} ({row.split})" for row in same[:10]), ", ".join(paths))


def check_labels(labels: Mapping[str, tuple[str, Collection[tuple[str, str]]]], problems: Problems) -> None:
    """Note labels of val and test that train does not have: nobody could learn them.

    Args:
        labels: For each clip, by how its author would name it: split, and its (head, class) pairs.
        problems: Receives a line for each such label.
    """
    known = {label for split, own in labels.values() if split == "train" for label in own}
    if not known:
        return  # no train split at all: one fault, told once
    unseen: dict[tuple[str, str], list[str]] = defaultdict(list)
    for where, (_, own) in labels.items():
        for label in own:
            if label not in known:
                unseen[label].append(where)
    for (head, name), wheres in unseen.items():
        more = f" and {len(wheres) - 3} more" if len(wheres) > 3 else ""
        problems.add(UNSEEN, f"{head} '{name}'", f"only in {', '.join(wheres[:3])}{more}")


def check_samples(clips: Iterable[Row | Clip], problems: Problems) -> None:
    """Note samples of val and test whose clips have different labels: they could not be scored.

    Args:
        clips: All of them.
        problems: Receives a line for each such sample and head.
    """
    for (head, sample), names in differing_samples(clip for clip in clips if clip.split in SPLITS[1:]).items():
        told = ", ".join(f"'{name}' ({clip_id})" for name, clip_id in names.items())
        problems.add(SAMPLE_DIFFERS, f"'{sample}'", f"{head} is {told}")


def differing_samples(clips: Iterable[Row | Clip]) -> dict[tuple[str, str], dict[str, str]]:
    """Return the (head, sample)s whose clips have different labels: each of these, and the first clip that has it."""
    found: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for clip in clips:
        for head, name in clip.labels.items() if clip.sample else ():
            found[head, clip.sample].setdefault(name, clip.clip_id)
    return {key: names for key, names in sorted(found.items()) if len(names) > 1}


def check_splits_filled(
    splits: Collection[str], *, test_frac: float, problems: Problems, groups: Sequence[str] = ()
) -> None:
    """Note each split without a clip: train and val are always needed, test unless its fraction is 0.

    Args:
        splits: Those with clips.
        test_frac: The section data.split's.
        problems: Receives a line for each empty one.
        groups: What cannot be parted, where that is all that could be shared out: few fill few splits.
    """
    needed = SPLITS if test_frac else SPLITS[:2]
    few = f"{len(needed)} splits need as many groups, and there is only {', '.join(groups)}"
    for split in needed:
        if split not in splits:
            problems.add(EMPTY_SPLIT, split, few if 0 < len(groups) < len(needed) else "")
