import pytest

from actrec.data.problems import Problems
from actrec.data.rows import Row
from actrec.data.skeleton_index import SkeletonEntry, SkeletonIndex, entries_by_name, skeletons_of
from actrec.errors import UserError


def index(*names):
    """Return an index of these skeletons; names with folders are those of files in folders."""
    return SkeletonIndex({name: SkeletonEntry(f"{name}.npz", "f" * 64, name, name, 1) for name in names})


def row(path, clip_id="", start_s=None):
    return Row(f"row of {path}", clip_id or path, path, {"action": "run"}, None, "", start_s)


@pytest.mark.parametrize(
    ("names", "path", "found"),
    [
        (["a/b/x"], "a/b/x.mp4", "a/b/x"),
        (["x"], "a/b/x.mp4", "x"),
        (["x"], "x", "x"),
        (["x.1"], "x.1", "x.1"),
        (["x.1"], "x.1.mp4", "x.1"),
        (["x_rgb"], "a/x_rgb.avi", "x_rgb"),
        (["x"], "a/x_rgb.avi", "x"),
        (["a/x"], "a/x_RGB.avi", "a/x"),
        (["deep/x"], "a/x.mp4", "deep/x"),
        (["a/x", "b/x"], "a/x.mp4", "a/x"),
        (["a/x", "x"], "b/x.mp4", None),
        (["a/x", "b/x"], "c/x.mp4", None),
        (["x"], "a/xx.mp4", None),
        (["x"], "x/y.mp4", None),
        (["x"], "", None),
        ([], "x.mp4", None),
    ],
)
def test_a_clip_finds_the_skeleton_of_its_name(names, path, found):
    entry = index(*names).find(path)
    assert (entry and entry.name) == found


def test_the_skeletons_of_rows_are_by_their_ids():
    problems = Problems("here")
    rows = [row("a.mp4", "7"), row("b.mp4"), row("c.mp4")]
    found = skeletons_of(rows, index("a", "b", "other"), problems)
    assert {clip_id: entry.name for clip_id, entry in found.items()} == {"7": "a", "b.mp4": "b"} and not problems


def test_a_part_of_a_file_does_not_have_the_skeleton_of_the_whole():
    problems = Problems("here")
    rows = [row("a.mp4", "a.mp4@1-", start_s=1.0), row("b.mp4", "b.mp4@1-", start_s=1.0)]
    found = skeletons_of(rows, index("a", "b", "b.mp4@1-"), problems)
    assert {clip_id: entry.name for clip_id, entry in found.items()} == {"b.mp4@1-": "b.mp4@1-"}


def test_two_clips_do_not_share_a_skeleton_unless_they_are_of_one_file():
    problems = Problems("here")
    skeletons_of([row("a/x.mp4", "1"), row("a/x.mp4", "2")], index("x"), problems)
    assert not problems
    skeletons_of([row("a/x.mp4"), row("b/x.mp4")], index("x"), problems)
    with pytest.raises(UserError, match=r"skeleton of another one \(1\)(?s:.*)row of b/x.mp4: 'x', .* row of a/x.mp4"):
        problems.stop_if_any()


def test_names_that_two_files_have_are_told():
    problems = Problems("here")
    entries = [SkeletonEntry(f"{file}.pkl", "f" * 64, "x", "0", 1) for file in "ab"]
    assert entries_by_name([("x", entry) for entry in entries], problems) == {"x": entries[0]}
    with pytest.raises(UserError, match=r"'x': in a\.pkl and b\.pkl"):
        problems.stop_if_any()
