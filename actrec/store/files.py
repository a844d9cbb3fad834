"""Files that appear whole or not at all."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from actrec.errors import UserError


def write_atomic(path: Path, content: bytes | str, *, sync: bool = True, mode: int = 0o666) -> None:
    """Make `path` hold exactly `content`, see `whole_file`."""
    with whole_file(path, sync=sync, mode=mode) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def whole_file(path: Path, *, sync: bool = True, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Yield a file that becomes `path` when all is written: under a temporary name first, synced, then renamed.

    Args:
        path: The file; its folder is made.
        sync: False where a file that a power failure tears is noticed and made again.
        mode: Of the file, less what the user's umask takes away.

    Raises:
        UserError: if the disk is full or does not let us write; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}")
    try:
        try:
            handle = _create(temporary, mode)
        except FileNotFoundError:  # seldom, and to ask each time costs as much as a small file
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = _create(temporary, mode)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
            publish(temporary, path, sync=sync)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _cannot_write(path, error) from None


def _create(path: Path, mode: int) -> int:
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), mode)


def publish(temporary: Path, path: Path, *, sync: bool = True) -> None:
    """Sync a finished temporary file and rename it to `path`."""
    if sync:
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
    temporary.replace(path)


def _cannot_write(path: Path, error: OSError) -> UserError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(path)
    return UserError(
        f"{path}: cannot be written ({error.strerror}). Check its permissions and the disk, then run again."
    )


def disk_full(path: Path) -> UserError:
    """Return the error for a write to `path` that found no room."""
    return UserError(
        f"{path}: the disk is full. Free some room (python -m actrec cache --prune 10GB shrinks the store), "
        "then run the same command again: finished items are kept."
    )
