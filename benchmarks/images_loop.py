"""Training on pictures: the whole loop against the bare step of its model, and against torchvision's way of reading.

Pictures are JPEG files of 500x375. Ours are decoded once, as the frames stage does it; torchvision's ImageFolder has
them decoded in each epoch. Both show random resized crops and mirror images to the same ResNet-18 with the same
optimizer, in two ways of using two processors: one thread computes and one process prepares batches; or two threads
compute and prepare, which is what actrec does there by default. The bare step sees the same batch again and again.

Counted is the second of two epochs, in which the preparing processes run already, without validation and checkpoint:
these cost what they cost, however many pictures there are to learn from.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader

from actrec.data.manifest import Manifest
from actrec.media.clip import ClipFolder, ClipSpec, encode, to_square
from actrec.models.recogniser import Recogniser, build
from actrec.store.tree import read_index, write_index
from actrec.training.data import Inputs
from actrec.training.device import launch
from actrec.training.fit import Run
from actrec.training.randomness import generator
from benchmarks.clips import texture
from benchmarks.head_training import SETTINGS
from benchmarks.project import manifest_row
from benchmarks.table import Row
from benchmarks.turns import take_turns

_CLASSES = tuple("abcd")
_BATCH, _LR, _MOMENTUM, _AREA, _FLIP = 32, 0.01, 0.9, 0.3, 0.5
_WIDTH_PX, _HEIGHT_PX = 500, 375
_SPEC = ClipSpec(clip_frames=1, clips_per_video=1, frame_stride=None, size_px=256, resize="crop")
_HEAD = {"kind": "linear", "dropout": 0.0, "loss_weight": 1.0}
_AUGMENT = {"rgb": {"min_area_frac": _AREA, "flip_prob": _FLIP, "color_jitter": 0.0, "randaugment": None}}
_SGD = {"kind": "sgd", "momentum": _MOMENTUM, "nesterov": False, "weight_decay": 0.0}


@dataclass(frozen=True, slots=True)
class _Way:
    """How two processors are used: threads that compute, processes that prepare batches ahead of them."""

    name: str
    threads: int
    workers: int
    of_bare_step: float | None


_WAYS = (
    _Way("one thread, one process ahead", threads=1, workers=1, of_bare_step=0.95),
    _Way("two threads, none ahead", threads=2, workers=0, of_bare_step=None),
)


def measure(*, quick: bool) -> list[Row]:
    sizes = {64: (64, 1)} if quick else {64: (960, 5), 224: (320, 3)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_pictures(folder / "jpeg", max(count for count, _ in sizes.values()))
        laid_out = {px: _store(folder, count, px) for px, (count, _) in sizes.items()}
        return [
            row
            for way in _WAYS
            for px, (_, rounds) in sizes.items()
            for row in _compare(laid_out[px], folder / f"{px}", px, way, rounds)
        ]


def _compare(inputs: Inputs, jpegs: Path, input_px: int, way: _Way, rounds: int) -> list[Row]:
    turns = take_turns(
        rounds,
        ours=lambda: _ours(inputs, input_px, way),
        bare=lambda: _bare(inputs, input_px, way),
        folder=lambda: _image_folder(jpegs, input_px, way),
    )
    ours, bare, other = (f"{turns.median(side):.1f} images/s" for side in ("ours", "bare", "folder"))
    what = f"ResNet-18, {input_px} px, {way.name}"
    return [
        Row(f"{what} / bare step", ours, bare, turns.ratio("ours", "bare"), at_least=way.of_bare_step),
        Row(f"{what} / ImageFolder", ours, other, turns.ratio("ours", "folder"), at_least=1),
    ]


def _write_pictures(folder: Path, count: int) -> None:
    from PIL import Image

    folder.mkdir()
    ground = texture(np.random.default_rng(0), 2 * _HEIGHT_PX, 2 * _WIDTH_PX)
    for number in range(count):
        rng = np.random.default_rng([1, number])
        top, left = rng.integers(_HEIGHT_PX), rng.integers(_WIDTH_PX)
        grain = rng.normal(0, 3, (_HEIGHT_PX, _WIDTH_PX, 1)).astype(np.float32)
        picture = ground[top : top + _HEIGHT_PX, left : left + _WIDTH_PX] + grain
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"{number:05d}.jpg", quality=90)


def _store(folder: Path, count: int, input_px: int) -> Inputs:
    """Lay the first pictures out as torchvision and as the frames stage does; four of them are val as well."""
    from PIL import Image

    root, stored = folder / f"{input_px}", folder / f"frames {input_px}"
    stored.mkdir()
    rows, index = [], {}
    for number, path in enumerate(sorted((folder / "jpeg").iterdir())[:count]):
        label = _CLASSES[number % len(_CLASSES)]
        (root / label).mkdir(parents=True, exist_ok=True)
        (root / label / path.name).hardlink_to(path)
        with Image.open(path) as picture:
            frames = to_square(torch.from_numpy(np.array(picture))[None], _SPEC.size_px, "crop")
        (stored / f"{path.stem}.pt").write_bytes(encode(frames[None]))
        index[path.stem] = {"file": f"{path.stem}.pt", "sha256": path.stem}
        rows.append(manifest_row(path.stem, "train", label))
    val = [replace(row, clip_id=f"val {row.clip_id}", split="val") for row in rows[: len(_CLASSES)]]
    index |= {row.clip_id: index[row.clip_id.removeprefix("val ")] for row in val}
    write_index(stored, {"enabled": True, "sharded": False, "spec": asdict(_SPEC), "clips": index})
    return Inputs(Manifest((*rows, *val), ("action",)), {"rgb": ClipFolder(stored, read_index(stored))})


def _backbone(input_px: int) -> dict[str, Any]:
    weights = {"kind": "none"}
    return {
        "kind": "resnet",
        "depth": 18,
        "temporal": "mean",
        "weights": weights,
        "frozen": False,
        "input_px": input_px,
        "crop_frac": 1.0,
    }


def _model(input_px: int) -> Recogniser:
    spec = {"backbones": {"rgb": _backbone(input_px)}, "neck": {"kind": "mean"}, "heads": {"action": _HEAD}}
    return build(spec, classes={"action": _CLASSES}, multi_label=(), clip_frames=1, channels_last=True, seed=0)


def _ours(inputs: Inputs, input_px: int, way: _Way) -> float:
    view = {"backbones": {"rgb": _backbone(input_px)}, "augment": _AUGMENT, "seed": 0}
    with tempfile.TemporaryDirectory() as work, _loader_workers(way.workers):
        run = Run(
            _model(input_px),
            inputs.source("train", **view),
            inputs.source("val", **view),
            settings=replace(
                SETTINGS,
                epochs=2,
                batch_size=_BATCH,
                lr=_LR,
                optimizer=_SGD,
                select_on="action.top1",
            ),
            fabric=launch(device="cpu", threads=way.threads, precision="fp32"),
            heads={"action": _HEAD},
            classes={"action": _CLASSES},
            seed=0,
            checkpoint=Path(work) / "state.pt",
        )
        row = run.fit(lambda row: None).history[-1]
    return row["train_clips"] / (row["data_s"] + row["compute_s"])


@contextmanager
def _loader_workers(count: int) -> Iterator[None]:
    name = "ACTREC_LOADER_WORKERS"
    before = os.environ.get(name)
    os.environ[name] = str(count)
    yield
    if before is None:
        del os.environ[name]
    else:
        os.environ[name] = before


def _bare(inputs: Inputs, input_px: int, way: _Way) -> float:
    """Return images a second of forward, backward and update on one batch of uint8 pictures."""
    launch(device="cpu", threads=way.threads, precision="fp32")
    view = {"backbones": {"rgb": _backbone(input_px)}, "augment": _AUGMENT, "seed": 0}
    source = inputs.source("train", **view)
    batch = source.training_batch(generator(0, "rows").permutation(len(source))[:_BATCH], 0)
    model = _model(input_px).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=_LR, momentum=_MOMENTUM)

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(model(batch)["action"], batch["labels"]["action"]).backward()
        optimizer.step()

    step()
    steps = len(source) // _BATCH
    started = time.perf_counter()
    for _ in range(steps):
        step()
    return steps * _BATCH / (time.perf_counter() - started)


def _image_folder(root: Path, input_px: int, way: _Way) -> float:
    """Return images a second of the second epoch of what torchvision's examples do."""
    from torchvision import transforms
    from torchvision.datasets import ImageFolder
    from torchvision.models import resnet18

    torch.set_num_threads(way.threads)
    torch.use_deterministic_algorithms(False)
    shown = transforms.Compose(
        [
            transforms.RandomResizedCrop(input_px, scale=(_AREA, 1.0)),
            transforms.RandomHorizontalFlip(_FLIP),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    loader = DataLoader(
        ImageFolder(str(root), shown),
        batch_size=_BATCH,
        shuffle=True,
        num_workers=way.workers,
        persistent_workers=way.workers > 0,
    )
    model = resnet18(num_classes=len(_CLASSES)).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = torch.optim.SGD(model.parameters(), lr=_LR, momentum=_MOMENTUM)
    started, count = 0.0, 0
    for _ in range(2):
        started, count = time.perf_counter(), 0
        for pictures, labels in loader:
            optimizer.zero_grad()
            logits = model(pictures.contiguous(memory_format=torch.channels_last))
            functional.cross_entropy(logits, labels).backward()
            optimizer.step()
            count += len(labels)
    return count / (time.perf_counter() - started)
