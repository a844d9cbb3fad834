"""A project of six short skeletons, a file each, for the tests of the stage."""

import hashlib
import re
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

from actrec import paths
from actrec.data import manifest, quarantine
from actrec.media.facts import MediaFacts
from pipeline import skeletons

REPO = Path(__file__).resolve().parents[2]
OUT, BAD = Path("data/processed/mine/skeletons.pkl"), Path("data/interim/mine/quarantine_skeletons.csv")
SPLITS = ("train", "train", "train", "train", "val", "test")
POSE = {"kind": "pose_conv3d", "blocks": [1, 1, 1], "width": 4, "temporal_stride": 1, "frozen": False}
POSE |= {"heatmaps": {"of": "joints", "sigma_px": 0.6}, "weights": {"kind": "none"}, "token_grid": None}
POSE |= {"input_frames": 4, "input_px": 16}
AUGMENT = {"pose": {"min_area_frac": 1.0, "flip_prob": 0.0}}
NO_FILM = MediaFacts("", "", "", 0, 0, 0, 0.0, 0, 0.0, "", 0, 0)
FILM = MediaFacts("mp4", "h264", "yuv420p", 96, 54, 0, 25.0, 3, 0.12, "", 0, 0)


def keypoints(number, num_frames=3, num_persons=1):
    """Return keypoints in coco17 that depend on a number, float16 (M, T, 17, 2), all seen."""
    rng = np.random.default_rng(number)
    return rng.uniform(1, 50, (num_persons, num_frames, 17, 2)).astype(np.float16)


def write_npz(file, *, shape: tuple[int, int] | None = (54, 96), **arrays):
    """Write an npz file of these keypoints, by name; `shape` None leaves out the size of the picture."""
    content = {f"{name}/keypoint": values for name, values in arrays.items()}
    if shape:
        content["img_shape"] = np.array(shape)
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, **content)  # pyright: ignore[reportArgumentType]


def clip_of(root, name, split, *, path: str | None = "", **changes):
    """Return the manifest's row; `path` is the skeleton's file below the root, None if it has none."""
    path = f"npz/{name}.npz" if path == "" else path
    return manifest.Clip(
        **{
            **{"clip_id": name, "path": name, "split": split, "group": ""},
            **{"labels": {"action": "wave" if split != "train" or name < "clip2" else "bow"}},
            **{"start_s": None, "end_s": None, "sha256": name.ljust(64, "0"), "size_bytes": 1, "facts": NO_FILM},
            "skeleton_path": path or "",
            "skeleton_name": name if path else "",
            "skeleton_sha256": hashlib.sha256((root / path).read_bytes()).hexdigest() if path else "",
            **changes,
        }
    )


def make_root(folder):
    """Return the root of six skeletons below a folder."""
    for i in range(6):
        write_npz(folder / f"raw/npz/clip{i}.npz", **{f"clip{i}": keypoints(i)})
    return folder / "raw"


def write_project(root, clips=None, *, kind="npz", layout="coco17", media="skeleton", max_bad_frac=0.5, **settings):
    """Write the manifest of these clips, by default the six of `make_root`, and params.yaml; return the clips."""
    if clips is None:
        clips = [clip_of(root, f"clip{i}", split) for i, split in enumerate(SPLITS)]
    clips = sorted(clips, key=lambda clip: clip.clip_id)
    paths.manifest("mine").parent.mkdir(parents=True, exist_ok=True)
    text = manifest.dump(manifest.Manifest(tuple(clips), ("action",)))
    paths.manifest("mine").write_text(text, encoding="utf-8")
    yaml = YAML(typ="safe", pure=True)
    params = yaml.load((REPO / "recipes/demo.yaml").read_text(encoding="utf-8"))
    source = {"kind": kind, "path": "npz", "layout": layout}
    params["data"].update(name="mine", root="raw", media=media, skeletons=source, max_bad_frac=max_bad_frac)
    params["skeletons"].update({"enabled": True, "max_persons": 2, "timeout_s": 60.0, **settings})
    if media == "skeleton":
        params["model"]["backbones"] = {"pose": POSE}
        params["train"]["augment"] = params["features"]["augment"] = AUGMENT
    with Path("params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(params, file)
    return clips


def run_stage(capsys):
    """Run the stage in this process and return how many files it read."""
    skeletons.main(Path("params.yaml"))
    found = re.search(r"skeletons: \d+ clips out of \d+ files, (\d+) of them read now", capsys.readouterr().err)
    assert found
    return int(found[1])


def reasons():
    """Return why clips were set aside, by their ids."""
    return {item.clip_id: item.reason for item in quarantine.load(BAD)}
