"""The facts that come with the package, against what is published of them."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from actrec.data import public_sets
from actrec.data.coarse import read_map
from actrec.data.manifest import natural_key
from actrec.data.public_sets import class_names
from actrec.errors import UserError

REPO = Path(__file__).resolve().parents[2]
DATA = Path(public_sets.__file__).parent
# Of MA-52: the last class of each part of the body, which classes are sorted by. Source: the paper on MA-52, table 1.
LAST_OF_PART = {
    "0 body": 4,
    "1 head": 10,
    "2 upper limb": 23,
    "3 lower limb": 31,
    "4 body-hand": 37,
    "5 head-hand": 47,
    "6 leg-hand": 51,
}


@pytest.mark.parametrize(("name", "count"), [("ntu60", 60), ("ntu120", 120), ("ma52", 52)])
def test_the_order_of_names_is_that_of_the_data_set(tmp_path, name, count):
    """A manifest sorts classes by name: only with their numbers in front they keep the order."""
    names = class_names(tmp_path, name)
    assert len(set(names)) == count
    assert sorted(names, key=natural_key) == names
    first = 0 if name == "ma52" else 1
    assert [int(text.split()[0].removeprefix("A")) for text in names] == list(range(first, first + count))


@pytest.mark.parametrize(
    ("name", "number", "said"),
    [
        ("ntu60", 0, "drink water"),
        ("ntu60", 7, "sit down"),
        ("ntu60", 40, "sneeze or cough"),
        ("ntu60", 49, "punch or slap other person"),
        ("ntu60", 59, "walk apart"),
        ("ntu120", 60, "put on headphone"),
        ("ntu120", 119, "rock-paper-scissors"),
        ("ma52", 9, "nodding"),
        ("ma52", 31, "tiptoe"),
        ("ma52", 45, "covering face"),
        ("ma52", 51, "scratching feet"),
    ],
)
def test_some_classes_by_their_numbers(tmp_path, name, number, said):
    assert class_names(tmp_path, name)[number].partition(" ")[2] == said


def test_other_names_are_files_below_the_root(tmp_path):
    (tmp_path / "names.txt").write_text("run\nsit\n")
    assert class_names(tmp_path, "names.txt") == ["run", "sit"]
    with pytest.raises(UserError, match=r"ntu61: cannot be read"):
        class_names(tmp_path, "ntu61")


def test_the_parts_of_the_body_of_ma52(tmp_path):
    names, part_of = class_names(tmp_path, "ma52"), read_map(tmp_path, "ma52")
    assert list(part_of) == names
    for number, name in enumerate(names):
        assert part_of[name] == next(part for part, last in LAST_OF_PART.items() if number <= last)
    assert list(Counter(part_of.values()).values()) == [5, 6, 13, 8, 6, 10, 4]
    assert sorted(set(part_of.values()), key=natural_key) == list(LAST_OF_PART)


def test_the_eights_of_ntu60(tmp_path):
    """As forks of the published code have it, by number alone: the last one takes what is left."""
    names, eight_of = class_names(tmp_path, "ntu60"), read_map(tmp_path, "ntu60_by_8")
    eights = sorted(set(eight_of.values()), key=natural_key)
    assert [eights.index(eight_of[name]) for name in names] == [min(label // 8, 7) for label in range(60)]
    assert eights[0] == "A001-A008" and eights[-1] == "A057-A060"


# Numbers from 1. Of the paper's three kinds, daily actions are 1-40, medical 41-49, mutual 50-60.
SEMANTIC = {
    "eating and care": {1, 2, 3, 4, 37},
    "objects and devices": {5, 6, 7, 11, 12, 13, 25, 28, 29, 30, 32, 33},
    "dressing": set(range(14, 22)),
    "gestures": {10, 22, 23, 31, 34, 35, 36, 38, 39, 40},
    "whole body": {8, 9, 24, 26, 27},
    "medical": set(range(41, 50)),
    "mutual contact": {50, 51, 52, 53, 55, 57, 58},
    "mutual without contact": {54, 56, 59, 60},
}


def test_the_kinds_of_ntu60(tmp_path):
    kind_of = read_map(tmp_path, "ntu60_semantic")
    assert list(kind_of) == class_names(tmp_path, "ntu60")
    for number, kind in enumerate(kind_of.values(), start=1):
        assert number in SEMANTIC[kind]
    assert sum(map(len, SEMANTIC.values())) == 60
    assert {n for kind in ("mutual contact", "mutual without contact") for n in SEMANTIC[kind]} == set(range(50, 61))


def test_the_facts_are_in_the_wheel():
    wheel = pytest.importorskip("hatchling.builders.wheel")
    files = {Path(file.path) for file in wheel.WheelBuilder(str(REPO)).recurse_included_files()}
    facts = {path for folder in ("lists", "maps") for path in (DATA / folder).iterdir()}
    assert len(facts) == 6 and facts <= files


def test_maps_have_two_columns_and_nothing_else():
    for file in (DATA / "maps").iterdir():
        with file.open(encoding="utf-8", newline="") as lines:
            assert all(len(record) == 2 and all(record) for record in csv.reader(lines))
