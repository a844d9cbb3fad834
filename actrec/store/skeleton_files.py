"""Looks through the files of data.skeletons once, and remembers what is in them as long as they do not change."""

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from actrec.console import progress, say
from actrec.data.checks import locate
from actrec.data.folder_reader import files_below
from actrec.data.problems import Problems
from actrec.data.rows import plain_path
from actrec.data.skeleton_index import SkeletonEntry, SkeletonIndex, entries_by_name
from actrec.errors import UserError
from actrec.store.closure import code_version
from actrec.store.digests import Memory, digest_files
from actrec.store.workers import TRANSIENT, run_each, worker_count

# Of one file, which may hold all clips of a data set.
_TIMEOUT_S = 600.0
# A file is one clip, named as the file: nothing in it has to be read.
_ONE_CLIP = ("ntu_text", "ntu_text_2d")
_Content = dict[str, Any]


def index_skeletons(
    root: Path, source: Mapping[str, str] | None, *, memory: Memory, problems: Problems
) -> SkeletonIndex:
    """Return what is in the files of data.skeletons. Equal bytes are looked into once, in a process that may be killed.

    A file of a folder that cannot be used stands for the clip of its name.

    Args:
        root: The data root.
        source: The section `data.skeletons` of params.yaml, as a plain dict; None: there are none.
        memory: What earlier runs found out.
        problems: Receives names that several skeletons have.

    Raises:
        UserError: if there is no such file or folder, if a link leads out of the root, or if the one file that there is
            cannot be used.
    """
    if source is None:
        return SkeletonIndex()
    kind, top = source["kind"], plain_path(source["path"])
    files = _files(root, top, kind, problems)
    problems.stop_if_any()
    sha256_of = digest_files(files.values(), memory=memory)
    contents = {} if kind in _ONE_CLIP else _contents(sha256_of, kind, source["layout"], memory)
    if top in files and contents and (fault := contents[sha256_of[files[top]]])["reason"]:
        raise UserError(f"{files[top]}: cannot be used as data.skeletons of kind {kind}: {fault['message']}")
    found: list[tuple[str, SkeletonEntry]] = []
    splits: dict[str, list[str]] = {}
    for path, file in files.items():
        sha256, folder = sha256_of[file], PurePosixPath(path).relative_to(top if path != top else path).parent
        content = _known_by_name(file, sha256, contents.get(sha256, {}))
        for name, *about in content["skeletons"]:
            found.append(((folder / name).as_posix(), SkeletonEntry(path, sha256, name, *about)))
        for split, names in content["splits"].items():
            splits.setdefault(split, []).extend((folder / name).as_posix() for name in names)
        if content["num_doubles"]:
            say(f"{path}: {content['num_doubles']} skeletons stand in it once more; the first of each is used")
    return SkeletonIndex(entries_by_name(found, problems), splits)


def _files(root: Path, top: str, kind: str, problems: Problems) -> dict[str, Path]:
    """Return the files of data.skeletons by their paths below the root."""
    from actrec.pose.read import SUFFIXES

    paths = [top]
    if (root / top).is_dir():
        names = [name for name in files_below(root / top, problems) if name.casefold().endswith(SUFFIXES[kind])]
        if not names:
            raise UserError(f"{root / top}: data.skeletons.path is a folder without any file *{SUFFIXES[kind]}")
        paths = [plain_path(f"{top}/{name}") if top else name for name in sorted(names)]
    found = {}
    for path in paths:
        fault, file = locate(path, root, root.resolve())
        if fault:
            problems.add(fault, "data.skeletons.path", path)
        elif file:
            found[path] = file
    return found


def _known_by_name(file: Path, sha256: str, content: _Content) -> _Content:
    """Return the content of a file, or one skeleton of the file's name if it was not read, or is no use."""
    if content and not content["reason"]:
        return content
    size_bytes = file.stat().st_size
    named = (file.stem, sha256, size_bytes, None, content.get("reason", ""), content.get("message", ""))
    return {"skeletons": [named], "splits": {}, "num_doubles": 0}


def _contents(sha256_of: Mapping[Path, str], kind: str, layout: str, memory: Memory) -> dict[str, _Content]:
    """Return what is in the files, by their digests."""
    version = f"{code_version('actrec.store.skeleton_item', 'numpy')} {kind} {layout}"
    found = {sha256: memory.header(sha256, version) for sha256 in sha256_of.values()}
    unknown = {sha256: file for file, sha256 in sha256_of.items() if found[sha256] is None}
    for sha256, content in _listed(unknown, kind, layout):
        found[sha256] = content
        if content["reason"] not in TRANSIENT:
            memory.keep_header(sha256, version, content)
    return {sha256: content for sha256, content in found.items() if content}


def _listed(files: Mapping[str, Path], kind: str, layout: str) -> Iterator[tuple[str, _Content]]:
    if not files:
        return
    from actrec.store.skeleton_item import ListTask, list_file

    sha256_of = {file: sha256 for sha256, file in files.items()}
    tasks = [ListTask(file, kind, layout) for file in sorted(sha256_of)]
    workers = min(worker_count(), len(tasks))
    outcomes = run_each(list_file, tasks, timeout_s=_TIMEOUT_S, workers=workers, preload=("numpy",))
    for outcome in progress(outcomes, len(tasks), "skeletons", "files"):
        content = outcome.result._asdict() if outcome.result else {}
        yield sha256_of[outcome.item.path], {**content, "reason": outcome.reason, "message": outcome.message}
