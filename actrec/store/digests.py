"""Digests and headers of media files, remembered: what has not changed since the last run is not read again.

The memory is one SQLite file in the store's folder: path, size, times and inode -> sha256, and sha256 -> header.
Without it everything is read again, with the same result.
"""

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from actrec.console import progress, say
from actrec.data.collect import Inspected, Sound, silent
from actrec.data.problems import Problems
from actrec.data.sounds import sounds_beside
from actrec.errors import UserError
from actrec.media.facts import MediaFacts
from actrec.media.probe import probe
from actrec.store.closure import code_version
from actrec.store.workers import TRANSIENT, run_each, worker_count

_PROBE_TIMEOUT_S = 60.0
# A file that was written this recently may change once more within one tick of its clock, and look the same.
_SETTLING_NS = 2_000_000_000
# What is new is written this often: other processes wait for whoever writes.
_WRITE_INTERVAL_S = 1.0
_TABLES = """
CREATE TABLE IF NOT EXISTS digests (path BLOB PRIMARY KEY, stat TEXT, sha256 TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS headers
    (sha256 TEXT, version TEXT, result TEXT, PRIMARY KEY (sha256, version)) WITHOUT ROWID;
"""


class Memory:
    """What earlier runs found out about files.

    Args:
        folder: The store's folder; None remembers for this run alone.
    """

    def __init__(self, folder: Path | None) -> None:
        self._name = str(folder / "files.sqlite3") if folder else ":memory:"
        self._new: list[tuple[str, tuple[Any, ...]]] = []
        self._written_s = time.monotonic()
        try:
            if folder:
                folder.mkdir(parents=True, exist_ok=True)
            self._database = _opened(self._name)
        except (sqlite3.Error, OSError) as error:
            self._forget(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._write()
        self._database.close()

    def digest(self, path: Path, stat: str) -> str | None:
        """Return the sha256 of the file at `path` if it still looks like `stat`."""
        query = "SELECT sha256 FROM digests WHERE path = ? AND stat = ?"
        rows = self._read(query, os.fsencode(path.absolute()), stat)
        return rows[0][0] if rows else None

    def keep_digest(self, path: Path, stat: str, sha256: str) -> None:
        """Remember the sha256 of a file."""
        self._keep("INSERT OR REPLACE INTO digests VALUES (?, ?, ?)", os.fsencode(path.absolute()), stat, sha256)

    def header(self, sha256: str, version: str) -> dict[str, Any] | None:
        """Return what this version of the code made of these bytes."""
        rows = self._read("SELECT result FROM headers WHERE sha256 = ? AND version = ?", sha256, version)
        return json.loads(rows[0][0]) if rows else None

    def keep_header(self, sha256: str, version: str, result: dict[str, Any]) -> None:
        """Remember what this version of the code made of these bytes."""
        self._keep("INSERT OR REPLACE INTO headers VALUES (?, ?, ?)", sha256, version, json.dumps(result))

    # What goes wrong with the database (a full disk, damage) costs the memory, never the run.

    def _read(self, query: str, *values: Any) -> list[Any]:
        if self._new:
            self._write()
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            self._database.close()
            self._forget(error)
            return []

    def _keep(self, statement: str, *values: Any) -> None:
        self._new.append((statement, values))
        if time.monotonic() - self._written_s > _WRITE_INTERVAL_S:
            self._write()

    def _write(self) -> None:
        try:
            with self._database:
                for statement, values in self._new:
                    self._database.execute(statement, values)
        except sqlite3.Error as error:
            self._database.close()
            self._forget(error)
        self._new, self._written_s = [], time.monotonic()

    def _forget(self, error: Exception) -> None:
        say(f"{self._name}: cannot be used ({error}), so files are read again. If it is damaged, remove it.")
        self._database = _opened(":memory:")


def _opened(name: str) -> sqlite3.Connection:
    database = sqlite3.connect(name, timeout=60)
    try:
        database.executescript(_TABLES)
    except sqlite3.Error:
        database.close()
        raise
    return database


def digest_files(paths: Iterable[Path], *, memory: Memory) -> dict[Path, str]:
    """Return the sha256 of each file, in hexadecimal.

    Raises:
        UserError: if a file cannot be read.
    """
    stats = {path: _stat(path) for path in sorted(set(paths))}
    known = {path: sha256 for path, (stat, _) in stats.items() if (sha256 := memory.digest(path, stat))}
    unknown = [path for path in stats if path not in known]
    if not unknown:
        return known
    with ThreadPoolExecutor(max_workers=min(worker_count(), 8)) as pool:
        hashed = zip(unknown, pool.map(_sha256, unknown), strict=True)
        for path, sha256 in progress(hashed, len(unknown), "reading", "files"):
            known[path] = sha256
            before, is_settled = stats[path]
            if is_settled and _stat(path)[0] == before:
                memory.keep_digest(path, before, sha256)
    return known


def _stat(path: Path) -> tuple[str, bool]:
    """Return what a change of the file would change, and whether it has been left alone for a while."""
    try:
        stat = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    is_settled = time.time_ns() - stat.st_mtime_ns > _SETTLING_NS
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}", is_settled


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(f"{path}: cannot be read ({error.strerror}). Check its permissions and the disk, then run again.")


def inspect_clips(
    found: Mapping[str, Path], *, root: Path, memory: Memory, problems: Problems
) -> tuple[dict[str, Inspected], dict[str, Sound]]:
    """Return digest and header of each file, and the sound file beside each that is silent; both by the rows' paths.

    Args:
        found: Where the file of each path is.
        root: The data root.
        memory: What earlier runs found out.
        problems: Receives sound files that must not be read.

    Raises:
        UserError: if there are such, or a file cannot be read.
    """
    files = inspect_files(found.values(), memory=memory)
    by_path = {path: files[file] for path, file in found.items()}
    beside = sounds_beside({path: found[path] for path in silent(by_path)}, root=root, problems=problems)
    problems.stop_if_any()
    sounds = inspect_files(beside.values(), memory=memory)
    return by_path, {path: Sound(file.relative_to(root).as_posix(), sounds[file]) for path, file in beside.items()}


def inspect_files(paths: Iterable[Path], *, memory: Memory) -> dict[Path, Inspected]:
    """Return digest and header of each file. Equal bytes are looked into once, in a process that may be killed.

    Raises:
        UserError: if a file cannot be read.
    """
    digests = digest_files(paths, memory=memory)
    version = code_version("actrec.media.probe", "av", "pillow")
    headers = {sha256: memory.header(sha256, version) for sha256 in set(digests.values())}
    first = {sha256: path for path, sha256 in reversed(digests.items())}
    for sha256, header in _read_headers({sha256: first[sha256] for sha256, known in headers.items() if known is None}):
        headers[sha256] = header
        if header["reason"] not in TRANSIENT:
            memory.keep_header(sha256, version, header)
    return {path: _inspected(sha256, path.stat().st_size, headers[sha256] or {}) for path, sha256 in digests.items()}


def _read_headers(files: dict[str, Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    if not files:
        return
    sha256_of = {path: sha256 for sha256, path in files.items()}
    outcomes = run_each(probe, sorted(sha256_of), timeout_s=_PROBE_TIMEOUT_S, workers=worker_count(), preload=("av",))
    for outcome in progress(outcomes, len(files), "headers", "files"):
        facts = asdict(outcome.result) if outcome.result else None
        header = {"facts": facts, "reason": outcome.reason, "message": outcome.message, "attempts": outcome.attempts}
        yield sha256_of[outcome.item], header


def _inspected(sha256: str, size_bytes: int, header: dict[str, Any]) -> Inspected:
    facts = MediaFacts(**header["facts"]) if header["facts"] else None
    return Inspected(sha256, size_bytes, facts, header["reason"], header["message"], header["attempts"])
