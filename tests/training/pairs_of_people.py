"""Pairs of people of a few pictures: crops of noise as the frames stage leaves them, and boxes in the manifest."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from tiny_runs import FACTS, make_clip

from actrec.data.manifest import Clip, Manifest, Split
from actrec.data.people import People
from actrec.media.clip import ClipFolder, ClipSpec, encode
from actrec.media.facts import Box
from actrec.training.data import Inputs
from actrec.training.pair_geometry import PairGeometry

SPEC = ClipSpec(2, 1, None, 32, "stretch", region="boxes", pad_frac=0.2)
PICTURE = replace(FACTS, container="png", video_codec="png", width_px=200, height_px=100, num_frames=1, duration_s=0.0)
RESNET = {
    "kind": "resnet",
    "depth": 18,
    "temporal": "mean",
    "weights": {"kind": "none"},
    "frozen": True,
    "input_px": 32,
    "crop_frac": 1.0,
}
HOG = {
    **{"kind": "hog", "orientations": 9, "cell_px": 8, "block_cells": 2},
    **{"weights": {"kind": "none"}, "frozen": True, "input_px": 32, "crop_frac": 1.0},
}
GEOMETRY = {"kind": "spatial", "weights": {"kind": "none"}, "frozen": True}
RELATION = {"kind": "relation", "visual_dim": 16, "hidden": [16, 8], "fusion": "concat", "dropout": 0.1}
HEAD = {"kind": "linear", "dropout": 0.0, "loss_weight": 1.0}
AUGMENT = {"rgb": {"min_area_frac": 0.6, "flip_prob": 0.5, "color_jitter": 0.1, "randaugment": None}}
CLASSES = ("apart", "together")
# In pixels of a picture of 200 x 100.
BOXES: dict[str, Box] = {
    "a": (10.0, 20.0, 20.0, 60.0),
    "b": (40.0, 30.0, 20.0, 40.0),
    "c": (150.0, 10.0, 25.0, 80.0),
}
PEOPLE = sorted(BOXES.values())


def make_pair(picture: str, who: str, split: Split, *, persons: int = 3) -> Clip:
    """Return the clip of two people, such as "ab", of a picture; together if the first two letters are."""
    people = People(tuple(BOXES[name] for name in who), persons, wraps=False)
    label = CLASSES[set(who) == {"a", "b"}]
    clip = make_clip(f"{picture}#{'+'.join(who)}", split, {"relation": label})
    return replace(clip, path=picture, facts=PICTURE, people=people)


def make_pairs(pictures: dict[str, Split], whom: tuple[str, ...] = ("ab", "ac", "bc", "ba")) -> Manifest:
    clips = [make_pair(picture, who, split) for picture, split in pictures.items() for who in whom]
    return Manifest(tuple(sorted(clips, key=lambda clip: clip.clip_id)), ("relation",))


PICTURES: dict[str, Split] = {"1.png": "train", "2.png": "train", "3.png": "val", "4.png": "test"}


def make_crops(folder: Path, manifest: Manifest) -> ClipFolder:
    """Return the crops of all three people of each picture, noise that depends on its name alone."""
    folder.mkdir(parents=True, exist_ok=True)
    index = {"sharded": False, "spec": asdict(SPEC), "clips": {}, "pairs": {}}
    for clip in manifest.clips:
        assert clip.people is not None
        rows = [PEOPLE.index(box) for box in clip.people.boxes]
        index["pairs"][clip.clip_id] = (clip.path, rows)
        rng = np.random.default_rng(list(clip.path.encode()))
        crops = torch.from_numpy(rng.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8))
        (folder / f"{clip.path}.pt").write_bytes(encode(crops))
        index["clips"][clip.path] = {"file": f"{clip.path}.pt", "sha256": f"crops of {clip.path}"}
    return ClipFolder(folder, index)


def make_pair_inputs(folder: Path, manifest: Manifest, *modalities: str) -> Inputs:
    """Return the inputs of a model of these modalities, rgb and geometry if none are named."""
    wanted = modalities or ("rgb", "geometry")
    every = {"rgb": lambda: make_crops(folder / "crops", manifest), "geometry": lambda: PairGeometry(manifest.clips)}
    return Inputs(manifest, {modality: every[modality]() for modality in wanted})
