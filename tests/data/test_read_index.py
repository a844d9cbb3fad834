"""Every setting of a reader reaches the code that reads, by the one function that the stage ingest calls."""

import pytest

from actrec.data.problems import Problems
from actrec.data.readers import read_index
from actrec.data.skeleton_index import SkeletonEntry, SkeletonIndex
from actrec.errors import UserError

LIST = {
    **{"kind": "list", "head": "action", "media": ".", "class_names": None},
    "files": {"train": "train.txt", "val": None, "test": None},
}
SKELETONS = {"kind": "skeletons", "head": "action", "splits": None, "class_names": None, "group_regex": None}
NTU = {
    **{"kind": "ntu", "head": "action", "dataset": "ntu60", "protocol": "xsub", "held_out": "val"},
    **{"media": ".", "missing": {"kind": "keep"}},
}
# The third is in the authors' list of samples without a skeleton.
KNOWN, UNKNOWN, PUBLISHED = "S001C001P001R001A001", "S001C001P001R001A002", "S001C002P005R002A008"


def read(root, reader, *, media="video", names=()):
    """Return what a reader finds, with skeletons of these names beside it, all of class 0."""
    entries = {name: SkeletonEntry("a.pkl", "f" * 64, name, name, 1, 0) for name in names}
    problems = Problems("here")
    index = read_index(root, reader, media=media, skeletons=SkeletonIndex(entries), problems=problems)
    problems.stop_if_any()
    return index


def touch(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).touch()


@pytest.mark.parametrize("reader", [LIST, NTU, SKELETONS], ids=lambda reader: reader["kind"])
def test_labels_are_of_the_head_that_is_named(tmp_path, reader):
    (tmp_path / "train.txt").write_text("a.mp4 0\n")
    index = read(tmp_path, {**reader, "head": "what"}, media="skeleton", names=[KNOWN])
    assert index.heads == ("what",) and [set(row.labels) for row in index.rows] == [{"what"}]


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        ("keep", [KNOWN, UNKNOWN, PUBLISHED]),
        ("published", [KNOWN, UNKNOWN]),
        ("skeletons", [KNOWN, PUBLISHED]),
    ],
)
def test_missing_says_which_samples_of_ntu_are_left_out(tmp_path, kind, left):
    touch(tmp_path, *(f"{name}_rgb.avi" for name in (KNOWN, UNKNOWN, PUBLISHED)))
    index = read(tmp_path, {**NTU, "missing": {"kind": kind}}, names=[KNOWN, PUBLISHED])
    assert [row.path for row in index.rows] == [f"{name}_rgb.avi" for name in left]


def test_actions_from_61_on_are_those_of_ntu120(tmp_path):
    touch(tmp_path, "S018C001P008R001A061_rgb.avi")
    with pytest.raises(UserError, match="found no sample"):
        read(tmp_path, NTU)
    (row,) = read(tmp_path, {**NTU, "dataset": "ntu120"}).rows
    assert row.labels == {"action": "A061 put on headphone"}


@pytest.mark.parametrize(
    ("dataset", "protocol", "splits"),
    [("ntu60", "xsub", ["val", "val"]), ("ntu60", "xview", ["train", "val"]), ("ntu120", "xset", ["val", "train"])],
)
def test_the_protocol_says_who_trains(tmp_path, dataset, protocol, splits):
    """Subject 3 before camera 2 in setup 1, and before camera 1 in setup 2."""
    touch(tmp_path, "S001C002P003R001A001_rgb.avi", "S002C001P003R001A001_rgb.avi")
    index = read(tmp_path, {**NTU, "dataset": dataset, "protocol": protocol})
    assert [row.split for row in index.rows] == splits


@pytest.mark.parametrize(("media", "found"), [("rgb", ["rgb"]), (".", ["other", "rgb"])])
def test_videos_of_ntu_are_sought_below_the_folder_that_is_named(tmp_path, media, found):
    paths = {"rgb": f"rgb/{KNOWN}_rgb.avi", "other": f"other/{UNKNOWN}_rgb.avi"}
    touch(tmp_path, *paths.values())
    assert [row.path for row in read(tmp_path, {**NTU, "media": media}).rows] == [paths[name] for name in found]
