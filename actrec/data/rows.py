"""A row as its reader found it, before anything is known of its file; and the text files that hold rows."""

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from actrec.data.manifest import Split
from actrec.data.people import People
from actrec.data.problems import Kind, Problems
from actrec.errors import UserError

UNKNOWN_SPLIT = Kind("unknown split", "Write train, val or test.")
NO_GROUP = Kind("a path in which data.reader.group_regex finds no group", "Mend the expression, or set it to null.")

_SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_LINE_END = re.compile("\r\n?")
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled clip. `where` names it to its author: "row 7", "train.txt row 7", or its path.

    `path` is relative to the data root, with forward slashes. `labels` and `sample` are those of `Clip`; `split` None
    means that it is still to be chosen, `group` "" that it is unknown. The clip is [start_s, end_s) of the file; None:
    no limit. `people` are those whom the clip is about, None for all who are in it; `names` says who they are, () if
    nobody has a name.
    """

    where: str
    clip_id: str
    path: str
    labels: dict[str, str]
    split: Split | None
    group: str
    start_s: float | None = None
    end_s: float | None = None
    sample: str = ""
    people: People | None = None
    names: tuple[str, ...] = ()


def split_named(name: str) -> Split | None:
    """Return the split that `name` means, in any case (training, valid, validation, testing too), else None."""
    return _SPLIT_NAMES.get(name.strip().casefold())


def plain_path(text: str) -> str:
    """Return a path as ids have it: forward slashes, no "./" and no "//".

    What is wrong stays to be seen: a scheme, a leading slash, "..".
    """
    if has_scheme(text):
        return text.strip()
    text = text.strip().replace("\\", "/")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    return ("/" if text.startswith("/") else "") + "/".join(parts)


def has_scheme(path: str) -> bool:
    """Tell whether `path` begins like http: or pipe: does, of two letters and more: one letter is a drive."""
    return bool(re.match(r"\s*[A-Za-z][A-Za-z0-9+.-]+:", path))


def check_regex(setting: str, regex: str | None) -> None:
    """Stop unless the expression can be searched in paths; None is none.

    Raises:
        UserError: if it is no regular expression, or one without a group.
    """
    if regex is None:
        return
    try:
        groups = re.compile(regex).groups
    except re.error as error:
        raise UserError(f"{setting} is '{regex}': {error}") from None
    if not groups:
        raise UserError(f"{setting} is '{regex}': expected a group in brackets, as in '(s\\d+)_'")


def found_in(path: str, regex: str | None, kind: Kind, where: str, problems: Problems) -> str:
    """Return what all groups of an expression match in a path, joined by "_"; "" without an expression.

    If they match nothing it is a problem of that kind, at `where`.
    """
    if regex is None:
        return ""
    match = re.search(regex, path)
    found = "_".join(filter(None, match.groups())) if match else ""
    if not found:
        problems.add(kind, where, "" if where == path else path)
    return found


def id_of_part(path: str, start_s: float | None, end_s: float | None) -> str:
    """Return the id of a clip: its path, and "@start-end" in seconds if it is a part of the file."""
    if start_s is None and end_s is None:
        return path
    return f"{path}@{_seconds(start_s or 0.0)}-{'' if end_s is None else _seconds(end_s)}"


def _seconds(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def id_fault(clip_id: str) -> str:
    """Return why an id cannot name a file below an out folder, "" if it can."""
    parts = clip_id.split("/")
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in clip_id):
        return "it has control characters, or bytes that are no text"
    if clip_id.startswith("/") or re.match(r"[A-Za-z]:", clip_id):
        return "it is absolute"
    if "\\" in clip_id:
        return "it has a backslash"
    if any(part in ("", ".", "..") for part in parts):
        return "it has an empty part, '.' or '..'"
    if any(part.endswith((".", " ")) for part in parts):
        return "a part of it ends in a dot or a space"
    if any(len(part.encode()) > 240 for part in parts):
        return "a part of it is longer than 240 bytes"
    return ""


def read_text(path: Path) -> str:
    r"""Return the text of an index file: UTF-8, or UTF-8 / UTF-16 with a byte order mark; lines end with \n.

    Raises:
        UserError: if it is not there, or in another encoding.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}). Index files are sought below data.root.") from None
    encoding = next((name for bom, name in _BOMS if content.startswith(bom)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}: row {line} is not {encoding.removesuffix('-sig').upper()}: {_around(content, error.start)}. "
            "Save the file as UTF-8 (a spreadsheet calls it 'CSV UTF-8'), or: "
            f"iconv -f WINDOWS-1252 -t UTF-8 '{path.name}' > new.csv"
        ) from None
    if "\0" in text:
        raise UserError(f"{path}: has zero bytes, as UTF-16 without its byte order mark has. Save the file as UTF-8.")
    return _LINE_END.sub("\n", text)


def _around(content: bytes, position: int) -> str:
    return repr(content[max(position - 12, 0) : position + 8])[1:]
