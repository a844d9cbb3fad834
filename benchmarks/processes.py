"""Commands run as children: their processor time, and the memory of all the processes that they start."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_SAMPLE_INTERVAL_S = 0.05


@dataclass(frozen=True, slots=True)
class Usage:
    """What a command used. `peak_mb` is the largest sample of the memory of its whole session, 0 if not asked for."""

    output: str
    wall_s: float
    cpu_s: float
    peak_mb: float


def python(
    *arguments: str, folder: Path, environment: Mapping[str, str] | None = None, with_memory: bool = False
) -> Usage:
    """Run this interpreter in `folder` on this code, to the end.

    Args:
        arguments: Of `python`.
        folder: The working folder.
        environment: Variables added to ours.
        with_memory: Sample the memory too.

    Raises:
        RuntimeError: with what the command said, if it fails.
    """
    # Only what is in `folder` and in this checkout is imported.
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
    said = folder / ".said"
    started = time.perf_counter()
    with said.open("w+b") as errors:
        child = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
        peak_bytes = _watch(child.pid) if with_memory else 0
        assert child.stdout is not None
        output = child.stdout.read().decode()
        child.stdout.close()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: exit code {child.returncode}: {said.read_text()[-2000:]}")
    return Usage(output, time.perf_counter() - started, used.ru_utime + used.ru_stime, peak_bytes / 1e6)


def _watch(session: int) -> int:
    peak = 0
    while not _has_ended(session):
        peak = max(
            peak, sum(_memory_bytes(process) for process in Path("/proc").glob("[0-9]*") if _is_in(process, session))
        )
        time.sleep(_SAMPLE_INTERVAL_S)
    return peak


def _stat(process: Path) -> list[str]:
    """Return the fields of /proc/PID/stat after the name: state, parent, group, session, …"""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ["X", "", "", ""]


def _has_ended(pid: int) -> bool:
    return _stat(Path(f"/proc/{pid}"))[0] in "XZ"


def _is_in(process: Path, session: int) -> bool:
    return _stat(process)[3] == str(session)


def _memory_bytes(process: Path) -> int:
    """Return the proportional set size: what forked processes share is counted once in all."""
    try:
        lines = (process / "smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
