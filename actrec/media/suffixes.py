"""What files are called: only to choose what to try in a folder. What a file is, its first bytes say."""

from collections.abc import Collection
from pathlib import Path

from actrec.errors import UserError

VIDEO = (
    *(".3g2", ".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"),
    *(".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
)
SOUND = (".flac", ".m4a", ".mka", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".wma")
IMAGE = (".avif", ".bmp", ".heic", ".heif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def find_files(source: Path, suffixes: Collection[str], *, wanted: str) -> list[Path]:
    """Return the file itself, whatever its name, or all below a folder whose names end so, sorted.

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
    found = sorted(path for path in source.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    if not found:
        raise UserError(f"{source}: no {wanted} in it; looked for {' '.join(sorted(suffixes))}")
    return found
