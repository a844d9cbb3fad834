"""A training step of PoseC3D's network on skeletons, batch 8, 17 joints x 32 frames x 56 x 56, beside the bare model.

Ours is what the loop calls computing: forward, loss, backward, clipping, optimizer. The bare model does forward and
backward on one batch that is there. Making heat-maps is data time: it is shown, and not in the ratio.
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from actrec.models.recogniser import Recogniser, build
from actrec.pose.folder import PoseFolder
from actrec.pose.layouts import LAYOUTS
from actrec.pose.pyskl_file import dump_pickle
from actrec.pose.skeleton import make_skeleton
from actrec.training.device import launch
from actrec.training.fit import Run
from actrec.training.modalities import open_modalities
from actrec.training.sources import LiveClips
from benchmarks.head_training import SETTINGS
from benchmarks.project import manifest_row
from benchmarks.table import Row
from benchmarks.turns import take_turns

_BATCH, _CLASSES, _STEPS, _FRAMES, _PX = 8, 60, 2, 32, 56
_LAYOUT = LAYOUTS["coco17"]
_HEAD = {"kind": "linear", "dropout": 0.5, "loss_weight": 1.0}
_BACKBONE = {
    **{"kind": "pose_conv3d", "blocks": [4, 6, 3], "width": 32, "temporal_stride": 1, "token_grid": None},
    **{"heatmaps": {"of": "joints", "sigma_px": 0.6}, "weights": {"kind": "none"}, "frozen": False},
    **{"input_frames": _FRAMES, "input_px": _PX},
}


def measure(*, quick: bool) -> list[Row]:
    backbone = {**_BACKBONE, "blocks": [1, 1, 1], "width": 4} if quick else _BACKBONE
    data_s: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train, val = _source(folder, backbone, _STEPS * _BATCH), _source(folder, backbone, 1)
        turns = take_turns(
            1 if quick else 3,
            ours=lambda: _ours(folder, train, val, backbone, data_s),
            bare=lambda: _bare(backbone),
        )
    ours = f"{turns.median('ours'):.2f} s (and data {np.median(data_s) * 1e3:.0f} ms)"
    bare = f"{turns.median('bare'):.2f} s"
    return [
        Row(f"pose-only step, {_BATCH} x 17 x {_FRAMES} x {_PX}²", ours, bare, turns.ratio("ours", "bare"), at_most=1.1)
    ]


def _source(folder: Path, backbone: dict[str, object], count: int) -> LiveClips:
    rng = np.random.default_rng(count)
    skeletons = [
        make_skeleton(
            f"{i:03}", rng.uniform(50, 300, (2, 80, 17, 2)), None, layout=_LAYOUT, max_persons=2, img_shape=(360, 480)
        )
        for i in range(count)
    ]
    path = folder / f"{count}.pkl"
    path.write_bytes(dump_pickle(skeletons, splits={}, layout=_LAYOUT))
    augment = {"pose": {"min_area_frac": 0.56, "flip_prob": 0.5}}
    readers = open_modalities({"pose": PoseFolder(path)}, backbones={"pose": backbone}, augment=augment)
    labels = {"action": torch.arange(count) % _CLASSES}
    return LiveClips([manifest_row(f"{i:03}", "train", "") for i in range(count)], readers, labels, seed=0)


def _model(backbone: dict[str, object]) -> Recogniser:
    spec = {"backbones": {"pose": backbone}, "neck": {"kind": "mean"}, "heads": {"action": _HEAD}}
    sizes = {"clip_frames": 0, "layout": _LAYOUT, "channels_last": False, "seed": 0}
    return build(spec, classes={"action": [str(i) for i in range(_CLASSES)]}, multi_label=(), **sizes)


def _ours(folder: Path, train: LiveClips, val: LiveClips, backbone: dict[str, object], data_s: list[float]) -> float:
    """Return seconds a step."""
    run = Run(
        _model(backbone),
        train,
        val,
        settings=replace(SETTINGS, epochs=1, batch_size=_BATCH, clip_norm=40.0),
        fabric=launch(device="cpu", threads=1, precision="fp32"),
        heads={"action": _HEAD},
        classes={"action": [str(i) for i in range(_CLASSES)]},
        seed=0,
        checkpoint=folder / "state.pt",
    )
    (row,) = run.fit(lambda row: None).history
    (folder / "state.pt").unlink(missing_ok=True)
    data_s.append(row["data_s"] / _STEPS)
    return row["compute_s"] / _STEPS


def _bare(backbone: dict[str, object]) -> float:
    """Return seconds a step."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(False)
    model = _model(backbone).train()
    batch = {
        "pose": torch.rand(_BATCH, 17, _FRAMES, _PX, _PX),
        "present": {"pose": torch.ones(_BATCH, dtype=torch.bool)},
    }
    labels = torch.arange(_BATCH) % _CLASSES
    started = time.perf_counter()
    for _ in range(_STEPS):
        model.zero_grad()
        functional.cross_entropy(model(batch)["action"], labels).backward()
    return (time.perf_counter() - started) / _STEPS
