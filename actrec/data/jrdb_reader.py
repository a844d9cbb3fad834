"""Rows from JRDB with the labels of JRDB-Social or JRDB-Act: pairs of people on stitched panoramas."""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from actrec.console import say
from actrec.data.people import UNSEEN, People
from actrec.data.problems import Kind, Problems
from actrec.data.rows import Row, plain_path, read_text
from actrec.errors import UserError
from actrec.media.facts import Box
from actrec.words import counted

BAD_PICTURE = Kind("a picture without a list of people", "Expected a list of {label_id, box, ...}.")
BAD_PERSON = Kind("a person without an id or a box", "Expected label_id pedestrian:N and box [x, y, w, h].")
SAME_PERSON = Kind("somebody with two boxes in one picture", "Keep one of the entries of this label_id.")
BAD_PAIR = Kind(
    "an interaction that does not say with whom, or what it is",
    "Expected H-interaction: [{pair: pedestrian:N, inter_labels: {name: 1}}].",
)

_ID = re.compile(r"pedestrian:(\d+)")


@dataclass(slots=True)
class _Seen:
    """What was passed over."""

    other: Counter[str] = field(default_factory=Counter)
    several: int = 0
    alone: int = 0


def read_jrdb(
    root: Path,
    *,
    head: str,
    images: str,
    labels: str,
    classes: Mapping[str, str],
    frame_interval: int,
    several: Literal["skip", "first"],
    problems: Problems,
) -> list[Row]:
    """Return a row for each pair of people who interact, once a picture: A is the one with the lower number.

    The group is the scene: its pictures are never in two splits. A pair of which one is not in the picture's list has
    no box there, which sets it aside later.

    Args:
        root: The data root.
        head: The head that relations label.
        images: The folder of a folder of panoramas a scene, below the root.
        labels: The folder of `<scene>.json`, below the root.
        classes: Relations to class names; others are counted in a note and left out.
        frame_interval: Every so many pictures of a scene, from its first, in the order of their names.
        several: What becomes of pairs with several of these classes: left out, or the one that comes first in
            `classes`. They are counted in a note.
        problems: Receives what is wrong with the files.

    Raises:
        UserError: if there is no such file, one is not JSON, or no pair is left.

    Source: the JRDB toolkit's format; a pair is listed with each of its two people.
    """
    files = sorted((root / labels).glob("*.json"))
    if not files:
        raise UserError(f"data.reader.labels is '{labels}': no <scene>.json in {root / labels}")
    rows, seen = [], _Seen()
    for file in files:
        frames = _frames(file)
        for name in sorted(frames)[::frame_interval]:
            path = plain_path(f"{images}/{file.stem}/{name}")
            listed = _listed(path, frames[name], problems)
            boxes = _boxes(path, listed, problems)
            for (a, b), found in _pairs(path, listed, seen, problems).items():
                if relation := _relation(found, classes, several, seen):
                    people = People((boxes.get(a, UNSEEN), boxes.get(b, UNSEEN)), persons=len(boxes), wraps=True)
                    clip_id = f"{path}#{a}+{b}"
                    rows.append(Row(clip_id, clip_id, path, {head: relation}, None, file.stem, people=people))
    _tell(seen, several)
    if not rows:
        problems.stop_if_any()
        raise UserError(f"{root / labels}: no pair with a relation of data.reader.classes: {', '.join(classes)}")
    return rows


def _tell(seen: _Seen, several: Literal["skip", "first"]) -> None:
    if seen.other:
        common = ", ".join(f"{count} {name}" for name, count in seen.other.most_common(5))
        left_out = counted(seen.other.total(), "relation")
        say(f"jrdb: left out {left_out} that data.reader.classes does not name ({common})")
    if seen.several:
        done = "left out" if several == "skip" else "took the first relation of"
        say(f"jrdb: {done} {counted(seen.several, 'pair')} with several relations (data.reader.several)")
    if seen.alone:
        say(f"jrdb: left out {counted(seen.alone, 'interaction')} of somebody with himself")


def _frames(file: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(read_text(file))
    except json.JSONDecodeError as error:
        raise UserError(f"{file}: not JSON: {error}") from None
    frames = found.get("labels") if isinstance(found, dict) else None
    if not isinstance(frames, dict):
        raise UserError(f"{file}: expected {{'labels': {{'000000.jpg': [people]}}}}")
    return frames


def _listed(path: str, people: Any, problems: Problems) -> dict[int, list[Mapping[str, Any]]]:
    """Return the entries of each person, by number: more than one where somebody is listed again."""
    listed: dict[int, list[Mapping[str, Any]]] = {}
    if not isinstance(people, list):
        problems.add(BAD_PICTURE, path, _short(people))
        return listed
    for person in people:
        number = _number(person.get("label_id")) if isinstance(person, dict) else None
        if number is None:
            problems.add(BAD_PERSON, path, _short(person))
        else:
            listed.setdefault(number, []).append(person)
    return listed


def _boxes(path: str, listed: Mapping[int, Sequence[Mapping[str, Any]]], problems: Problems) -> dict[int, Box]:
    boxes: dict[int, Box] = {}
    for number, entries in listed.items():
        for person in entries:
            box = _box(person.get("box"))
            if box is None:
                problems.add(BAD_PERSON, path, f"pedestrian:{number} with box {_short(person.get('box'))}")
            elif boxes.setdefault(number, box) != box:
                problems.add(SAME_PERSON, path, f"pedestrian:{number}")
    return boxes


def _box(found: Any) -> Box | None:
    try:
        x, y, width, height = map(float, found)
    except (TypeError, ValueError):
        return None
    return (x, y, width, height) if all(map(math.isfinite, (x, y, width, height))) else None


def _number(label_id: Any) -> int | None:
    """Return 7 of pedestrian:7, None of anything else."""
    found = _ID.fullmatch(label_id) if isinstance(label_id, str) else None
    return int(found[1]) if found else None


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:80]} …"


def _pairs(
    path: str, listed: Mapping[int, Sequence[Mapping[str, Any]]], seen: _Seen, problems: Problems
) -> dict[tuple[int, int], list[str]]:
    """Return what is between each two people, by whichever of them it is listed with; each relation once."""
    pairs: dict[tuple[int, int], list[str]] = {}
    for one, entries in listed.items():
        for interaction in (found for person in entries for found in _interactions(person)):
            other, names = _with_whom(interaction)
            if other is None or names is None:
                problems.add(BAD_PAIR, path, f"pedestrian:{one} with {_short(interaction)}")
            elif one == other:
                seen.alone += 1
            else:
                found = pairs.setdefault((min(one, other), max(one, other)), [])
                found += [name for name in names if name not in found]
    return dict(sorted(pairs.items()))


def _interactions(person: Mapping[str, Any]) -> Sequence[Any]:
    """Return a person's interactions; what is no list is given back as one, for the message."""
    found = person.get("H-interaction") or []
    return found if isinstance(found, list) else [found]


def _with_whom(interaction: Any) -> tuple[int | None, Sequence[str] | None]:
    """Return the other's number, and the names of the relations; None for what cannot be read."""
    if not isinstance(interaction, dict):
        return None, None
    names = interaction.get("inter_labels") or []
    is_readable = isinstance(names, dict | list) and all(isinstance(name, str) for name in names)
    return _number(interaction.get("pair")), list(names) if is_readable else None


def _relation(
    found: Sequence[str], classes: Mapping[str, str], several: Literal["skip", "first"], seen: _Seen
) -> str | None:
    known = list(dict.fromkeys(target for name, target in classes.items() if name in found))
    seen.other.update(name for name in found if name not in classes)
    if len(known) > 1:
        seen.several += 1
        if several == "skip":
            return None
    return known[0] if known else None
