"""What one file of data.skeletons holds, as ingest must know it, and what the stage `skeletons` keeps of it."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from actrec.errors import BadItem
from actrec.media.unchanged import check_unchanged
from actrec.pose.layouts import LAYOUTS
from actrec.pose.pyskl_file import dump_pickle
from actrec.pose.read import read_skeletons
from actrec.pose.skeleton import Fault, Skeleton, SkeletonFile

_EVERYBODY = 1_000_000
_NO_SIZE = (
    "nothing says how large the picture is in which these pixels lie: add the columns width and height to a table of "
    "joints, <name>/img_shape (height, width) to an npz"
)


@dataclass(frozen=True, slots=True)
class SkeletonSpec:
    """What becomes of the files: their kind, the layout of their joints, and how many persons are kept."""

    kind: str
    layout: str
    max_persons: int


class Wanted(NamedTuple):
    """A skeleton to keep: its name in the file, and (height, width) of the video beside it, None if there is none."""

    name: str
    video_shape: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class SkeletonTask:
    """A file, as ingest saw it, and what is wanted of it."""

    path: Path
    sha256: str
    spec: SkeletonSpec
    wanted: tuple[Wanted, ...]


def keep_wanted(task: SkeletonTask) -> tuple[bytes, list[Fault]]:
    """Return a pickle of the wanted skeletons, in their order, and what is wrong with those that are not in it.

    2-D ones whose file does not say of what size of picture get that of the video.

    Raises:
        BadItem: if the file cannot be used, or if the only one that is wanted cannot.
        UserError: if it is another file than ingest saw.
    """
    check_unchanged(task.path, task.sha256)
    layout = LAYOUTS[task.spec.layout]
    file = read_skeletons(task.path, kind=task.spec.kind, layout=layout, max_persons=task.spec.max_persons)
    found = {skeleton.name: skeleton for skeleton in file.skeletons}
    reported = {fault.name: fault for fault in file.faults}
    kept, faults = [], []
    for name, video_shape in task.wanted:
        skeleton = found.get(name)
        if skeleton is None:
            faults.append(reported.get(name) or Fault(name, "no_skeleton", "the file has none of this name"))
        elif skeleton.keypoint.shape[-1] == 2 and not (skeleton.img_shape or video_shape):
            faults.append(Fault(name, "no_img_shape", _NO_SIZE))
        else:
            kept.append(replace(skeleton, img_shape=skeleton.img_shape or video_shape))
    if faults and len(task.wanted) == 1:
        raise BadItem(faults[0].reason, faults[0].message)
    return dump_pickle(kept, splits={}, layout=layout), faults


class Listed(NamedTuple):
    """A skeleton of a file; see `SkeletonEntry`."""

    name: str
    sha256: str
    size_bytes: int
    label: int | None
    reason: str
    message: str


class ListTask(NamedTuple):
    """A file to list."""

    path: Path
    kind: str
    layout: str


class FileList(NamedTuple):
    """What a file holds, the split lists in it, and how many skeletons stand in it once more."""

    skeletons: list[Listed]
    splits: Mapping[str, Iterable[str]]
    num_doubles: int


def list_file(task: ListTask) -> FileList:
    """Return what is in a file, with a digest of each skeleton, of all its persons.

    Raises:
        BadItem: if the file cannot be used.
    """
    path, kind, layout = task
    file = read_skeletons(path, kind=kind, layout=LAYOUTS[layout], max_persons=_EVERYBODY)
    good = [_listed(skeleton) for skeleton in file.skeletons]
    bad = _faults(file)
    listed = [Listed(f.name, hashlib.sha256(f.name.encode()).hexdigest(), 0, None, f.reason, f.message) for f in bad]
    return FileList(good + listed, file.splits, len(file.faults) - len(bad))


def _faults(file: SkeletonFile) -> list[Fault]:
    """Return the first fault of each clip that has no skeleton in the file."""
    names = {skeleton.name for skeleton in file.skeletons}
    first = {fault.name: fault for fault in reversed(file.faults) if fault.name not in names}
    return list(first.values())


def _listed(skeleton: Skeleton) -> Listed:
    size_bytes = skeleton.keypoint.nbytes + skeleton.score.nbytes
    return Listed(skeleton.name, skeleton.digest, size_bytes, skeleton.label, "", "")
