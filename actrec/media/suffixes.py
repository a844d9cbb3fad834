"""What files are called: only to choose what to try in a folder. What a file is, its first bytes say."""

import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from actrec.errors import UserError

VIDEO = (
    *(".3g2", ".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"),
    *(".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
)
SOUND = (".flac", ".m4a", ".mka", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".wma")
IMAGE = (".avif", ".bmp", ".heic", ".heif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def find_files(source: Path, suffixes: Collection[str], *, wanted: str) -> list[Path]:
    """Return the file itself, whatever its name, or all below a folder whose names end so and are not hidden, sorted.

    Args:
        source: A file or a folder.
        suffixes: In lower case; names may have them in any.
        wanted: What these are, in words.

    Raises:
        UserError: if there is none.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise UserError(f"{source}: no such file or folder")
    named = (source / name for name in visible_files(source) if Path(name).suffix.lower() in suffixes)
    found = sorted(path for path in named if path.is_file())
    if not found:
        raise UserError(f"{source}: no {wanted} in it; looked for {' '.join(sorted(suffixes))}")
    return found


def visible_files(root: Path, *, tell_link: Callable[[str], None] | None = None) -> Iterator[str]:
    """Yield the path below `root` of each file that is not hidden, nor in a hidden folder.

    Args:
        root: A folder.
        tell_link: Is called with the path of each folder that is a link: those are not entered.
    """
    for folder, folders, files in os.walk(root):
        below = Path(folder).relative_to(root)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if tell_link and (Path(folder) / name).is_symlink():
                tell_link((below / name).as_posix())
        yield from ((below / name).as_posix() for name in files if not name.startswith("."))
