"""The stages ingest and frames on pictures: what becomes a clip, what is set aside, and how splits come about."""

import re
import shutil
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML

from actrec import paths
from actrec.data import quarantine
from actrec.data.manifest import load_manifest
from actrec.errors import UserError
from actrec.store import tree
from pipeline import frames, ingest

REPO = Path(__file__).resolve().parents[2]
SHARED = REPO.parent / "shared/data"
FOLDERS = {"kind": "folder", "head": "class", "splits": None, "group_regex": None}
TABLE = {
    **{"kind": "csv", "file": "images.csv", "path": "file", "heads": {"class": "class"}, "multi_label": {}},
    **dict.fromkeys(["id", "split", "group", "group_regex", "sample", "sample_regex", "start_s", "end_s", "people"]),
}
TINY = {"kind": "tiny_imagenet", "head": "class", "held_out": "test", "names": "wnid"}
LISTENER = {"kind": "resnet", "depth": 18, "weights": {"kind": "none"}, "frozen": False}
UNCHANGED = {"roll": False, "freq_masks": 0, "freq_mask_bins": 0, "time_masks": 0, "time_mask_steps": 0}


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ACTREC_WORKERS", "2")


def write_params(reader, *, root="raw", media="image", max_bad_frac=0.2, split=None, **settings):
    yaml = YAML(typ="safe", pure=True)
    params = yaml.load((REPO / "recipes/demo.yaml").read_text(encoding="utf-8"))
    params["data"].update(name="mine", root=str(root), media=media, max_bad_frac=max_bad_frac, reader=reader)
    params["data"]["split"].update(split or {})
    params["frames"].update({"clip_frames": 1, "clips_per_video": 1, "size_px": 16, **settings})
    params["model"]["heads"] = {"class": params["model"]["heads"]["action"]}
    params["train"]["select_on"] = "class.loss"
    if media == "sound":
        params["mels"]["enabled"] = True
        params["model"]["backbones"] = {"audio": LISTENER}
        params["train"]["augment"] = params["features"]["augment"] = {"audio": UNCHANGED}
    with Path("params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(params, file)


def ingested(reader, **settings):
    write_params(reader, **settings)
    ingest.main(Path("params.yaml"))
    return load_manifest(paths.manifest("mine"))


def decoded():
    frames.main(Path("params.yaml"))
    out = paths.frames("mine")
    clips = tree.read_index(out)["clips"]
    return {clip_id: torch.load(out / clip["file"], weights_only=True) for clip_id, clip in clips.items()}


def draw(path, shade, size=(20, 24), **options):
    """Write a picture (height, width) of one colour: (shade, 100, 200)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), (shade, 100, 200), np.uint8)).save(path, **options)
    return path


def write_set(root, split="", classes=("cat", "dog"), count=10):
    for c, name in enumerate(classes):
        for i in range(count):
            draw(root / split / name / f"{i}.png", 10 * c + i + (100 if split == "test" else 0))
    return root


def listed(stage):
    return {bad.clip_id: bad.reason for bad in quarantine.load(paths.quarantine("mine", stage))}


def test_a_folder_of_images_becomes_clips_of_one_frame(tmp_path, capsys):
    root = write_set(tmp_path / "raw")
    manifest = ingested(FOLDERS)
    assert manifest.classes == {"class": ("cat", "dog")} and len(manifest.clips) == 20
    clip = manifest.clips[13]
    assert (clip.clip_id, clip.labels, clip.duration_s) == ("dog/3.png", {"class": "dog"}, 0)
    assert (clip.facts.container, clip.facts.num_frames, clip.facts.width_px) == ("png", 1, 24)
    counts = Counter((clip.split, clip.labels["class"]) for clip in manifest.clips)
    assert counts["train", "cat"] == counts["train", "dog"] and counts["test", "cat"] == counts["test", "dog"] > 0
    clips = decoded()
    assert clips.keys() == {clip.clip_id for clip in manifest.clips}
    for clip_id, clip in clips.items():
        shade = 10 * clip_id.startswith("dog") + int(clip_id[4])
        assert clip.shape == (1, 1, 16, 16, 3) and (clip == torch.tensor([shade, 100, 200], dtype=torch.uint8)).all()
    assert "20 of them decoded now" in capsys.readouterr().err
    draw(root / "cat/new.png", 250)
    ingested(FOLDERS)
    decoded()
    assert re.search(r"frames: 21 clips, 1 of them decoded now", capsys.readouterr().err)


def test_every_kind_of_picture_is_decoded_or_set_aside(tmp_path):
    """A bad one costs itself alone, in both stages and with the same reasons at every run."""
    root = write_set(tmp_path / "raw")
    exif = Image.Exif()
    exif[274] = 6
    draw(root / "cat/turned.jpg", 200, size=(16, 32), exif=exif, quality=95)
    Image.new("CMYK", (9, 9), (0, 0, 0, 255)).save(root / "cat/inks.jpg")
    Image.fromarray(np.full((8, 8), 40000, np.uint16)).save(root / "cat/deep.png")
    Image.new("L", (1, 1), 9).save(root / "dog/dot.bmp")
    whole = draw(root / "dog/cut.png", 60).read_bytes()
    (root / "dog/cut.png").write_bytes(whole[: len(whole) // 2])
    (root / "dog/list.jpg").write_text("#EXTM3U\n/etc/hostname\n")
    (root / "dog/empty.webp").touch()
    manifest = ingested(FOLDERS, resize="keep")
    assert listed("ingest") == {"dog/cut.png": "truncated", "dog/list.jpg": "playlist", "dog/empty.webp": "empty"}
    turned = next(clip for clip in manifest.clips if clip.clip_id == "cat/turned.jpg")
    assert (turned.facts.width_px, turned.facts.height_px) == (16, 32)
    clips = decoded()
    assert clips.keys() == {clip.clip_id for clip in manifest.clips} and listed("frames") == {}
    assert clips["cat/turned.jpg"].shape == (1, 1, 32, 16, 3) and clips["cat/0.png"].shape == (1, 1, 16, 19, 3)
    assert (clips["cat/deep.png"] == 156).all()  # 40000 / 257 = 155.6
    assert (clips["dog/dot.bmp"] == 9).all() and clips["dog/dot.bmp"].shape == (1, 1, 16, 16, 3)
    assert (clips["cat/inks.jpg"] == 0).all()
    assert ingested(FOLDERS) == manifest


@pytest.mark.parametrize(
    ("media", "reason", "messages"),
    [
        ("image", "no_image", {"clip.jpg": "a video (mp4)", "song.jpg": "a sound (wav)"}),
        ("video", "no_video", {"pic.jpg": "a picture (png)", "song.jpg": "the file has sound alone"}),
    ],
)
def test_a_file_of_another_kind_is_set_aside_with_a_reason(tmp_path, make_clip, media, reason, messages):
    root = tmp_path / "raw"
    for i in range(20):
        draw(root / f"{i}.png", i) if media == "image" else make_clip(root / f"{i}.mp4", i)
    make_clip(root / "clip.mp4", 77).rename(root / "clip.jpg")
    draw(root / "pic.png", 5).rename(root / "pic.jpg")
    (root / "song.jpg").write_bytes(wave(bytes(64)))
    names = [path.name for path in sorted(root.iterdir())]
    (root / "images.csv").write_text("".join(["file,class\n", *(f"{name},{'ab'[len(name) % 2]}\n" for name in names)]))
    assert len(ingested(TABLE, media=media).clips) == 21
    found = quarantine.load(paths.quarantine("mine", "ingest"))
    assert {bad.clip_id: bad.message for bad in found} == messages and {bad.reason for bad in found} == {reason}


def wave(samples):
    """Return a WAV file of 16-bit mono samples at 8 kHz."""
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16)
    body = b"WAVE" + head + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body


def test_a_sound_beside_an_image_is_its_own_and_a_broken_one_costs_nothing_else(tmp_path):
    root = write_set(tmp_path / "raw")
    (root / "cat/3.wav").write_bytes(wave(bytes(64)))
    (root / "cat/4.wav").write_bytes(b"RIFF1234WAVE")
    clips = {clip.clip_id: clip.sound_path for clip in ingested(FOLDERS).clips}
    assert len(clips) == 20 and clips["cat/3.png"] == "cat/3.wav" and clips["cat/4.png"] == ""
    assert listed("ingest") == {"cat/4.png": "unreadable"}


def test_a_cover_beside_a_sound_is_no_sound(tmp_path):
    root = tmp_path / "raw"
    for i in range(20):
        draw(root / f"{i}.png", i).with_suffix(".wav").write_bytes(wave(bytes([i] * 64)))
    names = [f"{i}.wav" for i in range(20)]
    lines = [f"{name},{'ab'[len(name) % 2]}\n" for name in [*names, "3.png"]]
    (root / "images.csv").write_text("".join(["file,class\n", *lines]))
    assert len(ingested(TABLE, media="sound").clips) == 20 and listed("ingest") == {"3.png": "no_video"}


def test_a_table_of_images(tmp_path):
    root = write_set(tmp_path / "raw")
    splits = ("train", "train", "val", "test")
    lines = [f"{name}/{i}.png,{name},{splits[i % 4]}\n" for name in ("cat", "dog") for i in range(10)]
    (root / "images.csv").write_text("".join(["file,class,split\n", *lines]))
    manifest = ingested({**TABLE, "split": "split"})
    assert Counter(clip.split for clip in manifest.clips) == {"train": 12, "val": 4, "test": 4}
    assert {clip.facts.container for clip in manifest.clips} == {"png"} and len(decoded()) == 20


def test_val_is_taken_out_of_train_in_proportion(tmp_path, capsys):
    write_set(write_set(tmp_path / "raw", "train", count=40), "test", count=5)
    reader = {**FOLDERS, "splits": {"train": "train", "val": None, "test": "test"}}
    split = {"train_frac": 0.7, "val_frac": 0.1, "test_frac": 0.2}
    manifest = ingested(reader, split=split)
    counts = Counter((clip.split, clip.labels["class"]) for clip in manifest.clips)
    assert counts == {  # an eighth of 40
        **{("train", "cat"): 35, ("train", "dog"): 35, ("val", "cat"): 5, ("val", "dog"): 5},
        **{("test", "cat"): 5, ("test", "dog"): 5},
    }
    assert all(clip.path.startswith("test/") == (clip.split == "test") for clip in manifest.clips)
    assert "13% of train becomes val, classes in proportion" in capsys.readouterr().err


def test_the_fractions_say_how_many_are_in_a_split_and_the_seed_which(tmp_path):
    write_set(tmp_path / "raw")
    first, second = ({c.clip_id: c.split for c in ingested(FOLDERS, split={"seed": seed}).clips} for seed in (0, 1))
    assert first != second
    assert Counter(first.values()) == Counter(second.values()) == {"train": 12, "val": 4, "test": 4}
    manifest = ingested(FOLDERS, split={"train_frac": 0.5, "val_frac": 0.1, "test_frac": 0.4})
    counts = Counter((clip.split, clip.labels["class"]) for clip in manifest.clips)
    assert counts == {(s, c): n for s, n in (("train", 5), ("val", 1), ("test", 4)) for c in ("cat", "dog")}


def test_the_epoch_may_be_chosen_on_the_folder_test(tmp_path):
    write_set(write_set(tmp_path / "raw", "train"), "test")
    reader = {**FOLDERS, "splits": {"train": "train", "val": "test", "test": None}}
    with pytest.raises(UserError, match=r"a split without clips(?s:.*)test_frac: 0 with evaluate"):
        ingested(reader)
    manifest = ingested(reader, split={"train_frac": 0.8, "val_frac": 0.2, "test_frac": 0.0})
    assert Counter(clip.split for clip in manifest.clips) == {"train": 20, "val": 20}


def test_one_picture_in_train_and_test_is_told(tmp_path):
    root = write_set(write_set(tmp_path / "raw", "train"), "test")
    shutil.copy(root / "train/cat/3.png", root / "test/cat/twin.png")
    reader = {**FOLDERS, "splits": {"train": "train", "val": None, "test": "test"}}
    expected = r"same bytes in two splits \(1\)(?s:.*)test/cat/twin\.png \(test\), train/cat/3\.png \(train\)"
    with pytest.raises(UserError, match=expected):
        ingested(reader)


def test_tiny_imagenet(tmp_path):
    root = tmp_path / "raw"
    wnids = ("n01443537", "n01644900")
    for c, wnid in enumerate(wnids):
        for i in range(20):
            draw(root / f"train/{wnid}/images/{wnid}_{i}.JPEG", 100 * c + i, size=(64, 64), format="JPEG")
    for i in range(6):
        draw(root / f"val/images/val_{i}.JPEG", 220 + i, size=(64, 64), format="JPEG")
    (root / "val/val_annotations.txt").write_text(
        "".join(f"val_{i}.JPEG\t{wnids[i % 2]}\t0\t0\t9\t9\n" for i in range(6))
    )
    manifest = ingested(TINY, split={"train_frac": 0.8, "val_frac": 0.2, "test_frac": 0.0})
    counts = Counter((clip.split, clip.labels["class"]) for clip in manifest.clips)
    assert counts == {(s, w): n for s, n in (("train", 16), ("val", 4), ("test", 3)) for w in wnids}
    with (root / "val/val_annotations.txt").open("a") as file:
        file.write("val_6.JPEG\tn01443537\nval_0.JPEG\tn99999999\n")
    with pytest.raises(UserError) as caught:
        ingested(TINY)
    assert "val_annotations.txt row 7: val/images/val_6.JPEG" in str(caught.value)
    assert "val_annotations.txt row 8: 'val/images/val_0.JPEG'" in str(caught.value)  # named twice


@pytest.mark.skipif(not (SHARED / "cifar10").is_dir(), reason="no ../shared/data/cifar10 here")
def test_a_real_set_in_folders_of_splits(capsys):
    reader = {**FOLDERS, "splits": {"train": "train", "val": None, "test": "test"}}
    manifest = ingested(reader, root=SHARED / "cifar10")
    counts = Counter((clip.split, clip.labels["class"]) for clip in manifest.clips)
    assert len(counts) == 30 and set(counts.values()) == {50, 75, 25}
    assert {s: len(manifest.of_split(s)) for s in ("train", "val", "test")} == {"train": 750, "val": 250, "test": 500}
    assert listed("ingest") == {} and "1,500 clips" in capsys.readouterr().err
    assert {(c.facts.container, c.facts.width_px, c.facts.height_px) for c in manifest.clips} == {("jpeg", 32, 32)}
