"""The folder of the demo, made anew by every run. Imports nothing heavy: it is all that a run without demo needs."""

import errno
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from actrec.cells import csv_text
from actrec.store.files import disk_full


@contextmanager
def rebuilt(folder: Path) -> Iterator[Path]:
    """Give an empty folder to fill; it takes the place of `folder` at the end, or is removed after an error.

    Raises:
        UserError: if the disk is full.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(folder) from None
        raise


def write_csv(path: Path, header: tuple[str, ...], rows: Sequence[tuple[str | int, ...]]) -> None:
    """Write a table: the header, then the rows."""
    path.write_text(csv_text(header, rows), encoding="utf-8", newline="")


def write_index(folder: Path, content: dict[str, Any]) -> None:
    """Write `index.json`: what the folder holds."""
    (folder / "index.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_stub(folder: Path) -> None:
    """Make `folder` say that there is no demo, and hold nothing else."""
    with rebuilt(folder) as partial:
        write_index(partial, {"enabled": False})
