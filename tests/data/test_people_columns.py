"""Tables whose rows are about pairs of people: boxes, names, how many are in a picture, and bad cells."""

import math

import pytest

from actrec.data.csv_reader import Columns, read_tables
from actrec.data.people import is_unseen
from actrec.data.people_columns import PeopleColumns
from actrec.data.problems import Problems
from actrec.errors import UserError

BOXES = (("ax", "ay", "aw", "ah"), ("bx", "by", "bw", "bh"))
CELLS = "ax,ay,aw,ah,bx,by,bw,bh"


def columns(*, corners=False, ids=(), persons=None, wraps=False, **others):
    people = PeopleColumns(BOXES, corners=corners, ids=ids, persons=persons, wraps=wraps)
    return Columns(path="image", heads={"relation": "relation"}, people=people, **others)


def read(folder, columns, text, **texts):
    """Return the rows of one table, or of those named by `texts` for their splits."""
    problems = Problems("here")
    for name, own in (("t", text), *texts.items()):
        (folder / f"{name}.csv").write_text(own, encoding="utf-8")
    file = {"train": "t.csv", **{name: f"{name}.csv" for name in texts}} if texts else "t.csv"
    rows = read_tables(folder, file=file, columns=columns, problems=problems)
    problems.stop_if_any()
    return rows


def error_of(folder, columns, text):
    with pytest.raises(UserError) as caught:
        read(folder, columns, text)
    return str(caught.value)


def test_a_row_is_a_pair_in_the_order_of_the_table(tmp_path):
    text = f"image,relation,{CELLS}\na.jpg,walking,1,2,30,40,5.5,6.25,70,80\n"
    (row,) = read(tmp_path, columns(wraps=True), text)
    assert row.people and row.people.boxes == ((1, 2, 30, 40), (5.5, 6.25, 70, 80))
    assert row.people.wraps and row.people.persons == 2 and row.names == ()
    assert (row.clip_id, row.path, row.labels) == (
        "a.jpg#1,2,30,40+5.5,6.25,70,80",
        "a.jpg",
        {"relation": "walking"},
    )


def test_corners_become_width_and_height_and_swapped_ones_are_left_to_be_set_aside(tmp_path):
    text = f"image,relation,{CELLS}\na.jpg,walking,10,20,40,60,90.5,20,70.5,60\n"
    (row,) = read(tmp_path, columns(corners=True), text)
    assert row.people and row.people.boxes == ((10, 20, 30, 40), (90.5, 20, -20, 40))


def test_without_names_pairs_are_told_apart_by_boxes_to_a_thousandth_of_a_pixel(tmp_path):
    pairs = ("1234.567,2,3,4,50,6,7,8", "1234.568,2,3,4,50,6,7,8", "0.1,2,3,4,50,6,7,8")
    text = f"image,relation,{CELLS}\n" + "".join(f"a.jpg,walking,{pair}\n" for pair in pairs)
    assert [row.clip_id for row in read(tmp_path, columns(), text)] == [
        "a.jpg#1234.567,2,3,4+50,6,7,8",
        "a.jpg#1234.568,2,3,4+50,6,7,8",
        "a.jpg#0.1,2,3,4+50,6,7,8",
    ]


def test_names_and_ids_and_times_make_the_clip_id(tmp_path):
    text = f"image,relation,{CELLS},who,whom,t\na.mp4,walking,1,2,3,4,5,6,7,8,ann,bob,1.5\n"
    (row,) = read(tmp_path, columns(ids=("who", "whom"), start_s="t"), text)
    assert (row.clip_id, row.start_s, row.names) == ("a.mp4@1.5-#ann+bob", 1.5, ("ann", "bob"))
    (row,) = read(tmp_path, columns(id="t"), text)
    assert row.clip_id == "1.5"


# --- how many -----------------------------------------------------------------------------------------------------

CROWD = (
    "a.jpg,walking,1,1,9,9,2,2,9,9\n"
    "a.jpg,walking,2,2,9,9,3,3,9,9\n"  # the second person again: three in all
    "b.jpg,standing,1,1,9,9,2,2,9,9\n"
)


def persons(rows):
    return [row.people.persons for row in rows]


def test_persons_are_all_whom_any_row_of_the_picture_is_about(tmp_path):
    assert persons(read(tmp_path, columns(), f"image,relation,{CELLS}\n{CROWD}")) == [3, 3, 2]


def test_persons_are_counted_across_tables(tmp_path):
    header = f"image,relation,{CELLS}\n"
    rows = read(tmp_path, columns(), header + CROWD, val=f"{header}b.jpg,walking,5,5,9,9,6,6,9,9\n")
    assert [(row.split, row.people.persons) for row in rows if row.people] == [
        *[("train", 3)] * 2,
        ("train", 4),
        ("val", 4),
    ]


def test_at_another_time_a_video_shows_others(tmp_path):
    cells = ("0,1,1,9,9,2,2,9,9", "0,2,2,9,9,3,3,9,9", "2.5,1,1,9,9,2,2,9,9")
    text = f"image,relation,t,{CELLS}\n" + "".join(f"a.mp4,walking,{own}\n" for own in cells)
    assert persons(read(tmp_path, columns(start_s="t"), text)) == [3, 3, 2]


def test_somebody_whom_nobody_has_seen_does_not_count(tmp_path):
    rows = read(tmp_path, columns(), f"image,relation,{CELLS}\na.jpg,walking,1,1,9,9,,,,\na.jpg,walking,,,,,2,2,9,9\n")
    assert persons(rows) == [2, 2]
    assert [[is_unseen(box) for box in row.people.boxes] for row in rows] == [[False, True], [True, False]]
    assert all(math.isnan(value) for value in rows[0].people.boxes[1])


def test_with_names_people_count_by_these(tmp_path):
    """Two of the same box are two; one who is in two pairs is one."""
    names = ("ann,bob", "bob,cid", "ann,dan")
    boxes = ("1,1,9,9,2,2,9,9", "2,2,9,9,2,2,9,9", "1,1,9,9,,,,")
    lines = [f"a.jpg,walking,{pair},{who}\n" for pair, who in zip(boxes, names, strict=True)]
    rows = read(tmp_path, columns(ids=("who", "whom")), f"image,relation,{CELLS},who,whom\n{''.join(lines)}")
    assert persons(rows) == [3, 3, 3]


def test_a_column_says_how_many_there_are(tmp_path):
    text = f"image,relation,n,{CELLS}\na.jpg,walking,12,1,1,9,9,2,2,9,9\na.jpg,walking,1,1,1,9,9,,,,\n"
    assert persons(read(tmp_path, columns(persons="n"), text)) == [12, 1]


# --- what is wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cells", ["1,2,3,4,5,6,7,tall", "1,2,3,4,5,6,7,", "1,2,3,4,5,6,7", "nan,2,3,4,5,6,7,8", "1,2,inf,4,5,6,7,8"]
)
def test_a_box_that_is_not_four_numbers(tmp_path, cells):
    text = f"image,relation,{CELLS}\na.jpg,walking,1,2,3,4,5,6,7,8\nb.jpg,walking,{cells}\n"
    told = error_of(tmp_path, columns(), text)
    assert "a box that is not four numbers (1)" in told and f"row 3: {', '.join(cells.split(','))}" in told


@pytest.mark.parametrize("count", ["", "1", "two", "-3", "2.5"])
def test_a_number_of_persons_that_is_none(tmp_path, count):
    text = f"image,relation,n,{CELLS}\na.jpg,walking,{count},1,1,9,9,2,2,9,9\n"
    told = error_of(tmp_path, columns(persons="n"), text)
    assert "a number of persons that is none (1)" in told and f"row 2: '{count}' with 2 boxes" in told


@pytest.mark.parametrize(
    ("names", "kind"), [("ann,", "people without a name"), ("ann,ann", "somebody together with himself")]
)
def test_names_that_tell_nobody_apart(tmp_path, names, kind):
    text = f"image,relation,{CELLS},who,whom\na.jpg,walking,1,1,9,9,2,2,9,9,{names}\n"
    told = error_of(tmp_path, columns(ids=("who", "whom")), text)
    assert f"{kind} (1)" in told and "row 2: 'ann', '" in told


def test_one_name_with_two_boxes_in_one_picture(tmp_path):
    rows = ("a.jpg,walking,1,1,9,9,2,2,9,9,ann,bob", "b.jpg,walking,5,5,9,9,2,2,9,9,ann,bob")
    text = f"image,relation,{CELLS},who,whom\n" + "\n".join(rows)
    assert len(read(tmp_path, columns(ids=("who", "whom")), text)) == 2  # another picture, another place
    told = error_of(tmp_path, columns(ids=("who", "whom")), text + "\na.jpg,walking,2,2,9,9,1,1,9,8,bob,ann\n")
    assert "somebody with two boxes in one picture (1)" in told and "row 4: 'ann' in a.jpg" in told


def test_all_faults_of_a_row_are_told(tmp_path):
    text = f"image,relation,n,{CELLS},who,whom\n,,1,x,1,9,9,2,2,9,9,ann,ann\n"
    told = error_of(tmp_path, columns(persons="n", ids=("who", "whom")), text)
    assert all(kind in told for kind in ("no path", "no label", "not four numbers", "together with himself"))


def test_columns_that_are_not_there(tmp_path):
    text = "image,relation,ax,ay,aw,ah,bx,by,bw\na.jpg,walking,1,2,3,4,5,6,7\n"
    told = error_of(tmp_path, columns(persons="n", ids=("who", "whom")), text)
    assert all(f"no column '{name}'" in told for name in ("bh", "who", "whom", "n"))
