"""Rows from Tiny ImageNet, whose val has its labels in a text file; its test has none, and is passed over."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from actrec.console import say
from actrec.data.folder_reader import OUTSIDE_CLASS, images_below
from actrec.data.problems import Kind, Problems
from actrec.data.rows import Row, read_text
from actrec.errors import UserError
from actrec.words import counted

BAD_LINE = Kind("a line that does not begin with the name of an image and a wnid", "A tab stands between the two.")
NO_WORDS = Kind("a wnid without words in words.txt", "Add its line, or set data.reader.names: wnid.")

_ANNOTATIONS = "val/val_annotations.txt"


def read_tiny_imagenet(
    root: Path, *, head: str, held_out: Literal["val", "test"], names: Literal["wnid", "words"], problems: Problems
) -> list[Row]:
    """Return a row for each image of train/<wnid>/images and val/images, sorted by path, those of train first.

    Images of val that its annotations do not name are counted in a note.

    Args:
        root: The folder with train and val in it.
        head: The head that the classes label.
        held_out: The split that val becomes.
        names: Whether classes are named by wnid, or by the first word of each: see `first_words`.
        problems: Receives what cannot be used; it is not in the result.

    Raises:
        UserError: if a folder or text file is missing, or train has no image.
    """
    for folder in ("train", "val/images"):
        if not (root / folder).is_dir():
            raise UserError(f"{root}: has no folder {folder}. Set data.root to the one that holds train and val.")
    rows = []
    for path in images_below(root, "train", problems):
        wnid = path.split("/")[1]
        if path.count("/") == 1:
            problems.add(OUTSIDE_CLASS, path)
        else:
            rows.append(Row(path, path, path, {head: wnid}, "train", ""))
    if not rows:
        problems.stop_if_any()
        raise UserError(f"{root}: found no image. Expected train/<wnid>/images/<image> below data.root.")
    rows += _read_annotations(root, head, held_out, problems)
    if unnamed := set(images_below(root, "val/images", problems)) - {row.path for row in rows}:
        say(f"{root}: passed over {counted(len(unnamed), 'image')} of val/images that {_ANNOTATIONS} does not name")
    return _with_words(rows, head, root / "words.txt", problems) if names == "words" else rows


def _read_annotations(root: Path, head: str, split: Literal["val", "test"], problems: Problems) -> list[Row]:
    rows = []
    for number, line in enumerate(read_text(root / _ANNOTATIONS).splitlines(), start=1):
        where, (name, _, rest) = f"val_annotations.txt row {number}", line.partition("\t")
        wnid = rest.partition("\t")[0].strip()
        if name.strip() and wnid:
            path = f"val/images/{name.strip()}"
            rows.append(Row(where, path, path, {head: wnid}, split, ""))
        elif line.strip():
            problems.add(BAD_LINE, where, f"'{line}'")
    return rows


def _with_words(rows: Iterable[Row], head: str, file: Path, problems: Problems) -> list[Row]:
    wnids = {row.labels[head] for row in rows}
    word_of = first_words(file, wnids)
    for wnid in sorted(wnids - word_of.keys()):
        problems.add(NO_WORDS, wnid)
    return [replace(row, labels={head: word_of.get(wnid, wnid)}) for row in rows for wnid in row.labels.values()]


def first_words(file: Path, wnids: Iterable[str]) -> dict[str, str]:
    """Return the first of the words that a file has for each wnid; of those that share it, with the wnid behind.

    Args:
        file: Lines of a wnid, a tab, and words with commas between them.
        wnids: Those that are wanted; what the file lacks is not in the result.

    Raises:
        UserError: if the file cannot be read.
    """
    wanted = set(wnids)
    parts = [line.partition("\t") for line in read_text(file).splitlines()]
    words = {wnid: text.partition(",")[0].strip() for wnid, _, text in parts if wnid in wanted and text.strip()}
    counts = Counter(words.values())
    return {wnid: word if counts[word] == 1 else f"{word} ({wnid})" for wnid, word in words.items()}
