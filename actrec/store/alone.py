"""One at a time: a lock that ends with the process that holds it, however that ends."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from actrec.console import say
from actrec.errors import UserError

_POLL_S = 0.5


@contextmanager
def alone(lock: Path, *, refusing: str = "", waiting: str = "") -> Iterator[None]:
    """Hold a lock.

    Args:
        lock: A file of its own, which stays.
        refusing: What the error says if another process holds it.
        waiting: In place of that: what is said, once, and then it is waited for.

    Raises:
        UserError: `refusing`.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    # SQLite's lock is the system's own, on every system.
    with closing(sqlite3.connect(lock, timeout=0, isolation_level=None)) as held:
        while not _taken(held):
            if refusing:
                raise UserError(refusing)
            if waiting:
                say(waiting)
                waiting = ""
            time.sleep(_POLL_S)
        yield


def _taken(held: sqlite3.Connection) -> bool:
    try:
        held.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        return False
    return True
