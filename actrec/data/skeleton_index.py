"""Which skeleton is whose: what the files of data.skeletons hold, and how a clip finds its own."""

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from actrec.data.problems import Kind, Problems
from actrec.data.rows import Row

NAME_TWICE = Kind("a skeleton of which there are two", "Rename one, or keep one of the files.")
SHARED = Kind(
    "a clip that would have the skeleton of another one",
    "Name skeletons by the clips' whole paths below data.root, without suffix.",
)
_RGB = re.compile(r"_rgb$", re.I)


@dataclass(frozen=True, slots=True)
class SkeletonEntry:
    """One skeleton: the file that it is in, relative to the data root, and its name there.

    `sha256` and `size_bytes` are of the skeleton itself, so that two that are the same can be told. `label` is the
    class number that the file says, None if none. If it is known to be no use, `reason` is a code and `message` words.
    """

    path: str
    file_sha256: str
    name: str
    sha256: str
    size_bytes: int
    label: int | None = None
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class SkeletonIndex:
    """All skeletons by name, and the split lists of their file.

    A name has the folders below that of data.skeletons in front, where there are any.
    """

    entries: Mapping[str, SkeletonEntry] = field(default_factory=dict)
    splits: Mapping[str, Sequence[str]] = field(default_factory=dict)
    _by_last_part: Mapping[str, list[SkeletonEntry]] = field(init=False)

    def __post_init__(self) -> None:
        by_last_part = defaultdict(list)
        for name, entry in self.entries.items():
            by_last_part[posixpath.basename(name)].append(entry)
        object.__setattr__(self, "_by_last_part", dict(by_last_part))

    def find(self, path: str) -> SkeletonEntry | None:
        """Return the skeleton that is named as a path, as it is or without its suffix, or as the last part of that.

        Each may lack a final `_rgb`, as NTU's videos have it. A last part that several skeletons have finds none.
        """
        stem = posixpath.splitext(path)[0]
        names = dict.fromkeys((path, stem, _RGB.sub("", stem)))
        whole = (self.entries[name] for name in names if name in self.entries)
        parts = (self._by_last_part.get(posixpath.basename(name), ()) for name in names)
        return next(whole, None) or next((entries[0] for entries in parts if len(entries) == 1), None)


def entries_by_name(found: Iterable[tuple[str, SkeletonEntry]], problems: Problems) -> dict[str, SkeletonEntry]:
    """Return the skeletons by name; `problems` receives names that several have."""
    entries: dict[str, SkeletonEntry] = {}
    for name, entry in found:
        first = entries.setdefault(name, entry)
        if first is not entry:
            problems.add(NAME_TWICE, f"'{name}'", f"in {first.path} and {entry.path}")
    return entries


def skeletons_of(rows: Sequence[Row], index: SkeletonIndex, problems: Problems) -> dict[str, SkeletonEntry]:
    """Return the skeleton of each clip that has one, by the clip's id.

    A clip that is a part of its file has only the one that is named as its id: that of the whole file would be longer.

    Args:
        rows: Clips.
        index: All skeletons.
        problems: Receives clips whose skeleton is that of another file's clip as well.
    """
    found: dict[str, SkeletonEntry] = {}
    owners: dict[SkeletonEntry, Row] = {}
    for row in rows:
        is_part = row.start_s is not None or row.end_s is not None
        entry = index.entries.get(row.clip_id) if is_part else index.find(row.path)
        if entry is None:
            continue
        owner = owners.setdefault(entry, row)
        if owner.path != row.path:
            problems.add(SHARED, row.where, f"'{entry.name}', which is that of {owner.where}")
        found[row.clip_id] = entry
    return found
