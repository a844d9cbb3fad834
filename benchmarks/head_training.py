"""Training heads on cached features, against a plain PyTorch loop with the same model and optimizer.

An MLP for an epoch, and a linear head for ten, as a linear probe is trained: there the head costs next to nothing, and
what the loop does besides weighs more. Ours is everything that training does in an epoch: random views, metrics on the
validation clips, the history and the checkpoint. The plain loop looks at the validation clips as well, and does nothing
else. One thread each: two would wait for each other whenever the machine does something else.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from actrec.models.recogniser import Recogniser, build
from actrec.training.device import launch
from actrec.training.fit import Run, Settings
from actrec.training.sources import CachedTokens
from benchmarks.project import manifest_row
from benchmarks.table import Row
from benchmarks.turns import take_turns

_WIDTH, _CLASSES, _BATCH, _LR, _DECAY = 2048, 50, 256, 1e-3, 0.01
_MLP = {"kind": "mlp", "hidden": 512, "dropout": 0.0, "loss_weight": 1.0}
_LINEAR = {"kind": "linear", "dropout": 0.0, "loss_weight": 1.0}
_BACKBONE = {
    "kind": "resnet",
    "depth": 50,
    "temporal": "mean",
    "input_px": 224,
    "crop_frac": 1.0,
    "weights": {"kind": "none"},
    "frozen": True,
}
SETTINGS = Settings(
    lr=_LR,
    backbone_lr_factor=1.0,
    epochs=1,
    batch_size=_BATCH,
    accumulate=1,
    optimizer={"kind": "adamw", "weight_decay": _DECAY},
    schedule={"kind": "none", "warmup_epochs": 0, "warmup_from_frac": 0.0},
    freeze={"epochs": 0, "lr": 1.0},
    clip_norm=0.0,
    mixup_alpha=0.0,
    label_smoothing=0.0,
    class_weights="none",
    sampler="shuffled",
    soft_recall=None,
    select_on="action.top1",
    validation={"from_epoch": 1, "every_epochs": 1},
    early_stopping={"patience_epochs": 0, "min_delta": 0.0},
)


class _Features:
    """Random features, as `CachedFeatures` gives them."""

    modalities = ("rgb",)

    def __init__(self, values: np.ndarray) -> None:
        self._values = values

    def plain(self, modality: str, ids: Sequence[str]) -> np.ndarray:
        return self._values[[int(name) for name in ids]]

    def present(self, modality: str, ids: Sequence[str]) -> np.ndarray:
        return np.ones(len(ids), dtype=bool)

    def augmented(self, modality: str, ids: Sequence[str]) -> np.ndarray:
        return np.zeros((len(ids), 0, 1, _WIDTH), np.float32)


def measure(*, quick: bool) -> list[Row]:
    num_clips, num_val = (512, 64) if quick else (40_000, 4_000)
    rng = np.random.default_rng(0)
    features = rng.standard_normal((num_clips + num_val, 1, 1, _WIDTH), np.float32)
    labels = torch.from_numpy(rng.integers(0, _CLASSES, num_clips + num_val))
    train = _source(features, labels, range(num_clips))
    val = _source(features, labels, range(num_clips, num_clips + num_val))
    rows = []
    for what, head, epochs, at_most in (("head", _MLP, 1, 1.2), ("linear head", _LINEAR, 10, 1.3)):
        many = 1 if quick else epochs
        turns = take_turns(
            1 if quick else 5,
            ours=lambda head=head, epochs=many: _ours(train, val, head, epochs) / epochs,
            plain=lambda head=head, epochs=many: (
                _plain(torch.from_numpy(features[:, 0, 0]), labels, num_clips, head, epochs) / epochs
            ),
        )
        ours, anchor = (f"{turns.median(side):.2f} s an epoch" for side in ("ours", "plain"))
        about = f"{what}, {num_clips} x {_WIDTH}{f', {many} epochs' if many > 1 else ''} / plain loop"
        rows.append(Row(about, ours, anchor, turns.ratio("ours", "plain"), at_most=at_most))
    return rows


def _source(features: np.ndarray, labels: torch.Tensor, rows: range) -> CachedTokens:
    clips = [manifest_row(str(row), "train", "") for row in rows]
    return CachedTokens(clips, _Features(features), {"action": labels[rows.start : rows.stop]}, seed=0)  # pyright: ignore[reportArgumentType]


def _model(head: dict[str, Any]) -> Recogniser:
    spec = {"backbones": {"rgb": _BACKBONE}, "neck": {"kind": "mean"}, "heads": {"action": head}}
    classes = {"action": [str(number) for number in range(_CLASSES)]}
    return build(spec, classes=classes, multi_label=(), clip_frames=1, channels_last=False, seed=0)


def _ours(train: CachedTokens, val: CachedTokens, head: dict[str, Any], epochs: int) -> float:
    fabric = launch(device="cpu", threads=1, precision="fp32")
    model = _model(head)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(
            model,
            train,
            val,
            settings=replace(SETTINGS, epochs=epochs),
            fabric=fabric,
            heads={"action": head},
            classes={"action": [str(number) for number in range(_CLASSES)]},
            seed=0,
            checkpoint=Path(folder) / "state.pt",
        )
        started = time.perf_counter()
        run.fit(lambda row: None)
        return time.perf_counter() - started


def _plain(
    features: torch.Tensor, labels: torch.Tensor, num_clips: int, head_spec: dict[str, Any], epochs: int
) -> float:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(False)
    head = _model(head_spec).heads[0]
    optimizer = torch.optim.AdamW(head.parameters(), lr=_LR, weight_decay=_DECAY)
    started = time.perf_counter()
    for _ in range(epochs):
        for rows in torch.randperm(num_clips).split(_BATCH):
            optimizer.zero_grad()
            functional.cross_entropy(head(features[rows]), labels[rows]).backward()
            optimizer.step()
        with torch.inference_mode():
            for first in range(num_clips, len(features), _BATCH):
                head(features[first : first + _BATCH]).argmax(dim=1)
    return time.perf_counter() - started
