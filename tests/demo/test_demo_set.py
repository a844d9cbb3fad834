"""The folder as a whole."""

import errno
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from drawn import files, table

from actrec.demo import write
from actrec.demo.figures import ACTIONS, Motion
from actrec.demo.scene import Figure, keypoints, render
from actrec.demo.video import encode_mp4
from actrec.errors import UserError

TINY: dict[str, Any] = {"scene": "solo", "subjects": 3, "takes": 1, "clip_s": 0.5, "size_px": 32, "seed": 0}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "demo"
    assert write.write_dataset(folder, **TINY) == 12
    return folder


def test_tables_name_what_is_there(tiny: Path) -> None:
    rows = table(tiny / "clips.csv")
    assert [r["path"] for r in rows] == sorted(f"clips/{p.name}" for p in (tiny / "clips").iterdir())
    assert {(r["subject"], r["action"]) for r in rows} == {(f"subject00{n}", a) for n in (1, 2, 3) for a in ACTIONS}
    assert {r["subject"]: r["species"] for r in rows} == {
        "subject001": "fox",
        "subject002": "hare",
        "subject003": "owl",
    }
    assert all(r["path"] == f"clips/{r['subject']}_{r['action']}_01.mp4" for r in rows)
    index = json.loads((tiny / "index.json").read_text())
    assert (index["enabled"], index["synthetic"], index["clips"]) == (True, True, 12)
    assert "ynthetic" in (tiny / "README.md").read_text()


def test_what_is_carried_is_seen_and_said_but_no_keypoint_tells_of_it(tmp_path: Path) -> None:
    assert write.write_dataset(tmp_path / "demo", **{**TINY, "scene": "carrying", "size_px": 64}) == 24
    rows = table(tmp_path / "demo/clips.csv")
    assert {row["act"] for row in rows} == {f"{action}_{thing}" for action in ACTIONS for thing in ("ball", "stick")}
    assert {r["fine"]: r["coarse"] for r in table(tmp_path / "demo/acts.csv")} == {r["act"]: r["action"] for r in rows}
    subject = write.draw_subject(0, seed=0, size_px=64)
    motion = Motion(0.5, 0.4, 0.0, 0.0, 0.1, 1.0, 1.0)
    ball, stick = (Figure(subject.body, subject.looks, motion, thing) for thing in ("ball", "stick"))
    seen = [render([figure], subject.background, 2).astype(int) for figure in (ball, stick)]
    left_hand = keypoints(ball, 2, 64)[0][0, 9].astype(int)
    blue, red = (frames[0, left_hand[1], left_hand[0]] for frames in seen)
    assert blue[2] > blue[0] + 80 and red[0] > red[2] + 80
    assert np.array_equal(keypoints(ball, 2, 64)[0], keypoints(stick, 2, 64)[0])


def test_a_clip_is_h264_and_mono_aac_of_the_length_asked_for(tiny: Path) -> None:
    for path in sorted((tiny / "clips").iterdir())[:2]:
        with av.open(str(path)) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            assert (video.codec_context.name, video.width, video.height) == ("h264", 32, 32)
            assert (video.average_rate, video.frames) == (20, 10)
            assert (audio.codec_context.name, audio.rate, audio.layout.name) == ("aac", 16000, "mono")
            assert len(list(container.decode(video=0))) == 10
        with av.open(str(path)) as container:
            heard = sum(frame.samples for frame in container.decode(audio=0))
            # AAC comes in frames of 1024 samples.
            assert 8000 <= heard < 8000 + 2048


def test_pixels_and_sound_survive_encoding() -> None:
    x = np.arange(64)
    frames = np.stack([np.broadcast_to((x + 4 * t)[:, None, None] * 2, (64, 64, 3)) for t in range(10)]).astype(
        np.uint8
    )
    sound = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(8000) / 16000)).astype(np.float32)
    content = encode_mp4(frames, sound, fps=20, sample_rate_hz=16000)
    with av.open(io.BytesIO(content), "r") as container:
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert np.abs(decoded.astype(int) - frames).mean() < 4
    with av.open(io.BytesIO(content), "r") as container:
        heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])[2000:6000]
    assert np.fft.rfftfreq(4000, 1 / 16000)[np.abs(np.fft.rfft(heard)).argmax()] == pytest.approx(1000, abs=4)
    assert np.abs(heard).max() == pytest.approx(0.5, abs=0.05)


def test_skeletons_and_boxes_cover_every_frame(tiny: Path) -> None:
    rows, found = table(tiny / "boxes.csv"), np.load(tiny / "skeletons.npz", allow_pickle=False)
    stems = [Path(r["path"]).stem for r in table(tiny / "clips.csv")]
    assert sorted(found.files) == sorted(f"{s}/{part}" for s in stems for part in ("keypoint", "keypoint_score"))
    for stem in stems:
        assert found[f"{stem}/keypoint"].shape == (1, 10, 17, 2)
        assert found[f"{stem}/keypoint_score"].shape == (1, 10, 17)
        assert found[f"{stem}/keypoint"].dtype == np.float16
    assert [(r["path"], r["frame"], r["person"]) for r in rows] == [
        (f"clips/{stem}.mp4", str(frame), "0") for stem in stems for frame in range(10)
    ]
    for row in rows:
        x, y, w, h = (float(row[side]) for side in "xywh")
        assert min(x, y) >= 0 < min(w, h)
        assert max(x + w, y + h) <= 32.01
    # A zip file keeps times: this one the earliest that it can hold.
    with zipfile.ZipFile(tiny / "skeletons.npz") as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_a_clip_does_not_depend_on_how_many_others_there_are(tiny: Path, tmp_path: Path) -> None:
    write.write_dataset(tmp_path / "more", **{**TINY, "subjects": 4, "takes": 2})
    fewer, more = files(tiny), files(tmp_path / "more")
    clips = [name for name in fewer if name.endswith(".mp4")]
    assert len(clips) == 12
    assert all(fewer[name] == more[name] for name in clips)
    assert len(set(more.values())) == len(more)


def test_another_seed_makes_other_clips(tiny: Path, tmp_path: Path) -> None:
    write.write_dataset(tmp_path / "other", **{**TINY, "seed": 1})
    one, other = files(tiny), files(tmp_path / "other")
    assert one.keys() == other.keys()
    assert not any(one[name] == other[name] for name in one if name.endswith(".mp4"))


def test_the_folder_is_made_anew(tmp_path: Path, tiny: Path) -> None:
    folder = tmp_path / "demo"
    (folder / "clips").mkdir(parents=True)
    (folder / "clips" / "stale.mp4").write_bytes(b"old")
    write.write_dataset(folder, **TINY)
    assert files(folder) == files(tiny)
    assert [p.name for p in tmp_path.iterdir()] == ["demo"]


def test_a_failure_leaves_what_was_there_and_no_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "index.json").write_text("{}")

    def fail(*_: object, **__: object) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(write, "encode_mp4", fail)
    with pytest.raises(UserError, match=r"demo: the disk is full"):
        write.write_dataset(folder, **TINY)
    assert files(folder) == {"index.json": b"{}"}
    assert [p.name for p in tmp_path.iterdir()] == ["demo"]


def test_clips_too_short_to_see_the_turn_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"demo\.clip_s: expected at least 0\.5 .*, got 0\.2"):
        write.write_dataset(tmp_path / "demo", **{**TINY, "clip_s": 0.2})
    assert not list(tmp_path.iterdir())
