"""Where the sound of a silent video is: in a file beside it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from actrec.data.checks import locate
from actrec.data.problems import Problems

# Of several files beside a video the first of these is taken.
SOUND_SUFFIXES = (".wav", ".ogg", ".flac", ".mp3")


def sounds_beside(files: Mapping[str, Path], *, root: Path, problems: Problems) -> dict[str, Path]:
    """Return the sound file of each path that has one: in the same folder, with the same name but for the suffix.

    Args:
        files: Where each path of silent clips is.
        root: The data root.
        problems: Receives sound files that must not be read: links out of the root, and what is no file.
    """
    real_root = root.resolve()
    folders = {folder: sounds_in(folder) for folder in {file.parent for file in files.values()}}
    found = {}
    for path, file in files.items():
        sound = sound_beside(file, folders[file.parent])
        if sound is None:
            continue
        name = sound.relative_to(root).as_posix()
        fault, _ = locate(name, root, real_root)
        if fault:
            problems.add(fault, path, name)
        else:
            found[path] = sound
    return found


def sound_beside(file: Path, sounds: Mapping[str, Sequence[Path]]) -> Path | None:
    """Return the sound file beside a video, None if there is none; see `sounds_beside`.

    Args:
        file: The video.
        sounds: What `sounds_in` finds in its folder.
    """
    return next((other for other in sounds.get(file.stem, ()) if other != file), None)


def sounds_in(folder: Path) -> Mapping[str, list[Path]]:
    """Return the sound files of a folder by their names without suffix, the best suffix first."""
    found: defaultdict[str, list[Path]] = defaultdict(list)
    sounds = [file for file in sorted(folder.iterdir()) if file.suffix.casefold() in SOUND_SUFFIXES]
    for file in sorted(sounds, key=lambda file: SOUND_SUFFIXES.index(file.suffix.casefold())):
        found[file.stem].append(file)
    return found
