"""What tables of the wildlife guide and of MammAlps need: several tables, samples, groups in paths, several labels."""

import pytest

from actrec.data.csv_reader import Columns, read_csv, read_tables
from actrec.data.manifest import Split
from actrec.data.problems import Problems
from actrec.errors import UserError

GUIDE = Columns(path="video_path", heads={"species": "species", "behaviour": "activity"})
# One event is seen by the cameras of a site; what one camera saw of an animal is a folder of segments.
MAMMALPS = Columns(
    path="video_path",
    heads={"species": "species", "behaviour": "activity", "actions": "actions"},
    group_regex=r"^(S\d+)_C\d+_(E\d+)_",
    sample_regex="^([^/]+)/",
    multi_label={"actions": ","},
)
TABLE = (
    "video_path,species,activity,actions\n"
    'S1_C3_E144_V0060_ID1_T1/S1_C3_E144_V0060_ID1_T1_c0.mp4,red_deer,foraging,"walking , grazing,"\n'
    'S1_C3_E144_V0060_ID1_T1/S1_C3_E144_V0060_ID1_T1_c1.mp4,red_deer,foraging,"grazing,walking,grazing"\n'
    "S2_C1_E7_V0001_ID2_T1/S2_C1_E7_V0001_ID2_T1_c0.mp4,wolf,vigilance,\n"
)


def read(folder, columns, text: str):
    (folder / "t.csv").write_text(text, encoding="utf-8")
    problems = Problems("here")
    rows = read_csv(folder / "t.csv", columns=columns, problems=problems)
    problems.stop_if_any()
    return rows


def error_of(folder, columns, text: str) -> str:
    with pytest.raises(UserError) as caught:
        read(folder, columns, text)
    return str(caught.value)


def test_groups_and_samples_come_from_the_path(tmp_path):
    rows = read(tmp_path, MAMMALPS, TABLE)
    assert [row.group for row in rows] == ["S1_E144", "S1_E144", "S2_E7"]
    assert [row.sample for row in rows] == [*["S1_C3_E144_V0060_ID1_T1"] * 2, "S2_C1_E7_V0001_ID2_T1"]


def test_cells_with_several_classes_are_parted_sorted_and_without_blanks(tmp_path):
    rows = read(tmp_path, MAMMALPS, TABLE)
    assert [row.labels.get("actions") for row in rows] == ["grazing|walking", "grazing|walking", None]
    assert rows[2].labels == {"species": "wolf", "behaviour": "vigilance"}


def test_a_column_of_groups_and_samples_goes_before_the_path(tmp_path):
    columns = Columns(path="p", heads={"a": "a"}, group="g", sample="s", group_regex="(x)", sample_regex="(x)")
    (row,) = read(tmp_path, columns, "p,a,g,s\nb.mp4,run,night 1,walk 7\n")
    assert (row.group, row.sample) == ("night 1", "walk 7")


def test_a_part_of_the_expression_that_matches_nothing_leaves_no_gap(tmp_path):
    columns = Columns(path="p", heads={"a": "a"}, group_regex=r"^(S\d+)(_C\d+)?_(E\d+)")
    rows = read(tmp_path, columns, "p,a\nS1_E2.mp4,run\nS1_C4_E2.mp4,run\n")
    assert [row.group for row in rows] == ["S1_E2", "S1__C4_E2"]


def test_faults_are_told_with_their_rows(tmp_path):
    text = TABLE + "other/x.mp4,wolf,resting,a\nS1_C1_E1_c0.mp4,wolf,resting,b\nS1_C1_E1_V1/c0.mp4,wolf,resting,a|b\n"
    told = error_of(tmp_path, MAMMALPS, text)
    assert "group_regex finds no group (1)" in told and "row 5: other/x.mp4" in told
    assert "sample_regex finds no sample (1)" in told and "row 6: S1_C1_E1_c0.mp4" in told
    assert "a class name with a | in it (1)" in told and "row 7: a|b" in told


def test_a_bar_may_part_the_classes(tmp_path):
    columns = Columns(path="p", heads={"a": "a"}, multi_label={"a": "|"})
    (row,) = read(tmp_path, columns, "p,a\nb.mp4,run | eat\n")
    assert row.labels == {"a": "eat|run"}


def test_a_cell_of_separators_alone_is_no_label(tmp_path):
    columns = Columns(path="p", heads={"a": "a"}, multi_label={"a": ";"})
    assert "no label (1)" in error_of(tmp_path, columns, "p,a\nb.mp4,run\nc.mp4, ; \n")


@pytest.mark.parametrize("setting", ["group_regex", "sample_regex"])
@pytest.mark.parametrize("regex", ["s[", r"s\d+"])
def test_an_expression_that_finds_nothing_is_refused(tmp_path, setting, regex):
    columns = Columns(path="p", heads={"a": "a"}, **{setting: regex})
    assert f"data.reader.{setting} is '{regex}'" in error_of(tmp_path, columns, "p,a\nb.mp4,run\n")


# --- a table for each split ---------------------------------------------------------------------------------------


def tables(folder, columns=GUIDE, **texts: str):
    for split, text in texts.items():
        (folder / f"{split}.csv").write_text(text, encoding="utf-8")
    files: dict[Split, str | None] = {
        split: f"{split}.csv" if split in texts else None for split in ("train", "val", "test")
    }
    problems = Problems("here")
    rows = read_tables(folder, file=files, columns=columns, problems=problems)
    problems.stop_if_any()
    return rows


def test_the_file_gives_the_split(tmp_path):
    header = "video_path,species,activity\n"
    rows = tables(tmp_path, train=header + "a/a_c0.mp4,fox,resting\n", test=header + "b/b_c0.mp4,hare,\n")
    assert [(row.path, row.split, row.labels) for row in rows] == [
        ("a/a_c0.mp4", "train", {"species": "fox", "behaviour": "resting"}),
        ("b/b_c0.mp4", "test", {"species": "hare"}),
    ]
    assert [row.where for row in rows] == ["train.csv row 2", "test.csv row 2"]


def test_faults_of_all_tables_are_told_together(tmp_path):
    header = "video_path,species,activity\n"
    with pytest.raises(UserError) as caught:
        tables(tmp_path, train=header + "a.mp4,,\n", val=header + "b.mp4,fox,\n,fox,\n")
    assert "train.csv row 2: a.mp4" in str(caught.value) and "val.csv row 3" in str(caught.value)


def test_a_table_that_is_not_there_is_named(tmp_path):
    (tmp_path / "train.csv").write_text("video_path,species,activity\na.mp4,fox,\n")
    files: dict[Split, str | None] = {"train": "train.csv", "val": "gone.csv", "test": None}
    with pytest.raises(UserError, match=r"gone\.csv: cannot be read"):
        read_tables(tmp_path, file=files, columns=GUIDE, problems=Problems("here"))


@pytest.mark.parametrize("line_end", ["\r\n", "\r"])
def test_lines_may_end_as_on_other_systems(tmp_path, line_end):
    """A spreadsheet's "CSV (Macintosh)" has carriage returns alone."""
    (tmp_path / "t.csv").write_bytes(TABLE.replace("\n", line_end).encode())
    rows = read_csv(tmp_path / "t.csv", columns=GUIDE, problems=Problems("here"))
    assert [row.labels["species"] for row in rows] == ["red_deer", "red_deer", "wolf"]
