"""What `actrec skeletons` does: find people and their joints in videos, and write a pickle for data.skeletons."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from actrec.console import progress
from actrec.errors import UserError
from actrec.media.decode import open_frames
from actrec.media.probe import probe
from actrec.media.suffixes import VIDEO, find_files
from actrec.pose.extract import PoseModel, extract_skeleton, open_model
from actrec.pose.layouts import LAYOUTS
from actrec.pose.pyskl_file import dump_pickle
from actrec.pose.skeleton import Skeleton
from actrec.store.workers import run_each, worker_count

_TIMEOUT_S = 3600.0
_FRAMES_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class _Task:
    path: Path
    name: str
    weights: Path
    max_persons: int


def skeletons_to_pickle(source: Path, *, weights: Path, max_persons: int) -> tuple[bytes, list[str]]:
    """Return the skeletons of a video, or of all below a folder, as a pickle in pyskl's layout; and what went wrong.

    A skeleton's name is the path of its video below the folder, without the suffix: data.skeletons finds it by that.

    Args:
        source: A file or a folder.
        weights: See `open_model`.
        max_persons: How many people of each video are kept.

    Raises:
        UserError: if there is no video, no model, or nobody in any of them.
    """
    paths = find_files(source, VIDEO, wanted="video")
    open_model(weights, threads=1)  # what is wrong with it is told before any work
    root = source if source.is_dir() else source.parent
    tasks = [_Task(p, p.relative_to(root).with_suffix("").as_posix(), weights, max_persons) for p in paths]
    found: list[Skeleton] = []
    wrong: list[str] = []
    outcomes = run_each(_extract, tasks, timeout_s=_TIMEOUT_S, workers=worker_count(), preload=("av",))
    for outcome in progress(outcomes, len(tasks), "skeletons", "videos"):
        if outcome.result is None:
            wrong.append(f"{outcome.item.path}: {outcome.reason}: {outcome.message}")
        else:
            found.append(outcome.result)
    if not found:
        raise UserError("\n".join(["no skeleton was found", *sorted(wrong)]))
    found.sort(key=lambda skeleton: skeleton.name)
    return dump_pickle(found, splits={}, layout=LAYOUTS["coco17"]), sorted(wrong)


def _extract(task: _Task) -> Skeleton:
    return extract_skeleton(task.name, _frames(task.path), _model(task.weights), max_persons=task.max_persons)


@cache
def _model(weights: Path) -> PoseModel:
    return open_model(weights, threads=1)


def _frames(path: Path) -> Iterator[np.ndarray]:
    source = open_frames(path, probe(path))
    count = len(source.times_s)
    for first in range(0, count, _FRAMES_AT_ONCE):
        yield from source.read(np.arange(first, min(first + _FRAMES_AT_ONCE, count)))
