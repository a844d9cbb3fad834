"""`actrec predict` over files and folders, with a checkpoint of a tiny network."""

import csv
import io
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actrec.cli import app
from actrec.errors import UserError
from actrec.media.clip import ClipSpec
from actrec.models.recogniser import build
from actrec.predict import find_media, predict_to_csv
from actrec.training import windows
from actrec.training.checkpoint import Checkpoint, save_model

COLUMNS = ["video", "start_s", "end_s", "head", "label", "prob", "top3", "status"]
BACKBONE = {"kind": "small3d", "width": 4, "weights": {"kind": "none"}, "frozen": False, "input_px": 16}
HEADS = {name: {"kind": "linear", "dropout": 0.0, "loss_weight": 1.0} for name in ("action", "who")}
CLASSES = {"action": ("a", "b, c", "d", "é"), "who": ("x", "y")}


@pytest.fixture(autouse=True)
def few_workers(monkeypatch):
    monkeypatch.setenv("ACTREC_WORKERS", "1")


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    about = Checkpoint(
        model={"backbones": {"rgb": BACKBONE}, "neck": {"kind": "mean"}, "heads": HEADS},
        classes=CLASSES,
        multi_label=(),
        clip_spec=ClipSpec(clip_frames=4, clips_per_video=2, frame_stride=None, size_px=20, resize="crop"),
        sound_spec=None,
        layout="",
        parents=(),
        typical_s=0.4,
        weights_sha256={"rgb": ""},
        channels_last=False,
        seed=0,
        epoch=1,
    )
    model = build(about.model, classes=CLASSES, multi_label=(), clip_frames=4, channels_last=False, seed=0)
    save_model(tmp_path / "best.pt", about, model.state_dict())
    return tmp_path / "best.pt"


def table(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_a_file(tmp_path, checkpoint, make_clip):
    path = make_clip(tmp_path / "a.mp4", 3)
    text, num_bad = predict_to_csv(path, checkpoint=checkpoint, window_s=None)
    assert text.splitlines()[0].split(",") == COLUMNS and num_bad == 0
    rows = table(text)
    assert [(row["video"], row["head"], row["status"]) for row in rows] == [
        (str(path), "action", "ok"),
        (str(path), "who", "ok"),
    ]
    for row in rows:
        assert (row["start_s"], row["end_s"]) == ("", "")
        names = CLASSES[row["head"]]
        top = [part.rpartition(":") for part in row["top3"].split("|")]
        assert row["label"] == top[0][0] and float(row["prob"]) == float(top[0][2])
        assert len(top) == min(3, len(names)) and {name for name, _, _ in top} <= set(names)
    assert sum(float(part.rpartition(":")[2]) for part in rows[1]["top3"].split("|")) == pytest.approx(1, abs=2e-4)


def test_the_same_video_gives_the_same_text(tmp_path, checkpoint, make_clip, monkeypatch):
    make_clip(tmp_path / "videos/a.mp4", 3, num_frames=9)
    make_clip(tmp_path / "videos/b.mp4", 7, num_frames=9)
    first = predict_to_csv(tmp_path / "videos", checkpoint=checkpoint, window_s=None)
    monkeypatch.setenv("ACTREC_WORKERS", "2")
    assert predict_to_csv(tmp_path / "videos", checkpoint=checkpoint, window_s=None) == first
    assert [(row["start_s"], row["end_s"]) for row in table(first[0])[::2]] == [
        ("0.0", "0.4"),
        ("0.4", "0.8"),
        ("0.5", "0.9"),
    ] * 2


def test_a_folder_with_bad_files(tmp_path, checkpoint, make_clip):
    folder = tmp_path / "videos"
    good = make_clip(folder / "deep/er/B é.MP4", 3)
    (folder / "a.mp4").write_bytes(b"no video at all" * 100)
    (folder / "deep/c.mov").symlink_to(tmp_path / "gone.mov")
    (folder / "notes.txt").write_text("not looked at")
    text, num_bad = predict_to_csv(folder, checkpoint=checkpoint, window_s=None)
    rows = table(text)
    assert [(row["video"], row["status"] == "ok") for row in rows] == [
        (str(folder / "a.mp4"), False),
        (str(good), True),
        (str(good), True),
    ]
    assert num_bad == 1
    assert rows[0]["status"] and [rows[0][name] for name in COLUMNS[1:-1]] == [""] * 6


def test_a_video_of_unknown_length_is_one_clip(tmp_path, checkpoint, make_clip, monkeypatch):
    path = make_clip(tmp_path / "a.mp4", 3, num_frames=20)
    spans = []
    real = windows.split_windows
    monkeypatch.setattr(windows, "split_windows", lambda duration_s, *a: (spans.append(duration_s), real(0.0, *a))[1])
    rows = table(predict_to_csv(path, checkpoint=checkpoint, window_s=0.5)[0])
    assert spans == [2.0]
    assert [(row["start_s"], row["end_s"], row["status"]) for row in rows] == [("", "", "ok")] * 2


def test_videos_are_found_by_extension_at_any_depth(tmp_path):
    names = ["b.mp4", "a/z.MKV", "a/b/c/d.webm", "a.avi", "é ü.Mov"]
    for name in [*names, "a/readme.md", "x.mp4.txt", "mp4", "cover.jpg"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.mp4").mkdir()
    assert find_media(tmp_path) == sorted(tmp_path / name for name in names)
    assert find_media(tmp_path / "a/readme.md") == [tmp_path / "a/readme.md"]  # named: tried, whatever its name


def test_nothing_to_look_at(tmp_path):
    with pytest.raises(UserError, match=r"gone: no such file or folder"):
        find_media(tmp_path / "gone")
    (tmp_path / "a.txt").touch()
    with pytest.raises(UserError, match=r"no video or sound in it; looked for .*\.avi .*\.mp4"):
        find_media(tmp_path)


def test_no_model(tmp_path, make_clip):
    path = make_clip(tmp_path / "a.mp4")
    with pytest.raises(UserError, match=r"best\.pt: no checkpoint yet"):
        predict_to_csv(path, checkpoint=tmp_path / "best.pt", window_s=None)


def test_the_command_writes_a_table(tmp_path, checkpoint, make_clip):
    path = make_clip(tmp_path / "a.mp4", 3)
    options = ["predict", str(path), "--checkpoint", str(checkpoint)]
    printed = CliRunner().invoke(app, options)
    assert printed.exit_code == 0
    written = CliRunner().invoke(app, [*options, "--out", str(tmp_path / "sub/p.csv")])
    assert written.exit_code == 0 and written.stdout == ""
    assert (tmp_path / "sub/p.csv").read_text() == printed.stdout
    assert table(printed.stdout)[0]["status"] == "ok"


@pytest.mark.parametrize("window_s", ["0", "-1", "abc"])
def test_senseless_windows_are_wrong_usage(tmp_path, checkpoint, window_s):
    options = ["predict", str(tmp_path), "--checkpoint", str(checkpoint), "--window-s", window_s]
    assert CliRunner().invoke(app, options).exit_code == 2
