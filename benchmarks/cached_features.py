"""Features once and ten epochs on them, against ten epochs with the same frozen backbone in the loop.

Both sides are the library's own loop on the same clips, without augmentation; extraction has its store, and its file is
written and read back. Ten is what could be reached at most. One thread, as in head_training.
"""

import shutil
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from actrec.data.manifest import Manifest
from actrec.media.clip import ClipFolder, ClipSpec, encode
from actrec.models.recogniser import Recogniser, build
from actrec.store.cas import Store
from actrec.store.tree import read_index, write_index
from actrec.training.data import Inputs
from actrec.training.device import launch
from actrec.training.extract import cache_features
from actrec.training.fit import Run
from benchmarks.head_training import SETTINGS
from benchmarks.project import manifest_row
from benchmarks.table import Row
from benchmarks.turns import take_turns

_EPOCHS = 10
_CLASSES = tuple("abcd")
_HEAD = {"kind": "linear", "dropout": 0.0, "loss_weight": 1.0}
_BACKBONE = {
    "kind": "resnet",
    "depth": 18,
    "temporal": "mean",
    "input_px": 224,
    "crop_frac": 1.0,
    "weights": {"kind": "none"},
    "frozen": True,
}
_NO_AUGMENT = {"rgb": {"min_area_frac": 1.0, "flip_prob": 0.0, "color_jitter": 0.0, "randaugment": None}}


def measure(*, quick: bool) -> list[Row]:
    num_clips, rounds, spec = (
        (8, 1, ClipSpec(2, 1, None, 32, "crop")) if quick else (120, 2, ClipSpec(8, 1, None, 96, "crop"))
    )
    with tempfile.TemporaryDirectory() as name:
        inputs = _inputs(Path(name) / "clips", num_clips, spec)
        work = Path(name) / "work"
        turns = take_turns(rounds, cached=lambda: _cached(inputs, work), live=lambda: _live(inputs, work))
    ours, anchor = (f"{turns.median(side):.1f} s" for side in ("cached", "live"))
    what = f"{_EPOCHS} epochs live / features once and {_EPOCHS} epochs"
    return [Row(f"{what} (ResNet-18, {num_clips} clips)", ours, anchor, turns.ratio("live", "cached"), at_least=8)]


def _inputs(folder: Path, num_clips: int, spec: ClipSpec) -> Inputs:
    """Write noise in place of what the frames stage makes; every fifth clip is for validation."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    rows, index = [], {}
    for number in range(num_clips):
        clip_id = f"{number:04d}"
        pixels = rng.integers(0, 256, (1, spec.clip_frames, spec.size_px, spec.size_px, 3), np.uint8)
        (folder / f"{clip_id}.pt").write_bytes(encode(torch.from_numpy(pixels)))
        rows.append(manifest_row(clip_id, "train" if number % 5 else "val", _CLASSES[number % len(_CLASSES)]))
        index[clip_id] = {"file": f"{clip_id}.pt", "sha256": clip_id}
    write_index(folder, {"enabled": True, "sharded": False, "spec": asdict(spec), "clips": index})
    return Inputs(Manifest(tuple(rows), ("action",)), {"rgb": ClipFolder(folder, read_index(folder))})


def _cached(inputs: Inputs, work: Path) -> float:
    model, fabric = _model(inputs), launch(device="cpu", threads=1, precision="fp32")
    shutil.rmtree(work, ignore_errors=True)
    identity = {"rgb": {"weights_sha256": "", "seed": 0}}
    started = time.perf_counter()
    cache_features(
        work / "features.h5",
        model,
        inputs,
        identity=identity,
        views=1,
        augment=_NO_AUGMENT,
        precision="fp32",
        batch_size=16,
        backbones={"rgb": {"input_px": _spec(inputs).size_px, "crop_frac": 1.0}},
        seed=0,
        fabric=fabric,
        store=Store(work / "store"),
    )
    _fit(inputs.with_features(work / "features.h5", identity), work)
    return time.perf_counter() - started


def _live(inputs: Inputs, work: Path) -> float:
    shutil.rmtree(work, ignore_errors=True)
    started = time.perf_counter()
    _fit(inputs, work)
    return time.perf_counter() - started


def _fit(inputs: Inputs, work: Path) -> None:
    view = {
        "backbones": {"rgb": {"input_px": _spec(inputs).size_px, "crop_frac": 1.0}},
        "augment": _NO_AUGMENT,
        "seed": 0,
    }
    Run(
        _model(inputs),
        inputs.source("train", **view),
        inputs.source("val", **view),
        settings=replace(SETTINGS, epochs=_EPOCHS, batch_size=16),
        fabric=launch(device="cpu", threads=1, precision="fp32"),
        heads={"action": _HEAD},
        classes=inputs.manifest.classes,
        seed=0,
        checkpoint=work / "state.pt",
    ).fit(lambda row: None)


def _model(inputs: Inputs) -> Recogniser:
    spec = {"backbones": {"rgb": _BACKBONE}, "neck": {"kind": "mean"}, "heads": {"action": _HEAD}}
    frames = _spec(inputs).clip_frames
    classes = inputs.manifest.classes
    return build(spec, classes=classes, multi_label=(), clip_frames=frames, channels_last=True, seed=0)


def _spec(inputs: Inputs) -> ClipSpec:
    assert inputs.clip_spec, "these are pictures"
    return inputs.clip_spec
