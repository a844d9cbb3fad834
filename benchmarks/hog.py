"""Descriptors of pictures by the features stage, with two workers and with one, against scikit-image in one process.

Ours goes from the tensors of the frames stage to features.h5: workers read and describe, this process keeps the
descriptors in the store, in packs of many, and writes the file for all. The loop reads the same tensors, calls
scikit-image's `hog` and keeps all in one file. Both are timed from when everything is imported.
"""

import os
import shutil
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from skimage.feature import hog

from actrec.data.manifest import Manifest
from actrec.media.clip import ClipFolder, ClipSpec, encode
from actrec.models.hog import descriptors
from actrec.models.recogniser import build
from actrec.store.cas import Store
from actrec.store.tree import read_index, write_index
from actrec.training.data import Inputs
from actrec.training.device import launch
from actrec.training.extract import cache_features
from benchmarks.project import manifest_row
from benchmarks.table import Row
from benchmarks.turns import take_turns

_GOAL = 1.8
_CELLS = {"orientations": 9, "cell_px": 8, "block_cells": 2}
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_BATCH = 64


def measure(*, quick: bool) -> list[Row]:
    sizes = {32: 10} if quick else {64: 2000, 128: 800}
    return [row for px, count in sizes.items() for row in _compare(px, count, rounds=1 if quick else 5)]


def _compare(px: int, count: int, *, rounds: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        inputs, work = _inputs(Path(name) / "frames", px, count), Path(name) / "work"
        turns = take_turns(
            rounds,
            two=lambda: _ours(inputs, px, work, workers=2),
            one=lambda: _ours(inputs, px, work, workers=1),
            loop=lambda: _loop(inputs, work),
            alone=lambda: _alone(inputs),
        )
    two, one, loop, alone = (f"{turns.median(side) / count * 1e3:.2f} ms a picture" for side in turns.values)
    return [
        Row(f"hog, 2 workers / scikit-image loop ({px} px)", two, loop, turns.ratio("loop", "two"), at_least=_GOAL),
        Row(f"hog, 1 worker / scikit-image loop ({px} px)", one, loop, turns.ratio("loop", "one")),
        Row(f"hog, descriptors alone / scikit-image loop ({px} px)", alone, loop, turns.ratio("loop", "alone")),
    ]


def _inputs(folder: Path, px: int, count: int) -> Inputs:
    """Write what the frames stage makes of pictures: blots with grain, half of them to train from."""
    rng, spec = np.random.default_rng(0), ClipSpec(1, 1, None, px, "crop")
    folder.mkdir()
    rows, index = [], {}
    for number in range(count):
        clip_id = f"{number:05d}"
        blots = rng.integers(0, 200, (1, 1, px // 8, px // 8, 3)).repeat(8, axis=2).repeat(8, axis=3)
        pixels = (blots + rng.integers(0, 56, blots.shape)).astype(np.uint8)
        (folder / f"{clip_id}.pt").write_bytes(encode(torch.from_numpy(pixels)))
        rows.append(manifest_row(clip_id, "train" if number % 2 else "test", "ab"[number // 2 % 2]))
        index[clip_id] = {"file": f"{clip_id}.pt", "sha256": clip_id}
    write_index(folder, {"enabled": True, "sharded": False, "spec": asdict(spec), "clips": index})
    return Inputs(Manifest(tuple(rows), ("class",)), {"rgb": ClipFolder(folder, read_index(folder))})


def _ours(inputs: Inputs, px: int, work: Path, *, workers: int) -> float:
    backbone = {"kind": "hog", **_CELLS, "weights": {"kind": "none"}, "frozen": True, "input_px": px, "crop_frac": 1.0}
    head = {"kind": "svm", "c": [1.0], "loss_weight": 1.0}
    spec = {"backbones": {"rgb": backbone}, "neck": {"kind": "mean"}, "heads": {"class": head}}
    sizes = {"clip_frames": 1, "channels_last": False, "seed": 0}
    model = build(spec, classes=inputs.manifest.classes, multi_label=(), **sizes)
    fabric = launch(device="cpu", threads=1, precision="fp32")
    shutil.rmtree(work, ignore_errors=True)
    with patch.dict(os.environ, {"ACTREC_WORKERS": str(workers)}):
        started = time.perf_counter()
        cache_features(
            work / "features.h5",
            model,
            inputs,
            identity={"rgb": {"weights_sha256": model.weights_sha256["rgb"]}},
            views=1,
            augment={},
            precision="fp32",
            batch_size=_BATCH,
            backbones=spec["backbones"],
            seed=0,
            fabric=fabric,
            store=Store(work / "store"),
        )
        return time.perf_counter() - started


def _loop(inputs: Inputs, work: Path) -> float:
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    cells = {"pixels_per_cell": (_CELLS["cell_px"],) * 2, "cells_per_block": (_CELLS["block_cells"],) * 2}
    started = time.perf_counter()
    found = []
    for clip in inputs.manifest.clips:
        picture = inputs.folders["rgb"][clip.clip_id].numpy()[0, 0]
        grey = (picture @ _LUMA) / np.float32(255)
        found.append(hog(grey, orientations=_CELLS["orientations"], **cells))
    np.save(work / "features.npy", np.stack(found))
    return time.perf_counter() - started


def _alone(inputs: Inputs) -> float:
    pictures = [torch.as_tensor(inputs.folders["rgb"][clip.clip_id])[0] for clip in inputs.manifest.clips]
    started = time.perf_counter()
    for picture in pictures:
        descriptors(picture, **_CELLS)
    return time.perf_counter() - started
