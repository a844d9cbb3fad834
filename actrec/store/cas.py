"""The content-addressed store: what was computed once from the same bytes, settings and code is not computed again.

It lies outside DVC's outs, because DVC empties those before a stage runs. An entry is `<stage>/<kk>/<key>` and, written
after it, `<key>.json`: without the second there is no entry, so a kill at any moment leaves none half made.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actrec.store.files import cannot_write, drop_abandoned, sync_file, temporary_name, write_atomic

_STALE_TEMPORARY_S = 24 * 3600
_UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored item: its file, and the digest and size of its content."""

    path: Path
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of entries. Safe to share between processes and pipelines: equal keys have equal content."""

    root: Path

    def find(self, stage: str, key: str) -> Entry | None:
        """Return the entry, or None if it was never finished or its file has lost bytes since."""
        path = self._path(stage, key)
        record = _record(path)
        try:
            meta = json.loads(record.read_text(encoding="utf-8"))
            if path.stat().st_size != meta["size_bytes"]:
                return None
        except (FileNotFoundError, ValueError):
            return None
        with suppress(OSError):  # a store that others own, or that is mounted read-only, is as good
            os.utime(record)  # the time of last use, for `prune`; never the item's own, which DVC watches
        return Entry(path, meta["sha256"], meta["size_bytes"])

    def find_all(self, stage: str, prefix: str) -> list[Entry]:
        """Return the entries whose keys begin with `prefix`, two characters or more, in the order of their keys."""
        records = sorted((self.root / stage / prefix[:2]).glob(f"{prefix}*.json"))
        found = (self.find(stage, record.stem) for record in records)
        return [entry for entry in found if entry]

    def put(self, stage: str, key: str, content: bytes, *, sync: bool = True) -> Entry:
        """Keep `content` under `key`; `sync=False` is for callers that verify the digest (`Entry`) when they read."""
        entry = self.write(stage, key, content)
        self.record(entry, sync=sync)
        return entry

    def write(self, stage: str, key: str, content: bytes) -> Entry:
        """Write `content` where `key` will have it, and return what `record`, of any process, then makes an entry."""
        path = self._path(stage, key)
        write_atomic(path, content, sync=False, mode=0o444)  # outs are hard links to it
        return Entry(path, hashlib.sha256(content).hexdigest(), len(content))

    def record(self, entry: Entry, *, sync: bool = True) -> None:
        """Make what has been written an entry, once the disk has it; `sync`: see `put`.

        Raises:
            UserError: if the disk is full, or refuses.
        """
        if sync:
            try:
                sync_file(entry.path)
            except OSError as error:
                raise cannot_write(entry.path, error) from None
        meta = {"sha256": entry.sha256, "size_bytes": entry.size_bytes}
        write_atomic(_record(entry.path), json.dumps(meta), sync=False)  # a torn one counts as no entry

    def unfinished(self, key: str) -> Path:
        """Return where a training run keeps its state until it is done."""
        return self.root / _UNFINISHED / f"{key}.pt"

    def entries(self) -> list[tuple[Path, int, float]]:
        """Return (file, size in bytes, time of last use) of every entry, the longest unused first.

        States of training runs that were given up count as well.
        """
        records = {record.with_suffix(""): record for record in self.root.glob("*/??/*.json")}
        records |= {state: state for state in self.root.glob(f"{_UNFINISHED}/*.pt")}
        found = [
            (path, path.stat().st_size, record.stat().st_mtime) for path, record in records.items() if path.exists()
        ]
        return sorted(found, key=lambda item: (item[2], item[0]))

    def prune(self, max_bytes: int) -> int:
        """Remove the longest unused entries until at most `max_bytes` remain; return how many bytes went."""
        self._drop_stale_temporaries()
        entries = self.entries()
        excess = sum(size for _, size, _ in entries) - max_bytes
        removed = 0
        for path, size, _ in entries:
            if removed >= excess:
                break
            _record(path).unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            removed += size
        return removed

    def _drop_stale_temporaries(self) -> None:
        for path in [*self.root.glob("*/??/.*"), *self.root.glob(f"{_UNFINISHED}/.*")]:
            if time.time() - path.stat().st_mtime > _STALE_TEMPORARY_S:
                path.unlink(missing_ok=True)

    def _path(self, stage: str, key: str) -> Path:
        return self.root.joinpath(stage, key[:2], key)  # thousands a run: three `/` take three times as long


def _record(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def link_or_copy(source: Path, destination: Path) -> None:
    """Make `destination` the same file as `source`: a hard link, or a copy where links cannot be."""
    try:
        os.link(source, destination)
    except OSError:
        shutil.copyfile(source, destination)


def store_root() -> Path | None:
    """Return the store's folder: $ACTREC_CACHE, else the user's cache folder; None for ACTREC_CACHE=off."""
    chosen = os.environ.get("ACTREC_CACHE", "")
    if chosen == "off":
        return None
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("actrec")


@contextmanager
def open_store(near: Path) -> Iterator[Store]:
    """Yield the store; with ACTREC_CACHE=off an empty one beside `near` that is gone afterwards."""
    root = store_root()
    if root is not None:
        yield Store(root)
        return
    near.parent.mkdir(parents=True, exist_ok=True)
    drop_abandoned(near.parent, ".store-")  # of a run that was killed
    folder = near.with_name(temporary_name(".store-"))
    folder.mkdir()
    try:
        yield Store(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def item_key(version: str, settings: dict[str, Any], *digests: str) -> str:
    """Return the key of an item: what code made it, by which settings, from which bytes."""
    text = json.dumps([version, settings, digests], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
