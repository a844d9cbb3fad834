"""Files that appear whole or not at all."""

import errno
import glob
import os
import platform
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from actrec.errors import UserError

# Of another machine that writes to the same disk nobody here knows who is alive.
_HERE = platform.node()[:20].replace("/", "")


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
    prefix = f".{path.name[:40]}."
    if sync:  # others are entries of the store, thousands of them, which `prune` sees to
        drop_abandoned(path.parent, prefix)
    temporary = path.with_name(temporary_name(prefix))
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
        raise cannot_write(path, error) from None


def temporary_name(prefix: str) -> str:
    """Return a new name that tells who writes what is under it, so that `drop_abandoned` may find it."""
    return f"{prefix}{_HERE}-{os.getpid()}-{secrets.token_hex(4)}"


def drop_abandoned(folder: Path, prefix: str) -> None:
    """Remove what processes of this machine that are no more have left in a folder under their temporary names."""
    for path in folder.glob(f"{glob.escape(prefix + _HERE)}-*-*"):
        pid = path.name.removeprefix(f"{prefix}{_HERE}-").partition("-")[0]
        if pid.isdecimal() and not _is_alive(int(pid)):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    if sys.platform == "win32":  # there the same call would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _create(path: Path, mode: int) -> int:
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), mode)


def publish(temporary: Path, path: Path, *, sync: bool = True) -> None:
    """Sync a finished temporary file and rename it to `path`."""
    if sync:
        sync_file(temporary)
    temporary.replace(path)


def sync_file(path: Path) -> None:
    """Wait until the disk has what was written to a file."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def cannot_write(path: Path, error: OSError) -> UserError:
    """Return what to say where the disk is full, or does not let us write."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(path)
    return UserError(
        f"{path}: cannot be written ({error.strerror}). Check its permissions and the disk, then run again."
    )


def disk_full(path: Path) -> UserError:
    """Return the error for a write to `path` that found no room."""
    return UserError(
        f"{path}: the disk is full. Free some room (actrec cache --prune 10GB shrinks the store), "
        "then run the same command again: finished items are kept."
    )
