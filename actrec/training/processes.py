"""Several processes that do one thing together: each runs the same command, and none outlives the others."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from actrec.console import EXIT_USER, say
from actrec.errors import UserError
from actrec.store.alone import alone

# The first is the name under which Lightning looks for it.
_RANK, _SIZE, _FOLDER = "LOCAL_RANK", "ACTREC_PROCESSES", "ACTREC_PROCESSES_FOLDER"
_POLL_S = 0.2
# After another process has failed, the first one learns it by an error of its own within this, or never.
_NOTICE_S = 3.0
_FAREWELL_S = 60.0
_WAITING = (
    "another training is at work in this folder, as after a kill of dvc alone: waiting for its end. To end it "
    "yourself: its process is called `python -m pipeline.train`"
)
_WORDS = 400


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process stands: number `rank` of `size`. They meet at the file `meeting`, which is not there yet."""

    rank: int
    size: int
    meeting: Path


def place() -> Place:
    """Return where this process stands among those of `together`, inside of whose block it must be."""
    return Place(int(os.environ[_RANK]), int(os.environ[_SIZE]), Path(os.environ[_FOLDER]) / "meeting")


@contextmanager
def together(size: int, command: Sequence[str], *, lock: Path) -> Iterator[None]:
    """Run a block in `size` processes: in this one, and in others that come to the same block by `command`.

    Nothing is seen of the others, unless one fails. However this process ends, SIGKILL included, so do they.

    Args:
        size: With 1 the block just runs.
        command: Arguments of Python, such as -m pipeline.train.
        lock: A file; whoever holds it, such as a training whose dvc was killed, is waited for.

    Raises:
        UserError: if another process has failed, with its last words. Where this one cannot be interrupted, because it
            waits within a GPU's library, it prints them and exits.
    """
    if _FOLDER in os.environ:
        _end_with_first()
        yield
    elif size == 1:
        with alone(lock, waiting=_WAITING):
            yield
    else:
        with (
            alone(lock, waiting=_WAITING),
            TemporaryDirectory(prefix="actrec-") as folder,
            _environment(0, size, folder),
        ):
            others = [_Other(rank, size, Path(folder), command) for rank in range(1, size)]
            done = threading.Event()
            threading.Thread(target=_watch, args=(others, done, folder), daemon=True).start()
            try:
                yield
                _wait_for_end(others)
            except UserError:
                raise
            except Exception as error:
                if failed := _wait_for_failure(others, _NOTICE_S):
                    raise UserError(failed.last_words()) from error
                raise
            finally:
                done.set()
                for other in others:
                    other.kill()


class _Other:
    """A process that this one has started. It ends when it can no longer read from its standard input."""

    def __init__(self, rank: int, size: int, folder: Path, command: Sequence[str]) -> None:
        self._rank, self._size, self._log = rank, size, folder / f"{rank}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, _RANK: str(rank)},
            )

    def wait(self, timeout_s: float) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)

    def has_failed(self) -> bool:
        return self._process.poll() not in (None, 0)

    def last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        words = " ".join(errors or [line for line in lines if line.strip()][-1:])[:_WORDS]
        return (
            f"process {self._rank + 1} of the {self._size} that train.devices asks for {self._how_it_ended()}: "
            f"{words or 'it said nothing'}\nwhat was trained is kept; once that is mended the same command goes on"
        )

    def _how_it_ended(self) -> str:
        status = self._process.returncode
        if status >= 0:
            return f"ended with status {status}"
        return f"was ended by {signal.Signals(-status).name}, as when memory runs out"

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()


@contextmanager
def _environment(rank: int, size: int, folder: str) -> Iterator[None]:
    names = {_RANK: str(rank), _SIZE: str(size), _FOLDER: folder}
    # Or torch, which is not imported yet, says of every model that it could be trained a little faster.
    names["TORCH_CPP_LOG_LEVEL"] = os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _end_with_first() -> None:
    """Let this process end at once when the first one does. Of ctrl-C, which all get, that one takes care."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def wait() -> None:
        # Not sys.stdin: a thread that waits in it would hold its lock when Python ends.
        os.read(0, 1)
        shutil.rmtree(os.environ[_FOLDER], ignore_errors=True)  # it could not do so itself
        os._exit(EXIT_USER)

    threading.Thread(target=wait, daemon=True).start()


def _wait_for_end(others: Sequence[_Other]) -> None:
    deadline = time.monotonic() + _FAREWELL_S
    for other in others:
        other.wait(max(deadline - time.monotonic(), 0))


def _wait_for_failure(others: Sequence[_Other], timeout_s: float) -> _Other | None:
    deadline = time.monotonic() + timeout_s
    while True:
        if failed := next((other for other in others if other.has_failed()), None):
            return failed
        if time.monotonic() > deadline:
            return None
        time.sleep(_POLL_S)


def _watch(others: Sequence[_Other], done: threading.Event, folder: str) -> None:
    """End this process when another has failed and this one, stuck in a call that waits for it, does not notice."""
    while not done.wait(_POLL_S):
        failed = next((other for other in others if other.has_failed()), None)
        if failed and not done.wait(3 * _NOTICE_S):
            for line in failed.last_words().splitlines():
                say(f"error: {line}")
            for other in others:
                other.kill()
            shutil.rmtree(folder, ignore_errors=True)
            os._exit(EXIT_USER)
