"""NTU RGB+D: names, protocols, groups, gaps; and the published numbers of samples.

Two things are facts of the data set: who was recorded in which setup (below), and which samples lack a skeleton (a list
that comes with the package). All numbers of samples follow from these and from the code, and are those that the papers
give (2016, section 4.2; 2019, section 4.2) and, without the samples that lack a skeleton, those of pyskl's files.
"""

from collections import Counter
from typing import Any

import pytest

from actrec.data.ntu_reader import NtuName, is_for_training, ntu_name, read_names, read_ntu
from actrec.data.problems import Problems
from actrec.data.public_sets import class_names, ntu_without_skeleton
from actrec.data.splits import Candidate, assign_splits
from actrec.errors import UserError

# Who was recorded in each setup: all actions of the setup's half of the data set, twice, by three cameras.
# Source: the names of the samples (as listed by CTR-GCN, and the two lists of shahroudy/NTURGB-D).
RECORDED = """
1 2 3 4 5 6 7 8
3 7 8 9 10 11 12 13 14
1 2 7 8 15 16 17 18 19
3 7 8 20
4 10 13 15 16 17 18 21
1 7 8 15 16 17 19 22 23 24
1 7 8 15 16 17 18 19 25 26 27 28
1 7 8 15 19 25 29 30 31 32 33 34 35 36
7 8 15 16 17 19 25
7 8 13 15 16 17 18 19 21 25
1 2 7 8 15 16 17 18 19 25 27 28 38
7 8 15 16 17 18 19 25 27 28 37
7 8 15 16 17 18 19 25 27 28 37
7 8 15 17 19 25 27 37 39
7 8 15 16 17 19 25 37
7 8 19 21 25 39 40
3 7 8 9 15 16 17 20
8 41 42 43 44 45
8 41 42 46 47 48 49 50 51
8 41 43 44 52 53 54
55 56 57 58 59 60
61 62 63 64 65 66 67
55 56 57 58 59 60 61 62 63 64 65 66 67 68
57 60 61 62 63 64 67
55 56 58 59 65 66 68
8 41 44 49 50 51 69 70 71 72 74 75 76 77
6 8 11 41 43 44 78 79 80 81 82 83 84 85 86
8 41 42 43 46 48 70 73 87
6 8 41 43 44 48 49 51 67 74 75 80 88 89 90
8 11 41 43 44 48 67 75 76 81 85 88 91 92 93 94 95 96
6 8 41 42 43 44 51 67 82 85 96 97 98 99 100 101
8 41 43 44 67 102 103 104 105 106
"""
NUM_SETUPS = {"ntu60": 17, "ntu120": 32}


def recorded(dataset):
    """Return the names of all samples."""
    setups = [list(map(int, line.split())) for line in RECORDED.split("\n")[1:-1]]
    return [
        NtuName(setup, camera, subject, replication, action)
        for setup, subjects in enumerate(setups[: NUM_SETUPS[dataset]], start=1)
        for subject in subjects
        for camera in (1, 2, 3)
        for replication in (1, 2)
        for action in (range(1, 61) if setup <= 17 else range(61, 121))
    ]


def read(names, *, dataset="ntu60", protocol: Any = "xsub", held_out: Any = "val", missing=(), tmp_path=None):
    """Return the rows of videos with these names."""
    problems = Problems("here")
    rows = read_ntu(
        [f"rgb/{name}_rgb.avi" for name in names],
        head="action",
        classes=class_names(tmp_path, dataset),
        protocol=protocol,
        held_out=held_out,
        missing=missing,
        problems=problems,
    )
    problems.stop_if_any()
    return rows


@pytest.mark.parametrize(
    ("dataset", "protocol", "num_train", "num_held_out"),
    [
        ("ntu60", "xsub", 40_320, 16_560),
        ("ntu60", "xview", 37_920, 18_960),
        ("ntu120", "xsub", 63_360, 51_120),
        ("ntu120", "xset", 54_720, 59_760),
    ],
)
def test_with_all_samples_the_halves_are_as_large_as_published(tmp_path, dataset, protocol, num_train, num_held_out):
    rows = read(recorded(dataset), dataset=dataset, protocol=protocol, tmp_path=tmp_path)
    assert Counter(row.split for row in rows) == {"train": num_train, "val": num_held_out}


@pytest.mark.parametrize(
    ("dataset", "protocol", "num_train", "num_held_out"),
    [
        ("ntu60", "xsub", 40_091, 16_487),
        ("ntu60", "xview", 37_646, 18_932),
        ("ntu120", "xsub", 63_026, 50_919),
        ("ntu120", "xset", 54_468, 59_477),
    ],
)
def test_without_those_that_lack_a_skeleton_as_well(tmp_path, capsys, dataset, protocol, num_train, num_held_out):
    rows = read(
        recorded(dataset), dataset=dataset, protocol=protocol, missing=ntu_without_skeleton(), tmp_path=tmp_path
    )
    assert Counter(row.split for row in rows) == {"train": num_train, "val": num_held_out}
    said = capsys.readouterr().err
    assert f"left out {302 if dataset == 'ntu60' else 535} samples without a skeleton" in said


def test_the_samples_are_all_that_were_recorded():
    for dataset, total, num_missing in (("ntu60", 56_880, 302), ("ntu120", 114_480, 535)):
        names = {str(name) for name in recorded(dataset)}
        assert len(names) == total
        assert len(ntu_without_skeleton() & names) == num_missing
    assert len(ntu_without_skeleton()) == 535


def test_half_of_the_subjects_train():
    trained = {s for s in range(1, 107) if is_for_training(NtuName(1, 1, s, 1, 1), "xsub")}
    assert len(trained) == 53 and len(trained & set(range(1, 41))) == 20


@pytest.mark.parametrize(
    "path",
    [
        "S001C002P003R002A013",
        "S001C002P003R002A013.skeleton",
        "nturgb+d_rgb/S001C002P003R002A013_rgb.avi",
        "a/b/S001C002P003R002A013.mp4",
        "a/b.c/S001C002P003R002A013_rgb.mp4",
    ],
)
def test_a_name_is_found_with_and_without_what_may_follow_it(path):
    assert ntu_name(path) == NtuName(setup=1, camera=2, subject=3, replication=2, action=13)
    assert str(ntu_name(path)) == "S001C002P003R002A013"


@pytest.mark.parametrize(
    "path", ["", "S1C2P3R2A13", "S001C002P003R002A013_depth.avi", "xS001C002P003R002A013", "a.avi"]
)
def test_other_names_are_none(path):
    assert ntu_name(path) is None


def test_the_label_is_the_number_of_the_action(tmp_path):
    (row,) = read(["S001C002P003R002A041"], tmp_path=tmp_path)
    assert row.labels == {"action": "A041 sneeze or cough"}
    assert row.path == row.clip_id == "rgb/S001C002P003R002A041_rgb.avi"


def test_groups_are_subjects_and_which_half_they_are_in():
    """No group may be in two splits, and the same people are before all cameras."""
    names = ["S001C001P001R001A001", "S001C002P001R001A001", "S002C003P001R001A001", "S002C002P003R001A001"]
    groups = {protocol: [row.group for row in read(names, protocol=protocol)] for protocol in ("xsub", "xview", "xset")}
    assert groups == {
        "xsub": ["P001", "P001", "P003", "P001"],
        "xview": ["P001 C001", "P001 C002 and C003", "P003 C002 and C003", "P001 C002 and C003"],
        "xset": ["P001 odd setups", "P001 odd setups", "P003 even setups", "P001 even setups"],
    }


@pytest.mark.parametrize("protocol", ["xsub", "xview"])
def test_val_is_taken_out_of_train_in_whole_subjects_where_test_is_held_out(tmp_path, protocol):
    names = [name for name in recorded("ntu60") if name.action in (1, 60)]
    rows = read(names, protocol=protocol, held_out="test", tmp_path=tmp_path)
    assert {row.split for row in rows} == {"train", "test"}
    samples = [
        Candidate(row.clip_id, [("action", row.labels["action"])], row.group, row.clip_id, row.split) for row in rows
    ]
    splits, note = assign_splits(samples, train_frac=0.9, val_frac=0.1, test_frac=0.0, seed=0)
    subjects = {split: {r.group for r in rows if splits[r.clip_id] == split} for split in ("train", "val", "test")}
    assert subjects["val"] and not subjects["val"] & subjects["train"]
    held_out = {row.clip_id for row in rows if row.split == "test"}
    assert {clip_id for clip_id, split in splits.items() if split == "test"} == held_out
    assert "no row is in val" in note
    num_val, num_rest = (sum(split in wanted for split in splits.values()) for wanted in (["val"], ["train", "val"]))
    assert abs(num_val / num_rest - 0.1) < 0.03


def test_actions_beyond_the_data_set_and_other_files_are_counted(tmp_path, capsys):
    rows = read(["S018C001P008R001A061", "S001C001P001R001A000", "S001C001P001R001A001", "notes"], tmp_path=tmp_path)
    assert [row.path for row in rows] == ["rgb/S001C001P001R001A001_rgb.avi"]
    assert "passed over 3 files" in capsys.readouterr().err


def test_two_files_of_a_sample_are_told():
    problems = Problems("here")
    paths = ["a/S001C001P001R001A001_rgb.avi", "b/S001C001P001R001A001.mp4"]
    kwargs: Any = {"protocol": "xsub", "held_out": "val", "missing": ()}
    rows = read_ntu(paths, head="action", classes=["x"], problems=problems, **kwargs)
    assert len(rows) == 1
    with pytest.raises(UserError, match=r"two files \(1\)(?s:.*)b/S001C001P001R001A001\.mp4: as a/S001"):
        problems.stop_if_any()


def test_a_folder_without_any_sample_stops():
    with pytest.raises(UserError, match="found no sample"):
        read(["clip"])


def test_the_authors_list_is_read_with_its_heading(tmp_path):
    file = tmp_path / "missing.txt"
    file.write_text("302 of the samples have missing skeletons.\n\nS001C002P005R002A008\r\n S001C002P006R001A008 \n")
    assert read_names(file) == {"S001C002P005R002A008", "S001C002P006R001A008"}
    file.write_text("nothing here\n")
    with pytest.raises(UserError, match="names no sample"):
        read_names(file)
