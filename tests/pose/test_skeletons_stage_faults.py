"""The stage as a whole, on short skeletons: what is set aside, and when it stops."""

from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML
from stage_project import (
    BAD,
    FILM,
    OUT,
    SPLITS,
    clip_of,
    keypoints,
    reasons,
    write_npz,
)

from actrec.data import quarantine
from actrec.errors import UserError
from actrec.pose.pyskl_file import load_pickle


def test_a_clip_without_a_skeleton_stays_a_clip(root, write, stage):
    """Nor is it lost, nor is its class, when its skeleton is at fault: it has pictures."""
    (root / "npz/clip3.npz").write_bytes(b"PK")
    rows = [
        clip_of(root, "clip0", "train", facts=FILM, labels={"action": "run"}, path=None),
        *(clip_of(root, f"clip{i}", SPLITS[i], facts=FILM) for i in (1, 3, 4)),
    ]
    write(rows, media="video")
    assert stage() == 2
    assert reasons() == {"clip0": "no_skeleton", "clip3": "malformed"}
    listed = {item.clip_id: item for item in quarantine.load(BAD)}
    assert (listed["clip0"].stage, listed["clip0"].path) == ("skeletons", "clip0")
    assert listed["clip3"].path == "npz/clip3.npz"
    assert [s.label for s in load_pickle(OUT).skeletons] == [2, 2]  # bow, run, wave


@pytest.mark.parametrize(
    ("broken", "max_bad_frac", "expected"),
    [
        ([0], 0.1, r"1 of 6 clips are unusable \(16\.7%\), more than data\.max_bad_frac \(10\.0%\)"),
        ([4], 0.5, r"no clip of the val split is usable"),
        ([2, 3], 0.5, r"no usable train clip is left of action bow"),
    ],
)
def test_too_many_bad_clips_stop_the_run(root, write, stage, broken, max_bad_frac, expected):
    """Clips that are nothing but skeletons."""
    for i in broken:
        (root / f"npz/clip{i}.npz").write_bytes(f"PK{i}".encode())
    write(max_bad_frac=max_bad_frac)
    with pytest.raises(UserError, match=expected) as caught:
        stage()
    assert f"npz/clip{broken[0]}.npz: malformed" in str(caught.value)
    assert reasons() == {f"clip{i}": "malformed" for i in broken}


def test_of_videos_only_faults_count_and_clips_without_a_skeleton_do_not(root, write, stage):
    write_npz(root / "npz/clip5.npz", clip5=np.zeros((1, 3, 17, 2)))
    rows = [clip_of(root, f"clip{i}", split, facts=FILM) for i, split in enumerate(SPLITS)]
    without = [clip_of(root, f"none{i}", "train", facts=FILM, path=None) for i in range(20)]
    write([*rows, *without], media="video", max_bad_frac=0.1)
    assert stage() == 5
    assert reasons() == {"clip5": "no_body", **{f"none{i}": "no_skeleton" for i in range(20)}}
    (root / "npz/clip0.npz").write_bytes(b"PK")
    write([clip_of(root, "clip0", "train", facts=FILM), *rows[1:], *without], media="video", max_bad_frac=0.1)
    with pytest.raises(UserError, match=r"1 of 5 clips are unusable"):
        stage()


def test_without_any_skeleton_it_stops(root, write, stage):
    write([clip_of(root, f"clip{i}", split, facts=FILM, path=None) for i, split in enumerate(SPLITS)], media="video")
    with pytest.raises(UserError, match=r"none of 6 clips has a skeleton: .*quarantine_skeletons\.csv"):
        stage()


def test_pixels_of_a_picture_that_nobody_knows_are_no_use(root, write, stage):
    write_npz(root / "npz/clip0.npz", shape=None, clip0=keypoints(0))
    write()
    assert stage() == 5
    assert reasons() == {"clip0": "no_img_shape"}


def test_places_in_the_picture_and_in_space_do_not_go_together(root, write, stage):
    write_npz(root / "npz/clip1.npz", shape=None, clip1=np.ones((1, 3, 17, 3), np.float16))
    write()
    with pytest.raises(UserError, match=r"skeletons\.pkl: skeletons that do not go together: clip1"):
        stage()
    assert not OUT.exists() and list(OUT.parent.iterdir()) == []


def test_a_file_that_changed_under_the_manifest_stops_the_run(root, write, stage):
    write()
    write_npz(root / "npz/clip1.npz", clip1=keypoints(11))
    with pytest.raises(UserError, match=r"clip1\.npz: changed since ingest read it\. Run: dvc repro ingest"):
        stage()


def test_it_needs_to_know_where_skeletons_are(root, write, stage):
    write(media="video")
    text = Path("params.yaml").read_text()
    yaml = YAML(typ="safe", pure=True)
    params = yaml.load(text)
    params["data"]["skeletons"] = None
    with Path("params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(params, file)
    with pytest.raises(UserError, match=r"skeletons\.enabled needs data\.skeletons"):
        stage()
