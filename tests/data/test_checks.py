import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from actrec.data.checks import check_rows
from actrec.data.problems import Problems
from actrec.data.root import check_root
from actrec.data.rows import UNKNOWN_SPLIT, Row
from actrec.errors import UserError


def row(number, path, split=None, *, label="run", group="", clip_id=None):
    return Row(f"row {number}", path if clip_id is None else clip_id, path, {"action": label}, split, group)


def hasher(paths):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def faults(root, rows, *, val_frac=0.2, test_frac=0.2, hasher=hasher, multi_label=()) -> str:
    problems = Problems("t.csv")
    fractions = {"val_frac": val_frac, "test_frac": test_frac}
    check_rows(rows, multi_label=multi_label, root=root, **fractions, hasher=hasher, problems=problems)
    try:
        problems.stop_if_any()
    except UserError as error:
        return str(error)
    return ""


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        (root / name).write_text(name * 3)
    return root


def good():
    return [row(2, "a.mp4", "train"), row(3, "b.mp4", "val"), row(4, "c.mp4", "test")]


def test_good_rows_have_no_fault_and_are_found(root):
    problems = Problems("t.csv")
    found = check_rows(good(), multi_label=(), root=root, val_frac=0, test_frac=1, hasher=hasher, problems=problems)
    assert not problems
    assert found == {name: root / name for name in ("a.mp4", "b.mp4", "c.mp4")}


def test_a_root_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"data\.root is .*nowhere"):
        check_root(tmp_path / "nowhere")
    with pytest.raises(UserError, match=rf"no such folder .* write {Path.home()}/clips"):
        check_root(Path("~/clips"))


@pytest.mark.parametrize(
    "path", ["http://h/x.mp4", "file:///etc/passwd", "pipe:0", "concat:a.mp4|b.mp4", "data:video/mp4;base64,AA"]
)
def test_paths_with_a_scheme(root, path):
    text = faults(root, [*good(), row(5, path, "train")])
    assert "a path with a scheme (1)" in text and f"row 5: {path}" in text


@pytest.mark.parametrize("path", ["/etc/hostname", "C:/x.mp4"])
def test_absolute_paths(root, path):
    assert f"row 5: {path}" in faults(root, [*good(), row(5, path, "train")])


def test_paths_that_lead_out(root):
    (root.parent / "secret.mp4").write_text("s")
    (root / "link.mp4").symlink_to(root.parent / "secret.mp4")
    (root / "inner.mp4").symlink_to(root / "a.mp4")
    rows = [*good(), row(5, "../secret.mp4", "train", clip_id="x"), row(6, "link.mp4", "train")]
    text = faults(root, rows)
    assert "leads out of data.root (2)" in text and "row 5" in text and "row 6" in text
    assert faults(root, [*good(), row(5, "inner.mp4", "train")]) == ""


def test_the_root_itself_may_be_a_link(root):
    (root.parent / "link").symlink_to(root)
    assert faults(root.parent / "link", good()) == ""


def test_missing_files_and_folders(root):
    (root / "d.mp4").mkdir()
    text = faults(root, [*good(), row(5, "x.mp4", "train"), row(6, "d.mp4", "train"), row(7, "y/z.mp4", "train")])
    assert "a missing file (2)" in text and "row 5: x.mp4" in text and "row 7: y/z.mp4" in text
    assert "no regular file (1)" in text and "row 6: d.mp4" in text


def test_files_that_lie_elsewhere_are_pointed_at(root):
    (root / "clips").mkdir()
    (root / "clips/d.mp4").touch()
    text = faults(root, [*good(), row(5, "d.mp4", "train"), row(6, "e.mp4", "train")])
    assert f"1 of these 2 exist under {root / 'clips'}" in text


def test_another_case_is_pointed_at(root):
    (root / "D.MP4").touch()
    assert "the first is named D.MP4" in faults(root, [*good(), row(5, "d.mp4", "train")])


@pytest.mark.parametrize(
    ("on_disk", "in_table"), [("Tai\u0308.mp4", "Ta\u00ef.mp4"), ("Ta\u00ef.mp4", "Tai\u0308.mp4")]
)
def test_accents_are_found_in_either_form(root, on_disk, in_table):
    (root / on_disk).write_text("one of a kind")
    assert faults(root, [*good(), row(5, in_table, "train")]) == ""


@pytest.mark.parametrize("twin", ["A.MP4", "a.mp4"])
def test_ids_that_are_equal_but_for_case(root, twin):
    (root / "A.MP4").write_text("another")
    assert "row 5: 'A.MP4', first in row 2" in faults(root, [*good(), row(5, "A.MP4", "train")])


def test_ids_that_are_equal_but_for_the_form_of_accents(root):
    rows = [*good(), row(5, "a.mp4", clip_id="e\u0301"), row(6, "a.mp4", clip_id="\u00e9")]
    assert "first in row 5" in faults(root, rows)


def test_ids_that_cannot_be_files(root):
    assert "row 5: 'x/../y'" in faults(root, [*good(), row(5, "a.mp4", "train", clip_id="x/../y")])


def test_a_group_in_two_splits(root):
    rows = [
        row(2, "a.mp4", "train", group="ann"),
        row(3, "b.mp4", "val", group="bob"),
        row(4, "c.mp4", "test", group="ann"),
    ]
    assert "'ann': 1 in test, 1 in train" in faults(root, rows)
    assert "bob" not in faults(root, rows)


def test_the_same_bytes_in_two_splits(root):
    (root / "d.mp4").write_bytes((root / "a.mp4").read_bytes())
    text = faults(root, [*good(), row(5, "d.mp4", "test")])
    assert "row 2 (train), row 5 (test)" in text
    assert faults(root, [*good(), row(5, "d.mp4", "train")]) == ""


def test_only_files_of_equal_size_are_read(root):
    (root / "c.mp4").write_text("longer than the others")
    asked = []
    faults(root, good(), hasher=lambda paths: asked.extend(paths) or hasher(paths))
    assert asked == [root / "a.mp4", root / "b.mp4"]


def test_labels_that_train_lacks(root):
    rows = [*good(), row(5, "a.mp4", "val", label="sit", clip_id="x")]
    assert "action 'sit': only in row 5" in faults(root, rows)


@pytest.mark.parametrize(
    ("missing", "fractions", "is_fault"),
    [
        ("train", {}, True),
        ("val", {}, False),  # it comes out of train
        ("val", {"val_frac": 0}, True),
        ("test", {}, True),
        ("test", {"test_frac": 0}, False),
    ],
)
def test_empty_splits(root, missing, fractions, is_fault):
    text = faults(root, [r for r in good() if r.split != missing], **fractions)
    assert ("a split without clips (1)" in text) == is_fault


def test_all_faults_come_in_one_error(root):
    rows = [
        row(2, "a.mp4", "train", group="ann"),
        row(3, "b.mp4", "test", group="ann", label="sit"),
        row(4, "http://h/x.mp4", "test"),
        row(5, "/x.mp4", "train"),
        row(6, "nowhere.mp4", "train"),
        row(7, "a.mp4", "train"),
    ]
    text = faults(root, rows, val_frac=0)
    kinds = Counter(line.startswith("- ") for line in text.splitlines())
    # scheme, absolute, missing, bad id (the absolute path and the scheme), same id, group, unseen label, empty val
    assert kinds[True] == 8 and "nothing was decoded" in text


def test_what_follows_from_rows_that_were_refused_is_not_judged(root):
    problems = Problems("t.csv")
    problems.add(UNKNOWN_SPLIT, "row 9")
    check_rows(good()[1:], multi_label=(), root=root, val_frac=0, test_frac=1, hasher=hasher, problems=problems)
    with pytest.raises(UserError) as caught:
        problems.stop_if_any()
    assert "without clips" not in str(caught.value)


def test_a_sample_in_two_splits(root):
    rows = [replace(r, sample="walk 7") for r in good()[:2]]
    told = faults(root, [*rows, good()[2]])
    assert "a sample in two splits" in told and "'walk 7': 1 in train, 1 in val" in told


def test_each_class_of_a_clip_must_be_in_train(root):
    rows = [row(2, "a.mp4", "train", label="run|sit"), row(3, "b.mp4", "val", label="run"), good()[2]]
    rows[2] = replace(rows[2], labels={"action": "howl|sit"})
    told = faults(root, rows, multi_label={"action"})
    assert "action 'howl': only in row 4" in told and "'sit'" not in told
    assert "action 'howl|sit': only in row 4" in faults(root, rows)


def test_a_sample_of_val_or_test_with_two_labels_is_told_and_how_to_do_without(root):
    second = replace(row(5, "b.mp4", "val", label="sit", clip_id="b2"), sample="walk 7")
    rows = [good()[0], replace(good()[1], sample="walk 7"), good()[2], second]
    told = faults(root, rows)
    assert "a sample of val or test whose clips have different labels, though it is judged as one (1)" in told
    assert "data.reader.sample, sample_regex. With null for both each clip is judged by itself" in told
    assert "'walk 7': action is 'run' (b.mp4), 'sit' (b2)" in told
    for label, sample in (("run", "walk 7"), ("sit", "walk 8"), ("sit", "")):
        fine = replace(second, labels={"action": label}, sample=sample)
        assert "a sample of val" not in faults(root, [*rows[:3], fine])


def test_samples_of_train_may_have_two_labels_and_clips_none(root):
    rows = [replace(r, sample=f"of {r.split}") for r in good()]
    rows += [replace(row(5, "a.mp4", "train", label="sit", clip_id="a2"), sample="of train")]
    rows += [replace(row(6, "b.mp4", "val", clip_id="b2"), labels={"kind": "x"}, sample="of val")]
    rows += [replace(row(7, "a.mp4", "train", clip_id="a3"), labels={"kind": "x"})]
    assert not faults(root, rows)
