"""The frames stage on pairs: each picture decoded once, a file a picture, and pairs put together of its crops."""

import hashlib
import os
import pickle
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML

from actrec import paths
from actrec.data import manifest, quarantine
from actrec.data.people import People
from actrec.errors import UserError
from actrec.media import crops
from actrec.media.clip import ClipFolder
from actrec.media.probe import probe
from actrec.store import tree
from pipeline import frames

REPO = Path(__file__).resolve().parents[2]
OUT, BAD = Path("data/processed/mine/video_frames"), Path("data/interim/mine/quarantine_frames.csv")
BOXES = {"ann": (2.0, 4.0, 10.0, 30.0), "bob": (20.0, 4.0, 12.5, 28.0), "cid": (50.0, 10.0, 9.0, 22.0)}
SHADES = {"ann": (200, 0, 0), "bob": (0, 200, 0), "cid": (0, 0, 200)}
PICTURES = {"a.png": "train", "b.png": "train", "scene/c.png": "val", "scene/d.png": "test"}
PAIRS = (("ann", "bob"), ("bob", "cid"), ("cid", "ann"))
COLUMNS = [["ax", "ay", "aw", "ah"], ["bx", "by", "bw", "bh"]]
READER = {
    **{"kind": "csv", "file": "pairs.csv", "path": "image", "heads": {"action": "relation"}, "multi_label": {}},
    **dict.fromkeys(["id", "split", "group", "group_regex", "sample", "sample_regex", "start_s", "end_s"]),
    "people": {"boxes": COLUMNS, "corners": False, "ids": None, "persons": None, "wraps": False},
}


def draw(path, dim=0):
    """Write a black picture in which each person's box is filled with a colour, `dim` darker."""
    pixels = np.zeros((40, 64, 3), np.uint8)
    for name, (x, y, w, h) in BOXES.items():
        pixels[round(y) : round(y + h), int(x) : round(x + w + 0.4)] = np.clip(np.array(SHADES[name]) - dim, 0, 255)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def pair_of(root, path, split, one, other, *, wraps=False, boxes=BOXES, **part):
    file = root / path
    return manifest.Clip(
        clip_id=f"{path}@{part.get('start_s')}#{one}+{other}" if part else f"{path}#{one}+{other}",
        path=path,
        split=split,
        group="",
        labels={"action": "walking"},
        start_s=part.get("start_s"),
        end_s=None,
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        size_bytes=file.stat().st_size,
        facts=probe(file),
        people=People((boxes[one], boxes[other]), persons=3, wraps=wraps),
    )


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Return the root of four pictures, in a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTREC_CACHE", str(tmp_path / "cache"))
    for number, name in enumerate(PICTURES):
        draw(tmp_path / "raw" / name, dim=10 * number)
    return tmp_path / "raw"


@pytest.fixture
def pairs(root):
    return [pair_of(root, path, split, *pair) for path, split in PICTURES.items() for pair in PAIRS]


@pytest.fixture
def write(root):
    """Return a function that writes the manifest of these pairs, and params.yaml: write(clips, size_px=8, …)."""

    def write(clips, *, max_bad_frac=0.5, media="image", **settings):
        clips = sorted(clips, key=lambda clip: clip.clip_id)
        paths.manifest("mine").parent.mkdir(parents=True, exist_ok=True)
        paths.manifest("mine").write_text(manifest.dump(manifest.Manifest(tuple(clips), ("action",))))
        yaml = YAML(typ="safe", pure=True)
        params = yaml.load((REPO / "recipes/demo.yaml").read_text(encoding="utf-8"))
        reader = {**READER, "start_s": "time_s" if media == "video" else None}
        params["data"].update(name="mine", root="raw", max_bad_frac=max_bad_frac, media=media, reader=reader)
        own = {"clip_frames": 2, "size_px": 8, "region": "boxes", "resize": "stretch", "pad_frac": 0.0}
        params["frames"].update({**own, **settings})
        with Path("params.yaml").open("w", encoding="utf-8") as file:
            yaml.dump(params, file)

    return write


@pytest.fixture
def decoded(monkeypatch):
    """Return how often each file was decoded, counted where files are opened."""
    counts = Counter()
    open_frames = crops.open_frames

    def counting(path, facts):
        counts[path.name] += 1
        return open_frames(path, facts)

    monkeypatch.setattr(crops, "open_frames", counting)
    return counts


@pytest.fixture
def stage(without_workers, capsys, decoded):
    """Return a function that runs the stage in this process and returns how many pictures it decoded."""

    threads = torch.get_num_threads()

    def run():
        decoded.clear()
        frames.main(Path("params.yaml"))
        found = re.search(r"frames: \d+ clips of \d+ pictures, (\d+) of them decoded now", capsys.readouterr().err)
        assert found
        return int(found[1])

    yield run
    torch.set_num_threads(threads)


def snapshot():
    return {path.relative_to(OUT).as_posix(): path.read_bytes() for path in OUT.rglob("*") if path.is_file()}


def opened():
    return ClipFolder(OUT, tree.read_index(OUT))


def colours(clip):
    """Return the colour of each crop of a clip of one colour each."""
    flat = clip.flatten(2, 3)
    assert torch.equal(flat.amin(2), flat.amax(2))
    return flat[0, :, 0].tolist()


def with_a_broken_picture(root, pairs):
    """Take the second half of b.png away, and return the pairs as of such a file."""
    content = (root / "b.png").read_bytes()
    (root / "b.png").write_bytes(content[: len(content) // 2])
    broken = hashlib.sha256((root / "b.png").read_bytes()).hexdigest()
    return [manifest.replace(clip, sha256=broken) if clip.path == "b.png" else clip for clip in pairs]


def test_a_picture_is_decoded_once_and_has_one_file_whatever_number_of_pairs_it_has(pairs, write, stage, decoded):
    write(pairs)
    assert stage() == 4 and decoded == {"a.png": 1, "b.png": 1, "c.png": 1, "d.png": 1}
    index = tree.read_index(OUT)
    assert set(snapshot()) == {"index.json", *(f"{name}.pt" for name in PICTURES)}
    assert index["pairs"]["a.png#cid+ann"] == ["a.png", [2, 0]] and index["clips"].keys() == PICTURES.keys()
    crops_of_a = torch.load(OUT / "a.png.pt", weights_only=True)
    assert crops_of_a.shape == (3, 8, 8, 3) and crops_of_a.dtype == torch.uint8
    assert BAD.read_text() == quarantine.dump([])


def test_a_clip_is_the_crops_of_its_two_people_in_their_order(pairs, write, stage):
    write(pairs)
    stage()
    folder = opened()
    assert folder["a.png#ann+bob"].shape == (1, 2, 8, 8, 3) and folder["a.png#ann+bob"].dtype == torch.uint8
    assert colours(folder["a.png#ann+bob"]) == [[200, 0, 0], [0, 200, 0]]
    assert colours(folder["a.png#cid+ann"]) == [[0, 0, 200], [200, 0, 0]]
    assert colours(folder["scene/c.png#bob+cid"]) == [[0, 180, 0], [0, 0, 180]]
    assert [clip.clip_id in folder.digests for clip in pairs] == [True] * 12


def test_people_are_parts_that_pairs_share(root, pairs, write, stage):
    write([*pairs, pair_of(root, "a.png", "train", "bob", "ann")])
    stage()
    folder = opened()
    ann, bob = folder.parts("a.png#ann+bob")
    assert folder.parts("a.png#bob+ann") == (bob, ann) and folder.parts("a.png#cid+ann")[1] == ann
    assert len({part for clip in pairs for part in folder.parts(clip.clip_id)}) == 12
    assert colours(folder[bob]) == [[0, 200, 0]] and folder[bob].shape == (1, 1, 8, 8, 3)
    names = [ann, bob, "a.png#ann+bob", "a.png#bob+ann", *folder.parts("b.png#ann+bob")]
    assert len({folder.digests[name] for name in names}) == len(names) and ann in folder.digests


def test_only_what_changed_is_decoded(root, pairs, write, stage, decoded):
    write(pairs)
    stage()
    before = snapshot()
    assert stage() == 0

    draw(root / "new.png", dim=99)
    write([*pairs, pair_of(root, "new.png", "train", "ann", "bob")])
    assert stage() == 1 and decoded == {"new.png": 1}
    assert set(snapshot()) - set(before) == {"new.png.pt"}

    # One pair more of known people needs no crop more; a person more is cut out along with the picture's others.
    write([*pairs, pair_of(root, "a.png", "train", "bob", "ann")])
    assert stage() == 0 and colours(opened()["a.png#bob+ann"]) == [[0, 200, 0], [200, 0, 0]]
    boxes = {**BOXES, "dan": (1.0, 36.0, 4.0, 4.0)}
    write([*pairs, pair_of(root, "a.png", "train", "cid", "dan", boxes=boxes)])
    assert stage() == 1 and decoded == {"a.png": 1}
    assert colours(opened()["a.png#cid+dan"]) == [[0, 0, 200], [0, 0, 0]]

    write(pairs)
    assert stage() == 0 and snapshot() == before


def test_a_setting_of_the_crops_decodes_all_and_back_none(root, pairs, write, stage):
    write(pairs)
    stage()
    before = snapshot()
    for settings in ({"size_px": 12}, {"resize": "pad"}, {"pad_frac": 0.2}):
        write(pairs, **settings)
        assert stage() == 4 and not snapshot().items() & before.items()
    write([manifest.replace(clip, people=manifest.replace(clip.people, wraps=True)) for clip in pairs])
    assert stage() == 4
    write(pairs, timeout_s=99.0)
    assert stage() == 0 and snapshot() == before


def test_in_shards_clips_are_the_same(pairs, write, stage, monkeypatch):
    write(pairs)
    stage()
    singly = {name: opened()[name] for clip in pairs for name in (clip.clip_id, *opened().parts(clip.clip_id))}
    monkeypatch.setattr(tree, "MAX_SINGLE_FILES", 3)
    assert stage() == 0
    assert all(name.startswith(("shard-", "index.json")) for name in snapshot())
    folder = opened()
    folder["a.png#ann+bob"]
    for one in (folder, pickle.loads(pickle.dumps(folder))):  # as loader workers get it, with a shard open already
        assert all(torch.equal(one[name], tensor) for name, tensor in singly.items())


def test_a_corrupt_picture_costs_its_pairs_and_no_others(root, pairs, write, stage):
    clips = with_a_broken_picture(root, pairs)
    write(clips)
    assert stage() == 3
    listed = quarantine.load(BAD)
    assert [(bad.clip_id, bad.stage, bad.path) for bad in listed] == [
        (f"b.png#{one}+{other}", "frames", "b.png") for one, other in PAIRS
    ]
    assert {bad.reason for bad in listed} == {"truncated"}
    folder = opened()
    assert sum(clip.clip_id in folder.digests for clip in clips) == 9 and "b.png#ann+bob" not in folder.digests
    assert colours(folder["a.png#ann+bob"]) == [[200, 0, 0], [0, 200, 0]]
    write(clips, max_bad_frac=0.2)
    with pytest.raises(UserError, match=r"3 of 12 clips are unusable \(25\.0%\)"):
        stage()


def test_the_folder_is_the_same_for_any_number_of_workers_and_without_a_store(root, pairs, write, stage):
    """By hand, as a user would: python -m pipeline.frames."""
    write(with_a_broken_picture(root, pairs), pad_frac=0.2)
    assert stage() == 3
    expected, listed = snapshot(), BAD.read_text()
    for workers, store in (("1", "off"), ("2", "other")):
        environment = {**os.environ, "ACTREC_CACHE": store, "ACTREC_WORKERS": workers, "PYTHONPATH": str(REPO)}
        command = [sys.executable, "-m", "pipeline.frames"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.stderr == "frames: 9 clips of 4 pictures, 3 of them decoded now, 3 set aside\n"
        assert (done.returncode, snapshot(), BAD.read_text()) == (0, expected, listed)


NOTHING_TO_DO = """
import sys
from pathlib import Path
from pipeline import frames
frames.main(Path("params.yaml"))
print(sorted({"torch", "torchvision", "decord", "av", "PIL", "sklearn", "h5py"} & set(sys.modules)))
"""


def test_with_nothing_to_do_it_loads_nothing_heavy(pairs, write, stage):
    write(pairs)
    stage()
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-c", NOTHING_TO_DO]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    expected = "frames: 12 clips of 4 pictures, 0 of them decoded now, 0 set aside\n"
    assert (done.stdout, done.stderr) == ("[]\n", expected)


def test_of_a_video_each_time_is_a_picture(root, write, stage, decoded, make_video):
    """Grey of 20 k in frame k: two pairs of one time share a file, which is decoded once."""
    shades = np.repeat(20 * np.arange(12, dtype=np.uint8), 80 * 96 * 3).reshape(12, 80, 96, 3)
    make_video(root / "film.mkv", shades)
    times = ((None, "ann", "bob"), (0.45, "ann", "bob"), (0.45, "bob", "cid"), (0.9, "ann", "cid"))
    clips = [pair_of(root, "film.mkv", "train", *pair, start_s=time) for time, *pair in times]
    write(clips, media="video")
    assert stage() == 3 and decoded == {"film.mkv": 3}
    assert set(snapshot()) == {"index.json", "film.mkv.pt", "film.mkv@0.45-.pt", "film.mkv@0.9-.pt"}
    means = [opened()[clip.clip_id].float().mean().item() for clip in clips]
    assert means == pytest.approx([0, 80, 80, 180], abs=4)


def test_a_picture_that_is_there_twice_is_decoded_once(root, pairs, write, stage, decoded):
    (root / "twin.png").write_bytes((root / "a.png").read_bytes())
    write([*pairs[:3], *(pair_of(root, "twin.png", "train", *pair) for pair in PAIRS)])
    assert stage() == 1 and decoded.total() == 1
    assert torch.equal(opened()["a.png#ann+bob"], opened()["twin.png#ann+bob"])
