"""Builds a stage's out folder: whatever the store lacks is computed, the rest is linked, and nothing else is there.

The folder is made from scratch each time, so it depends on the clips, the settings and the code alone: not on what was
there before, on the store, on the number of workers, or on who was killed when.
"""

import json
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from actrec.console import progress
from actrec.errors import UserError
from actrec.store.cas import Entry, Store, item_key, link_or_copy
from actrec.store.files import write_atomic
from actrec.store.workers import Outcome, run_each

INDEX = "index.json"
# Above this a file a clip costs DVC more than the clips do (50,000 files: first repro 159 s, in 40 shards 9 s).
MAX_SINGLE_FILES = 5000
_CLIPS_A_SHARD = 256
# For each worker, of what it has made.
_MAX_UNSYNCED = 4


@dataclass(frozen=True, slots=True)
class Job:
    """One clip to make: its id, its key in the store, and what `Maker.make` is called with."""

    clip_id: str
    key: str
    argument: Any


@dataclass(frozen=True, slots=True)
class Maker:
    """How the items of a stage are made. The functions belong to modules, since they run in other processes.

    `make` turns a job's argument into the bytes of its file; none mean that there is nothing to make of it, a result
    like any other, and `nothing` is the word for that. `pack` turns {clip id: such a file} into the bytes of a shard;
    `version` is that of their code, and `preload` names the slow imports of both.
    """

    stage: str
    suffix: str
    make: Callable[[Any], bytes]
    pack: Callable[[dict[str, Path]], bytes]
    version: str
    timeout_s: float
    preload: tuple[str, ...]
    nothing: str = "empty"


@dataclass(frozen=True, slots=True)
class Built:
    """What `build` did: how many items it computed anew, how many of them at the second attempt, and what failed.

    `empty` are the clips of which there is nothing to make.
    `absent` says of each clip that has no item why: what `build` was told, what failed, and what was empty.
    """

    computed: int
    retried: int
    failed: list[Outcome]
    empty: list[str]
    absent: dict[str, str]

    def news(self) -> str:
        """Return what a stage says of its work: how many items it decoded now, and how many at the second attempt."""
        again = f" ({self.retried} at the second attempt)" if self.retried else ""
        return f"{self.computed} of them decoded now{again}"


def build(
    out: Path,
    jobs: Sequence[Job],
    maker: Maker,
    *,
    about: dict[str, Any],
    store: Store,
    workers: int,
    absent: Mapping[str, str] | None = None,
) -> Built:
    """Make the folder `out` with the items of `jobs` and an index, and return what became of them.

    Args:
        out: Replaced if it exists, in one rename.
        jobs: Any order; the folder is the same.
        maker: See there.
        about: What the index says besides the list of clips.
        store: Where finished items are kept.
        workers: Processes at a time; no result depends on it.
        absent: Clips without a job, and why. Then the index has a list of all that are not in the folder, and why;
            None leaves it out.

    Raises:
        UserError: if the disk is full.
    """
    jobs = sorted(jobs, key=lambda job: job.clip_id)
    found = {job.key: store.find(maker.stage, job.key) for job in jobs}
    missing = {job.key: job for job in jobs if found[job.key] is None}
    outcomes = _compute([_Task(store.root, maker, job) for job in missing.values()], maker, store, workers)
    found |= {outcome.item.job.key: outcome.result for outcome in outcomes}
    entries = {job.clip_id: entry for job in jobs if (entry := found[job.key]) and entry.size_bytes}
    keys_failed = {outcome.item.job.key: outcome for outcome in outcomes if outcome.reason}
    # Several clips may share a key (the same bytes under two names): each is reported.
    failed = [_of_clip(keys_failed[job.key], job) for job in jobs if job.key in keys_failed]
    empty = {job.clip_id: maker.nothing for job in jobs if (entry := found[job.key]) and not entry.size_bytes}
    all_absent = {**(absent or {}), **empty, **{outcome.item.clip_id: outcome.reason for outcome in failed}}
    fresh = out.with_name(f".{out.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    is_sharded = len(entries) > MAX_SINGLE_FILES
    if is_sharded:
        files = _place_shards(fresh, entries, maker, store, workers)
    else:
        files = _place_singly(fresh, entries, maker.suffix)
    clips = {clip_id: {"file": files[clip_id], "sha256": entry.sha256} for clip_id, entry in entries.items()}
    listed = {} if absent is None else {"absent": all_absent}
    write_index(fresh, {"enabled": True, "sharded": is_sharded, **about, "clips": clips, **listed})
    shutil.rmtree(out, ignore_errors=True)
    fresh.rename(out)
    return Built(
        computed=len(missing) - len(keys_failed),
        retried=sum(outcome.attempts > 1 and not outcome.reason for outcome in outcomes),
        failed=failed,
        empty=list(empty),
        absent=all_absent,
    )


def write_index(folder: Path, content: dict[str, Any]) -> None:
    """Write the folder's index; `{"enabled": False}` alone is how a stage says that the recipe does not need it."""
    write_atomic(folder / INDEX, json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def write_stub(out: Path) -> None:
    """Make `out` a folder that says that the active recipe does not need this stage."""
    shutil.rmtree(out, ignore_errors=True)
    write_index(out, {"enabled": False})


def write_stub_file(out: Path) -> None:
    """Make `out`, where the stage's one file would be, say that the active recipe does not need it."""
    write_atomic(out, '{"enabled": false}\n')


def read_index(folder: Path) -> dict[str, Any]:
    """Return the index of a folder that `build` or `write_stub` made.

    Raises:
        UserError: if there is none.
    """
    try:
        return json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder / INDEX}: not there; the stage before has not run. Run: dvc repro") from None


@dataclass(frozen=True, slots=True)
class _Task:
    store_root: Path
    maker: Maker
    job: Job


def _run(task: _Task) -> Entry:
    return Store(task.store_root).write(task.maker.stage, task.job.key, task.maker.make(task.job.argument))


def _compute(tasks: Sequence[_Task], maker: Maker, store: Store, workers: int) -> list[Outcome[_Task, Entry]]:
    """Make and keep what is missing. Workers go on to the next item while threads here wait for the disk to have one.

    To wait takes as long as a tenth of decoding a clip, and no processor.
    """
    if not tasks:
        return []
    outcomes = run_each(_run, tasks, timeout_s=maker.timeout_s, workers=min(workers, len(tasks)), preload=maker.preload)
    done, unsynced = [], deque[Future[None]]()
    with ThreadPoolExecutor(workers) as threads:
        for outcome in progress(outcomes, len(tasks), maker.stage):
            done.append(outcome)
            if outcome.result:
                unsynced.append(threads.submit(store.record, outcome.result))
            if len(unsynced) > _MAX_UNSYNCED * workers:  # a kill loses no more than these
                unsynced.popleft().result()
        for future in unsynced:
            future.result()
    return done


def _of_clip(outcome: Outcome, job: Job) -> Outcome:
    return Outcome(job, None, outcome.reason, outcome.message, outcome.attempts)


def _place_singly(folder: Path, entries: dict[str, Entry], suffix: str) -> dict[str, str]:
    files = {clip_id: clip_id + suffix for clip_id in entries}
    for clip_id, name in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(entries[clip_id].path, folder / name)
    return files


def _place_shards(folder: Path, entries: dict[str, Entry], maker: Maker, store: Store, workers: int) -> dict[str, str]:
    """Link shards, each kept in the store under the digests of its members: one clip more makes one shard anew."""
    shards = _shard(entries)
    keys = {
        name: item_key(maker.version, {}, *members, *(entries[m].sha256 for m in members))
        for name, members in shards.items()
    }
    stage = f"{maker.stage}-shards"
    tasks = [
        _Pack(store.root, stage, keys[name], maker.pack, {member: entries[member].path for member in members})
        for name, members in shards.items()
        if store.find(stage, keys[name]) is None
    ]
    outcomes = run_each(_pack, tasks, timeout_s=3600, workers=workers, preload=maker.preload)
    for outcome in progress(outcomes, len(tasks), stage, "shards"):
        if outcome.reason:
            raise UserError(f"{folder}: packing a shard failed: {outcome.message}. Run the same command again.")
    for name, key in keys.items():
        entry = store.find(stage, key)
        assert entry is not None, "packed a moment ago"
        link_or_copy(entry.path, folder / (name + maker.suffix))
    return {member: name + maker.suffix for name, members in shards.items() for member in members}


def _shard(clip_ids: Iterable[str]) -> dict[str, list[str]]:
    """Return {shard name: sorted clip ids}; a clip's shard depends on its id and, by powers of two, on the count."""
    clip_ids = sorted(clip_ids)
    count = 1 << max((len(clip_ids) - 1) // _CLIPS_A_SHARD, 1).bit_length()
    shards: dict[str, list[str]] = {}
    for clip_id in clip_ids:
        number = int(sha256(clip_id.encode()).hexdigest()[:8], 16) % count
        shards.setdefault(f"shard-{number:05d}", []).append(clip_id)
    return shards


@dataclass(frozen=True, slots=True)
class _Pack:
    store_root: Path
    stage: str
    key: str
    pack: Callable[[dict[str, Path]], bytes]
    members: dict[str, Path]


def _pack(task: _Pack) -> None:
    Store(task.store_root).put(task.stage, task.key, task.pack(task.members))
