"""The square around people: what is cut out of a picture, and which clips the frames stage makes again."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from actrec import paths
from actrec.data import manifest
from actrec.errors import UserError
from actrec.media.clip import ClipSpec, cut_out, read_clip, to_square
from actrec.media.probe import probe
from actrec.pose.layouts import LAYOUTS
from actrec.pose.pyskl_file import dump_pickle
from actrec.pose.skeleton import Skeleton
from actrec.store import tree
from pipeline import frames

REPO = Path(__file__).resolve().parents[2]
OUT = Path("data/processed/mine/video_frames")
SPLITS = {"a": "train", "b": "train", "c": "val", "d": "test"}
HEIGHT, WIDTH = 48, 64


# --- cutting ----------------------------------------------------------------------------------------------------------


def numbered(height=4, width=6):
    """Return one frame whose pixels are numbered from 1, row by row, in all three colours."""
    return torch.arange(1, height * width + 1, dtype=torch.uint8).view(1, height, width, 1).expand(-1, -1, -1, 3)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((1, 1, 3, 3), [[8, 9], [14, 15]]),
        ((-1, 0, 2, 3), [[0, 1, 2], [0, 7, 8], [0, 13, 14]]),
        ((1, -2, 4, 1), [[0, 0, 0], [0, 0, 0], [2, 3, 4]]),
        ((4, 1, 7, 4), [[11, 12, 0], [17, 18, 0], [23, 24, 0]]),
        ((2, 2, 5, 5), [[15, 16, 17], [21, 22, 23], [0, 0, 0]]),
        ((-1, -1, 7, 7), [[0] * 8, *([0, *range(r, r + 6), 0] for r in (1, 7, 13, 19)), [0] * 8, [0] * 8, [0] * 8]),
        ((7, 1, 9, 3), [[0, 0], [0, 0]]),  # beside the picture
        ((-3, -3, -1, -1), [[0, 0], [0, 0]]),
        ((1, 5, 3, 7), [[0, 0], [0, 0]]),
    ],
    ids=["inside", "left", "above", "right", "below", "all round", "beside", "before", "under"],
)
def test_what_of_a_box_is_beyond_the_picture_is_black(box, expected):
    part = cut_out(numbered(), box, (4, 6))
    assert part.dtype == torch.uint8 and part[0, :, :, 1].tolist() == expected
    assert torch.equal(part[..., 0], part[..., 2])


def test_a_box_is_of_the_picture_whose_pixels_skeletons_are_in():
    """A video of half the height and a third of the width: rows 2 to 5 are 1 and 2 there, columns -3 to 8 -1 to 2."""
    assert cut_out(numbered(), (-3, 2, 9, 6), (8, 18))[0, :, :, 0].tolist() == [[0, 7, 8, 9], [0, 13, 14, 15]]
    doubled = cut_out(numbered(), (1, 1, 2, 2), (2, 3))
    assert doubled[0, :, :, 0].tolist() == [[15, 16], [21, 22]]


def test_all_frames_are_cut_alike():
    frames_ = torch.cat([numbered(), numbered() + 100])
    part = cut_out(frames_, (-1, 3, 1, 5), (4, 6))[..., 0]
    assert part.tolist() == [[[0, 19], [0, 0]], [[0, 119], [0, 0]]]


def texture(shade=0):
    """Return 8 frames that drift; smooth, so that a codec keeps them."""
    t, y, x = np.mgrid[:8, :HEIGHT, :WIDTH]
    return np.stack([3 * x + t, 4 * y + 10 * shade, 2 * (x + y)], axis=-1).astype(np.uint8)


@pytest.fixture
def film(tmp_path, make_video):
    return make_video(tmp_path / "film.mp4", texture(), options={"crf": "8"})


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
def test_a_clip_of_a_region_is_its_square_alone_however_whole_pictures_are_squared(film, resize):
    spec = ClipSpec(clip_frames=4, clips_per_video=1, frame_stride=None, size_px=16, resize=resize, region="persons")
    facts, box = probe(film), (20, -6, 52, 26)
    whole = read_clip(film, facts, replace(spec, size_px=HEIGHT, resize="crop"))
    assert whole.shape == (1, 4, HEIGHT, HEIGHT, 3)  # columns 8 to 55, as they are
    found = read_clip(film, facts, spec, region=(box, (HEIGHT, WIDTH)))
    square = torch.zeros((4, 32, 32, 3), dtype=torch.uint8)
    square[:, 6:] = whole[0, :, :26, 12:44]
    assert torch.equal(found[0], to_square(square, 16, "stretch"))
    assert found.shape == (1, 4, 16, 16, 3) and not found[:, :, :2].any() and found[:, :, 4:].any()
    twice = read_clip(film, facts, spec, region=(tuple(2 * side for side in box), (2 * HEIGHT, 2 * WIDTH)))
    assert torch.equal(twice, found)


def test_frames_that_come_twice_are_cut_too(film):
    spec = ClipSpec(clip_frames=16, clips_per_video=1, frame_stride=None, size_px=16, resize="crop", region="persons")
    clip = read_clip(film, probe(film), spec, region=((8, 8, 24, 24), (HEIGHT, WIDTH)))
    assert clip.shape == (1, 16, 16, 16, 3) and torch.equal(clip[0, ::2], clip[0, 1::2])


# --- the stage --------------------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path, make_video, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTREC_CACHE", str(tmp_path / "cache"))
    for shade, name in enumerate(SPLITS):
        make_video(tmp_path / f"raw/{name}.mp4", texture(shade), options={"crf": "8"})
    return tmp_path / "raw"


@pytest.fixture
def write(root):
    """Return a function that writes the manifest and params.yaml: write(region="persons", …)."""

    def clip_of(name, split):
        file = root / f"{name}.mp4"
        content = file.read_bytes()
        sha256, facts = hashlib.sha256(content).hexdigest(), probe(file)
        labels = {"action": "wave"}
        return manifest.Clip(name, file.name, split, "", labels, None, None, sha256, len(content), facts)

    def write(region="persons"):
        rows = manifest.Manifest(tuple(clip_of(*item) for item in SPLITS.items()), ("action",))
        paths.manifest("mine").parent.mkdir(parents=True, exist_ok=True)
        paths.manifest("mine").write_text(manifest.dump(rows), encoding="utf-8")
        yaml = YAML(typ="safe", pure=True)
        params = yaml.load((REPO / "recipes/demo.yaml").read_text(encoding="utf-8"))
        source = {"kind": "npz", "path": "skeletons.npz", "layout": "coco17"}
        params["data"].update(name="mine", root="raw", max_bad_frac=0.5, skeletons=source)
        params["skeletons"]["enabled"] = True
        params["frames"].update({"clip_frames": 3, "size_px": 16, "region": region})
        with Path("params.yaml").open("w", encoding="utf-8") as file:
            yaml.dump(params, file)

    return write


@pytest.fixture
def stage(without_workers, capsys):
    """Return a function that runs the stage in this process and returns how many clips it decoded."""

    threads = torch.get_num_threads()

    def run():
        frames.main(Path("params.yaml"))
        found = re.search(r"frames: 4 clips, (\d+) of them decoded now", capsys.readouterr().err)
        assert found
        return int(found[1])

    yield run
    torch.set_num_threads(threads)


def write_skeletons(*, without=(), dims=2, inner=20, **right):
    """Write skeletons of joints at (8, 10), (`inner`, 20) and (32, 34), or where `right` says for a clip."""
    skeletons = []
    for name in SPLITS:
        if name not in without:
            keypoint, score = np.zeros((1, 8, 17, dims), np.float16), np.zeros((1, 8, 17), np.float16)
            keypoint[0, :, 3, :2], keypoint[0, :, 5, :2] = (8, 10), (inner, 20)
            keypoint[0, :, 9, :2] = (right.get(name, 32), 34)
            score[0, :, [3, 5, 9]] = 1
            skeletons.append(Skeleton(name, keypoint, score, (HEIGHT, WIDTH) if dims == 2 else None))
    path = paths.skeletons("mine")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dump_pickle(skeletons, splits={}, layout=LAYOUTS["coco17"]))


def stored():
    return {name: torch.load(OUT / f"{name}.pt", weights_only=True) for name in SPLITS}


def differing(one, other):
    return {name for name in SPLITS if not torch.equal(one[name], other[name])}


def test_a_skeleton_that_moves_makes_its_clip_again_and_no_other(write, stage):
    write()
    write_skeletons()
    assert stage() == 4
    first = stored()
    write_skeletons(c=36)
    assert stage() == 1
    assert differing(first, stored()) == {"c"}
    write_skeletons()
    assert stage() == 0
    assert differing(first, stored()) == set()


def test_a_joint_that_moves_within_the_same_square_decodes_nothing(write, stage):
    write()
    write_skeletons()
    assert stage() == 4
    write_skeletons(inner=25)
    assert stage() == 0


def test_the_square_is_where_the_skeleton_is(root, write, stage):
    """24 px from (8, 10) to (32, 34): 30 px round (20.5, 22.5) from edge to edge, where 5.5 and 7.5 become 6 and 8."""
    write()
    write_skeletons()
    stage()
    index = tree.read_index(OUT)
    assert index["spec"]["region"] == "persons"
    for name, clip in stored().items():
        film = root / f"{name}.mp4"
        region = ((6, 8, 36, 38), (HEIGHT, WIDTH))
        assert torch.equal(clip, read_clip(film, probe(film), ClipSpec(**index["spec"]), region=region))


def test_whole_pictures_do_not_depend_on_skeletons(write, stage):
    write("whole")
    assert stage() == 4  # not even on there being any
    first = stored()
    write_skeletons(a=40)
    assert stage() == 0
    assert differing(first, stored()) == set()


def test_a_clip_without_a_skeleton_is_cut_as_whole(write, stage):
    write("whole")
    stage()
    whole = stored()
    write()
    write_skeletons(without=["b"])
    assert stage() == 3  # the fourth is in the store
    assert differing(whole, stored()) == set(SPLITS) - {"b"}
    write_skeletons()
    assert stage() == 1
    assert differing(whole, stored()) == set(SPLITS)


def test_skeletons_in_metres_do_not_say_where_to_cut(write, stage):
    write()
    write_skeletons(dims=3)
    with pytest.raises(UserError, match=r"skeletons\.pkl: the skeleton of a is in metres.*ntu_text_2d.*region: whole"):
        stage()


def test_skeletons_that_are_not_there_yet(write, stage):
    write()
    with pytest.raises(UserError, match=r"skeletons\.pkl: cannot be read.*dvc repro -f skeletons"):
        stage()
