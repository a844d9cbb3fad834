"""What the reader of params.yaml finds: rows, and the heads that they label."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actrec.data.csv_reader import Columns, read_tables
from actrec.data.folder_reader import read_folders, videos_below
from actrec.data.jrdb_reader import read_jrdb
from actrec.data.list_reader import read_lists
from actrec.data.manifest import Media
from actrec.data.ntu_reader import ntu_name, read_names, read_ntu
from actrec.data.people_columns import PeopleColumns
from actrec.data.problems import Problems
from actrec.data.public_sets import class_names, ntu_without_skeleton
from actrec.data.rows import Row
from actrec.data.skeleton_index import SkeletonIndex
from actrec.data.skeleton_reader import read_skeleton_rows
from actrec.data.tiny_imagenet_reader import read_tiny_imagenet


@dataclass(frozen=True, slots=True)
class Index:
    """Rows, the heads in their order, and which of these may have several classes a clip."""

    rows: list[Row]
    heads: tuple[str, ...]
    multi_label: frozenset[str] = frozenset()


def read_index(
    root: Path, reader: Mapping[str, Any], *, media: Media, skeletons: SkeletonIndex, problems: Problems
) -> Index:
    """Return what a reader finds.

    Args:
        root: The data root.
        reader: The section `data.reader` of params.yaml, as a plain dict.
        media: What each clip must have.
        skeletons: Those of data.skeletons.
        problems: Receives what cannot be used.

    Raises:
        UserError: if there is nothing that could be read.
    """
    match reader:
        case {"kind": "csv", "file": file, "people": people, **columns}:
            about = PeopleColumns.of(people) if people else None
            rows = read_tables(root, file=file, columns=Columns(**columns, people=about), problems=problems)
            return Index(rows, tuple(columns["heads"]), frozenset(columns["multi_label"]))
        case {"kind": "folder", "head": head, **layout}:
            return Index(read_folders(root, media=media, head=head, problems=problems, **layout), (head,))
        case {"kind": "list", "head": head, **lists}:
            return Index(read_lists(root, head=head, problems=problems, **lists), (head,))
        case {"kind": "tiny_imagenet", "head": head, **names}:
            return Index(read_tiny_imagenet(root, head=head, problems=problems, **names), (head,))
        case {"kind": "jrdb", "head": head, **layout}:
            return Index(read_jrdb(root, head=head, problems=problems, **layout), (head,))
        case {"kind": "skeletons", "head": head, **names}:
            return Index(read_skeleton_rows(skeletons, root=root, head=head, problems=problems, **names), (head,))
        case {"kind": "ntu", "head": head, "dataset": dataset, "media": folder, "missing": missing, **protocol}:
            paths = list(skeletons.entries) if media == "skeleton" else videos_below(root, folder, problems)
            rows = read_ntu(
                paths,
                head=head,
                classes=class_names(root, dataset),
                missing=_left_out(root, missing, paths, skeletons),
                problems=problems,
                **protocol,
            )
            return Index(rows, (head,))
        case _:
            raise ValueError(f"unknown reader {reader}")


def _left_out(
    root: Path, missing: Mapping[str, str], paths: Iterable[str], skeletons: SkeletonIndex
) -> Collection[str]:
    """Return the names of the NTU samples that data.reader.missing leaves out."""
    match missing:
        case {"kind": "keep"}:
            return ()
        case {"kind": "published"}:
            return ntu_without_skeleton()
        case {"kind": "list", "file": file}:
            return read_names(root / file)
        case _:
            return {str(ntu_name(path)) for path in paths if not skeletons.find(path)}
