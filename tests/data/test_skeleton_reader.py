from typing import Any

import pytest

from actrec.data.problems import Problems
from actrec.data.skeleton_index import SkeletonEntry, SkeletonIndex
from actrec.data.skeleton_reader import read_skeleton_rows
from actrec.errors import UserError

LABELS = {"p1_a": 0, "p2_b": 1, "p1_c": 1, "p3_d": 0}
SPLITS = {"xsub_train": ["p1_c", "p1_a"], "xsub_val": ["p2_b"], "all": list(LABELS)}


def read(root, labels: Any = LABELS, *, reason="", **changes):
    """Return the rows of a file with these labels and with SPLITS."""
    entries = {
        name: SkeletonEntry("a.pkl", "f" * 64, name, name, 1, label, reason if label is None else "", "")
        for name, label in labels.items()
    }
    settings = {"splits": {"train": "xsub_train", "val": "xsub_val", "test": None}, "class_names": None}
    problems = Problems("here")
    rows = read_skeleton_rows(
        SkeletonIndex(entries, SPLITS if labels else {}),
        root=root,
        head="action",
        problems=problems,
        **{**settings, "group_regex": None, **changes},
    )
    problems.stop_if_any()
    return rows


def test_the_rows_are_those_of_the_splits(tmp_path):
    rows = read(tmp_path)
    assert [(row.path, row.clip_id, row.split, row.labels) for row in rows] == [
        ("p1_c", "p1_c", "train", {"action": "1"}),
        ("p1_a", "p1_a", "train", {"action": "0"}),
        ("p2_b", "p2_b", "val", {"action": "1"}),
    ]


def test_the_list_of_test_is_test_and_val_may_have_none(tmp_path):
    rows = read(tmp_path, splits={"train": "xsub_train", "val": None, "test": "xsub_val"})
    assert [(row.path, row.split) for row in rows] == [("p1_c", "train"), ("p1_a", "train"), ("p2_b", "test")]


def test_without_splits_they_are_all_there_is(tmp_path):
    rows = read(tmp_path, splits=None, group_regex=r"p(\d)")
    assert [(row.path, row.split, row.group) for row in rows] == [
        ("p1_a", None, "1"),
        ("p2_b", None, "2"),
        ("p1_c", None, "1"),
        ("p3_d", None, "3"),
    ]


def test_numbers_have_names_out_of_a_file_or_the_package(tmp_path):
    (tmp_path / "names.txt").write_text("bow\nwave\n")
    assert [row.labels["action"] for row in read(tmp_path, class_names="names.txt")] == ["wave", "bow", "wave"]
    assert read(tmp_path, class_names="ma52")[0].labels == {"action": "01 sitting straightly"}


def test_a_split_that_the_file_lacks_is_told_with_those_that_it_has(tmp_path):
    with pytest.raises(UserError, match=r"splits\.val is 'xview_val', .* it has xsub_train, xsub_val, all"):
        read(tmp_path, splits={"train": "xsub_train", "val": "xview_val", "test": None})
    with pytest.raises(UserError, match=r"no skeleton at all"):
        read(tmp_path, {})


def test_names_without_a_skeleton_are_counted(tmp_path, capsys):
    assert len(read(tmp_path, {"p1_a": 0, "p2_b": 0})) == 2
    assert "1 of 2 names in the list 'xsub_train' have no skeleton" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (None, r"a skeleton without a label \(1\)"),
        (2, r"p2_b: 2; there are 2 class names"),
        (-1, r"unknown label \(1\)"),
    ],
)
def test_labels_that_cannot_be_used(tmp_path, label, expected):
    (tmp_path / "names.txt").write_text("bow\nwave\n")
    with pytest.raises(UserError, match=expected):
        read(tmp_path, {**LABELS, "p2_b": label}, class_names="names.txt")


def test_a_skeleton_that_is_no_use_stays_a_row_to_be_set_aside(tmp_path):
    rows = read(tmp_path, {**LABELS, "p2_b": None}, reason="wrong_shape")
    assert rows[2].labels == {} and rows[2].split == "val"


def test_names_without_a_group_are_told(tmp_path):
    with pytest.raises(UserError, match=r"group_regex finds no group \(1\)"):
        read(tmp_path, group_regex=r"(p1)")
