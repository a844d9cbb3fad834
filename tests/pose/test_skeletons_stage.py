"""The stage as a whole, on short skeletons: what is written, and what is read again."""

import os
import pickle
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from stage_project import (
    BAD,
    FILM,
    OUT,
    REPO,
    SPLITS,
    clip_of,
    keypoints,
    reasons,
    write_npz,
)

from actrec.data import manifest, quarantine
from actrec.pose.pyskl_file import load_pickle

# --- what is written ----------------------------------------------------------------------------------------------


def test_it_is_one_pickle_in_the_layout_of_pyskl(root, write, stage):
    write()
    assert stage() == 6
    content = pickle.loads(OUT.read_bytes())  # what the stage wrote, not the user
    assert content["layout"] == "coco17"
    assert content["split"] == {
        "train": ["clip0", "clip1", "clip2", "clip3"],
        "val": ["clip4"],
        "test": ["clip5"],
    }
    assert [a["frame_dir"] for a in content["annotations"]] == [f"clip{i}" for i in range(6)]
    assert [a["label"] for a in content["annotations"]] == [1, 1, 0, 0, 1, 1]  # bow, wave
    for number, found in enumerate(content["annotations"]):
        assert np.array_equal(found["keypoint"], keypoints(number)) and found["keypoint"].dtype == np.float16
        assert (found["keypoint_score"] == 1).all() and found["img_shape"] == (54, 96) and found["total_frames"] == 3
    assert BAD.read_text() == quarantine.dump([])


def test_clips_have_their_own_ids_in_the_order_of_these(root, write, stage):
    """One file with all of them, in another order, and named otherwise."""
    write_npz(root / "all.npz", **{name: keypoints(i) for i, name in enumerate("cab")})
    rows = [
        clip_of(root, f"films/{number}.mp4", split, path="all.npz", skeleton_name=name)
        for number, (name, split) in enumerate([("a", "val"), ("b", "test"), ("c", "train")])
    ]
    write([*rows, clip_of(root, "clip0", "train")])
    assert stage() == 2
    loaded = load_pickle(OUT)
    assert [s.name for s in loaded.skeletons] == ["clip0", "films/0.mp4", "films/1.mp4", "films/2.mp4"]
    for skeleton, number in zip(loaded.skeletons, (0, 1, 2, 0), strict=True):
        assert np.array_equal(skeleton.keypoint, keypoints(number))
    assert dict(loaded.splits) == {"train": ("clip0", "films/2.mp4"), "val": ("films/0.mp4",), "test": ("films/1.mp4",)}


def test_of_a_crowd_the_most_seen_are_kept(root, write, stage):
    crowd = keypoints(7, num_frames=5, num_persons=3)
    crowd[0, 1:] = 0  # the first is seen in one frame only
    write_npz(root / "npz/clip0.npz", clip0=crowd)
    for max_persons in (2, 1):
        write(max_persons=max_persons)
        stage()
        found = load_pickle(OUT).skeletons[0].keypoint
        assert found.shape == (max_persons, 5, 17, 2) and np.array_equal(found, crowd[1 : 1 + max_persons])


@pytest.mark.parametrize(("rotation_deg", "shape"), [(0, (54, 96)), (90, (96, 54)), (180, (54, 96)), (270, (96, 54))])
def test_the_size_of_the_picture_is_the_videos_where_the_file_does_not_say(root, write, stage, rotation_deg, shape):
    write_npz(root / "npz/clip0.npz", shape=None, clip0=keypoints(0))
    write_npz(root / "npz/clip1.npz", shape=(10, 20), clip1=keypoints(1))
    facts = manifest.replace(FILM, rotation_deg=rotation_deg)
    write([clip_of(root, f"clip{i}", split, facts=facts) for i, split in enumerate(SPLITS)], media="video")
    stage()
    assert [skeleton.img_shape for skeleton in load_pickle(OUT).skeletons[:2]] == [shape, (10, 20)]


def text_of(body):
    """Return NTU's text of 15 frames in which so many people move: 25 joints of x y z, and of pixels."""
    lines = ["15"]
    for frame in range(15):
        lines.append(str(body))
        for person in range(body):
            lines += [f"{72057594037900000 + person} 0 1 1 1 1 0 0.1 0.2 2", "25"]
            for joint in range(25):
                x, y = 0.1 * frame * (1 + person) + 0.002 * joint, 0.05 * joint
                lines.append(f"{x:.4f} {y:.4f} 3.0 100 100 {960 + 100 * x:.3f} {540 - 100 * y:.3f} 0 0 0 0 2")
    return "\n".join(lines) + "\n"


def test_raw_ntu_text_is_a_file_a_clip(root, write, stage):
    (root / "text").mkdir()
    for name, body in (("two", 2), ("one", 1), ("nobody", 0), ("wrong", 1)):
        (root / f"text/{name}.skeleton").write_text(text_of(body) if name != "wrong" else "15\n1\nx")
    rows = [
        clip_of(root, name, split, path=f"text/{name}.skeleton")
        for name, split in (("one", "train"), ("two", "val"), ("nobody", "train"), ("wrong", "test"))
    ]
    for kind, dims in (("ntu_text", 3), ("ntu_text_2d", 2)):
        write(rows, kind=kind, layout="ntu25", media="video")
        assert stage() == 2
        one, two = load_pickle(OUT).skeletons
        assert one.keypoint.shape == (1, 15, 25, dims) and two.keypoint.shape == (2, 15, 25, dims)
        assert one.img_shape == (None if dims == 3 else (1080, 1920))
        assert reasons() == {"nobody": "no_body", "wrong": "malformed"}
        assert stage() == 0  # but both that are no use are tried again


# --- what is read again -------------------------------------------------------------------------------------------


def test_only_what_changed_is_read(root, write, stage):
    clips = write()
    assert stage() == 6
    before = OUT.read_bytes()
    assert stage() == 0

    write_npz(root / "npz/new.npz", new=keypoints(9))
    write([*clips, clip_of(root, "new", "train")])
    assert stage() == 1
    assert [s.name for s in load_pickle(OUT).skeletons] == [*(f"clip{i}" for i in range(6)), "new"]

    write(clips)
    assert stage() == 0
    assert OUT.read_bytes() == before

    write_npz(root / "npz/clip3.npz", clip3=keypoints(30))
    write()
    assert stage() == 1
    write([manifest.replace(clip, labels={"action": "bow"}, split="train") for clip in clips[:1]] + clips[1:3])
    assert stage() == 0  # a label or a split is not in the store


def test_a_setting_reads_all_and_back_none(root, write, stage):
    clips = write()
    stage()
    before = OUT.read_bytes()
    write(clips, max_persons=1)
    assert stage() == 6
    write(clips, timeout_s=99.0)  # changes no skeleton
    assert stage() == 0
    assert OUT.read_bytes() == before


def test_one_clip_more_of_a_file_of_many_reads_it_again(root, write, stage):
    write_npz(root / "all.npz", **{name: keypoints(i) for i, name in enumerate("abc")})
    rows = [clip_of(root, name, split, path="all.npz") for name, split in zip("abc", SPLITS[3:], strict=True)]
    write(rows[:2])
    assert stage() == 1
    write(rows)
    assert stage() == 1
    assert [s.name for s in load_pickle(OUT).skeletons] == ["a", "b", "c"]
    write(rows[:2])
    assert stage() == 0
    assert [s.name for s in load_pickle(OUT).skeletons] == ["a", "b"]


def test_what_is_no_use_in_a_file_of_many_is_remembered(root, write, stage):
    bad = keypoints(1)
    bad[0, 0, 0] = np.inf
    write_npz(root / "all.npz", good=keypoints(0), bad=bad, other=keypoints(2))
    rows = [
        clip_of(root, name, split, path="all.npz")
        for name, split in (("good", "train"), ("bad", "train"), ("other", "val"), ("absent", "train"))
    ]
    write(rows, media="video")
    assert stage() == 1
    listed, content = BAD.read_text(), OUT.read_bytes()
    assert reasons() == {"absent": "no_skeleton", "bad": "not_finite"}
    assert [s.name for s in load_pickle(OUT).skeletons] == ["good", "other"]
    assert stage() == 0
    assert (BAD.read_text(), OUT.read_bytes()) == (listed, content)
    for item in Path("cache/skeleton-faults").rglob("*.json"):
        item.unlink()  # as the store's prune may
    assert stage() == 1
    assert (BAD.read_text(), OUT.read_bytes()) == (listed, content)


@pytest.mark.parametrize(("workers", "cache"), [(1, "off"), (2, "fresh"), (4, "off")])
def test_the_outs_are_the_same_from_any_number_of_workers_with_and_without_the_store(
    root, write, stage, workers, cache
):
    """By hand, as a user would: python -m pipeline.skeletons. A bad file is left out."""
    (root / "npz/clip3.npz").write_bytes(b"PK")
    write()
    assert stage() == 5
    expected, listed = OUT.read_bytes(), BAD.read_text()
    environment = {**os.environ, "ACTREC_CACHE": cache, "ACTREC_WORKERS": str(workers), "PYTHONPATH": str(REPO)}
    done = subprocess.run([sys.executable, "-m", "pipeline.skeletons"], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    said = "skeletons: 5 clips out of 6 files, 5 of them read now, 0 without a skeleton, 1 set aside\n"
    assert done.stderr == said
    assert (OUT.read_bytes(), BAD.read_text()) == (expected, listed)
    assert {path.name for path in OUT.parent.iterdir()} == {OUT.name}


def test_a_killed_run_goes_on_where_it_was(root, write):
    for i in range(30):
        write_npz(root / f"npz/clip{i}.npz", **{f"clip{i}": keypoints(i, num_frames=3000)})
    clips = [clip_of(root, f"clip{i}", SPLITS[i % 6]) for i in range(30)]
    write(clips)
    environment = {**os.environ, "ACTREC_WORKERS": "1", "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-m", "pipeline.skeletons"]
    run = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list(Path("cache/skeletons").glob("*/*.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.002)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found = re.search(r"30 clips out of 30 files, (\d+) of them read now", done.stderr)
    assert found and int(found[1]) <= 27
    again = OUT.read_bytes()
    subprocess.run(command, env={**environment, "ACTREC_CACHE": "off"}, capture_output=True, check=True)
    assert OUT.read_bytes() == again and len(load_pickle(OUT).skeletons) == 30


NOTHING_TO_DO = """
import sys
from pathlib import Path
from pipeline import skeletons
skeletons.main(Path("params.yaml"))
print(sorted({"torch", "librosa", "scipy", "av", "sklearn", "h5py", "matplotlib"} & set(sys.modules)))
"""
SWITCHED_OFF = NOTHING_TO_DO.replace('{"torch", ', '{"torch", "numpy", ').replace(
    "print(", "import time; print(time.process_time() < 2, "
)


def test_with_nothing_to_do_it_loads_nothing_heavy(write, stage):
    write()
    stage()
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-c", NOTHING_TO_DO]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    said = "skeletons: 6 clips out of 6 files, 0 of them read now, 0 without a skeleton, 0 set aside\n"
    assert (done.stdout, done.stderr) == ("[]\n", said)


def test_switched_off_it_writes_a_stub_and_loads_nothing_heavy(write, stage):
    write()
    stage()
    write(enabled=False, media="video")
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-c", SWITCHED_OFF]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("True []\n", "")
    assert OUT.read_text() == '{"enabled": false}\n' and BAD.read_text() == quarantine.dump([])
