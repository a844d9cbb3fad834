"""Keypoints in tables: the layout that the docstring gives, and what is wrong with which row."""

import csv
import tracemalloc

import numpy as np
import pytest

from actrec.errors import BadItem
from actrec.pose.keypoint_csv import read_csv
from actrec.pose.layouts import LAYOUTS

COCO = LAYOUTS["coco17"]
RNG = np.random.default_rng(0)
HEADER = ["name", "frame", "person", "joint", "x", "y"]


@pytest.fixture
def read(tmp_path):
    def read_rows(rows, *, layout=COCO, encoding="utf-8"):
        path = tmp_path / "points.csv"
        if isinstance(rows, str | bytes):
            path.write_bytes(rows if isinstance(rows, bytes) else rows.encode(encoding))
        else:
            with path.open("w", encoding=encoding, newline="") as file:
                csv.writer(file).writerows(rows)
        return read_csv(path, layout=layout, max_persons=3)

    return read_rows


def rows_of(name, keypoint, score=None, persons=None, by_name=False, extra=()):
    """Return the rows of (M, T, V, C) in a scattered order."""
    persons = persons or range(len(keypoint))
    rows = [
        [name, t, persons[m], COCO.joints[v] if by_name else v, *map(repr, keypoint[m, t, v].tolist())]
        + ([] if score is None else [repr(float(score[m, t, v]))])
        + list(extra)
        for m, t, v in np.ndindex(*keypoint.shape[:3])
    ]
    return [rows[i] for i in np.random.default_rng(1).permutation(len(rows))]


def test_a_table_is_what_was_written(read):
    one, two = RNG.uniform(1, 300, (2, 5, 17, 2)), RNG.uniform(1, 300, (1, 3, 17, 2))
    score = RNG.uniform(0.1, 1, (2, 5, 17))
    rows = [
        [*HEADER, "score"],
        *rows_of("clips/one", one, score, by_name=True),
        *rows_of("two", two, np.ones((1, 3, 17))),
    ]
    found = read(rows)
    assert [s.name for s in found.skeletons] == ["clips/one", "two"] and not found.faults
    np.testing.assert_array_equal(found.skeletons[0].keypoint, one.astype(np.float16))
    np.testing.assert_array_equal(found.skeletons[0].score, score.astype(np.float16))
    np.testing.assert_array_equal(found.skeletons[1].keypoint, two.astype(np.float16))
    assert found.skeletons[0].img_shape is None


def test_persons_are_in_the_order_of_their_numbers(read):
    keypoint = RNG.uniform(1, 300, (3, 2, 17, 2))
    found = read([HEADER, *rows_of("clip", keypoint, persons=[7, -1, 3])])
    np.testing.assert_array_equal(found.skeletons[0].keypoint, keypoint[[1, 2, 0]].astype(np.float16))


def test_what_has_no_row_or_no_place_is_not_seen(read):
    found = read("name,frame,person,joint,x,y\nclip,3,0,left_hip,10,20\nclip,1,0,0,,\nclip,1,0,2,5,6\n\n,,,,,\n")
    (skeleton,) = found.skeletons
    assert skeleton.keypoint.shape == (1, 4, 17, 2) and (skeleton.score > 0).sum() == 2
    assert skeleton.keypoint[0, 3, 11].tolist() == [10, 20] and skeleton.keypoint[0, 1, 2].tolist() == [5, 6]


def test_metres_and_the_size_of_the_picture(read):
    keypoint = RNG.uniform(-1, 3, (1, 2, 17, 3))
    deep = read([[*HEADER, "z"], *rows_of("clip", keypoint)]).skeletons[0]
    np.testing.assert_array_equal(deep.keypoint, keypoint.astype(np.float16))
    flat = [[*HEADER, "width", "height", "note"], *rows_of("clip", keypoint[..., :2], extra=["640", "480", "x"])]
    assert read(flat).skeletons[0].img_shape == (480, 640)


def test_columns_come_in_any_order_and_spreadsheets_in_theirs(read):
    found = read("\ufeffy, x ,joint,person,frame,name\r\n2,1,nose,0,0,ünï\r\n")
    assert found.skeletons[0].name == "ünï" and found.skeletons[0].keypoint[0, 0, 0].tolist() == [1, 2]


HEAD = "name,frame,person,joint,x,y,score,width,height\n"
GOOD = "good,0,0,0,1,2,1,64,48\n"
FAULTS = {
    "no number": ("bad,0,0,0,abc,2,1,64,48", "malformed", "row 3: x: expected a number, got 'abc'"),
    "half a place": ("bad,0,0,0,1,,1,64,48", "malformed", "row 3: y: expected a number, got ''"),
    "half a frame": ("bad,0.5,0,0,1,2,1,64,48", "malformed", "row 3: frame: expected a whole number from 0, got '0.5'"),
    "a frame below 0": ("bad,-1,0,0,1,2,1,64,48", "malformed", "row 3: frame"),
    "a person by name": ("bad,0,Ann,0,1,2,1,64,48", "malformed", "row 3: person: expected a whole number, got 'Ann'"),
    "a person beyond 64 bits": (f"bad,0,{2**70},0,1,2,1,64,48", "malformed", "row 3: expected numbers of 64 bits"),
    "joint 17": (
        "bad,0,0,17,1,2,1,64,48",
        "wrong_layout",
        "row 3: joint: expected 0 to 16 or a joint of coco17, got '17'",
    ),
    "another's joint": ("bad,0,0,spine,1,2,1,64,48", "wrong_layout", "got 'spine'"),
    "no score": ("bad,0,0,0,1,2,,64,48", "malformed", "row 3: score: expected a number, got ''"),
    "a percent": ("bad,0,0,0,1,2,87,64,48", "bad_score", "got 87"),
    "not a number": ("bad,0,0,0,nan,2,1,64,48", "not_finite", "nan"),
    "no width": ("bad,0,0,0,1,2,1,0,48", "wrong_shape", "row 3: height, width: expected pixels"),
    "two widths": (
        "bad,0,0,0,1,2,1,64,48\nbad,0,0,1,1,2,1,65,48",
        "wrong_shape",
        "row 4: height, width: expected (48, 64)",
    ),
    "a joint twice": (
        "bad,0,5,1,1,2,1,64,48\nbad,0,5,1,1,2,1,64,48",
        "duplicate",
        "person 5, frame 0, joint 1 (left_eye)",
    ),
    "nobody": ("bad,0,0,0,,,,64,48", "no_body", "no joint is seen"),
    "a row that is short": ("bad,0,0", "wrong_layout", "got ''"),
    "no name": (",0,0,0,1,2,1,64,48", "no_name", "expected the name of a clip"),
    "a million hours": ("bad,1000000000000,0,0,1,2,1,64,48", "too_large", "1000000000001 frames"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_bad_row_costs_its_clip_and_no_other(case, read):
    rows, reason, words = FAULTS[case]
    tracemalloc.start()
    try:
        found = read(f"{HEAD}{GOOD}{rows}\nother,0,0,0,1,2,1,32,32\n")
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()
    assert [s.name for s in found.skeletons] == ["good", "other"]
    ((name, found_reason, message),) = found.faults
    assert name == ("row 3" if case == "no name" else "bad")
    assert found_reason == reason and words in message


OTHER_FILES = {
    "nothing": (b"", "got nothing"),
    "a header without y": (b"name,frame,person,joint,x\n", "y not there"),
    "semicolons": (b"name;frame;person;joint;x;y\n", "name, frame, person, joint, x, y not there"),
    "Latin": ("name,frame,person,joint,x,y\nü,0,0,0,1,2\n".encode("latin1"), "UTF-8"),
    "an open quote": (b'name,frame,person,joint,x,y\n"clip,0,0,0,1,2\n', "expected a table"),
    "zero bytes": (b"\x00\x00\x00", ""),
}


@pytest.mark.parametrize("case", OTHER_FILES)
def test_other_files_are_refused(case, read):
    content, words = OTHER_FILES[case]
    with pytest.raises(BadItem) as error:
        read(content)
    assert error.value.reason == "malformed" and words in error.value.message
