"""From a file to the tensor that is kept: which part, which frames, which square, which bytes."""

import hashlib
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from actrec.errors import BadItem, UserError
from actrec.media.clip import (
    ClipFolder,
    ClipSpec,
    ClipTask,
    encode,
    frame_indices,
    make_clip_file,
    pack_clip_files,
    read_clip,
    to_short_side,
    to_square,
)
from actrec.media.probe import probe
from actrec.store import tree
from actrec.store.cas import Store
from actrec.store.tree import Job, Maker, build, read_index
from actrec.store.workers import run_each

MEDIA = Path(__file__).resolve().parents[3] / "shared/data/media"
SPEC = ClipSpec(clip_frames=4, clips_per_video=1, frame_stride=None, size_px=32, resize="crop")


@pytest.fixture
def brightening(tmp_path, make_video):
    """A video of 40 frames at 20 a second; frame t is all of brightness 16 + 4 t."""
    frames = np.stack([np.full((80, 96, 3), 16 + 4 * t, np.uint8) for t in range(40)])
    return make_video(tmp_path / "a.mp4", frames, fps=20, options={"crf": "10"})


def numbers(clips):
    """Return which frames of `brightening` were read."""
    return ((clips.float().mean(dim=(2, 3, 4)) - 16) / 4).round().int().tolist()


@pytest.mark.parametrize(
    ("spec", "part", "expected"),
    [
        (SPEC, (None, None), [[5, 15, 25, 35]]),
        (replace(SPEC, clips_per_video=2), (None, None), [[2, 12, 22, 32], [7, 17, 27, 37]]),
        (replace(SPEC, frame_stride=3), (None, None), [[15, 18, 21, 24]]),
        (SPEC, (0.5, 1.0), [[11, 13, 16, 18]]),  # frames 10 to 19: bins of 2.5
        (SPEC, (1.5, None), [[31, 33, 36, 38]]),
        (SPEC, (None, 0.1), [[0, 0, 1, 1]]),
        (replace(SPEC, frame_stride=1), (1.9, 9.0), [[38, 39, 39, 39]]),
    ],
)
def test_the_frames_of_a_clip(brightening, spec, part, expected):
    start_s, end_s = part
    clips = read_clip(brightening, probe(brightening), spec, start_s=start_s, end_s=end_s)
    assert clips.shape == (spec.clips_per_video, 4, 32, 32, 3) and clips.dtype == torch.uint8
    assert numbers(clips) == expected


def test_a_part_without_a_frame(brightening):
    with pytest.raises(BadItem, match=r"no frame between 2\.5 s and 3 s") as caught:
        read_clip(brightening, probe(brightening), SPEC, start_s=2.5, end_s=3.0)
    assert caught.value.reason == "too_short"


def test_sampling_is_chosen_by_the_stride():
    assert frame_indices(8, SPEC).tolist() == [[1, 3, 5, 7]]
    assert frame_indices(8, replace(SPEC, frame_stride=2)).tolist() == [[0, 2, 4, 6]]


# --- squares ------------------------------------------------------------------------------------------------------


def gradient(height, width):
    """Return one frame whose red grows to the right, whose green grows downwards; blue is 100."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x * 255 // (width - 1), y * 255 // (height - 1), torch.full_like(x, 100)], -1)[None].byte()


def resized(frames, height, width):
    """Return what torch makes of them in floating point, rounded at the end."""
    small = functional.interpolate(
        frames.permute(0, 3, 1, 2).double(), (height, width), mode="bilinear", antialias=True, align_corners=False
    )
    return small.permute(0, 2, 3, 1)


def assert_close(found, expected):
    assert found.dtype == torch.uint8
    assert (found.double() - expected).abs().max() <= 1


@pytest.mark.parametrize(("height", "width"), [(48, 80), (80, 48), (47, 81), (64, 64), (20, 30)])
def test_crop_keeps_the_middle_square(height, width):
    side, frames = min(height, width), gradient(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    found = to_square(frames, 32, "crop")
    assert_close(found, resized(frames[:, top : top + side, left : left + side], 32, 32))


@pytest.mark.parametrize(("height", "width"), [(48, 80), (81, 47), (20, 30)])
def test_stretch_keeps_everything(height, width):
    frames = gradient(height, width)
    found = to_square(frames, 32, "stretch")
    assert_close(found, resized(frames, 32, 32))
    assert found[0, :, -1, 0].min() > 240 and found[0, -1, :, 1].min() > 240  # both far sides are in


@pytest.mark.parametrize(
    ("height", "width", "box"),
    [
        (40, 80, (8, 24, 0, 32)),  # rows 8 to 23, all columns
        (80, 40, (0, 32, 8, 24)),
        (50, 100, (8, 24, 0, 32)),
        (30, 64, (8, 23, 0, 32)),  # 15 rows: the odd black one is below
        (64, 64, (0, 32, 0, 32)),
        (1, 200, (15, 16, 0, 32)),  # never nothing
    ],
)
def test_pad_adds_black_on_both_sides(height, width, box):
    top, bottom, left, right = box
    frames = gradient(height, width) if height > 1 else torch.full((1, height, width, 3), 100, dtype=torch.uint8)
    found = to_square(frames, 32, "pad")
    assert_close(found[:, top:bottom, left:right], resized(frames, bottom - top, right - left))
    outside = torch.ones(32, 32, dtype=torch.bool)
    outside[top:bottom, left:right] = False
    assert (found[0, outside] == 0).all() and (found[0, ~outside][:, 2] == 100).all()


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
def test_the_right_size_is_left_alone(resize):
    frames = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(to_square(frames, 32, resize), frames)


@pytest.mark.parametrize(
    ("shape", "kept", "expected"),
    [
        ((48, 80), (0, 48, 0, 80), (32, 53)),  # 80 * 32 / 48 = 53.3
        ((80, 48), (0, 80, 0, 48), (53, 32)),
        ((64, 64), (0, 64, 0, 64), (32, 32)),
        ((16, 24), (0, 16, 0, 24), (32, 48)),
        ((20, 80), (0, 20, 0, 80), (32, 128)),  # four times as long: all
        ((20, 99), (0, 20, 9, 89), (32, 128)),  # longer: the middle 80 columns
        ((300, 10), (130, 170, 0, 10), (128, 32)),
    ],
)
def test_keep_keeps_the_proportions_up_to_four_to_one(shape, kept, expected):
    top, bottom, left, right = kept
    frames = gradient(*shape)
    found = to_short_side(frames, 32)
    assert found.shape == (1, *expected, 3)
    assert_close(found, resized(frames[:, top:bottom, left:right], *expected))


def test_a_clip_that_keeps_its_proportions(brightening):
    spec = replace(SPEC, resize="keep", size_px=40)
    clips = read_clip(brightening, probe(brightening), spec)
    assert clips.shape == (1, 4, 40, 48, 3) and numbers(clips) == [[5, 15, 25, 35]]


def test_a_picture_is_a_clip_of_one_frame(tmp_path):
    colours = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    Image.fromarray(colours).save(tmp_path / "a.png")
    spec = replace(SPEC, clip_frames=1, size_px=4)
    facts = probe(tmp_path / "a.png")
    found = read_clip(tmp_path / "a.png", facts, spec)
    assert found.shape == (1, 1, 4, 4, 3) and found[0, 0].tolist() == colours[:, 1:5].tolist()
    whole = read_clip(tmp_path / "a.png", facts, replace(spec, resize="keep", clips_per_video=2, clip_frames=3))
    assert whole.shape == (2, 3, 4, 6, 3) and (whole == torch.from_numpy(colours)).all()
    with pytest.raises(BadItem, match=r"no frame between 0\.5 s and the end"):
        read_clip(tmp_path / "a.png", facts, spec, start_s=0.5)


def test_one_number_of_pixels_for_every_size():
    for resize in ("crop", "pad", "stretch"):
        for height, width in [(1, 1), (7, 3), (33, 31), (31, 33), (200, 17)]:
            frames = torch.full((2, height, width, 3), 77, dtype=torch.uint8)
            assert to_square(frames, 32, resize).shape == (2, 32, 32, 3)


# --- files --------------------------------------------------------------------------------------------------------

ENCODER = """
import hashlib, torch
from actrec.media.clip import encode
clip = torch.arange(2 * 3 * 4 * 4 * 3, dtype=torch.uint8).reshape(2, 3, 4, 4, 3)
print(hashlib.sha256(encode(clip) + encode({"b": clip, "a": clip + 1})).hexdigest())
"""


def test_equal_tensors_give_equal_bytes_in_every_process():
    clip = torch.arange(2 * 3 * 4 * 4 * 3, dtype=torch.uint8).reshape(2, 3, 4, 4, 3)
    here = hashlib.sha256(encode(clip) + encode({"b": clip, "a": clip + 1})).hexdigest()
    there = subprocess.run([sys.executable, "-c", ENCODER], capture_output=True, text=True, check=True).stdout
    assert there == here + "\n"


def test_only_the_values_count():
    """Not how they lie in memory, nor what lies around them."""
    clip = torch.arange(60, dtype=torch.uint8).reshape(3, 5, 4)
    around = torch.zeros(4, 3, 5, 4, dtype=torch.uint8)
    around[1] = clip
    turned = clip.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    assert encode(around[1]) == encode(turned) == encode(clip)
    assert encode({"a": around[1]}) == encode({"a": clip})


def task_of(path, **changes):
    task = ClipTask(path, hashlib.sha256(path.read_bytes()).hexdigest(), probe(path), SPEC, None, None)
    return replace(task, **changes)


def loaded(content, path):
    path.write_bytes(content)
    return torch.load(path, weights_only=True)


def test_a_clip_file_holds_the_clip(brightening, tmp_path):
    threads = torch.get_num_threads()
    clip = loaded(make_clip_file(task_of(brightening)), tmp_path / "a.pt")
    part = loaded(make_clip_file(task_of(brightening, start_s=0.5, end_s=1.0)), tmp_path / "b.pt")
    torch.set_num_threads(threads)
    assert torch.equal(clip, read_clip(brightening, probe(brightening), SPEC))
    assert numbers(part) == [[11, 13, 16, 18]]


@pytest.mark.parametrize("change", ["longer", "one byte", "gone", "folder"])
def test_a_file_that_changed_since_ingest_stops_the_run(brightening, change):
    """Else other pixels would be kept under its old key, and be taken for right for ever."""
    task = task_of(brightening)
    content = bytearray(brightening.read_bytes())
    brightening.unlink()
    match change:
        case "longer":
            brightening.write_bytes(content + b"\0")
        case "one byte":
            content[-1] ^= 1
            brightening.write_bytes(content)
        case "folder":
            brightening.mkdir()
    with pytest.raises(UserError, match=r"a\.mp4: .*dvc repro ingest"):
        make_clip_file(task)


def test_a_shard_holds_its_members(tmp_path):
    clips = {name: torch.full((1, 2, 4, 4, 3), i, dtype=torch.uint8) for i, name in enumerate(["b/x", "a", "é"])}
    files = {}
    for i, (name, clip) in enumerate(clips.items()):
        files[name] = tmp_path / f"{i}.pt"
        files[name].write_bytes(encode(clip))
    content = pack_clip_files(files)
    assert content == pack_clip_files(dict(reversed(files.items())))
    shard = loaded(content, tmp_path / "shard.pt")
    assert list(shard) == ["a", "b/x", "é"]
    assert all(torch.equal(shard[name], clip) for name, clip in clips.items())


def fill(number):
    return encode(torch.full((1, 2, 8, 8, 3), number, dtype=torch.uint8))


@pytest.mark.parametrize("is_sharded", [False, True], ids=["singly", "sharded"])
def test_the_reader_gives_the_same_singly_and_sharded(tmp_path, monkeypatch, without_workers, is_sharded):
    monkeypatch.setattr(tree, "MAX_SINGLE_FILES", 5 if is_sharded else 100)
    monkeypatch.setattr(tree, "_CLIPS_A_SHARD", 4)
    jobs = [Job(f"person {i % 3}/clip {i}", f"{i:064x}", i) for i in range(20)]
    about = {"spec": {"clip_frames": 2, "clips_per_video": 1, "frame_stride": None, "size_px": 8, "resize": "pad"}}
    maker = Maker("frames", ".pt", fill, pack_clip_files, "v1", 30.0, ())
    build(tmp_path / "out", jobs, maker, about=about, store=Store(tmp_path / "store"), workers=1)

    folder = ClipFolder(tmp_path / "out", read_index(tmp_path / "out"))
    assert folder.spec == ClipSpec(2, 1, None, 8, "pad")
    assert len({clip["file"] for clip in read_index(tmp_path / "out")["clips"].values()}) < 20 or not is_sharded
    for reader in (folder, pickle.loads(pickle.dumps(folder))):
        for job in jobs:
            assert job.clip_id in reader.digests
            assert torch.equal(reader[job.clip_id], torch.full((1, 2, 8, 8, 3), job.argument, dtype=torch.uint8))
            assert reader.digests[job.clip_id] == hashlib.sha256(fill(job.argument)).hexdigest()
    assert "nobody" not in folder.digests
    with pytest.raises(KeyError):
        folder["nobody"]


def test_a_file_is_opened_once_and_by_each_process_for_itself(tmp_path):
    clip_ids = {"a": {"file": "a.pt", "sha256": "0"}}
    spec = {"clip_frames": 2, "clips_per_video": 1, "frame_stride": None, "size_px": 8, "resize": "pad"}
    (tmp_path / "a.pt").write_bytes(fill(7))
    folder = ClipFolder(tmp_path, {"sharded": False, "spec": spec, "clips": clip_ids})
    assert folder["a"].unique().tolist() == [7]
    (tmp_path / "a.pt").unlink()
    assert folder["a"].unique().tolist() == [7]
    with pytest.raises(FileNotFoundError):
        pickle.loads(pickle.dumps(folder))["a"]


# --- real and hostile files ---------------------------------------------------------------------------------------


def look(path):
    """Return the shape of the clip: what is to be run in a process that may be killed."""
    torch.set_num_threads(1)
    return tuple(read_clip(path, probe(path), SPEC).shape)


REASONS = {
    "LICENSE": "not_media",
    "corrupted.mp4": "decoder_error",
    **dict.fromkeys([".wav", ".mp3"], "no_video"),
}


@pytest.mark.skipif(not MEDIA.is_dir(), reason="no ../shared/data/media here")
def test_every_real_file_decodes_or_has_the_right_reason():
    files = sorted(path for path in MEDIA.rglob("*") if path.is_file())
    outcomes = list(run_each(look, files, timeout_s=60, workers=2, preload=("torch", "av", "decord")))
    assert len(outcomes) == len(files) > 50
    for outcome in outcomes:
        path = outcome.item
        expected = REASONS.get(path.name, REASONS.get(path.suffix, ""))
        assert outcome.reason == expected, f"{path.name}: {outcome.reason} {outcome.message}"
        assert outcome.attempts == 1 and bool(outcome.message) == bool(expected)
        assert outcome.result == (None if expected else (1, 4, 32, 32, 3)), path.name


@pytest.mark.parametrize("text", ["#EXTM3U\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile {}\n"])
def test_a_playlist_reads_no_other_file(tmp_path, make_clip, text):
    """Even with facts that were not of this file: the bytes may have changed since."""
    other = make_clip(tmp_path / "other.ts", num_frames=10)
    path = tmp_path / "list.mp4"
    path.write_text(text.format(other.name))
    facts = replace(probe(make_clip(tmp_path / "true.mp4", num_frames=10)), width_px=96, height_px=80)  # to decord
    for wrong in (facts, replace(facts, container="mpegts", num_frames=0)):
        with pytest.raises(BadItem) as caught:
            read_clip(path, wrong, SPEC)
        assert caught.value.reason == "playlist"
    task = replace(task_of(tmp_path / "true.mp4"), path=path)
    with pytest.raises(UserError, match="changed since ingest"):
        make_clip_file(task)
