"""The stage as a whole, on tiny videos."""

import hashlib
import os
import wave
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from actrec.data import quarantine
from actrec.data.manifest import load_manifest
from actrec.errors import UserError
from pipeline import ingest

REPO = Path(__file__).resolve().parents[2]
SHARED = REPO.parent / "shared/data"
READER = {
    "kind": "csv",
    "file": "clips.csv",
    "path": "path",
    "heads": {"action": "action"},
    "id": None,
    "split": None,
    "group": "who",
    "group_regex": None,
    "sample": None,
    "sample_regex": None,
    "people": None,
    "multi_label": {},
    "start_s": None,
    "end_s": None,
}
SPLITS = {"train": "train", "val": "val", "test": "test"}
LISTENER = {"kind": "resnet", "depth": 18, "weights": {"kind": "none"}, "frozen": False}
UNCHANGED = {"roll": False, "freq_masks": 0, "freq_mask_bins": 0, "time_masks": 0, "time_mask_steps": 0}
MANIFEST, BAD = Path("data/interim/mine/manifest.csv"), Path("data/interim/mine/quarantine_ingest.csv")


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """Return a function that runs the stage in an empty folder: stage(root=…, needs="video", …the reader)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ACTREC_WORKERS", "2")
    yaml = YAML(typ="safe", pure=True)

    def run(*, root="raw", needs="video", max_bad_frac=0.1, **reader):
        params = yaml.load((REPO / "recipes/demo.yaml").read_text())
        own = reader if reader.get("kind") else {**READER, **reader}
        params["data"].update(name="mine", root=str(root), media=needs, max_bad_frac=max_bad_frac, reader=own)
        (head, *_) = own["heads"] if "heads" in own else [own["head"]]
        params["model"]["heads"] = {head: params["model"]["heads"]["action"]}
        params["train"]["select_on"] = f"{head}.loss"
        if needs == "sound":
            params["mels"]["enabled"] = True
            params["model"]["backbones"] = {"audio": LISTENER}
            params["train"]["augment"] = params["features"]["augment"] = {"audio": UNCHANGED}
        with Path("params.yaml").open("w") as file:
            yaml.dump(params, file)
        ingest.main(Path("params.yaml"))
        return load_manifest(MANIFEST)

    return run


@pytest.fixture
def raw(tmp_path, make_clip):
    """Return a folder of 24 clips (two actions, six people), with their table."""
    rows = ["path,action,who"]
    for i in range(24):
        name, action = f"clip {i:02}.MP4", "wave" if i % 2 else "bow"
        make_clip(tmp_path / "raw" / "x.mp4", i).rename(tmp_path / "raw" / name)
        rows.append(f"{name},{action},p{i // 4}")
    (tmp_path / "raw/clips.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "raw"


def append(raw, *lines):
    with (raw / "clips.csv").open("a") as file:
        file.write("\n".join(lines) + "\n")


def test_the_manifest_has_a_row_a_clip(raw, stage, capsys):
    manifest = stage()
    assert [clip.clip_id for clip in manifest.clips] == [f"clip {i:02}.MP4" for i in range(24)]
    assert manifest.classes == {"action": ("bow", "wave")}
    first = manifest.clips[0]
    assert (first.group, first.labels, first.facts.width_px) == ("p0", {"action": "bow"}, 16)
    assert first.size_bytes == (raw / "clip 00.MP4").stat().st_size
    assert BAD.read_text() == quarantine.dump([])
    said = capsys.readouterr().err
    assert "24 clips" in said and "6 groups, 0 of them in two splits" in said
    assert all(len({clip.split for clip in manifest.clips if clip.group == f"p{i}"}) == 1 for i in range(6))


def test_with_or_without_the_store_and_the_order_of_rows_the_bytes_are_the_same(raw, stage, monkeypatch):
    stage()
    first = MANIFEST.read_bytes()
    header, *rows = (raw / "clips.csv").read_text().splitlines()
    (raw / "clips.csv").write_text("\n".join([header, *reversed(rows)]))
    monkeypatch.setenv("ACTREC_CACHE", "off")
    stage(root=raw)
    assert MANIFEST.read_bytes() == first


def test_one_more_bad_clip_changes_nothing_but_the_list(raw, stage):
    stage()
    first = MANIFEST.read_bytes()
    (raw / "bad.mp4").write_text("#EXTM3U\nclip 00.MP4\n")
    append(raw, "bad.mp4,bow,p0")
    stage()
    assert MANIFEST.read_bytes() == first
    (bad,) = quarantine.load(BAD)
    assert (bad.clip_id, bad.stage, bad.reason, bad.path) == ("bad.mp4", "ingest", "playlist", "bad.mp4")


def test_too_many_bad_clips_stop_the_run_and_are_listed(raw, stage):
    for name in ("x.mp4", "y.mp4", "z.mp4"):
        (raw / name).touch()
        append(raw, f"{name},bow,p0")
    with pytest.raises(UserError, match="3 of 27 clips"):
        stage()
    assert [item.reason for item in quarantine.load(BAD)] == ["empty"] * 3
    assert not MANIFEST.exists()


def test_a_class_that_loses_all_its_clips_stops_the_run(raw, stage):
    (raw / "only.mp4").touch()
    append(raw, "only.mp4,jump,p0")
    with pytest.raises(UserError, match=r"no file can be used.*\n.*action 'jump'"):
        stage()


def test_parts_of_a_file_are_clips(raw, stage):
    lines = ["path,action,split,a,b"]
    lines += [f"clip {i:02}.MP4,bow,{split},0,0.2" for i, split in enumerate(("train", "val", "test"))]
    lines += ["clip 00.MP4,bow,train,0.2,0.4", "clip 00.MP4,bow,train,0.4,", "clip 03.MP4,bow,train,,"]
    (raw / "clips.csv").write_text("\n".join(lines))
    manifest = stage(split="split", group=None, start_s="a", end_s="b", max_bad_frac=0.2)
    ids = ["clip 00.MP4@0-0.2", "clip 00.MP4@0.2-0.4", "clip 01.MP4@0-0.2", "clip 02.MP4@0-0.2", "clip 03.MP4"]
    assert [clip.clip_id for clip in manifest.clips] == ids
    assert (manifest.clips[1].start_s, manifest.clips[1].end_s) == (0.2, 0.4)
    (bad,) = quarantine.load(BAD)  # each clip has 4 frames at 10 Hz: 0.4 s
    assert (bad.clip_id, bad.reason) == ("clip 00.MP4@0.4-", "too_short")


def test_faults_of_the_table_stop_before_anything_is_decoded(raw, stage, monkeypatch):
    append(raw, "nowhere.mp4,bow,p0", "http://h/a.mp4,bow,p0")
    monkeypatch.setattr(ingest, "inspect_clips", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(UserError) as caught:
        stage()
    assert "row 26: nowhere.mp4" in str(caught.value) and "row 27: http://h/a.mp4" in str(caught.value)


def test_folders_and_lists_give_the_same_clips(tmp_path, make_clip, stage):
    lines = {"train": [], "val": [], "test": []}
    for i in range(12):
        split, name = ("train", "val", "test")[i // 2 % 3], ("run", "sit")[i % 2]
        make_clip(tmp_path / "raw" / split / name / f"{i}.mp4", i)
        lines[split].append(f"{split}/{name}/{i}.mp4 {i % 2}\n")
    for split, own in lines.items():
        (tmp_path / "raw" / f"{split}.txt").write_text("".join(own))
    (tmp_path / "raw/names.txt").write_text("run\nsit\n")
    stage(kind="folder", head="action", splits=SPLITS, group_regex=None)
    first = MANIFEST.read_bytes()
    files = {split: f"{split}.txt" for split in lines}
    stage(kind="list", head="action", files=files, media=".", class_names="names.txt")
    assert MANIFEST.read_bytes() == first


def test_the_second_run_reads_no_file(raw, stage, monkeypatch):
    for path in raw.iterdir():
        os.utime(path, (1_600_000_000, 1_600_000_000))
    stage()
    first = MANIFEST.read_bytes()
    monkeypatch.setattr("actrec.store.digests._sha256", lambda path: pytest.fail(f"read {path}"))
    monkeypatch.setattr("actrec.store.digests.run_each", lambda *_, **__: pytest.fail("decoded"))
    stage()
    assert MANIFEST.read_bytes() == first


@pytest.mark.skipif(not (SHARED / "asl_letters").is_dir(), reason="no ../shared/data/asl_letters here")
def test_a_real_set_with_one_person_in_train_and_none_in_val(stage, capsys):
    manifest = stage(
        root=SHARED / "asl_letters", file="index.csv", heads={"action": "label"}, split="split", group="subject"
    )
    assert {s: len(manifest.of_split(s)) for s in ("train", "val", "test")} == {"train": 90, "val": 30, "test": 80}
    assert {clip.group for clip in manifest.of_split("test")} == {"tom"}
    assert "single group 'jack'" in capsys.readouterr().err


@pytest.mark.skipif(not (SHARED / "camera_trap").is_dir(), reason="no ../shared/data/camera_trap here")
def test_real_paths_with_spaces_accents_and_upper_case(stage):
    names = {"file": "labels.csv", "path": "filepath", "heads": {"action": "label"}, "group": None}
    with pytest.raises(UserError, match=r"unknown split \(4\)"):
        stage(root=SHARED / "camera_trap", split="split", **names)
    manifest = stage(root=SHARED / "camera_trap", **names)
    assert len(manifest.clips) == 19
    assert {clip.facts.container for clip in manifest.clips} == {"avi", "mp4", "asf"}


# --- sound --------------------------------------------------------------------------------------------------------


def write_sound(path, pitch_hz=440):
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = (8000 * np.sin(np.arange(4000) * 2 * np.pi * pitch_hz / 8000)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(samples.tobytes())
    return path


def test_the_sound_is_the_files_own_or_that_of_a_file_beside_it(raw, stage, make_clip, capsys):
    sound = write_sound(raw / "clip 03.WAV")
    make_clip(raw / "x.mp4", 200, with_audio=True).rename(raw / "clip 05.MP4")
    write_sound(raw / "clip 05.wav")  # passed over
    clips = {clip.clip_id: clip for clip in stage().clips}
    silent, beside, own = (clips[f"clip {i}.MP4"] for i in ("00", "03", "05"))
    assert (silent.sound_path, silent.sound_sha256) == ("", "")
    assert (beside.sound_path, beside.sound_sha256) == ("clip 03.WAV", hashlib.sha256(sound.read_bytes()).hexdigest())
    assert (own.sound_path, own.sound_sha256, own.facts.audio_codec) == ("clip 05.MP4", own.sha256, "aac")
    assert "2 with sound" in capsys.readouterr().err


@pytest.mark.parametrize(("needs", "num_clips"), [("video", 24), ("sound", 23)])
def test_a_broken_sound_costs_the_clip_where_sound_is_what_counts(raw, stage, needs, num_clips):
    for i in range(24):
        write_sound(raw / f"clip {i:02}.wav", 200 + i)
    (raw / "clip 03.wav").write_bytes(b"RIFF1234WAVE")
    clips = {clip.clip_id: clip for clip in stage(needs=needs).clips}
    assert len(clips) == num_clips
    if needs == "video":
        assert (clips["clip 03.MP4"].sound_path, clips["clip 03.MP4"].sound_fault) == ("", "unreadable")
    assert {clip.sound_fault for name, clip in clips.items() if name != "clip 03.MP4"} == {""}
    (bad,) = quarantine.load(BAD)
    assert (bad.clip_id, bad.path, bad.reason) == ("clip 03.MP4", "clip 03.wav", "unreadable")


def test_clips_that_lack_what_they_must_have_are_set_aside(raw, stage):
    write_sound(raw / "song.wav")
    append(raw, "song.wav,bow,p0")
    assert len(stage().clips) == 24
    (bad,) = quarantine.load(BAD)
    assert (bad.clip_id, bad.reason) == ("song.wav", "no_video")
    with pytest.raises(UserError, match="24 of 25 clips are unusable"):
        stage(needs="sound")
    assert {item.reason for item in quarantine.load(BAD)} == {"no_audio"}


def test_a_folder_of_sounds(tmp_path, stage, make_clip):
    for i in range(12):
        write_sound(tmp_path / "raw" / ("frog", "owl")[i % 2] / f"{i}.wav", 200 + i)
    make_clip(tmp_path / "raw/owl/filmed.mp4")
    write_sound(tmp_path / "raw/owl/filmed.ogg.wav")
    write_sound(tmp_path / "raw/owl/filmed.wav", 300)
    manifest = stage(needs="sound", kind="folder", head="call", splits=None, group_regex=None)
    assert len(manifest.clips) == 14 and manifest.classes == {"call": ("frog", "owl")}
    by_id = {clip.clip_id: clip for clip in manifest.clips}
    assert by_id["owl/filmed.mp4"].sound_path == "owl/filmed.wav" and "owl/filmed.wav" not in by_id
    song = by_id["frog/0.wav"]
    assert (song.sound_path, song.sound_sha256, song.duration_s) == ("frog/0.wav", song.sha256, 0.5)
    assert (song.facts.video_codec, song.facts.width_px, song.facts.num_frames) == ("", 0, 0)


# --- several cameras and several classes --------------------------------------------------------------------------

MAMMALPS = {
    "path": "video_path",
    "heads": {"species": "species", "behaviour": "activity", "actions": "actions"},
    "group": None,
    "group_regex": r"^(S\d+)_C\d+_(E\d+)_",
    "sample_regex": "^([^/]+)/",
    "multi_label": {"actions": ","},
}


def write_events(root, make_clip):
    """Return rows of 9 events, each seen by two cameras in two segments: {event: its rows}."""
    rows = {}
    for event in range(9):
        for camera in (1, 2):
            sample = f"S{event % 3}_C{camera}_E{event}_V0001_ID1_T1"
            for segment in (0, 1):
                path = f"{sample}/{sample}_c{segment}.mp4"
                number = event * 4 + camera * 2 + segment
                make_clip(root / path, number % 15, num_frames=4 + number // 15)
                labels = f'{("fox", "wolf")[event % 2]},resting,"{("a,b", "b,c", "c,a")[event // 3]}"'
                rows.setdefault(event, []).append(f"{path},{labels}")
    return rows


def test_one_event_seen_by_several_cameras_is_never_in_two_splits(tmp_path, stage, make_clip):
    rows = write_events(tmp_path / "raw", make_clip)
    lines = ["video_path,species,activity,actions", *(line for own in rows.values() for line in own)]
    (tmp_path / "raw/clips.csv").write_text("\n".join(lines))
    manifest = stage(**MAMMALPS)
    assert {clip.group for clip in manifest.clips} == {f"S{e % 3}_E{e}" for e in range(9)}
    assert all(len({c.split for c in manifest.clips if c.group == f"S{e % 3}_E{e}"}) == 1 for e in range(9))
    assert len({clip.sample for clip in manifest.clips}) == 18
    assert manifest.multi_label == {"actions"} and manifest.classes["actions"] == ("a", "b", "c")


def test_a_column_may_say_what_a_clip_is_a_segment_of(raw, stage):
    samples = [f"{('bow', 'wave')[i % 2]} of p{i // 4}" for i in range(24)]
    header, *rows = (raw / "clips.csv").read_text().splitlines()
    lines = [f"{header},walk", *(f"{row},{sample}" for row, sample in zip(rows, samples, strict=True))]
    (raw / "clips.csv").write_text("\n".join(lines))
    assert [clip.sample for clip in stage(sample="walk").clips] == samples


def test_a_table_for_each_split_and_an_event_in_two_of_them(tmp_path, stage, make_clip):
    rows = write_events(tmp_path / "raw", make_clip)
    files = {split: f"{split}.csv" for split in ("train", "val", "test")}
    for number, name in enumerate(files.values()):
        lines = [line for event, own in rows.items() if event % 3 == number for line in own]
        (tmp_path / "raw" / name).write_text("\n".join(["video_path,species,activity,actions", *lines]))
    manifest = stage(file=files, **MAMMALPS)
    assert [clip.split for clip in manifest.clips[:4]] == ["train"] * 4  # S0, the first of three events
    assert {s: len(manifest.of_split(s)) for s in files} == dict.fromkeys(files, 12)
    with (tmp_path / "raw/val.csv").open("a") as file:
        file.write("\n" + rows[0][0].replace(".mp4", "_again.mp4"))
    with pytest.raises(UserError, match=r"a group in two splits(?s:.*)'S0_E0': 4 in train, 1 in val"):
        stage(file=files, **MAMMALPS)


def write_mixed_events(root, make_clip, splits):
    """Write clips.csv where the last segment of each event of these splits shows another act than its sample."""
    lines = ["video_path,species,activity,actions,split"]
    for event, rows in write_events(root, make_clip).items():
        split = tuple(SPLITS)[event % 3]
        if split in splits:
            rows[-1] = rows[-1].replace("resting", "foraging")
        lines += [f"{row},{split}" for row in rows]
    (root / "clips.csv").write_text("\n".join(lines))


@pytest.mark.parametrize(("split", "count"), [("split", 6), (None, r"\d")])
def test_a_sample_with_two_labels_is_refused_where_it_is_scored(tmp_path, stage, make_clip, split, count):
    """Whether the table says which split it is of, or data.split has chosen one."""
    write_mixed_events(tmp_path / "raw", make_clip, splits=SPLITS)
    with pytest.raises(UserError, match=rf"val or test whose clips have different labels.* \({count}\)") as caught:
        stage(split=split, **MAMMALPS)
    assert "behaviour is 'resting' (" in str(caught.value) and "sample_regex. With null for both" in str(caught.value)
    assert not MANIFEST.exists()
    assert len(stage(split=split, **{**MAMMALPS, "sample_regex": None}).clips) == 36


def test_a_sample_of_train_with_two_labels_is_told(tmp_path, stage, make_clip, capsys):
    write_mixed_events(tmp_path / "raw", make_clip, splits=["train"])
    assert len(stage(split="split", **MAMMALPS).clips) == 36
    assert "3 samples of train with clips of different labels for behaviour" in capsys.readouterr().err
