"""DVC as a command: what it prints is shown and kept, and it ends with us."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actrec.console import say
from actrec.errors import UserError

# The DVC of this environment, whichever one is first on PATH.
DVC = (sys.executable, "-m", "dvc")
_KEPT_LINES = 200
# A stage that is told to stop finishes its step first; one that does not react is ended.
_PATIENCE_S = 60.0
_STAGE_FAILED = re.compile(r"failed to reproduce '([^']+)'")


@dataclass(frozen=True, slots=True)
class Ended:
    """A finished command: its exit status, and the last lines that it printed."""

    status: int
    lines: tuple[str, ...]

    @property
    def failed_stage(self) -> str | None:
        """The stage of the pipeline that failed; None if it was not a stage."""
        found = [match[1] for line in self.lines if (match := _STAGE_FAILED.search(line))]
        return found[-1] if found else None

    @property
    def message(self) -> str:
        """What went wrong, in the words of the stage or else of DVC."""
        own = [line.removeprefix("error: ") for line in self.lines if line.startswith("error: ")]
        dvc = [line.removeprefix("ERROR: ") for line in self.lines if line.startswith("ERROR: ")]
        return "\n".join(own or dvc or self.lines[-3:] or [f"exit status {self.status}"])


def run(command: Sequence[str], *arguments: str) -> Ended:
    """Run DVC here and show what it prints. An interruption is handed on to it and to its stage, and waited for.

    Args:
        command: How DVC is called, see DVC.
        arguments: What it is asked for.
    """
    lines: deque[str] = deque(maxlen=_KEPT_LINES)
    process = _start(command, arguments)
    assert process.stdout
    with process, _ended_with_us(process):
        for line in process.stdout:
            sys.stderr.write(line)
            sys.stderr.flush()
            lines.append(line.rstrip())
    return Ended(process.returncode, tuple(line for line in lines if line))


def run_quietly(command: Sequence[str], *arguments: str) -> Ended:
    """Run DVC here and keep what it prints to ourselves."""
    with _start(command, arguments) as process, _ended_with_us(process):
        said, _ = process.communicate()
    return Ended(process.returncode, tuple(line for line in said.splitlines() if line))


def _start(command: Sequence[str], arguments: Sequence[str]) -> "subprocess.Popen[str]":
    # Its own session: a Ctrl-C on the terminal reaches it through us, once, and so does any other signal.
    return subprocess.Popen(
        [*command, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env=_environment(),
        start_new_session=True,
    )


@contextmanager
def _ended_with_us(process: "subprocess.Popen[str]") -> Iterator[None]:
    try:
        yield
    except BaseException:
        say("stopping the run …")
        _signal(process, signal.SIGINT)
        try:
            process.communicate(timeout=_PATIENCE_S)
        except BaseException:  # it does not react, or we are told a second time
            _signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))
        raise


def _signal(process: "subprocess.Popen[str]", number: int) -> None:
    with suppress(ProcessLookupError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, number)
        else:
            process.terminate()


@contextmanager
def ending_is_interrupting() -> Iterator[None]:
    """Take a request to end, or a closed terminal, for a Ctrl-C: what is begun is put in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, _interrupt) for number in names}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _environment() -> Mapping[str, str]:
    """Return the variables of this process, with the Python of this environment first, and an author for DVC's commits.

    Stages are started as `python -m …`. DVC commits each experiment, and takes no author but git's settings and these.
    """
    env = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])}
    try:
        known = subprocess.run(["git", "config", "user.email"], capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        raise UserError("git is not installed, or not on PATH") from None
    if not known:
        for role in ("AUTHOR", "COMMITTER"):
            env.setdefault(f"GIT_{role}_NAME", "actrec")
            env.setdefault(f"GIT_{role}_EMAIL", "actrec@localhost")
    return env
