"""Whom a row of a table is about: boxes, in columns of their own."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from actrec.data.people import UNSEEN, People, is_unseen
from actrec.data.problems import Kind, Problems
from actrec.data.rows import Row
from actrec.media.facts import Box

BAD_BOX = Kind("a box that is not four numbers", "Write each like 12.5; leave all four empty for somebody unseen.")
BAD_COUNT = Kind("a number of persons that is none", "Write a whole number, at least that of the boxes.")
NO_NAME = Kind("people without a name", "Fill the columns of data.reader.people.ids, or set it to null.")
NAME_TWICE = Kind("somebody together with himself", "Name two people, or remove the row.")
TWO_BOXES = Kind("somebody with two boxes in one picture", "Give each person one box in all rows of a picture.")

_DECIMALS = 3


@dataclass(frozen=True, slots=True)
class PeopleColumns:
    """Which columns hold whom a row is about.

    Args:
        boxes: Four columns a person: x, y, width, height; or, with `corners`, left, top, right, bottom.
        corners: See there.
        ids: A column a person with who it is; empty: nobody has a name.
        persons: The column with how many are in the picture; None: those whom any row of that picture is about.
        wraps: All pictures are panoramas whose left and right edges meet.
    """

    boxes: tuple[tuple[str, ...], ...]
    corners: bool
    ids: tuple[str, ...]
    persons: str | None
    wraps: bool

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> Self:
        """Return what the section `data.reader.people` says."""
        same = {name: section[name] for name in ("corners", "persons", "wraps")}
        return cls(boxes=tuple(map(tuple, section["boxes"])), ids=tuple(section["ids"] or ()), **same)

    def named(self) -> list[str]:
        """Return the names of all columns that are read."""
        return [*(name for box in self.boxes for name in box), *self.ids, *([self.persons] if self.persons else [])]


def read_people(
    where: str, cells: Mapping[str, str], columns: PeopleColumns | None, problems: Problems
) -> tuple[People | None, tuple[str, ...], bool]:
    """Return whom a row is about, who these are, and whether its cells are in order; `problems` is told if not.

    `persons` is 0 where no column has it: see `count_persons`. Names are () without columns for them.
    """
    if columns is None:
        return None, (), True
    people, names = _people(where, cells, columns, problems), tuple(cells.get(name, "") for name in columns.ids)
    shown = ", ".join(f"'{name}'" for name in names)
    if not all(names):
        problems.add(NO_NAME, where, shown)
    elif len(set(names)) < len(names):
        problems.add(NAME_TWICE, where, shown)
    else:
        return people, names, people is not None
    return people, names, False


def _people(where: str, cells: Mapping[str, str], columns: PeopleColumns, problems: Problems) -> People | None:
    boxes = [_box([cells.get(name, "") for name in names], corners=columns.corners) for names in columns.boxes]
    if any(box is None for box in boxes):
        problems.add(BAD_BOX, where, ", ".join(cells.get(name, "") for names in columns.boxes for name in names))
        return None
    num_seen = sum(not is_unseen(box) for box in boxes if box)
    persons = cells.get(columns.persons, "") if columns.persons else "0"
    if not persons.isdecimal() or (columns.persons and int(persons) < num_seen):
        problems.add(BAD_COUNT, where, f"'{persons}' with {num_seen} boxes")
        return None
    return People(tuple(box for box in boxes if box), int(persons), columns.wraps)


def _box(cells: Sequence[str], *, corners: bool) -> Box | None:
    if not any(cells):
        return UNSEEN
    try:
        x, y, width, height = map(float, cells)
    except ValueError:
        return None
    if not all(map(math.isfinite, (x, y, width, height))):
        return None
    return (x, y, width - x, height - y) if corners else (x, y, width, height)


def people_id(people: People | None, names: Sequence[str]) -> str:
    """Return what tells the people of a row from others of its picture, "" if it is about all who are in it.

    "#" and their names, or their boxes in pixels.
    """
    if people is None:
        return ""
    return "#" + "+".join(names or (",".join(map(_pixels, box)) for box in people.boxes))


def _pixels(value: float) -> str:
    return f"{value:.{_DECIMALS}f}".rstrip("0").rstrip(".")


def count_persons(rows: Sequence[Row], problems: Problems) -> list[Row]:
    """Return the rows with `persons` counted, where it is 0: all whom the rows of one picture are about.

    Args:
        rows: Of all tables; of a video each time is a picture.
        problems: Is told of a name that has different boxes in one picture.
    """
    seen: dict[tuple[str, float | None], dict[str | Box, Box]] = defaultdict(dict)
    for row in rows:
        boxes = row.people.boxes if row.people else ()
        for name, box in zip(row.names or boxes, boxes, strict=True):
            if not is_unseen(box) and seen[row.path, row.start_s].setdefault(name, box) != box:
                problems.add(TWO_BOXES, row.where, f"'{name}' in {row.path}")

    def counted(row: Row) -> Row:
        if row.people is None or row.people.persons:
            return row
        return replace(row, people=replace(row.people, persons=len(seen[row.path, row.start_s])))

    return list(map(counted, rows))
