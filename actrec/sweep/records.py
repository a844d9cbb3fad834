"""What is kept of a sweep: a file a finished run, and what all of them were made with."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from actrec.compare.experiment import COSTS, Experiment, cost_of, flat
from actrec.store.files import write_atomic

DONE, FAILED = "done", "failed"
_MADE_WITH = "sweep.json"


@dataclass(frozen=True, slots=True)
class Record:
    """A finished run.

    `status`: done, or failed with `message`. `set`: what the sweep changed. `metrics`: what evaluate wrote.
    `wall_s`: how long DVC worked; what it restored, from earlier runs of the same settings, took no time.
    """

    number: int
    name: str
    label: str
    status: str
    set: Mapping[str, Any]
    params: Mapping[str, Any]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""
    wall_s: float = 0.0


def as_experiment(record: Record) -> Experiment:
    """Return a run as `actrec compare` shows it."""
    note = f"failed: {record.message}" if record.status == FAILED else ""
    return Experiment(record.name, flat(record.params), record.metrics, note, record.label)


def file_of(folder: Path, name: str, sweep: str) -> Path:
    """Return where the record of a run is: its name without the sweep's."""
    return folder / f"{name.removeprefix(f'{sweep}-')}.json"


def save(path: Path, record: Record) -> None:
    """Write a record, with its costs beside what evaluate wrote, so that a reader finds them."""
    costs = {name: cost_of(record.metrics, name) for name in COSTS}
    write_atomic(path, json.dumps({**asdict(record), **costs}, indent=1) + "\n")


def load(path: Path) -> Record | None:
    """Return a record, None if there is none that can be read: then the run is made again."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Record(**{name: found[name] for name in Record.__dataclass_fields__})
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


# --- what all runs of a sweep were made with ----------------------------------------------------------------------


def made_with(
    sweep: Mapping[str, Any], base: Mapping[str, Any], *, code: Mapping[str, str], data: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what must stay the same from the first run of a sweep to its last."""
    return {"sweep": sweep, "base": base, "code": dict(code), "data": dict(data)}


def remembered(folder: Path) -> dict[str, Any] | None:
    """Return what the recorded runs were made with, None if there are none."""
    try:
        return json.loads((folder / _MADE_WITH).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def remember(folder: Path, made: Mapping[str, Any]) -> None:
    """Write what runs are made with, before the first one."""
    write_atomic(folder / _MADE_WITH, json.dumps(made, indent=1) + "\n")


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is different from one `made_with` to another, a line each."""
    for part, where in (("sweep", "the sweep file"), ("base", "the settings it starts from")):
        old, new = flat(before[part]), flat(now[part])
        for name in dict.fromkeys([*old, *new]):
            if old.get(name, ...) != new.get(name, ...):
                yield f"{where}: {name}: {_told(old, name)} -> {_told(new, name)}"
    for path in sorted({*before["code"], *now["code"]}):
        if before["code"].get(path) != now["code"].get(path):
            yield f"code: {path}"
    if before["data"] != now["data"]:
        yield f"data: {before['data'].get('files', 0):,} files -> {now['data'].get('files', 0):,} files, not the same"


def _told(settings: Mapping[str, Any], name: str) -> str:
    return json.dumps(settings[name]) if name in settings else "not there"


def code_digests(dvc_yaml: Path) -> dict[str, str]:
    """Return the sha256 of each file of code that a stage depends on, by path, and of dvc.yaml itself."""
    from ruamel.yaml import YAML

    stages = YAML(typ="safe", pure=True).load(dvc_yaml.read_text(encoding="utf-8"))["stages"]
    named = {dep for stage in stages.values() for dep in stage.get("deps", []) if isinstance(dep, str)}
    paths = [Path(name) for name in named if name.startswith(("actrec/", "pipeline/"))]
    files = {file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path]) if file.is_file()}
    return {file.as_posix(): _sha256(file.read_bytes()) for file in sorted({*files, dvc_yaml})}


def data_digest(root: Path) -> dict[str, Any]:
    """Return how many files are below a data root, and a digest of their paths and contents.

    What has been read before, here or by ingest, is remembered by its time and size and not read again.
    """
    from actrec.store.cas import store_root
    from actrec.store.digests import Memory, digest_files

    files = [Path(folder) / name for folder, _, names in os.walk(root) for name in names]
    with Memory(store_root()) as memory:
        digests = digest_files([file for file in files if file.is_file()], memory=memory)
    lines = sorted(f"{file.relative_to(root).as_posix()}\0{sha256}\n" for file, sha256 in digests.items())
    return {"files": len(lines), "sha256": _sha256("".join(lines).encode("utf-8", "surrogateescape"))}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
