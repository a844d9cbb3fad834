"""The stage as a whole, on tiny videos: what is computed, what is set aside, and when it stops."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from actrec import paths
from actrec.data import manifest, quarantine
from actrec.errors import UserError
from actrec.media.probe import probe
from actrec.store import tree
from pipeline import frames

REPO = Path(__file__).resolve().parents[2]
OUT, BAD = Path("data/processed/mine/video_frames"), Path("data/interim/mine/quarantine_frames.csv")
SPLITS = ("train", "train", "train", "train", "val", "test")


def clip_of(root, path, split, **part):
    file = root / path
    return manifest.Clip(
        clip_id=path,
        path=path,
        split=split,
        group="",
        labels={"action": "wave" if split != "train" or path < "clip 2" else "bow"},
        start_s=part.get("start_s"),
        end_s=part.get("end_s"),
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        size_bytes=file.stat().st_size,
        facts=probe(file),
    )


def drifting(shade):
    """Return 12 frames of a texture that depends on `shade`."""
    t, y, x = np.mgrid[:12, :80, :96]
    return np.stack([x + 4 * t, y + shade * 20, x + y - 3 * t], axis=-1).astype(np.uint8)


@pytest.fixture
def root(tmp_path, make_video, monkeypatch):
    """Return the root of six videos, in a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTREC_CACHE", str(tmp_path / "cache"))
    for i in range(6):
        make_video(tmp_path / f"raw/clip {i}.mkv", drifting(i), options={"g": "3"})
    return tmp_path / "raw"


@pytest.fixture
def write(root):
    """Return a function that writes the manifest of these clips, and params.yaml: write(clips, size_px=16, …)."""

    def write(clips=None, *, max_bad_frac=0.5, **settings):
        if clips is None:
            clips = [clip_of(root, f"clip {i}.mkv", split) for i, split in enumerate(SPLITS)]
        text = manifest.dump(manifest.Manifest(tuple(clips), ("action",)))
        paths.manifest("mine").parent.mkdir(parents=True, exist_ok=True)
        paths.manifest("mine").write_text(text, encoding="utf-8")
        yaml = YAML(typ="safe", pure=True)
        params = yaml.load((REPO / "recipes/demo.yaml").read_text(encoding="utf-8"))
        params["data"].update(name="mine", root="raw", max_bad_frac=max_bad_frac)
        params["frames"].update({"clip_frames": 3, "size_px": 16, **settings})
        with Path("params.yaml").open("w", encoding="utf-8") as file:
            yaml.dump(params, file)
        return clips

    return write


@pytest.fixture
def stage(without_workers, capsys):
    """Return a function that runs the stage in this process and returns how many clips it decoded."""

    threads = torch.get_num_threads()

    def run():
        frames.main(Path("params.yaml"))
        found = re.search(r"frames: \d+ clips, (\d+) of them decoded now", capsys.readouterr().err)
        assert found
        return int(found[1])

    yield run
    torch.set_num_threads(threads)


def snapshot(folder=OUT):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def cut(path):
    """Take the second half of a video away; its header still promises it."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_every_clip_becomes_a_tensor(root, write, stage):
    write()
    assert stage() == 6
    clips = tree.read_index(OUT)["clips"]
    assert list(clips) == [f"clip {i}.mkv" for i in range(6)]
    for i in range(6):
        clip = torch.load(OUT / f"clip {i}.mkv.pt", weights_only=True)
        assert clip.shape == (1, 3, 16, 16, 3) and clip.dtype == torch.uint8
        # Green is y + 20 i (mod 256), the same in all frames; the middle rows are about 40 below the top.
        assert clip[..., 1].float().mean() == pytest.approx(drifting(i)[..., 1].mean(), abs=3)
    assert BAD.read_text() == quarantine.dump([])


def test_only_what_changed_is_decoded(root, write, stage, make_video):
    clips = write()
    assert stage() == 6
    before = snapshot()
    assert stage() == 0

    make_video(root / "new.mkv", drifting(9))
    write([*clips, clip_of(root, "new.mkv", "train")])
    assert stage() == 1
    assert set(snapshot()) - set(before) == {"new.mkv.pt"}

    write(clips)
    assert stage() == 0
    assert snapshot() == before

    (root / "clip 3.mkv").write_bytes((root / "clip 3.mkv").read_bytes() + b"\0")
    write()
    assert stage() == 1


def test_a_setting_of_the_clips_decodes_all_and_back_none(root, write, stage):
    clips = write()
    stage()
    before = snapshot()
    for settings in ({"size_px": 24}, {"resize": "pad"}, {"sampling": {"kind": "stride", "frame_stride": 2}}):
        write(clips, **settings)
        assert stage() == 6
        assert not snapshot().items() & before.items()
    write(clips, timeout_s=99.0)  # changes no clip
    assert stage() == 0
    assert snapshot() == before


def test_windows_of_a_video_and_their_stride_are_as_asked_for(write, stage):
    write(clips_per_video=2, sampling={"kind": "stride", "frame_stride": 3})
    assert stage() == 6
    clips = torch.load(OUT / "clip 0.mkv.pt", weights_only=True)
    assert clips.shape == (2, 3, 16, 16, 3)
    # Red grows by 4 a frame. Of frames 0 to 11 the first window has 0, 3, 6, the last one 5, 8, 11.
    red = clips[..., 0].float().mean(dim=(2, 3)).flatten()
    assert (red - red[0]).tolist() == pytest.approx([0, 12, 24, 20, 32, 44], abs=1.9)


def test_parts_of_one_file_are_clips_of_their_own(root, write, stage):
    halves = [clip_of(root, "clip 0.mkv", "train", end_s=0.6), clip_of(root, "clip 0.mkv", "val", start_s=0.6)]
    write([manifest.replace(half, clip_id=f"half {i}") for i, half in enumerate(halves)])
    assert stage() == 2
    one, two = (torch.load(OUT / f"half {i}.pt", weights_only=True)[..., 0].float().mean(dim=(0, 2, 3)) for i in (0, 1))
    # Red grows by 4 a frame. Of frames 0 to 5 the halves have 1, 3, 5; of 6 to 11 7, 9, 11.
    assert (one - one[0]).tolist() == pytest.approx([0, 8, 16], abs=1.5)
    assert (two - one[0]).tolist() == pytest.approx([24, 32, 40], abs=1.5)


def test_the_folder_is_the_same_from_workers_without_a_store_and_with_a_bad_clip_left_out(root, write, stage):
    """By hand, as a user would: python -m pipeline.frames."""
    cut(root / "clip 3.mkv")
    write()
    assert stage() == 5
    expected, listed = snapshot(), BAD.read_text()
    (bad,) = quarantine.load(BAD)
    assert (bad.clip_id, bad.stage, bad.reason, bad.path) == ("clip 3.mkv", "frames", "frame_mismatch", "clip 3.mkv")
    assert "promises 12 frames" in bad.message

    environment = {**os.environ, "ACTREC_CACHE": "off", "ACTREC_WORKERS": "2", "PYTHONPATH": str(REPO)}
    done = subprocess.run([sys.executable, "-m", "pipeline.frames"], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "frames: 5 clips, 5 of them decoded now, 1 set aside\n"
    assert snapshot() == expected
    assert BAD.read_text() == listed
    assert {path.name for path in Path("data/processed/mine").iterdir()} == {"video_frames"}


NOTHING_TO_DO = """
import sys
from pathlib import Path
from pipeline import frames
frames.main(Path("params.yaml"))
print(sorted({"torch", "torchvision", "decord", "av", "sklearn", "h5py"} & set(sys.modules)))
"""


def test_with_nothing_to_do_it_loads_nothing_heavy(write, stage):
    write()
    stage()
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-c", NOTHING_TO_DO]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "frames: 6 clips, 0 of them decoded now, 0 set aside\n")


@pytest.mark.parametrize(
    ("broken", "max_bad_frac", "expected"),
    [
        ([0], 0.1, r"1 of 6 clips are unusable \(16\.7%\), more than data\.max_bad_frac \(10\.0%\)"),
        ([4], 0.5, r"no clip of the val split is usable"),
        ([2, 3], 0.5, r"no usable train clip is left of action bow"),
    ],
)
def test_too_many_bad_clips_stop_the_run(root, write, stage, broken, max_bad_frac, expected):
    for i in broken:
        cut(root / f"clip {i}.mkv")
    write(max_bad_frac=max_bad_frac)
    with pytest.raises(UserError, match=expected) as caught:
        stage()
    assert f"clip {broken[0]}.mkv: frame_mismatch" in str(caught.value)
    assert [bad.clip_id for bad in quarantine.load(BAD)] == [f"clip {i}.mkv" for i in broken]


def test_a_file_that_changed_under_the_manifest_stops_the_run(root, write, stage):
    write()
    content = bytearray((root / "clip 1.mkv").read_bytes())
    content[-1] ^= 1
    (root / "clip 1.mkv").write_bytes(content)
    with pytest.raises(UserError, match=r"clip 1\.mkv: changed since ingest read it\. Run: dvc repro ingest"):
        stage()


def test_switched_off_it_writes_a_stub(write, stage, monkeypatch):
    write()
    stage()
    params = frames.load(Path("params.yaml"))
    off = params.model_copy(update={"frames": params.frames.model_copy(update={"enabled": False})})
    monkeypatch.setattr(frames, "load", lambda _: off)
    frames.main()
    assert tree.read_index(OUT) == {"enabled": False}
    assert list(snapshot()) == ["index.json"] and BAD.read_text() == quarantine.dump([])
