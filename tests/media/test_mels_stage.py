"""The stage as a whole, on short sounds: what is computed, what is set aside, what is silent, and when it stops."""

import csv
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from actrec import paths
from actrec.data import manifest, quarantine
from actrec.errors import UserError
from actrec.media.probe import probe
from actrec.media.sound import MelFolder
from actrec.store import tree
from pipeline import mels

REPO = Path(__file__).resolve().parents[2]
OUT, BAD = Path("data/processed/mine/mel_spectrograms"), Path("data/interim/mine/quarantine_mels.csv")
FLAGS = Path("data/interim/mine/sound.csv")
SPLITS = ("train", "train", "train", "train", "val", "test")
RATE_HZ = 8000
RESNET = {"kind": "resnet", "depth": 18, "weights": {"kind": "none"}, "frozen": False}
AUGMENT = {"roll": False, "freq_masks": 0, "freq_mask_bins": 0, "time_masks": 0, "time_mask_steps": 0}


def sound_of(number, length_s=1.0):
    """Return noise that depends on `number`, with a tone of (number + 1) x 250 Hz above it; float32 (1, n)."""
    t = np.arange(round(length_s * RATE_HZ)) / RATE_HZ
    noise = np.random.default_rng(number).standard_normal(len(t))
    return (0.5 * np.sin(2 * np.pi * 250 * (number + 1) * t) + 0.01 * noise)[None].astype(np.float32)


def clip_of(root, path, split, sound: str | None = "", **part):
    """Return the manifest's row; `sound` is the file beside it, None for no sound at all."""
    file = root / path
    heard = None if sound is None else root / (sound or path)
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
        sound_path="" if heard is None else heard.relative_to(root).as_posix(),
        sound_sha256="" if heard is None else hashlib.sha256(heard.read_bytes()).hexdigest(),
    )


@pytest.fixture
def root(tmp_path, make_sound, monkeypatch):
    """Return the root of six sounds, in a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTREC_CACHE", str(tmp_path / "cache"))
    for i in range(6):
        make_sound(tmp_path / f"raw/clip {i}.flac", sound_of(i), RATE_HZ, codec="flac")
    return tmp_path / "raw"


@pytest.fixture
def write(root):
    """Return a function that writes the manifest of these clips, and params.yaml: write(clips, n_mels=16, …)."""

    def write(clips=None, *, max_bad_frac=0.5, media="sound", **settings):
        if clips is None:
            clips = [clip_of(root, f"clip {i}.flac", split) for i, split in enumerate(SPLITS)]
        text = manifest.dump(manifest.Manifest(tuple(clips), ("action",)))
        paths.manifest("mine").parent.mkdir(parents=True, exist_ok=True)
        paths.manifest("mine").write_text(text, encoding="utf-8")
        yaml = YAML(typ="safe", pure=True)
        params = yaml.load((REPO / "recipes/demo.yaml").read_text(encoding="utf-8"))
        params["data"].update(name="mine", root="raw", max_bad_frac=max_bad_frac, media=media)
        small = {"sample_rate_hz": 8000, "n_fft": 256, "hop_samples": 128, "n_mels": 16, "f_max_hz": 4000}
        params["mels"].update({"enabled": True, **small, "duration_s": 0.5, "crop": "start", **settings})
        if media == "sound":
            params["model"]["backbones"] = {"audio": RESNET}
            params["train"]["augment"] = params["features"]["augment"] = {"audio": AUGMENT}
        with Path("params.yaml").open("w", encoding="utf-8") as file:
            yaml.dump(params, file)
        return clips

    return write


@pytest.fixture
def stage(without_workers, capsys):
    """Return a function that runs the stage in this process and returns how many tracks it decoded."""

    def run():
        mels.main(Path("params.yaml"))
        found = re.search(r"mels: \d+ sound tracks, (\d+) of them decoded now", capsys.readouterr().err)
        assert found
        return int(found[1])

    return run


def snapshot(folder=OUT):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def flags():
    with FLAGS.open(encoding="utf-8", newline="") as file:
        return {row["clip_id"]: (row["path"], row["status"], row["message"]) for row in csv.DictReader(file)}


def cut(path):
    """Take the second half of a sound away; its header still promises it."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def folder():
    return MelFolder(OUT, tree.read_index(OUT))


def test_every_clip_becomes_a_spectrogram(root, write, stage):
    write()
    assert stage() == 6
    index = tree.read_index(OUT)
    assert list(index["clips"]) == [f"clip {i}.flac" for i in range(6)] and index["absent"] == {}
    for i in range(6):
        mel = np.load(OUT / f"clip {i}.flac.npy", allow_pickle=False)
        assert mel.shape == (16, 1 + 4000 // 128) and mel.dtype == np.float32
        # 16 triangles between 0 and 4000 Hz, equally far apart on Slaney's scale: which is highest at the tone?
        top = 15 + 27 * np.log(4) / np.log(6.4)
        tone_hz = 250 * (i + 1)
        tone = tone_hz * 3 / 200 if tone_hz < 1000 else 15 + 27 * np.log(tone_hz / 1000) / np.log(6.4)
        assert abs(mel.mean(axis=1).argmax() - (tone / top * 17 - 1)) < 0.7
    assert BAD.read_text() == quarantine.dump([])
    assert flags() == {f"clip {i}.flac": (f"clip {i}.flac", "ok", "") for i in range(6)}


def test_only_what_changed_is_decoded(root, write, stage, make_sound):
    clips = write()
    assert stage() == 6
    before = snapshot()
    assert stage() == 0

    make_sound(root / "new.flac", sound_of(9), RATE_HZ, codec="flac")
    write([*clips, clip_of(root, "new.flac", "train")])
    assert stage() == 1
    assert set(snapshot()) - set(before) == {"new.flac.npy"}

    write(clips)
    assert stage() == 0
    assert snapshot() == before

    make_sound(root / "clip 3.flac", sound_of(30), RATE_HZ, codec="flac")
    write()
    assert stage() == 1


def test_a_setting_of_the_sound_decodes_all_and_back_none(root, write, stage):
    clips = write()
    stage()
    before = snapshot()
    longer = {"duration_s": 2}  # than the sounds, so that they are filled up
    seen = [before]
    for settings in ({"n_mels": 8}, {"crop": "middle"}, {"f_min_hz": 50}, longer, {**longer, "pad": "silence"}):
        write(clips, **settings)
        assert stage() == 6
        assert not any(snapshot().items() & other.items() for other in seen)
        seen.append(snapshot())
    write(clips, timeout_s=99.0)  # changes no clip
    assert stage() == 0
    assert snapshot() == before


@pytest.mark.parametrize("media", ["sound", "video"])
def test_a_silent_clip_is_remembered_as_such(media, root, write, stage, make_sound):
    make_sound(root / "clip 3.flac", np.zeros((1, 8000), np.float32), RATE_HZ, codec="flac")
    write(media=media)
    assert stage() == 6
    assert folder().absent == {"clip 3.flac": "silent"} and "clip 3.flac" not in folder().digests
    # Where there are pictures as well the clip stays, and nothing is wrong; where there are none it is lost.
    why = "no sample is above -100 dBFS" if media == "sound" else ""
    assert flags()["clip 3.flac"] == ("clip 3.flac", "silent", why)
    lost = [quarantine.Quarantined("clip 3.flac", "mels", "silent", "clip 3.flac", why)] if why else []
    assert BAD.read_text() == quarantine.dump(lost)
    before = snapshot()
    assert stage() == 0
    assert snapshot() == before


def test_the_sound_of_a_silent_film_is_beside_it(root, write, stage, make_clip):
    make_clip(root / "film.mp4", num_frames=10)
    write([clip_of(root, "film.mp4", "train", sound="clip 1.flac"), clip_of(root, "clip 1.flac", "val")], media="video")
    assert stage() == 1  # the same bytes
    assert np.array_equal(folder()["film.mp4"], folder()["clip 1.flac"])
    assert flags()["film.mp4"] == ("clip 1.flac", "ok", "")


def test_a_clip_without_sound_stays_a_clip(root, write, stage, make_clip):
    """Nor is it lost, nor is its class, when its sound is at fault: it has pictures."""
    for name in ("mute.mp4", "bad.mp4", "junk.mp4"):
        make_clip(root / name, num_frames=10)
    cut(root / "clip 3.flac")
    rows = [
        clip_of(root, "mute.mp4", "train", sound=None),
        clip_of(root, "bad.mp4", "test", sound="clip 3.flac"),
        manifest.replace(clip_of(root, "junk.mp4", "train", sound=None), sound_fault="not_media"),  # says ingest
        clip_of(root, "clip 1.flac", "val"),
    ]
    write(rows, media="video")
    assert stage() == 1
    assert folder().absent == {"mute.mp4": "no_track", "bad.mp4": "truncated", "junk.mp4": "not_media"}
    assert flags()["mute.mp4"] == ("", "no_track", "")
    assert flags()["junk.mp4"] == ("", "not_media", "")
    path, status, message = flags()["bad.mp4"]
    assert (path, status) == ("clip 3.flac", "truncated") and "promises 1.00 s" in message
    (bad,) = quarantine.load(BAD)
    assert (bad.clip_id, bad.stage, bad.reason, bad.path) == ("bad.mp4", "mels", "truncated", "clip 3.flac")


def test_parts_of_one_file_are_clips_of_their_own(root, write, stage, make_sound):
    make_sound(root / "two.flac", np.hstack([sound_of(0), sound_of(5)]), RATE_HZ, codec="flac")
    halves = [clip_of(root, "two.flac", "train", end_s=1.0), clip_of(root, "two.flac", "val", start_s=1.0)]
    rows = [manifest.replace(half, clip_id=f"half {i}") for i, half in enumerate(halves)]
    write([*rows, clip_of(root, "clip 0.flac", "test"), clip_of(root, "clip 5.flac", "test")])
    assert stage() == 4
    for half, alone in (("half 0", "clip 0.flac"), ("half 1", "clip 5.flac")):
        assert np.abs(folder()[half] - folder()[alone]).max() < 1e-3


@pytest.mark.parametrize(("workers", "cache"), [(1, "off"), (2, "fresh"), (4, "off")])
def test_the_outs_are_the_same_from_any_number_of_workers_with_and_without_the_store(
    root, write, stage, make_sound, workers, cache
):
    """By hand, as a user would: python -m pipeline.mels. A bad clip and a silent one are left out."""
    cut(root / "clip 3.flac")
    make_sound(root / "clip 1.flac", np.zeros((1, 8000), np.float32), RATE_HZ, codec="flac")
    write()
    assert stage() == 5
    expected, listed, flagged = snapshot(), BAD.read_text(), FLAGS.read_text()
    assert len(expected) == 5

    environment = {**os.environ, "ACTREC_CACHE": cache, "ACTREC_WORKERS": str(workers), "PYTHONPATH": str(REPO)}
    done = subprocess.run([sys.executable, "-m", "pipeline.mels"], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    said = "mels: 4 sound tracks, 5 of them decoded now, 1 silent, 1 set aside; 0 clips without a track\n"
    assert done.stderr == said
    assert (snapshot(), BAD.read_text(), FLAGS.read_text()) == (expected, listed, flagged)
    assert {path.name for path in Path("data/processed/mine").iterdir()} == {"mel_spectrograms"}


def test_a_killed_run_goes_on_where_it_was(root, write, stage, make_sound, monkeypatch):
    for i in range(30):
        make_sound(root / f"clip {i}.flac", sound_of(i, 8.0), RATE_HZ, codec="flac")
    clips = [clip_of(root, f"clip {i}.flac", SPLITS[i % 6]) for i in range(30)]
    write(clips, duration_s=8.0)
    environment = {**os.environ, "ACTREC_WORKERS": "1", "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-m", "pipeline.mels"]
    run = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list(Path("cache/mels").glob("*/*.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found = re.search(r"mels: 30 sound tracks, (\d+) of them decoded now", done.stderr)
    assert found and int(found[1]) <= 27
    again = snapshot()
    monkeypatch.setenv("ACTREC_CACHE", "off")
    assert stage() == 30
    assert snapshot() == again and len(again) == 31


NOTHING_TO_DO = """
import sys
from pathlib import Path
from pipeline import mels
mels.main(Path("params.yaml"))
print(sorted({"torch", "librosa", "numba", "scipy", "soxr", "av", "sklearn", "h5py"} & set(sys.modules)))
"""


def test_with_nothing_to_do_it_loads_nothing_heavy(write, stage):
    write()
    stage()
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-c", NOTHING_TO_DO]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    said = "mels: 6 sound tracks, 0 of them decoded now, 0 silent, 0 set aside; 0 clips without a track\n"
    assert (done.stdout, done.stderr) == ("[]\n", said)


@pytest.mark.parametrize(
    ("broken", "max_bad_frac", "expected"),
    [
        ([0], 0.1, r"1 of 6 clips are unusable \(16\.7%\), more than data\.max_bad_frac \(10\.0%\)"),
        ([4], 0.5, r"no clip of the val split is usable"),
        ([2, 3], 0.5, r"no usable train clip is left of action bow"),
    ],
)
def test_too_many_bad_clips_stop_the_run(root, write, stage, broken, max_bad_frac, expected):
    """Clips that are nothing but sound."""
    for i in broken:
        cut(root / f"clip {i}.flac")
    write(max_bad_frac=max_bad_frac)
    with pytest.raises(UserError, match=expected) as caught:
        stage()
    assert f"clip {broken[0]}.flac: truncated" in str(caught.value)
    assert [bad.clip_id for bad in quarantine.load(BAD)] == [f"clip {i}.flac" for i in broken]
    assert flags()[f"clip {broken[0]}.flac"][1] == "truncated"


def test_too_many_faults_stop_the_run_of_videos_too(root, write, stage):
    cut(root / "clip 0.flac")
    write(max_bad_frac=0.1, media="video")
    with pytest.raises(UserError, match=r"more than data\.max_bad_frac"):
        stage()


def test_without_any_sound_it_stops(root, write, stage, make_sound):
    make_sound(root / "silent.flac", np.zeros((1, 8000), np.float32), RATE_HZ, codec="flac")
    write([clip_of(root, "silent.flac", "train"), clip_of(root, "clip 1.flac", "val", sound=None)], media="video")
    expected = r"none of 2 clips has sound that can be used \(1 silent, 0 set aside; 1 clip without.*mels\.enabled"
    with pytest.raises(UserError, match=expected):
        stage()


def test_a_file_that_changed_under_the_manifest_stops_the_run(root, write, stage):
    write()
    content = bytearray((root / "clip 1.flac").read_bytes())
    content[-1] ^= 1
    (root / "clip 1.flac").write_bytes(content)
    with pytest.raises(UserError, match=r"clip 1\.flac: changed since ingest read it\. Run: dvc repro ingest"):
        stage()


SWITCHED_OFF = NOTHING_TO_DO.replace("print(", "import time; print(time.process_time() < 2, ")


def test_switched_off_it_writes_stubs_and_loads_nothing_heavy(write, stage):
    write()
    stage()
    write(enabled=False, media="video")
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-c", SWITCHED_OFF]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("True []\n", "")
    assert tree.read_index(OUT) == {"enabled": False}
    assert list(snapshot()) == ["index.json"] and BAD.read_text() == quarantine.dump([])
    assert FLAGS.read_text() == "clip_id,path,status,message\n"
