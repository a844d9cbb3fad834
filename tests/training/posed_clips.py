"""Clips of two people as the stages before leave them: pictures with a bright dot at two joints, and skeletons."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny_runs import make_clip

from actrec.data.manifest import Manifest, Split, dump
from actrec.media.clip import ClipFolder, ClipSpec, cut_out, encode, to_square
from actrec.pose.folder import PoseFolder
from actrec.pose.layouts import LAYOUTS
from actrec.pose.pyskl_file import dump_pickle
from actrec.pose.skeleton import Skeleton
from actrec.store.tree import write_index
from actrec.training.data import Inputs, open_inputs

NOSE, LEFT_WRIST, RIGHT_WRIST = 0, 9, 10
SHAPE = (120, 160)
FRAMES = 12
SPEC = ClipSpec(clip_frames=8, clips_per_video=1, frame_stride=None, size_px=72, resize="crop", region="persons")
NONE = {"kind": "none"}
RGB = {"kind": "slow_only", "blocks": [1, 1, 1, 1], "width": 4, "weights": NONE, "frozen": False}
RGB |= {"input_frames": 2, "input_px": 32, "crop_frac": 1.0, "token_grid": None}
POSE = {"kind": "pose_conv3d", "blocks": [1, 1, 1], "width": 4, "temporal_stride": 1, "weights": NONE, "frozen": False}
POSE |= {"heatmaps": {"of": "joints", "sigma_px": 0.6}, "input_frames": 8, "input_px": 8, "token_grid": None}
BACKBONES = {"rgb": RGB, "pose": POSE}
PLAIN = {
    "rgb": {"min_area_frac": 1.0, "flip_prob": 0.0, "color_jitter": 0.0, "randaugment": None},
    "pose": {"min_area_frac": 1.0, "flip_prob": 0.0},
}
AUGMENT = {
    "rgb": {"min_area_frac": 0.3, "flip_prob": 0.5, "color_jitter": 0.0, "randaugment": None},
    "pose": {"min_area_frac": 0.3, "flip_prob": 0.5},
}
ACTS = ("sit ball", "sit stick", "wave ball", "wave stick")
_DOT_PX = 4.0
COUNTS: dict[Split, int] = {"test": 2, "train": 4, "val": 4}


def make_manifest() -> Manifest:
    """Return clips whose acts go round, each with the action that it is of."""
    clips = [
        make_clip(f"{split}{i}", split, {"act": ACTS[i % 4], "action": ACTS[i % 4].partition(" ")[0]})
        for split, count in COUNTS.items()
        for i in range(count)
    ]
    return Manifest(tuple(clips), ("act", "action"))


def make_skeleton(name: str, **changes: Any) -> Skeleton:
    """Return two people who stand still, all of whom is seen; where, the name decides. The first one has the dots.

    Whoever takes part, the square round both reaches beyond the picture at the bottom.
    """
    rng = np.random.default_rng(list(name.encode()))
    keypoint = np.repeat(rng.uniform((30, 20), (120, 100), (2, 1, 17, 2)).round(), FRAMES, axis=1)
    keypoint[1, :, 16] = (100, 118)
    keypoint[1, :, 15] = (40, 16)
    keypoint[1, :, [NOSE, LEFT_WRIST, RIGHT_WRIST]] = keypoint[0, :, [NOSE, LEFT_WRIST, RIGHT_WRIST]]
    score = np.ones((2, FRAMES, 17), np.float16)
    return replace(Skeleton(name, keypoint.astype(np.float16), score, SHAPE), **changes)


def make_picture(skeleton: Skeleton) -> np.ndarray:
    """Return uint8 (H, W, 3): black, but for a red dot at the nose and a green one at the left wrist."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    picture = np.zeros((*SHAPE, 3), np.uint8)
    for channel, joint in ((0, NOSE), (1, LEFT_WRIST)):
        at_x, at_y = skeleton.keypoint[0, 0, joint].astype(float)
        distance_sq = (x - at_x) ** 2 + (y - at_y) ** 2
        picture[..., channel] = 255 * np.clip(1 - distance_sq / _DOT_PX**2, 0, 1)
    return picture


def write_skeletons(path: Path, skeletons: list[Skeleton], *, layout: str = "coco17") -> PoseFolder:
    path.write_bytes(dump_pickle(skeletons, splits={}, layout=LAYOUTS[layout]))
    return PoseFolder(path)


def write_pictures(folder: Path, clips: dict[str, torch.Tensor], spec: ClipSpec = SPEC) -> ClipFolder:
    """Write clips (views, T, S, S, 3) as the frames stage does."""
    folder.mkdir(parents=True, exist_ok=True)
    index: dict[str, Any] = {"sharded": False, "spec": asdict(spec), "clips": {}}
    for clip_id, clip in clips.items():
        (folder / f"{clip_id}.pt").write_bytes(encode(clip))
        index["clips"][clip_id] = {"file": f"{clip_id}.pt", "sha256": f"digest of {clip_id}"}
    write_index(folder, index)
    return ClipFolder(folder, index)


def cut_like_the_stage(picture: np.ndarray, folder: PoseFolder, clip_id: str, spec: ClipSpec = SPEC) -> torch.Tensor:
    """Return the square round the people, uint8 (1, T, S, S, 3)."""
    region = folder.region(clip_id)
    assert region
    frames = cut_out(torch.from_numpy(picture)[None], *region)
    return to_square(frames, spec.size_px, "stretch").expand(spec.clip_frames, -1, -1, -1)[None]


def write_project(root: Path, *, without_skeleton: tuple[str, ...] = (), spec: ClipSpec = SPEC) -> None:
    """Write manifest.csv, frames/ and skeletons.pkl; pictures of clips without a skeleton are black."""
    root.mkdir(parents=True, exist_ok=True)
    manifest = make_manifest()
    (root / "manifest.csv").write_text(dump(manifest), encoding="utf-8")
    skeletons = {c.clip_id: make_skeleton(c.clip_id) for c in manifest.clips if c.clip_id not in without_skeleton}
    folder = write_skeletons(root / "skeletons.pkl", list(skeletons.values()))
    blank = torch.zeros((1, spec.clip_frames, spec.size_px, spec.size_px, 3), dtype=torch.uint8)
    clips = {
        c.clip_id: cut_like_the_stage(make_picture(skeletons[c.clip_id]), folder, c.clip_id, spec)
        if c.clip_id in skeletons
        else blank
        for c in manifest.clips
    }
    write_pictures(root / "frames", clips, spec)


def open_project(root: Path, *modalities: str) -> Inputs:
    """Return the inputs of a model of these modalities; by default pictures and skeletons."""
    stages = {"frames": root / "frames", "mels": root / "mels", "skeletons": root / "skeletons.pkl"}
    return open_inputs(root / "manifest.csv", **stages, modalities=modalities or ("rgb", "pose"))


def dot(view, channel):
    """Return where the dot of a colour is in a view (T, S, S, 3), (x, y); None if it is not to be seen, or cut off."""
    light = view[0, ..., channel].numpy().astype(float)
    inner = light.copy()
    inner[1:-1, 1:-1] = 0
    if inner.any():
        return "cut off"
    if not light.any():
        return None
    y, x = np.mgrid[: len(light), : len(light)]
    return (light * x).sum() / light.sum(), (light * y).sum() / light.sum()


def peak(maps, joint):
    """Return where a joint's heat-map (K, T, S, S) is highest, (x, y); None if it is empty."""
    heat = maps[joint, 0].numpy()
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    return (x, y) if heat.any() else None
