"""Builds the one file of skeletons: what the store lacks is read from the user's files, then all is put together.

The file depends on the clips, the settings and the code alone: not on the store, on the number of workers, or on who
was killed when.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from actrec.console import progress
from actrec.data.manifest import SPLITS, Clip, Manifest
from actrec.data.quarantine import Quarantined
from actrec.errors import BadItem, UserError
from actrec.pose.layouts import LAYOUTS
from actrec.pose.pyskl_file import load_pickle, write_pickle
from actrec.pose.skeleton import Skeleton
from actrec.store.cas import Store, item_key, open_store
from actrec.store.closure import code_version
from actrec.store.files import whole_file
from actrec.store.skeleton_item import SkeletonSpec, SkeletonTask, Wanted, keep_wanted
from actrec.store.workers import Outcome, run_each, worker_count

_STAGE, _FAULTS = "skeletons", "skeleton-faults"
# That nobody is seen is no fault, as silence is none of a sound.
_NOBODY = ("no_skeleton", "no_body")


@dataclass(frozen=True, slots=True)
class Gathered:
    """What `gather` did: from how many files, how many of these it read now and how many at the second attempt.

    `bad` has a line for each clip without a skeleton, whether its file is at fault or nobody is in it.
    """

    num_clips: int
    num_files: int
    computed: int
    retried: int
    bad: list[Quarantined]

    @property
    def faults(self) -> list[Quarantined]:
        """What is wrong with skeletons that are there."""
        return [item for item in self.bad if item.reason not in _NOBODY]

    def news(self) -> str:
        """Return what the stage says of its work."""
        again = f" ({self.retried} at the second attempt)" if self.retried else ""
        return (
            f"{self.num_clips} clips out of {self.num_files} files, {self.computed} of them read now{again}, "
            f"{len(self.bad) - len(self.faults)} without a skeleton, {len(self.faults)} set aside"
        )


@dataclass(frozen=True, slots=True)
class _Job:
    clips: Sequence[Clip]
    key: str
    task: SkeletonTask


def gather(out: Path, manifest: Manifest, spec: SkeletonSpec, *, root: Path, timeout_s: float) -> Gathered:
    """Write the skeletons of all clips to one pickle, in the order of their ids.

    Args:
        out: Replaced if it exists, in one rename.
        manifest: The clips.
        spec: See there.
        root: The data root.
        timeout_s: A file that takes longer is given up.

    Raises:
        UserError: if a file is not as ingest saw it, if not all skeletons are in the plane or all in space, or the disk
            is full.
    """
    by_file: defaultdict[str, list[Clip]] = defaultdict(list)
    for clip in manifest.clips:
        if clip.skeleton_path:
            by_file[clip.skeleton_path].append(clip)
    version = code_version("actrec.store.skeleton_item", "numpy")
    jobs = [_job(clips, spec, root, version) for _, clips in sorted(by_file.items())]
    with open_store(near=out) as store:
        missing = [job for job in jobs if not _is_made(store, job)]
        outcomes = _compute(missing, store, timeout_s)
        failed = {outcome.item.task.path: outcome for outcome in outcomes if outcome.reason}
        bad = [_without(clip) for clip in manifest.clips if not clip.skeleton_path]
        for job in jobs:
            if outcome := failed.get(job.task.path):
                bad += [_bad(clip, outcome.reason, outcome.message, outcome.attempts) for clip in job.clips]
        made = _Made(store, [job for job in jobs if job.task.path not in failed])
        bad += [_bad(clip, reason, message) for clip, reason, message in made.faults]
        usable = manifest.keep({clip.clip_id for clip in manifest.clips} - {item.clip_id for item in bad})
        _write(out, made.skeletons(_labelled(usable, manifest)), usable, spec)
    return Gathered(
        num_clips=len(usable.clips),
        num_files=len(jobs),
        computed=len(missing) - len(failed),
        retried=sum(outcome.attempts > 1 and not outcome.reason for outcome in outcomes),
        bad=bad,
    )


def _job(clips: Sequence[Clip], spec: SkeletonSpec, root: Path, version: str) -> _Job:
    path, sha256 = clips[0].skeleton_path, clips[0].skeleton_sha256
    wanted = tuple(sorted({Wanted(clip.skeleton_name, _video_shape(clip)) for clip in clips}))
    key = item_key(version, {**asdict(spec), "wanted": wanted}, sha256)
    return _Job(clips, key, SkeletonTask(root / path, sha256, spec, wanted))


def _video_shape(clip: Clip) -> tuple[int, int] | None:
    """Return (height, width) of the clip's pictures as they are shown, None if it has none."""
    width_px, height_px = clip.facts.upright_px
    return (height_px, width_px) if clip.facts.has_video else None


def _without(clip: Clip) -> Quarantined:
    return Quarantined(clip.clip_id, _STAGE, "no_skeleton", clip.path, "data.skeletons has none of this name")


def _bad(clip: Clip, reason: str, message: str, attempts: int = 1) -> Quarantined:
    return Quarantined(clip.clip_id, _STAGE, reason, clip.skeleton_path, message, attempts)


def _labelled(usable: Manifest, manifest: Manifest) -> Iterator[tuple[Clip, int | None]]:
    """Yield each clip with the number of its class of the first head; None where it has none, or may have several."""
    (head, *_) = manifest.heads or ("",)
    numbers = {name: number for number, name in enumerate(manifest.classes.get(head, ()))}
    for clip in usable.clips:
        yield clip, None if head in manifest.multi_label else numbers.get(clip.labels.get(head, ""))


# --- what the store lacks -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Work:
    store_root: Path
    key: str
    task: SkeletonTask


def _run(work: _Work) -> None:
    content, faults = keep_wanted(work.task)
    store = Store(work.store_root)
    if _may_have_faults(work.task):
        store.put(_FAULTS, work.key, json.dumps(faults).encode())
    store.put(_STAGE, work.key, content)


def _may_have_faults(task: SkeletonTask) -> bool:
    """Tell whether a file may be of use although not all of it is."""
    return len(task.wanted) > 1


def _is_made(store: Store, job: _Job) -> bool:
    return bool(store.find(_STAGE, job.key)) and bool(not _may_have_faults(job.task) or store.find(_FAULTS, job.key))


def _compute(jobs: Sequence[_Job], store: Store, timeout_s: float) -> list[Outcome[_Work, None]]:
    if not jobs:
        return []
    items = [_Work(store.root, job.key, job.task) for job in jobs]
    workers = min(worker_count(), len(items))
    outcomes = run_each(_run, items, timeout_s=timeout_s, workers=workers, preload=("numpy",))
    return list(progress(outcomes, len(items), _STAGE, "files"))


# --- the one file -------------------------------------------------------------------------------------------------


class _Made:
    """The items of files that could be used: those of many clips are open all the time, the others one by one."""

    def __init__(self, store: Store, jobs: Iterable[_Job]) -> None:
        self._path_of: dict[str, Path] = {}
        self._open: dict[str, Mapping[str, Skeleton]] = {}
        self.faults: list[tuple[Clip, str, str]] = []
        for job in jobs:
            entry = store.find(_STAGE, job.key)
            assert entry is not None, "made a moment ago"
            path = job.clips[0].skeleton_path
            self._path_of[path] = entry.path
            if _may_have_faults(job.task):
                faults = store.find(_FAULTS, job.key)
                assert faults is not None, "made with it"
                self.faults += _faults_of(job, json.loads(faults.path.read_bytes()))
                self._open[path] = _named(entry.path)

    def skeletons(self, clips: Iterable[tuple[Clip, int | None]]) -> Iterator[Skeleton]:
        """Yield the skeletons of clips under the clips' ids and labels."""
        for clip, label in clips:
            found = self._open.get(clip.skeleton_path) or _named(self._path_of[clip.skeleton_path])
            yield replace(found[clip.skeleton_name], name=clip.clip_id, label=label)


def _named(item: Path) -> dict[str, Skeleton]:
    return {skeleton.name: skeleton for skeleton in load_pickle(item).skeletons}


def _faults_of(job: _Job, faults: Iterable[tuple[str, str, str]]) -> Iterator[tuple[Clip, str, str]]:
    said = {name: (reason, message) for name, reason, message in faults}
    for clip in job.clips:
        if clip.skeleton_name in said:
            yield clip, *said[clip.skeleton_name]


def _write(out: Path, skeletons: Iterable[Skeleton], usable: Manifest, spec: SkeletonSpec) -> None:
    splits = {split: [clip.clip_id for clip in usable.of_split(split)] for split in SPLITS}
    layout = LAYOUTS[spec.layout]
    try:
        with whole_file(out) as file:
            write_pickle(file, skeletons, splits=splits, layout=layout)
    except BadItem as error:
        raise UserError(
            f"{out}: skeletons that do not go together: {error.message}. Files of data.skeletons must be of one sort"
        ) from None
