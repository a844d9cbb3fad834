"""Files that appear whole or not at all."""

import errno
import os
import tempfile
from pathlib import Path

from actrec.errors import UserError


def write_atomic(path: Path, content: bytes | str, *, sync: bool = True) -> None:
    """Make `path` hold exactly `content`: under a temporary name first, synced, then renamed.

    Args:
        path: The file; its folder is made.
        content: All of it.
        sync: False where a file that a power failure tears is noticed and made again.

    Raises:
        UserError: if the disk is full or does not let us write; nothing is left behind.
    """
    if isinstance(content, str):
        content = content.encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            publish(Path(name), path, sync=sync)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _cannot_write(path, error) from None


def publish(temporary: Path, path: Path, *, sync: bool = True) -> None:
    """Sync a finished temporary file and rename it to `path`, readable as other files are (mkstemp's mode is 0600)."""
    if sync:
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(0o666 & ~umask)
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
