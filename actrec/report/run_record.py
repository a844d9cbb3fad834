"""What a result was made with: run.json."""

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

# What decides numbers or pictures: all that `store.closure.code_version` is told of, and more.
_PACKAGES = (
    "actrec",
    "av",
    "decord",
    "dvc",
    "grad-cam",
    "h5py",
    "librosa",
    "lightning-fabric",
    "matplotlib",
    "numpy",
    "pillow",
    "scikit-learn",
    "scipy",
    "soxr",
    "torch",
    "torchvision",
    "transformers",
)
# What the pipeline itself rewrites does not make the code another.
_OUTPUTS = (":(exclude)dvc.lock", ":(exclude)results")
_GIT_TIMEOUT_S = 30


def run_record(
    *,
    repo: Path,
    seed: int,
    threads: int,
    device: str,
    data_digest: str,
    params: Mapping[str, Any],
    started: datetime,
    ended: datetime,
) -> dict[str, Any]:
    """Return what to write into run.json. It names no folder of this machine: of an absolute path the last part stays.

    Args:
        repo: A folder in the git checkout that holds the code.
        seed: Of the run.
        threads: How many torch used; the last bits of a result depend on it.
        device: What torch computed on.
        data_digest: `training.data.Inputs.digest` of all three splits: ids, samples, labels and classes of the clips
            that were used, and digests of their arrays or cached features.
        params: The whole of params.yaml.
        started: When the work began, with a time zone.
        ended: When it was done, with a time zone.
    """
    return {
        "started_utc": _utc(started),
        "ended_utc": _utc(ended),
        "seed": seed,
        "threads": threads,
        "device": device,
        "data_digest": data_digest,
        "git": _git_state(repo),
        "platform": {
            "system": platform.system(),
            "release": platform.release(),
            "machine": platform.machine(),
            "cpu_count": os.cpu_count(),
        },
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES},
        "params": without_folders(params),
    }


def without_folders(value: Any) -> Any:
    """Return params with every absolute path in them cut down to `…/<its last part>`."""
    if isinstance(value, Mapping):
        return {key: without_folders(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(item) for item in value]
    if isinstance(value, str):
        for path in (PurePosixPath(value), PureWindowsPath(value)):
            if path.is_absolute():
                return f"…/{path.name}"
    return value


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_state(repo: Path) -> dict[str, str | bool | None]:
    """Return the commit, and whether a tracked file differs from it; None for both where git cannot tell."""
    commit = _git(repo, "rev-parse", "--verify", "--quiet", "HEAD")
    changed = _git(repo, "status", "--porcelain", "--untracked-files=no", "--", ":/", *_OUTPUTS) if commit else None
    return {"commit": commit or None, "dirty": None if changed is None else bool(changed)}


def _git(repo: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=repo,
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=True,
            # Looking must not take the lock that another git command may want.
            env=os.environ | {"GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
