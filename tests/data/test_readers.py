import codecs
from typing import Any

import pytest

from actrec.data.csv_reader import Columns, read_csv
from actrec.data.folder_reader import read_folders
from actrec.data.list_reader import read_lists
from actrec.data.manifest import SPLITS, Media, Split
from actrec.data.problems import Problems
from actrec.data.rows import id_fault, id_of_part, plain_path, split_named
from actrec.errors import UserError

COLUMNS = Columns(path="path", heads={"action": "label"}, split="split", group="who", start_s="start", end_s="end")
TABLE = 'path,label,split,who,start,end\n"Taï/a b.MP4",gêne,train,ann,,\nc.avi,"x, y",VALID,bob,1.50,2\n'


def read(path, columns=COLUMNS, problems=None):
    problems = Problems("here") if problems is None else problems
    rows = read_csv(path, columns=columns, problems=problems)
    problems.stop_if_any()
    return rows


def error_of(text: str, tmp_path, columns=COLUMNS) -> str:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read(tmp_path / "t.csv", columns)
    return str(caught.value)


# --- csv ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode(),
        lambda text: codecs.BOM_UTF8 + text.encode(),
        lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
        lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\n\n").encode(),
    ],
    ids=["utf-8", "utf-8 bom", "utf-16 le", "utf-16 be", "crlf", "blank lines"],
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_encodings_and_delimiters_give_the_same_rows(tmp_path, encode, delimiter):
    table = TABLE.replace(",", delimiter).replace(f"x{delimiter} y", f"x{delimiter} y")
    (tmp_path / "t.csv").write_bytes(encode(table))
    first, second = read(tmp_path / "t.csv")
    assert (first.path, first.labels, first.split, first.group) == ("Taï/a b.MP4", {"action": "gêne"}, "train", "ann")
    assert (first.clip_id, first.start_s, first.end_s) == ("Taï/a b.MP4", None, None)
    assert (second.clip_id, second.split, second.labels["action"]) == ("c.avi@1.5-2", "val", f"x{delimiter} y")


def test_rows_are_numbered_as_in_a_spreadsheet(tmp_path):
    (tmp_path / "t.csv").write_text(TABLE)
    assert [row.where for row in read(tmp_path / "t.csv")] == ["row 2", "row 3"]


def test_from_zero_is_the_whole_file(tmp_path):
    (tmp_path / "t.csv").write_text(TABLE + "d.mp4,x,train,,0,\n")
    row = read(tmp_path / "t.csv")[2]
    assert (row.clip_id, row.start_s, row.end_s) == ("d.mp4", None, None)


def test_several_heads_and_an_id_column(tmp_path):
    (tmp_path / "t.csv").write_text("n,file,species,what\n7,a.mp4,deer,\n8,b.mp4,,runs\n")
    columns = Columns(path="file", heads={"species": "species", "behaviour": "what"}, id="n")
    rows = read(tmp_path / "t.csv", columns)
    assert [(row.clip_id, row.labels) for row in rows] == [("7", {"species": "deer"}), ("8", {"behaviour": "runs"})]
    assert all(row.split is None and row.group == "" for row in rows)


def test_missing_columns_are_all_named_with_what_is_there(tmp_path):
    text = error_of("Path,klass,split\na,b,train\n", tmp_path)
    assert "no column 'path' (did you mean 'Path'?)" in text
    assert "no column 'who'" in text and "no column 'start'" in text
    assert "Found: Path, klass, split" in text


def test_a_column_that_appears_twice_is_refused(tmp_path):
    assert "'path' appears 2 times" in error_of(TABLE.replace("end\n", "path\n", 1), tmp_path)


def test_other_encodings_say_where_and_how_to_convert(tmp_path):
    (tmp_path / "t.csv").write_bytes(TABLE.encode("cp1252"))
    with pytest.raises(UserError, match=r"row 2 is not UTF-8: .*Ta\\xef.*iconv"):
        read(tmp_path / "t.csv")


def test_utf_16_without_its_mark_is_named(tmp_path):
    (tmp_path / "t.csv").write_bytes("path,label\n".encode("utf-16-le"))
    with pytest.raises(UserError, match="UTF-16"):
        read(tmp_path / "t.csv")


def test_a_quotation_mark_left_open_is_an_error(tmp_path):
    assert "quotation marks" in error_of(TABLE + '"d.mp4,x,train,,,\n', tmp_path)


def test_a_table_without_rows_is_an_error(tmp_path):
    assert "no rows" in error_of(TABLE.partition("\n")[0] + "\n", tmp_path)


def test_every_fault_of_every_row_is_told_at_once(tmp_path):
    text = error_of(
        TABLE
        + ",x,train,,,\n"  # row 4: no path
        + "d.mp4,,train,,,\n"  # row 5: no label
        + "e.mp4,x,holdout,,,\n"  # row 6: unknown split
        + "f.mp4,x,train,,one,2\n"  # row 7
        + "g.mp4,x,train,,3,2\n"  # row 8
        + "h.mp4,x,train,,-1,\n"  # row 9
        + "i.mp4,x,train,,nan,\n"  # row 10
        + "j.mp4,x,train,,,,extra\n",  # row 11
        tmp_path,
    )
    for number in range(4, 12):
        assert f"row {number}" in text
    assert "row 3" not in text and "'holdout'" in text


def test_long_lists_of_faults_are_cut_and_counted(tmp_path):
    text = error_of(TABLE + "e.mp4,x,holdout,,,\n" * 25, tmp_path)
    assert text.count("'holdout'") == 20
    assert "(25)" in text and "and 5 more" in text


# --- lists --------------------------------------------------------------------------------------------------------


def lists(tmp_path, class_names=None, media=".", **texts):
    problems = Problems("here")
    for split, text in texts.items():
        (tmp_path / f"{split}.txt").write_text(text)
    files: dict[Split, str | None] = {split: f"{split}.txt" if split in texts else None for split in SPLITS}
    rows = read_lists(tmp_path, files=files, head="action", media=media, class_names=class_names, problems=problems)
    problems.stop_if_any()
    return rows


def test_list_lines_end_in_the_number_of_the_class(tmp_path):
    (tmp_path / "names.txt").write_text("run\nsit down\n\n")
    train = "my clip.mp4 1\nb.mp4\t0\n/abs.mp4 0\nhttp://h/x.mp4 0\n"
    rows = lists(tmp_path, "names.txt", "videos", train=train, val="./c.mp4 1\n")
    assert [(row.path, row.labels["action"], row.split) for row in rows] == [
        ("videos/my clip.mp4", "sit down", "train"),
        ("videos/b.mp4", "run", "train"),
        ("/abs.mp4", "run", "train"),
        ("http://h/x.mp4", "run", "train"),
        ("videos/c.mp4", "sit down", "val"),
    ]
    assert rows[1].where == "train.txt row 2"


def test_lines_of_two_lists_with_one_name_are_told_apart(tmp_path):
    files: dict[Split, str | None] = {"train": "train/list.txt", "val": "val/list.txt", "test": None}
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "list.txt").write_text(f"{split}.mp4 0\n")
    options: dict[str, Any] = {"head": "action", "media": ".", "class_names": None, "problems": Problems("here")}
    rows = read_lists(tmp_path, files=files, **options)
    assert [row.where for row in rows] == ["train/list.txt row 1", "val/list.txt row 1"]


def test_without_names_the_numbers_are_the_classes(tmp_path):
    assert [row.labels["action"] for row in lists(tmp_path, train="a.mp4 10\nb.mp4 2\n")] == ["10", "2"]


def test_wrong_lines_are_listed_together(tmp_path):
    (tmp_path / "names.txt").write_text("run\n")
    with pytest.raises(UserError) as caught:
        lists(tmp_path, "names.txt", train="a.mp4 0\nb.mp4\nc.mp4 run\nd.mp4 1\n", test="e.mp4 -1\n")
    for where in ("train.txt row 2", "train.txt row 3", "train.txt row 4: 1; there are 1", "test.txt row 1"):
        assert where in str(caught.value)


@pytest.mark.parametrize("names", ["run\n\nsit\n", "run\nrun\n", ""])
def test_class_names_are_one_a_line_and_distinct(tmp_path, names):
    (tmp_path / "names.txt").write_text(names)
    with pytest.raises(UserError, match=r"names\.txt: expected one class name a line"):
        lists(tmp_path, "names.txt", train="a.mp4 0\n")


def test_a_list_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"names\.txt: cannot be read"):
        lists(tmp_path, "names.txt", train="a.mp4 0\n")


# --- folders ------------------------------------------------------------------------------------------------------


def folders(root, *, media: Media = "video", splits=None, group_regex=None):
    problems = Problems("here")
    rows = read_folders(root, media=media, head="action", splits=splits, group_regex=group_regex, problems=problems)
    problems.stop_if_any()
    return rows


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_a_folder_is_a_class(tmp_path, capsys):
    touch(tmp_path, "sit down/a.MP4", "sit down/deep/é b.mkv", "run/c.avi", "run/notes.txt", ".git/d.mp4", "run/.e.mp4")
    rows = folders(tmp_path)
    assert [(row.clip_id, row.labels["action"]) for row in rows] == [
        ("run/c.avi", "run"),
        ("sit down/a.MP4", "sit down"),
        ("sit down/deep/é b.mkv", "sit down"),
    ]
    assert all(row.split is None and row.path == row.clip_id for row in rows)
    assert "1 .txt" in capsys.readouterr().err


def test_a_sound_beside_a_video_is_part_of_it(tmp_path, capsys):
    touch(tmp_path, "run/a.mp4", "run/a.WAV", "run/b.wav", "run/a.m4a", "sit/a.mp3")
    assert [row.path for row in folders(tmp_path)] == ["run/a.mp4"]
    assert "passed over 3 files, no video by name (1 .m4a, 1 .mp3, 1 .wav)" in capsys.readouterr().err
    heard = folders(tmp_path, media="sound")
    assert [row.path for row in heard] == ["run/a.m4a", "run/a.mp4", "run/b.wav", "sit/a.mp3"]
    assert capsys.readouterr().err == ""


def test_a_folder_without_sounds_says_what_was_sought(tmp_path):
    touch(tmp_path, "run/a.txt")
    with pytest.raises(UserError, match="no sound or video"):
        folders(tmp_path, media="sound")


def test_folders_may_be_splits(tmp_path):
    touch(tmp_path, "Training/run/a.mp4", "set/b/run/b.mp4", "test/sit/deep/c.mp4")
    rows = folders(tmp_path, splits={"train": "Training", "val": "./set/b/", "test": "test"})
    assert [(row.clip_id, row.split, row.labels["action"]) for row in rows] == [
        ("Training/run/a.mp4", "train", "run"),
        ("set/b/run/b.mp4", "val", "run"),
        ("test/sit/deep/c.mp4", "test", "sit"),
    ]


def test_folders_that_are_no_split_are_passed_over_and_named(tmp_path, capsys):
    touch(tmp_path, "train/run/a.mp4", "test/run/b.mp4", "extra/run/c.mp4", "unlabelled/d.mp4", ".git/x", "e.mp4")
    rows = folders(tmp_path, splits={"train": "train", "val": "test", "test": None})
    assert [(row.path, row.split) for row in rows] == [("test/run/b.mp4", "val"), ("train/run/a.mp4", "train")]
    assert "passed over extra, unlabelled: no data.reader.splits" in capsys.readouterr().err
    (tmp_path / "train/f.mp4").touch()
    with pytest.raises(UserError, match=r"in no class folder(?s:.*)train/f\.mp4"):
        folders(tmp_path, splits={"train": "train", "val": "test", "test": None})


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        ({"train": "train", "val": "val", "test": None}, r"splits\.val is 'val': .*which has test, train"),
        ({"train": "train", "val": "test", "test": "./test"}, r"splits\.test is './test': these are clips of val"),
        ({"train": "train", "val": "train/run", "test": None}, r"splits\.val is 'train/run': these are clips of train"),
        ({"train": "train/run", "val": "train", "test": None}, r"splits\.val is 'train': these are clips of train"),
        ({"train": ".", "val": None, "test": None}, r"splits\.train is '\.': no such folder"),
        ({"train": "../root", "val": None, "test": None}, r"splits\.train is '\.\./root': no such folder"),
        ({"train": "out", "val": None, "test": None}, r"splits\.train is 'out': no such folder"),
    ],
)
def test_senseless_folders_of_splits(tmp_path, splits, expected):
    touch(tmp_path / "root", "train/run/a.mp4", "test/run/b.mp4")
    touch(tmp_path, "other/run/c.mp4")
    if "out" in splits.values():
        (tmp_path / "root/out").symlink_to(tmp_path / "other")
    with pytest.raises(UserError, match=expected):
        folders(tmp_path / "root", splits=splits)


def test_images_are_taken_by_their_names(tmp_path, capsys):
    names = ["a.JPG", "b.jpeg", "c.png", "d.webp", "e.bmp", "f.tif", "g.TIFF", "h.avif", "i.heic", "j.jfif"]
    touch(tmp_path, *(f"cat/{name}" for name in names), "cat/a.wav", "cat/film.mp4", "cat/loop.gif", "cat/list.txt")
    assert [row.path for row in folders(tmp_path, media="image")] == [f"cat/{name}" for name in names]
    assert "4 files" not in (said := capsys.readouterr().err)  # a.wav belongs to a.JPG
    assert "passed over 3 files, no image by name (1 .gif, 1 .mp4, 1 .txt)" in said
    assert [row.path for row in folders(tmp_path)] == ["cat/film.mp4", "cat/loop.gif"]
    with pytest.raises(UserError, match=r"found no image\. Expected <class>/<image>"):
        touch(tmp_path, "films/run/a.mp4")
        folders(tmp_path / "films", media="image")


def test_groups_come_from_the_path(tmp_path):
    touch(tmp_path, "run/s01_a.mp4", "run/s02_a.mp4")
    assert [row.group for row in folders(tmp_path, group_regex=r"(s\d+)_")] == ["s01", "s02"]
    assert [row.group for row in folders(tmp_path, group_regex=r"^(\w+)/s(\d+)_")] == ["run_01", "run_02"]
    with pytest.raises(UserError, match=r"run/s01_a\.mp4"):
        folders(tmp_path, group_regex=r"(s02)")


@pytest.mark.parametrize("group_regex", ["s[", r"s\d+"])
def test_an_expression_without_a_group_is_refused(tmp_path, group_regex):
    touch(tmp_path, "run/a.mp4")
    with pytest.raises(UserError, match="group_regex"):
        folders(tmp_path, group_regex=group_regex)


def test_no_video_at_all_says_what_was_expected(tmp_path):
    touch(tmp_path, "run/a.txt")
    with pytest.raises(UserError, match="<class>/<video>"):
        folders(tmp_path)


def test_linked_folders_are_not_silently_left_out(tmp_path):
    touch(tmp_path, "root/run/a.mp4", "other/b.mp4")
    (tmp_path / "root/sit").symlink_to(tmp_path / "other")
    with pytest.raises(UserError, match="a linked folder"):
        folders(tmp_path / "root")


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        (" Training", "train"),
        ("VAL", "val"),
        ("validation", "val"),
        ("testing", "test"),
        ("dev", None),
    ],
)
def test_split_names(name, split):
    assert split_named(name) == split


@pytest.mark.parametrize(
    ("start_s", "end_s", "clip_id"),
    [
        (None, None, "a"),
        (None, 3.0, "a@0-3"),
        (1.5, None, "a@1.5-"),
        (0.25, 10.0, "a@0.25-10"),
        (1e-6, 1.0, "a@0.000001-1"),
    ],
)
def test_ids_of_parts(start_s, end_s, clip_id):
    assert id_of_part("a", start_s, end_s) == clip_id


@pytest.mark.parametrize(
    ("text", "path"), [("./a//b.mp4", "a/b.mp4"), ("a\\b.mp4", "a/b.mp4"), ("/a/b", "/a/b"), ("../a", "../a")]
)
def test_plain_paths(text, path):
    assert plain_path(text) == path


@pytest.mark.parametrize("clip_id", ["a/b.mp4", "Taï/é 1 (2).MP4", "a@1.5-3", "..a", "x" * 240])
def test_ids_that_can_be_file_names(clip_id):
    assert id_fault(clip_id) == ""


@pytest.mark.parametrize(
    "clip_id",
    [
        "",
        "/a",
        "a//b",
        "../a",
        "a/../b",
        "./a",
        "a/",
        "a.",
        "a /b",
        "a\nb",
        "a\x00",
        "\udcff",
        "C:a",
        "a\\b",
        "é" * 121,
    ],
)
def test_ids_that_cannot(clip_id):
    assert id_fault(clip_id)


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train", "test"), "{train: train, val: null, test: test}"),
        (("Training", "valid"), "{train: Training, val: valid, test: null}"),
    ],
)
def test_folders_of_splits_are_not_taken_for_classes(tmp_path, names, splits):
    for name in names:
        (tmp_path / name / "run").mkdir(parents=True)
        (tmp_path / name / "run/a.mp4").touch()
    with pytest.raises(UserError) as caught:
        folders(tmp_path)
    assert f"which are splits and not classes. Set data.reader.splits: {splits}" in str(caught.value)
    (tmp_path / "ship").mkdir()
    (tmp_path / "ship/b.mp4").touch()
    assert len(folders(tmp_path)) == 3  # trains and ships
