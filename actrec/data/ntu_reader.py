"""Rows from the names of NTU RGB+D, which say who did what before which camera; and its evaluation protocols."""

import re
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from actrec.console import say
from actrec.data.problems import Kind, Problems
from actrec.data.rows import Row, read_text
from actrec.errors import UserError
from actrec.words import counted

Protocol = Literal["xsub", "xview", "xset"]
NAME_TWICE = Kind("a sample of which there are two files", "Keep one of them below data.reader.media.")

_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")
# Source: the papers on NTU RGB+D (2016, section 4.2) and NTU RGB+D 120 (2019, section 4.2). NTU60 has subjects 1-40.
_TRAINING_SUBJECTS = frozenset(
    {1, 2, 4, 5, 8, 9, *range(13, 20), 25, 27, 28, 31, 34, 35, 38, 45, 46, 47, 49, 50, *range(52, 60)}
    | {70, 74, 78, *range(80, 87), 89, *range(91, 96), 97, 98, 100, 103}
)
_TRAINING_CAMERAS = frozenset({2, 3})


class NtuName(NamedTuple):
    """What a name such as S001C002P003R002A013 says: numbers from 1."""

    setup: int
    camera: int
    subject: int
    replication: int
    action: int

    def __str__(self) -> str:
        return "S{:03}C{:03}P{:03}R{:03}A{:03}".format(*self)


def ntu_name(path: str) -> NtuName | None:
    """Return what the last part of a path says, with or without a suffix and `_rgb`; None if it is no such name."""
    stem = PurePosixPath(path).name.partition(".")[0].removesuffix("_rgb")
    found = _NAME.fullmatch(stem)
    return NtuName(*map(int, found.groups())) if found else None


def is_for_training(name: NtuName, protocol: Protocol) -> bool:
    """Tell whether a protocol trains on a sample; it evaluates on all others."""
    match protocol:
        case "xsub":
            return name.subject in _TRAINING_SUBJECTS
        case "xview":
            return name.camera in _TRAINING_CAMERAS
        case "xset":
            return name.setup % 2 == 0


def read_ntu(
    paths: Iterable[str],
    *,
    head: str,
    classes: Collection[str],
    protocol: Protocol,
    held_out: Literal["val", "test"],
    missing: Collection[str],
    problems: Problems,
) -> list[Row]:
    """Return a row for each sample, in the order of their paths.

    Files of other names and samples of actions without a class name are counted in a note, as are those left out. A
    group is a subject and, where a protocol parts cameras or setups, which part: a subject is then in both halves.

    Args:
        paths: Below the data root, or names of skeletons.
        head: The head that actions label.
        classes: Their names, the first that of A001.
        protocol: Parts training from evaluation.
        held_out: The split that evaluation becomes.
        missing: The names of samples to leave out.
        problems: Receives samples with several files.

    Raises:
        UserError: if no path is such a name.
    """
    classes, rows = tuple(classes), []
    first: dict[NtuName, str] = {}
    num_other = num_left_out = 0
    for path in sorted(paths):
        name = ntu_name(path)
        if name is None or not 0 < name.action <= len(classes):
            num_other += 1
        elif str(name) in missing:
            num_left_out += 1
        elif first.setdefault(name, path) != path:
            problems.add(NAME_TWICE, path, f"as {first[name]}")
        else:
            trains = is_for_training(name, protocol)
            group = f"P{name.subject:03}{_half(protocol, trains)}"
            labels = {head: classes[name.action - 1]}
            rows.append(Row(path, path, path, labels, "train" if trains else held_out, group))
    if num_other:
        say(f"ntu: passed over {counted(num_other, 'file')} without the name of a sample of A001 to A{len(classes):03}")
    if num_left_out:
        say(f"ntu: left out {counted(num_left_out, 'sample')} without a skeleton, as data.reader.missing says")
    if not rows:
        problems.stop_if_any()
        raise UserError(
            "ntu: found no sample below data.reader.media. Expected names such as S001C002P003R002A013_rgb.avi"
        )
    return rows


def _half(protocol: Protocol, trains: bool) -> str:
    match protocol:
        case "xsub":
            return ""
        case "xview":
            return f" {'C002 and C003' if trains else 'C001'}"
        case "xset":
            return f" {'even' if trains else 'odd'} setups"


def read_names(file: Path) -> frozenset[str]:
    """Return the sample names in a text file; lines that are no name, such as a heading, are passed over.

    Raises:
        UserError: if it cannot be read, or names none.
    """
    names = {str(name) for line in read_text(file).splitlines() if (name := ntu_name(line.strip()))}
    if not names:
        raise UserError(f"{file}: names no sample. Expected a name such as S001C002P003R002A013 a line.")
    return frozenset(names)
