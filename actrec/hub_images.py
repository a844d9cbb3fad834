"""Data sets of pictures from the Hugging Face hub, or in its files, as folders that the reader `folder` takes."""

import hashlib
import json
import re
import shutil
import unicodedata
import warnings
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from actrec.console import progress, say
from actrec.errors import UserError
from actrec.hub_sources import HubSplit, library, open_splits
from actrec.media.suffixes import IMAGE
from actrec.store.files import write_atomic

RECORD = "source.json"
_MAX_NAME_BYTES = 200
# What Windows allows in no name, and control characters.
_UNSAFE = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f]')
# How files begin. Source: the first bytes that the specification of each format fixes.
_MAGIC = {
    b"\xff\xd8\xff": "jpg",
    b"\x89PNG\r\n\x1a\n": "png",
    b"BM": "bmp",
    b"II*\x00": "tif",
    b"MM\x00*": "tif",
}
_GIF = b"GIF8"


def import_images(
    source: str,
    out: Path,
    *,
    revision: str | None = None,
    splits: Sequence[str] = (),
    image_column: str = "image",
    label_column: str = "label",
) -> dict[str, int]:
    """Write each picture to OUT/<split>/<class>/<split>-<row number>.<ext>, and return how many each split has.

    The files are the pictures' own bytes; PNG where the source has pixels alone, and of a GIF, which counts as a video
    elsewhere, its first frame as PNG. In the names of classes, characters that a folder cannot have become "-";
    OUT/source.json says what was imported from where, with a digest of all. OUT appears whole, at the end; if it holds
    this import already nothing is done.

    Args:
        source: A hub id, `owner/name`; or a folder that `save_to_disk` of Hugging Face datasets wrote; or a parquet
            file, or a folder of such.
        out: The new folder.
        revision: Of a hub id: the 40 hexadecimal digits of a commit. Else None.
        splits: Those wanted, by their names in the source; none: all.
        image_column: The column with the pictures.
        label_column: The column with the classes.

    Raises:
        UserError: if the source is not there or not such a data set, or `out` holds something else.
    """
    origin = {"source": source, "revision": revision, "columns": [image_column, label_column], "wanted": list(splits)}
    if counts := _already_there(out, origin):
        say(f"{out} holds this import already: {_listed(counts)}")
        return counts
    library()
    found = open_splits(source, revision, (image_column, label_column))
    chosen = _chosen(source, found, splits)
    classes = {split.name: _class_names(source, split) for split in chosen}
    folders = _folders({name for names in classes.values() for name in names.values()})
    partial = out.with_name(f".{out.name}.importing")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        digest = _write(source, partial, chosen, classes, folders)
        counts = {split.name: split.num_rows for split in chosen}
        renamed = {folder: name for name, folder in sorted(folders.items()) if folder != name}
        record = {**origin, "splits": counts, "classes": len(folders), "renamed_classes": renamed, "sha256": digest}
        write_atomic(partial / RECORD, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
        if out.is_dir():
            out.rmdir()  # empty, as checked
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    say(f"{out}: {_listed(counts)}; {len(folders)} classes")
    return counts


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} pictures of {split}" for split, count in counts.items())


def _already_there(out: Path, origin: Mapping[str, Any]) -> dict[str, int] | None:
    """Return the sizes of an import that is there, None if there is none.

    Raises:
        UserError: if there is something else, or files of the import are missing.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    try:
        record = json.loads((out / RECORD).read_text(encoding="utf-8"))
        counts = dict(record["splits"])
        same = all(record[name] == value for name, value in origin.items())
        held = f"an import of {record['source']} at {record['revision']}, splits {', '.join(counts)}"
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{out} is there and is no import of pictures: give a folder that is new or empty") from None
    if not same:
        raise UserError(f"{out} holds {held}, which is another one: give another folder, or remove that one first")
    there = {split: sum(1 for path in (out / split).glob("*/*") if path.is_file()) for split in counts}
    if there != counts:
        raise UserError(
            f"{out} holds {held}, but files were added or removed: it has {_listed(there)}; {RECORD} says "
            f"{_listed(counts)}. Remove the folder and run the same command again"
        )
    return counts


def _chosen(source: str, found: Sequence[HubSplit], names: Sequence[str]) -> list[HubSplit]:
    by_name = {split.name: split for split in found}
    if unknown := [name for name in names if name not in by_name]:
        raise UserError(f"{source}: no split {', '.join(unknown)}; it has {', '.join(by_name)}")
    chosen = [by_name[name] for name in dict.fromkeys(names or by_name)]
    if empty := [split.name for split in chosen if not split.num_rows]:
        raise UserError(f"{source}: no rows in split {', '.join(empty)}. Name the splits to import: --split NAME")
    if unsafe := [split.name for split in chosen if _safe(split.name) != split.name]:
        raise UserError(f"{source}: split '{unsafe[0]}' cannot name a folder: rename its files")
    return chosen


# --- classes ------------------------------------------------------------------------------------------------------


def _class_names(source: str, split: HubSplit) -> dict[Any, str]:
    """Return the name of the class of each label that the split has."""
    names = split.class_names
    if names is None:
        wrong = [label for label in split.labels if not isinstance(label, str | int)]
    else:
        wrong = [label for label in split.labels if not isinstance(label, int) or not 0 <= label < len(names)]
    if wrong:
        raise UserError(
            f"{source}: split {split.name} has rows whose label is {wrong[0]}, which is no class. Such a split cannot "
            "be learned from or tested on: name the others, --split NAME"
        )
    return {label: names[label] if isinstance(label, int) and names else str(label) for label in split.labels}


def _folders(names: Iterable[str]) -> dict[str, str]:
    """Return the folder of each class.

    Raises:
        UserError: if two would have the same one, or a name is empty or too long.
    """
    folders = {name: _safe(name) for name in sorted(names)}
    taken: dict[str, str] = {}
    for name, folder in folders.items():
        if not folder or len(folder.encode()) > _MAX_NAME_BYTES:
            raise UserError(f"the class '{name[:60]}' cannot name a folder: it is empty or too long. Rename it")
        # Some file systems do not tell capitals from small letters.
        other = taken.setdefault(folder.casefold(), name)
        if other != name:
            raise UserError(f"the classes '{other}' and '{name}' would share the folder '{folder}': rename one of them")
    return folders


def _safe(name: str) -> str:
    """Return a name as a folder can have it, on every system; hidden folders are passed over, so no dot begins it."""
    shown = _UNSAFE.sub("-", unicodedata.normalize("NFC", name)).strip().rstrip(". ")
    return re.sub(r"^\.", "-", shown)


# --- pictures -----------------------------------------------------------------------------------------------------


def _write(
    source: str,
    folder: Path,
    splits: Sequence[HubSplit],
    classes: Mapping[str, Mapping[Any, str]],
    folders: Mapping[str, str],
) -> str:
    """Write all pictures, and return a digest of their paths and bytes."""
    digest = hashlib.sha256()
    rows = ((split, number, row) for split in splits for number, row in enumerate(split.rows()))
    total = sum(split.num_rows for split in splits)
    for split, number, (image, label) in progress(rows, total, "import", "pictures"):
        content, suffix = _content(image, f"{source}: split {split.name}, row {number}")
        path = f"{split.name}/{folders[classes[split.name][label]]}/{split.name}-{number:05d}.{suffix}"
        write_atomic(folder / path, content, sync=False)  # a folder that is not finished is removed
        digest.update(f"{path}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()


def _content(image: Any, where: str) -> tuple[bytes, str]:
    """Return the bytes of a picture's file and its suffix; `where` is for errors."""
    if isinstance(image, Mapping) and set(image) == {"bytes", "path"}:
        if image["bytes"] is None:
            # A data set must not make us read a file of its choice.
            raise UserError(
                f"{where} names a file ({image['path']}) in place of a picture: save the data set again with its "
                "pictures inside it, as save_to_disk and push_to_hub do"
            )
        return _file(image["bytes"], image["path"])
    if isinstance(image, bytes):
        return _file(image, None)
    return _png(image, where), "png"


def _file(content: bytes, path: str | None) -> tuple[bytes, str]:
    """Return the bytes and the suffix of what was a file: its own, but for a GIF.

    What cannot be decoded is kept, under the suffix of a picture: ingest says so, and counts it.
    """
    if content.startswith(_GIF):
        return _first_frame(content), "png"
    return content, _suffix(content, path)


def _first_frame(gif: bytes) -> bytes:
    """Return the first frame of a GIF as a PNG file; what cannot be decoded, as it is."""
    from PIL import Image

    out = BytesIO()
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(BytesIO(gif), formats=("GIF",)) as film:
            film.save(out, format="PNG")
    except Exception:  # Pillow lets through whatever its decoder raises
        return gif
    return out.getvalue()


def _suffix(content: bytes, path: str | None) -> str:
    """Return the suffix by which the file is known; where its bytes do not tell, the one that it had, or jpg."""
    for magic, suffix in _MAGIC.items():
        if content.startswith(magic):
            return suffix
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    had = Path(path or "").suffix.lower()
    return had[1:] if had in IMAGE else "jpg"  # what has no picture's suffix is passed over, and not counted


def _png(pixels: Any, where: str) -> bytes:
    import numpy as np
    from PIL import Image

    try:
        array = np.asarray(pixels)
        if array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 255:
            raise ValueError
        if array.ndim == 3 and array.shape[2] == 1:
            array = array[..., 0]
        picture = Image.fromarray(array.astype(np.uint8))
    except (ValueError, TypeError):
        raise UserError(
            f"{where} is no picture: expected the bytes of a file, or whole numbers from 0 to 255, (H, W), (H, W, 1) "
            "or (H, W, 3). Name the column with pictures: --image-column NAME"
        ) from None
    out = BytesIO()
    picture.save(out, format="PNG")
    return out.getvalue()
