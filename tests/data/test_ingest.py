"""The stage as a whole, on tiny videos."""

import os
from pathlib import Path

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
    "start_s": None,
    "end_s": None,
}
MANIFEST, BAD = Path("data/interim/mine/manifest.csv"), Path("data/interim/mine/quarantine_ingest.csv")


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """Return a function that runs the stage in an empty folder: stage(reader={…}, root=…)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ACTREC_WORKERS", "2")
    yaml = YAML(typ="safe", pure=True)

    def run(*, root="raw", max_bad_frac=0.1, **reader):
        params = yaml.load((REPO / "recipes/demo.yaml").read_text())
        own = reader if reader.get("kind") else {**READER, **reader}
        params["data"].update(name="mine", root=str(root), max_bad_frac=max_bad_frac, reader=own)
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
    monkeypatch.setattr(ingest, "inspect_files", lambda *_, **__: pytest.fail("decoded"))
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
    stage(kind="folder", head="action", splits=True, group_regex=None)
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
