"""The stage `ingest` where clips have skeletons, or are nothing else."""

import hashlib
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from actrec.data import quarantine
from actrec.data.manifest import load_manifest
from actrec.errors import UserError
from actrec.pose.layouts import LAYOUTS
from pipeline import ingest

REPO = Path(__file__).resolve().parents[2]
MANIFEST, BAD = Path("data/interim/mine/manifest.csv"), Path("data/interim/mine/quarantine_ingest.csv")
POSE = {"kind": "pose_conv3d", "blocks": [1, 1, 1], "width": 4, "temporal_stride": 1, "frozen": False}
POSE |= {"heatmaps": {"of": "joints", "sigma_px": 0.6}, "weights": {"kind": "none"}, "token_grid": None}
POSE |= {"input_frames": 4, "input_px": 16}
AUGMENT = {"pose": {"min_area_frac": 1.0, "flip_prob": 0.0}}
CSV = {
    **{"kind": "csv", "file": "clips.csv", "path": "path", "heads": {"action": "action"}, "multi_label": {}},
    **dict.fromkeys(("id", "split", "group", "group_regex", "sample", "sample_regex", "start_s", "end_s", "people")),
}
NPZ = {"kind": "npz", "path": "keypoints.npz", "layout": "coco17"}
PICKLE = {"kind": "pyskl", "path": "all.pkl", "layout": "coco17"}
FROM_PICKLE = {"kind": "skeletons", "head": "action", "class_names": None, "group_regex": None}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Return an empty data root, in a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ACTREC_WORKERS", "1")
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw"


@pytest.fixture
def stage(root):
    """Return a function that runs the stage: stage(reader, skeletons, media="skeleton", coarse=None)."""
    yaml = YAML(typ="safe", pure=True)

    def run(reader, skeletons, *, media="skeleton", coarse=None, max_bad_frac=0.2, **split):
        params = yaml.load((REPO / "recipes/demo.yaml").read_text(encoding="utf-8"))
        params["data"].update(name="mine", root="raw", media=media, max_bad_frac=max_bad_frac, reader=reader)
        params["data"].update(skeletons=skeletons, coarse=coarse)
        params["data"]["split"].update(split)
        if media == "skeleton":
            params["skeletons"]["enabled"] = True
            params["model"]["backbones"] = {"pose": POSE}
            params["train"]["augment"] = params["features"]["augment"] = AUGMENT
        with Path("params.yaml").open("w", encoding="utf-8") as file:
            yaml.dump(params, file)
        ingest.main(Path("params.yaml"))
        return load_manifest(MANIFEST)

    return run


def keypoints(number, num_frames=3):
    """Return keypoints of one person in coco17, which depend on a number: float16 (1, T, 17, 2), all seen."""
    rng = np.random.default_rng(number)
    return rng.uniform(1, 50, (1, num_frames, 17, 2)).astype(np.float16)


def write_npz(file, names):
    arrays = {f"{name}/keypoint": keypoints(number) for number, name in enumerate(names)}
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, **arrays, img_shape=np.array([54, 96]))  # pyright: ignore[reportArgumentType]


def write_csv(file, name, number, joints):
    rows = [f"{name},0,0,{joint},{number},{at}" for at, joint in enumerate(joints, start=1)]
    file.write_text("\n".join(["name,frame,person,joint,x,y", *rows]) + "\n")


def write_coco_json(file, name, number, joints):
    values = [value for at, _ in enumerate(joints, start=1) for value in (number, at, 2)]
    images = [{"id": 0, "file_name": f"{name}/0.jpg"}]
    file.write_text(json.dumps({"images": images, "annotations": [{"image_id": 0, "keypoints": values}]}))


def annotation(name, number, label, **changes):
    content = keypoints(number)
    scores = np.ones(content.shape[:3], np.float16)
    about = {"frame_dir": name, "label": label, "img_shape": (54, 96), "total_frames": 3}
    return {**about, "keypoint": content, "keypoint_score": scores, **changes}


def write_pickle(file, annotations, **splits):
    content = {"split": splits, "annotations": annotations} if splits else annotations
    file.write_bytes(pickle.dumps(content, protocol=4))


def write_table(root, *rows):
    (root / "clips.csv").write_text("\n".join(["path,action,split", *rows]) + "\n")


def sha256(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


# --- nothing but skeletons ----------------------------------------------------------------------------------------


def test_a_pickle_has_rows_labels_and_splits(root, stage, capsys):
    names = [f"clip{i}" for i in range(8)]
    write_pickle(
        root / "all.pkl",
        [annotation(name, i, i % 2) for i, name in enumerate(names)],
        xsub_train=names[:5],
        xsub_val=names[5:7],
        other=names,
    )
    splits = {"train": "xsub_train", "val": "xsub_val", "test": None}
    manifest = stage({**FROM_PICKLE, "splits": splits}, PICKLE, train_frac=0.8, test_frac=0.0)
    assert [clip.clip_id for clip in manifest.clips] == names[:7]
    assert [clip.split for clip in manifest.clips] == ["train"] * 5 + ["val"] * 2
    assert manifest.classes == {"action": ("0", "1")}
    first = manifest.clips[0]
    assert (first.path, first.skeleton_path, first.skeleton_name) == ("clip0", "all.pkl", "clip0")
    assert first.skeleton_sha256 == sha256(root / "all.pkl") != first.sha256
    assert (first.size_bytes, first.duration_s, first.facts.has_video) == (3 * 17 * 3 * 2, 0.0, False)
    assert len({clip.sha256 for clip in manifest.clips}) == 7  # of each skeleton, not of the file
    assert "7 with a skeleton" in capsys.readouterr().err


def test_a_bare_list_is_split_by_the_groups_in_its_names(root, stage):
    names = [f"p{i // 4}_clip{i}" for i in range(24)]
    write_pickle(root / "all.pkl", [annotation(name, i, i % 2) for i, name in enumerate(names)])
    manifest = stage({**FROM_PICKLE, "splits": None, "group_regex": r"^(p\d)"}, PICKLE)
    assert {s: len(manifest.of_split(s)) > 0 for s in ("train", "val", "test")} == dict.fromkeys(
        ("train", "val", "test"), True
    )
    assert all(len({clip.split for clip in manifest.clips if clip.group == f"p{i}"}) == 1 for i in range(6))


def test_the_same_skeleton_in_two_splits_is_told_though_all_are_in_one_file(root, stage):
    annotations = [annotation("a", 0, 0), annotation("b", 1, 0), annotation("c", 0, 0)]
    write_pickle(root / "all.pkl", annotations, t=["a", "b"], v=["c"])
    reader = {**FROM_PICKLE, "splits": {"train": "t", "val": "v", "test": None}}
    with pytest.raises(UserError, match=r"same in two splits \(1\)(?s:.*)a \(train\), c \(val\)"):
        stage(reader, PICKLE, train_frac=0.8, test_frac=0.0)


def test_the_same_skeleton_stays_in_one_split(root, stage):
    write_npz(root / "keypoints.npz", [f"c{i:02}" for i in range(12)])
    twice = {f"again{i}/keypoint": keypoints(7) for i in range(3)}
    np.savez(root / "twice.npz", **twice)  # pyright: ignore[reportArgumentType]
    arrays = {**np.load(root / "keypoints.npz"), **twice}
    np.savez(root / "keypoints.npz", **arrays)
    write_table(root, *(f"c{i:02},{'ab'[i % 2]}," for i in range(12)), *(f"again{i},b," for i in range(3)))
    manifest = stage({**CSV}, NPZ)
    same = [clip for clip in manifest.clips if clip.clip_id.startswith("again") or clip.clip_id == "c07"]
    assert len(same) == 4 and len({clip.split for clip in same}) == 1


def test_rows_that_name_no_skeleton_or_a_bad_one_are_set_aside(root, stage):
    write_pickle(
        root / "all.pkl", [*(annotation(f"c{i}", i, 0) for i in range(9)), annotation("bad", 9, 0, keypoint=1)]
    )
    split = {i: ("train", "val", "test")[i % 3] for i in range(9)}
    write_table(root, *(f"c{i},a,{split[i]}" for i in range(9)), "bad,a,train", "nowhere.mp4,a,train")
    reader = {**CSV, "split": "split"}
    assert len(stage(reader, PICKLE).clips) == 9
    bad = {item.clip_id: (item.reason, item.path) for item in quarantine.load(BAD)}
    assert bad == {"bad": ("wrong_shape", "all.pkl"), "nowhere.mp4": ("no_skeleton", "nowhere.mp4")}
    with pytest.raises(UserError, match=r"2 of 11 clips are unusable"):
        stage(reader, PICKLE, max_bad_frac=0.1)


def test_a_bad_annotation_of_a_pickle_is_set_aside_and_does_not_stop_it(root, stage):
    annotations = [*(annotation(f"c{i}", i, 0) for i in range(9)), annotation("bad", 9, 0, keypoint=1)]
    write_pickle(root / "all.pkl", annotations, t=[*(f"c{i}" for i in range(6)), "bad"], v=["c6", "c7", "c8"])
    reader = {**FROM_PICKLE, "splits": {"train": "t", "val": "v", "test": None}}
    manifest = stage(reader, PICKLE, train_frac=0.8, test_frac=0.0)
    assert len(manifest.clips) == 9 and manifest.classes == {"action": ("0",)}
    (bad,) = quarantine.load(BAD)
    assert (bad.clip_id, bad.reason) == ("bad", "wrong_shape")


def test_a_hostile_pickle_is_refused(root, stage):
    (root / "all.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(UserError, match=r"raw/all\.pkl: cannot be used as data\.skeletons of kind pyskl"):
        stage({**FROM_PICKLE, "splits": None}, PICKLE)


@pytest.mark.parametrize("kind", ["ntu_text", "ntu_text_2d"])
def test_raw_ntu_text_is_named_by_its_files_and_not_read(root, stage, monkeypatch, kind):
    """NTU60, cross-subject: subjects 1 and 2 train. What is held out is test, and val comes out of train."""
    monkeypatch.setattr("actrec.store.skeleton_files.run_each", lambda *_, **__: pytest.fail("read"))
    for subject in (1, 2, 3, 4):
        for action in (1, 41):
            file = root / f"nturgb+d_skeletons/S001C001P{subject:03}R001A{action:03}.skeleton"
            file.parent.mkdir(exist_ok=True)
            file.write_text(f"1\n0\n{subject} {action}\n")
    source = {"kind": kind, "path": "nturgb+d_skeletons", "layout": "ntu25"}
    reader = {"kind": "ntu", "head": "action", "dataset": "ntu60", "protocol": "xsub", "held_out": "test"}
    coarse = {"of": "action", "head": "kind", "map": "ntu60_semantic"}
    manifest = stage({**reader, "media": ".", "missing": {"kind": "keep"}}, source, coarse=coarse)
    splits = {clip.group: clip.split for clip in manifest.clips}
    assert splits["P003"] == "test" and {splits[g] for g in ("P001", "P002", "P004")} == {"train", "val"}
    assert manifest.heads == ("action", "kind")
    assert manifest.classes["action"] == ("A001 drink water", "A041 sneeze or cough")
    assert manifest.classes["kind"] == ("eating and care", "medical")
    clip = manifest.clips[0]
    name = "S001C001P001R001A001"
    assert (clip.clip_id, clip.skeleton_name) == (name, name)
    assert clip.skeleton_path == f"nturgb+d_skeletons/{name}.skeleton"
    assert clip.skeleton_sha256 == clip.sha256 == sha256(root / clip.skeleton_path)


@pytest.mark.parametrize(
    ("kind", "suffix", "layout", "write"),
    [("csv", ".csv", "utkinect20", write_csv), ("coco_json", ".json", "ma52_28", write_coco_json)],
)
def test_tables_and_json_files_are_read_for_the_names_in_them(root, stage, kind, suffix, layout, write):
    (root / "joints").mkdir()
    for i in range(6):
        write(root / f"joints/file{i}{suffix}", f"c{i}", i + 1, LAYOUTS[layout].joints)
    write_table(root, *(f"c{i},{'ab'[i % 2]},{('train', 'val', 'test')[i // 2]}" for i in range(6)))
    manifest = stage({**CSV, "split": "split"}, {"kind": kind, "path": "joints", "layout": layout})
    found = [(clip.skeleton_path, clip.skeleton_name) for clip in manifest.clips]
    assert found == [(f"joints/file{i}{suffix}", f"c{i}") for i in range(6)]


# --- beside videos ------------------------------------------------------------------------------------------------


@pytest.fixture
def films(root, make_clip):
    """Make six videos, two a split, and their table; return the rows of the table."""
    rows = []
    for i in range(6):
        make_clip(root / f"clips/f{i}.mp4", i)
        rows.append(f"clips/f{i}.mp4,{'ab'[i % 2]},{('train', 'val', 'test')[i // 2]}")
    write_table(root, *rows)
    return rows


def test_a_video_has_the_skeleton_of_its_name_or_none(root, stage, films):
    write_npz(root / "keypoints.npz", ["f0", "clips/f1", "f2", "else"])
    manifest = stage({**CSV, "split": "split"}, NPZ, media="video")
    found = [(clip.skeleton_path, clip.skeleton_name) for clip in manifest.clips]
    file = "keypoints.npz"
    assert found == [(file, "f0"), (file, "clips/f1"), (file, "f2"), ("", ""), ("", ""), ("", "")]
    assert [clip.skeleton_sha256 for clip in manifest.clips] == [sha256(root / file)] * 3 + [""] * 3
    assert manifest.clips[0].sha256 == sha256(root / "clips/f0.mp4") and manifest.clips[0].facts.width_px == 16
    assert BAD.read_text() == quarantine.dump([])


def test_without_data_skeletons_no_clip_has_any(root, stage, films):
    write_npz(root / "keypoints.npz", ["f0"])
    assert {clip.skeleton_path for clip in stage({**CSV, "split": "split"}, None, media="video").clips} == {""}


def test_a_bad_file_in_a_folder_stands_for_the_clip_of_its_name(root, stage, films):
    for i in range(6):
        write_npz(root / f"npz/clips/f{i}.npz", [f"f{i}"])
    (root / "npz/clips/f3.npz").write_bytes(b"PK")
    manifest = stage({**CSV, "split": "split"}, {**NPZ, "path": "npz"}, media="video")
    assert [clip.skeleton_path for clip in manifest.clips] == [f"npz/clips/f{i}.npz" for i in range(6)]
    assert BAD.read_text() == quarantine.dump([])  # the clips have their pictures


def test_files_of_equal_names_are_told_apart_by_their_folders(root, stage, make_clip):
    rows = []
    for i, (name, split) in enumerate((n, s) for n in ("run", "sit") for s in ("train", "val", "test")):
        make_clip(root / f"films/{name}/{split}.mp4", i)
        write_npz(root / f"npz/films/{name}/{split}.npz", [split])
        rows.append(f"films/{name}/{split}.mp4,{name},{split}")
    write_table(root, *rows)
    manifest = stage({**CSV, "split": "split"}, {**NPZ, "path": "npz/"}, media="video")
    assert [clip.skeleton_path for clip in manifest.clips] == [
        f"npz/{clip.path.removesuffix('.mp4')}.npz" for clip in manifest.clips
    ]
    assert manifest.clips[0].skeleton_name == "test"


def test_files_are_read_once(root, stage, films, monkeypatch):
    write_npz(root / "keypoints.npz", ["f0", "f1"])
    os.utime(root / "keypoints.npz", (1_600_000_000, 1_600_000_000))
    stage({**CSV, "split": "split"}, NPZ, media="video")
    first = MANIFEST.read_bytes()
    monkeypatch.setattr("actrec.store.skeleton_files.run_each", lambda *_, **__: pytest.fail("read"))
    stage({**CSV, "split": "split"}, NPZ, media="video")
    assert MANIFEST.read_bytes() == first


def test_where_skeletons_lie_is_below_the_root(root, stage, films):
    write_npz(root.parent / "keypoints.npz", ["f0"])
    for path, expected in (("../keypoints.npz", "leads out of data.root"), ("nowhere.npz", "a missing file")):
        with pytest.raises(UserError, match=expected):
            stage({**CSV, "split": "split"}, {**NPZ, "path": path}, media="video")
    with pytest.raises(UserError, match=r"a folder without any file \*\.npz"):
        stage({**CSV, "split": "split"}, {**NPZ, "path": "clips"}, media="video")


def test_ntu_videos_without_a_skeleton_are_left_out(root, stage, make_clip, capsys):
    """Of each subject that trains, 1 and 2, and that is held out, 3, one of two samples has a skeleton."""
    names = [f"S001C001P{subject:03}R001A{action:03}" for subject in (1, 2, 3) for action in (1, 2, 3)]
    for number, name in enumerate(names):
        make_clip(root / f"rgb/{name}_rgb.mp4", number)
    make_clip(root / "rgb/title.mp4", 99)
    write_npz(root / "keypoints.npz", [name for name in names if not name.endswith("A003")])
    reader = {"kind": "ntu", "head": "action", "dataset": "ntu60", "protocol": "xsub", "held_out": "val"}
    reader |= {"media": "rgb", "missing": {"kind": "skeletons"}}
    manifest = stage(reader, NPZ, media="video", train_frac=0.8, test_frac=0.0)
    assert [clip.clip_id for clip in manifest.clips] == [f"rgb/{n}_rgb.mp4" for n in names if not n.endswith("A003")]
    assert [clip.split for clip in manifest.clips] == ["train"] * 4 + ["val"] * 2
    assert [clip.skeleton_name for clip in manifest.clips] == [n for n in names if not n.endswith("A003")]
    said = capsys.readouterr().err
    assert "passed over 1 file " in said and "left out 3 samples without a skeleton" in said

    (root / "gone.txt").write_text("S001C001P001R001A001\n")
    reader["missing"] = {"kind": "list", "file": "gone.txt"}
    assert len(stage(reader, None, media="video", train_frac=0.8, test_frac=0.0).clips) == 8
    reader["media"] = "nowhere"
    with pytest.raises(UserError, match=r"data\.reader\.media is 'nowhere'"):
        stage(reader, None, media="video", train_frac=0.8, test_frac=0.0)


def test_ma52_lists_have_its_names_and_parts_of_the_body(root, stage):
    """A line is `0003_01_0001.mp4 9`, and skeletons are a pickle without labels of its own."""
    names = [f"{i:04}_01_0001" for i in range(8)]
    write_pickle(root / "all.pkl", [annotation(name, i, 0) for i, name in enumerate(names)], none=[])
    for split, own in (("train", names[:4]), ("val", names[4:6]), ("test", names[6:])):
        (root / f"{split}.txt").write_text("".join(f"{name}.mp4 {(9, 11)[int(name[:4]) % 2]}\n" for name in own))
    files = {split: f"{split}.txt" for split in ("train", "val", "test")}
    reader = {"kind": "list", "head": "action", "files": files, "media": ".", "class_names": "ma52"}
    manifest = stage(reader, PICKLE, coarse={"of": "action", "head": "body", "map": "ma52"})
    assert manifest.classes == {"action": ("09 nodding", "11 scratching arms"), "body": ("1 head", "2 upper limb")}
    assert manifest.clips[1].labels == {"action": "11 scratching arms", "body": "2 upper limb"}
    assert manifest.clips[1].skeleton_name == names[1]


def test_classes_without_a_coarse_one_stop_before_anything_is_read(root, stage, films, monkeypatch):
    monkeypatch.setattr(ingest, "inspect_clips", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(UserError, match=r"table of data\.coarse\.map lacks \(2\)"):
        stage({**CSV, "split": "split"}, None, media="video", coarse={"of": "action", "head": "body", "map": "ma52"})
