"""What `actrec skeletons` does: find people and their joints in videos, and write a pickle for data.skeletons."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

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
        UserError: if there is no video, no model, or nobody in any of them; if two videos share a name.
    """
    paths = find_files(source, VIDEO, wanted="video")
    open_model(weights, threads=1)  # what is wrong with it is told before any work
    root = source if source.is_dir() else source.parent
    tasks = [_Task(p, p.relative_to(root).with_suffix("").as_posix(), weights, max_persons) for p in paths]
    by_name = {task.name: task.path for task in tasks}
    if others := [task for task in tasks if by_name[task.name] != task.path]:
        raise UserError(
            f"{others[0].path} and {by_name[others[0].name]}: a skeleton is named after its video without the suffix, "
            "and these two would have one name. Rename one of them."
        )
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
    frames = open_frames(task.path, probe(task.path))
    return extract_skeleton(task.name, frames, _model(task.weights), max_persons=task.max_persons)


@cache
def _model(weights: Path) -> PoseModel:
    return open_model(weights, threads=1)
