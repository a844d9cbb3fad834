"""`actrec predict` over files and folders, with a checkpoint of a tiny network."""

import csv
import io
import itertools
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from actrec.cli import app
from actrec.data.manifest import Clip, Manifest
from actrec.errors import UserError
from actrec.media.clip import ClipFolder, ClipSpec, encode, read_clip
from actrec.media.probe import probe
from actrec.models.recogniser import build
from actrec.predict import predict_to_csv
from actrec.report.tables import predictions_csv
from actrec.training import windows
from actrec.training.checkpoint import Checkpoint, load_model, save_model
from actrec.training.data import Inputs
from actrec.training.device import launch
from actrec.training.evaluate import score_splits
from actrec.training.views import plain_view

COLUMNS = ["path", "start_s", "end_s", "head", "predicted", "prob", "top5", "status"]
BACKBONE = {"kind": "small3d", "width": 4, "weights": {"kind": "none"}, "frozen": False, "input_px": 16}
HEADS = {name: {"kind": "linear", "dropout": 0.0, "loss_weight": 1.0} for name in ("action", "who")}
CLASSES = {"action": ("a", "b, c", "d", "é"), "who": ("x", "y")}


@pytest.fixture(autouse=True)
def few_workers(monkeypatch):
    monkeypatch.setenv("ACTREC_WORKERS", "1")


def write_checkpoint(
    path, *, clip_frames=4, clips_per_video=2, typical_s=0.4, crop_frac=1.0, multi_label=(), bias=None
) -> Path:
    about = Checkpoint(
        model={"backbones": {"rgb": {**BACKBONE, "crop_frac": crop_frac}}, "neck": {"kind": "mean"}, "heads": HEADS},
        classes=CLASSES,
        multi_label=multi_label,
        clip_spec=ClipSpec(clip_frames, clips_per_video, frame_stride=None, size_px=20, resize="crop"),
        sound_spec=None,
        layout="",
        parents=(),
        typical_s=typical_s,
        weights_sha256={"rgb": ""},
        channels_last=False,
        seed=0,
        epoch=1,
    )
    model = build(
        about.model, classes=CLASSES, multi_label=multi_label, clip_frames=clip_frames, channels_last=False, seed=0
    )
    # What nobody has trained says nearly the same of all: tokens are about 0.001.
    state = {
        name: value * (1000 if name.startswith("heads.") and name.endswith("weight") else 1)
        for name, value in model.state_dict().items()
    }
    if bias:  # of the head action
        (name,) = (name for name in state if name.startswith("heads.0") and name.endswith("bias"))
        state[name] = torch.tensor(bias)
    save_model(path, about, state)
    return path


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """A model of videos."""
    return write_checkpoint(tmp_path / "best.pt")


@pytest.fixture
def of_images(tmp_path) -> Path:
    """A model of images: clips of one frame, which take no time."""
    return write_checkpoint(tmp_path / "images.pt", clip_frames=1, clips_per_video=1, typical_s=0.0)


def draw(path, **options):
    """Write a picture of 30 x 20 pixels, red on its left, blue on its right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("RGB", (30, 20), (200, 0, 0))
    picture.paste((0, 0, 255), (15, 0, 30, 20))
    picture.save(path, **options)
    return path


def table(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_a_file(tmp_path, checkpoint, make_clip):
    path = make_clip(tmp_path / "a.mp4", 3)
    text, num_bad = predict_to_csv(path, checkpoint=checkpoint, window_s=None)
    assert text.splitlines()[0].split(",") == COLUMNS and num_bad == 0
    rows = table(text)
    assert [(row["path"], row["head"], row["status"]) for row in rows] == [
        (str(path), "action", "ok"),
        (str(path), "who", "ok"),
    ]
    for row in rows:
        assert (row["start_s"], row["end_s"]) == ("", "")
        names = CLASSES[row["head"]]
        top = [part.rpartition(":") for part in row["top5"].split("|")]
        assert row["predicted"] == top[0][0] and float(row["prob"]) == float(top[0][2])
        assert len(top) == min(5, len(names)) and {name for name, _, _ in top} <= set(names)
    assert sum(float(part.rpartition(":")[2]) for part in rows[1]["top5"].split("|")) == pytest.approx(1, abs=2e-4)


@pytest.mark.parametrize(("bias", "said"), [((9.0, -9.0, 9.0, -9.0), "a|d"), ((-9.0, -9.0, -9.0, -9.0), "")])
def test_a_head_that_finds_several_classes_says_all_of_them(tmp_path, make_clip, bias, said):
    checkpoint = write_checkpoint(tmp_path / "several.pt", multi_label=("action",), bias=bias)
    text, _ = predict_to_csv(make_clip(tmp_path / "a.mp4", 3), checkpoint=checkpoint, window_s=None)
    row, other = table(text)
    assert (row["head"], row["predicted"]) == ("action", said) and other["predicted"] in CLASSES["who"]
    assert row["prob"] == f"{float(row['top5'].partition('|')[0].rpartition(':')[2]):.4f}".rstrip("0")


def test_columns_are_those_of_the_predictions_of_evaluate():
    """But for the window, the status and, of what has no truth, what follows from that."""
    of_evaluate = predictions_csv([]).strip().split(",")
    assert [name for name in COLUMNS if name in of_evaluate] == ["path", "head", "predicted", "prob", "top5"]
    assert set(COLUMNS) - set(of_evaluate) == {"start_s", "end_s", "status"}


def test_no_cell_is_a_formula_to_a_spreadsheet(tmp_path, checkpoint, make_clip, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "=1+1.mp4", 3)
    text, _ = predict_to_csv(Path("=1+1.mp4"), checkpoint=checkpoint, window_s=None)
    assert [row["path"] for row in table(text)] == ["'=1+1.mp4"] * 2


def stored(folder, path, about):
    """Return what the stages before evaluation leave of a file, as the only clip of test; train has the classes."""
    facts = probe(path)
    (folder / "a.pt").write_bytes(encode(read_clip(path, facts, about.clip_spec)))
    index = {"sharded": False, "spec": asdict(about.clip_spec), "clips": {"a": {"file": "a.pt", "sha256": "0"}}}
    labels = [dict(zip(CLASSES, pair, strict=True)) for pair in itertools.product(*CLASSES.values())]
    clips = [Clip(f"{i}", path.name, "train", "", own, None, None, "", 0, facts) for i, own in enumerate(labels)]
    clips.append(Clip("a", path.name, "test", "", labels[0], None, None, "", 0, facts))
    return Inputs(Manifest(tuple(clips), tuple(CLASSES)), {"rgb": ClipFolder(folder, index)})


@pytest.mark.parametrize(
    "trained_on", [{}, {"clip_frames": 1, "clips_per_video": 1, "typical_s": 0.0}], ids=["videos", "images"]
)
def test_a_file_is_judged_as_evaluation_judges_its_clip(tmp_path, make_clip, trained_on):
    """Also where it is shown the middle of each picture alone."""
    path, said = make_clip(tmp_path / "a.mp4", 3), []
    if trained_on:
        path = draw(tmp_path / "a.png")
        with Image.open(path) as picture:
            picture.paste((250, 250, 250), (0, 0, 30, 8))  # so that the middle is not as the whole
            picture.save(path)
    for crop_frac in (1.0, 0.5):
        checkpoint = write_checkpoint(tmp_path / "best.pt", crop_frac=crop_frac, **trained_on)
        model, about = load_model(checkpoint)
        fabric = launch(device="cpu", threads=1, precision="fp32")
        scores = score_splits(model, about, stored(tmp_path, path, about), ["test"], batch_size=1, fabric=fabric)
        rows = table(predict_to_csv(path, checkpoint=checkpoint, window_s=None)[0])
        assert [row["head"] for row in rows] == [own.head for own in scores] == list(CLASSES)
        for row, own in zip(rows, scores, strict=True):
            assert row["predicted"] == CLASSES[own.head][int(own.probs[0].argmax())]
            assert float(row["prob"]) == pytest.approx(float(own.probs[0].max()), abs=1e-4)
        said.append([row["top5"] for row in rows])
    assert said[0] != said[1]


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
    assert [(row["path"], row["status"] == "ok") for row in rows] == [
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


# --- images -------------------------------------------------------------------------------------------------------


def test_an_image_is_one_row_a_head_without_times(tmp_path, of_images):
    path = draw(tmp_path / "a.png")
    text, num_bad = predict_to_csv(path, checkpoint=of_images, window_s=None)
    rows = table(text)
    assert num_bad == 0 and [(row["path"], row["head"], row["status"]) for row in rows] == [
        (str(path), "action", "ok"),
        (str(path), "who", "ok"),
    ]
    assert {(row["start_s"], row["end_s"]) for row in rows} == {("", "")}
    assert predict_to_csv(path, checkpoint=of_images, window_s=2.0) == (text, 0)
    model, about = load_model(of_images)
    assert about.clip_spec is not None
    frames = read_clip(path, probe(path), about.clip_spec)  # (1, 1, 20, 20, 3): columns 5 to 24
    batch = {"rgb": plain_view(frames, input_px=16, crop_frac=1.0), "present": {"rgb": torch.ones(1, dtype=torch.bool)}}
    with torch.inference_mode():
        probs = model(batch)["action"].softmax(dim=1)[0]
    assert rows[0]["predicted"] == CLASSES["action"][int(probs.argmax())]
    assert float(rows[0]["prob"]) == pytest.approx(float(probs.max()), abs=1e-4)


def test_which_way_an_image_is_stored_does_not_matter(tmp_path, of_images):
    upright = draw(tmp_path / "a.png")
    exif = Image.Exif()
    exif[274] = 6  # to be turned by a quarter, clockwise
    with Image.open(upright) as picture:
        picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "b.png", exif=exif)
    first, second = (
        table(predict_to_csv(path, checkpoint=of_images, window_s=None)[0]) for path in (upright, tmp_path / "b.png")
    )
    assert [row["top5"] for row in first] == [row["top5"] for row in second]


def test_a_folder_of_images_with_bad_ones(tmp_path, of_images, make_clip, monkeypatch):
    folder = tmp_path / "pictures"
    good = [draw(folder / "deep/b é.JPG", format="JPEG"), draw(folder / "c.tif")]
    (folder / "a.jpg").write_bytes(good[0].read_bytes()[:300])
    make_clip(folder / "d.mp4", 3).rename(folder / "d.png")  # a video by its first bytes
    make_clip(folder / "film.mp4", 3)
    (folder / "notes.txt").touch()
    found = predict_to_csv(folder, checkpoint=of_images, window_s=None)
    rows = [(Path(row["path"]).name, row["status"]) for row in table(found[0])]
    assert [name for name, _ in rows] == ["a.jpg", "c.tif", "c.tif", "d.png", "b é.JPG", "b é.JPG"]
    assert rows[0][1].startswith("truncated: ")
    assert rows[3][1] == "no_image: a video (mp4), and this model was trained on images"
    assert [status for _, status in rows].count("ok") == 4 and found[1] == 2
    monkeypatch.setenv("ACTREC_WORKERS", "2")
    assert predict_to_csv(folder, checkpoint=of_images, window_s=None) == found


def test_a_model_of_another_kind_says_so(tmp_path, checkpoint, of_images, make_clip):
    film, picture = make_clip(tmp_path / "films/a.mp4", 3), draw(tmp_path / "pictures/a.png")
    with pytest.raises(UserError, match=r"a\.png: no_video: a picture \(png\), .* trained on videos\..*--checkpoint"):
        predict_to_csv(picture, checkpoint=checkpoint, window_s=None)
    with pytest.raises(UserError, match=r"a\.mp4: no_image: a video \(mp4\), .* trained on images\..*--checkpoint"):
        predict_to_csv(film, checkpoint=of_images, window_s=None)
    with pytest.raises(UserError, match=r"pictures: this model was trained on videos, .* only \.png"):
        predict_to_csv(picture.parent, checkpoint=checkpoint, window_s=None)
    with pytest.raises(UserError, match=r"films: this model was trained on images, .* only \.mp4"):
        predict_to_csv(film.parent, checkpoint=of_images, window_s=None)


def test_a_model_of_single_frames_of_videos_is_none_of_images(tmp_path, make_clip):
    path = write_checkpoint(tmp_path / "frames.pt", clip_frames=1, typical_s=0.4)
    assert table(predict_to_csv(make_clip(tmp_path / "a.mp4"), checkpoint=path, window_s=None)[0])[0]["status"] == "ok"
    with pytest.raises(UserError, match="trained on videos"):
        predict_to_csv(draw(tmp_path / "a.png"), checkpoint=path, window_s=None)


# --- faults -------------------------------------------------------------------------------------------------------


def test_nothing_to_look_at(tmp_path, checkpoint):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no video, sound or image in it; looked for .*\.avi .*\.jpg .*\.wav"):
        predict_to_csv(tmp_path / "empty", checkpoint=checkpoint, window_s=None)


def test_no_model(tmp_path, make_clip):
    path = make_clip(tmp_path / "a.mp4")
    with pytest.raises(UserError, match=r"best\.pt: no checkpoint here"):
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
