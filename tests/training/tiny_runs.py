"""Training runs of seconds: eighteen clips of noise, a network of width 4 or a head on cached tokens.

With sound, a bottleneck transformer of width 8 on top; some clips have none.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from actrec.data.manifest import Clip, Manifest, Split
from actrec.media.clip import ClipFolder, ClipSpec, encode
from actrec.media.facts import MediaFacts
from actrec.media.sound import MelFolder, SoundSpec
from actrec.models.backbone import Backbone
from actrec.models.mbt import Mbt
from actrec.models.recogniser import Recogniser, build
from actrec.store.cas import Store
from actrec.store.features import CachedFeatures, write_features
from actrec.training.checkpoint import Checkpoint
from actrec.training.data import Inputs
from actrec.training.device import launch
from actrec.training.fit import Fitted, Run
from actrec.training.settings import Settings

FACTS = MediaFacts("mp4", "h264", "yuv420p", 16, 16, 0, 10.0, 4, 0.4, "", 0, 0)
SPEC = ClipSpec(clip_frames=4, clips_per_video=1, frame_stride=None, size_px=20, resize="crop")
SOUND_SPEC = SoundSpec(
    sample_rate_hz=8000,
    n_fft=256,
    hop_samples=100,
    n_mels=8,
    f_min_hz=0.0,
    f_max_hz=4000.0,
    duration_s=0.1,
    pad="repeat",
    crop="start",
)
MEL_SHAPE = (8, 9)
SILENT = ("test00", "train02", "train05", "train06", "val01")
CLASSES = ("a", "b", "c")
AUGMENT = {
    "rgb": {"min_area_frac": 0.6, "flip_prob": 0.5, "color_jitter": 0.1, "randaugment": None},
    "audio": {"roll": True, "freq_masks": 1, "freq_mask_bins": 3, "time_masks": 1, "time_mask_steps": 3},
}
PLAIN = {
    "rgb": {"min_area_frac": 1.0, "flip_prob": 0.0, "color_jitter": 0.0, "randaugment": None},
    "audio": {"roll": False, "freq_masks": 0, "freq_mask_bins": 0, "time_masks": 0, "time_mask_steps": 0},
}
IDENTITY = {"rgb": {"weights_sha256": "f" * 64}}
BOTH_IDENTITY = {**IDENTITY, "audio": {"weights_sha256": "e" * 64}}
BACKBONE = {"kind": "small3d", "width": 4, "weights": {"kind": "none"}, "frozen": False, "input_px": 16}
BACKBONE |= {"crop_frac": 1.0}
EAR = {"kind": "resnet", "depth": 18, "weights": {"kind": "none"}, "frozen": False}
MBT = {
    "kind": "mbt",
    "width": 8,
    "layers": 2,
    "attention_heads": 2,
    "bottleneck_tokens": 2,
    "fusion_layer": 0,
    "dropout": 0.1,
}
HEAD = {"kind": "linear", "dropout": 0.3, "loss_weight": 1.0}
SETTINGS: dict[str, Any] = {
    "lr": 0.05,
    "backbone_lr_factor": 0.5,
    "epochs": 3,
    "batch_size": 4,
    "accumulate": 1,
    "optimizer": {"kind": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "schedule": {"kind": "cosine", "warmup_epochs": 1, "warmup_from_frac": 0.0, "final_frac": 0.1},
    "freeze": {"epochs": 0, "lr": 0.1},
    "clip_norm": 1.0,
    "mixup_alpha": 0.0,
    "label_smoothing": 0.1,
    "class_weights": "balanced",
    "sampler": "shuffled",
    "soft_recall": None,
    "select_on": "action.loss",
    "validation": {"from_epoch": 1, "every_epochs": 1},
    "early_stopping": {"patience_epochs": 0, "min_delta": 0.0},
}
SGD = {"kind": "sgd", "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
ADAMW = {"kind": "adamw", "weight_decay": 0.01}
CONSTANT = {"kind": "none", "warmup_epochs": 0, "warmup_from_frac": 0.0}
TIMES = ("data_s", "compute_s", "epoch_s", "peak_memory_mb")
ABOUT = Checkpoint(
    model={"backbones": {"rgb": BACKBONE}, "neck": {"kind": "mean"}, "heads": {"action": HEAD}},
    classes={"action": CLASSES},
    multi_label=(),
    clip_spec=SPEC,
    sound_spec=None,
    layout="",
    parents=(),
    typical_s=1.6,
    weights_sha256={"rgb": ""},
    channels_last=True,
    seed=0,
    epoch=7,
)

Kind = Literal["live", "cached"]


def make_clip(clip_id: str, split: Split, labels: dict[str, str], *, digest: str = "0") -> Clip:
    return Clip(clip_id, f"{clip_id}.mp4", split, "", labels, None, None, digest, 1, FACTS)


def make_manifest(*, train: int = 10, val: int = 5, test: int = 3) -> Manifest:
    """Return clips whose labels go round the classes, sorted by id as a manifest is."""
    counts: dict[Split, int] = {"test": test, "train": train, "val": val}
    clips = [
        make_clip(f"{split}{i:02d}", split, {"action": CLASSES[i % len(CLASSES)]})
        for split, count in counts.items()
        for i in range(count)
    ]
    return Manifest(tuple(clips), ("action",))


def make_folder(folder: Path, manifest: Manifest, *, spec: ClipSpec = SPEC, only: int | None = None) -> ClipFolder:
    """Return a folder of clips, each noise that depends on its id alone, as the frames stage leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    index: dict[str, Any] = {"sharded": False, "spec": {f: getattr(spec, f) for f in spec.__slots__}, "clips": {}}
    for clip in manifest.clips[:only]:
        shape = (spec.clips_per_video, spec.clip_frames, spec.size_px, spec.size_px, 3)
        rng = np.random.default_rng(list(clip.clip_id.encode()))
        content = encode(torch.from_numpy(rng.integers(0, 256, shape, dtype=np.uint8)))
        (folder / f"{clip.clip_id}.pt").write_bytes(content)
        index["clips"][clip.clip_id] = {"file": f"{clip.clip_id}.pt", "sha256": f"digest of {clip.clip_id}"}
    return ClipFolder(folder, index)


def make_mels(folder: Path, manifest: Manifest) -> MelFolder:
    """Return spectrograms of all clips but the SILENT ones, as the mels stage leaves them."""
    folder.mkdir(parents=True, exist_ok=True)
    index: dict[str, Any] = {"sharded": False, "spec": asdict(SOUND_SPEC), "clips": {}, "absent": {}}
    for clip in manifest.clips:
        if clip.clip_id in SILENT:
            index["absent"][clip.clip_id] = "silent"
            continue
        rng = np.random.default_rng([7, *clip.clip_id.encode()])
        np.save(folder / f"{clip.clip_id}.npy", rng.normal(-40, 10, MEL_SHAPE).astype(np.float32))
        index["clips"][clip.clip_id] = {"file": f"{clip.clip_id}.npy", "sha256": f"sound of {clip.clip_id}"}
    return MelFolder(folder, index)


def make_inputs(folder: Path, manifest: Manifest, *, sound: bool = False, spec: ClipSpec = SPEC) -> Inputs:
    rgb = make_folder(folder / f"frames {spec.clips_per_video}", manifest, spec=spec)
    return Inputs(manifest, {"rgb": rgb, **({"audio": make_mels(folder / "mels", manifest)} if sound else {})})


def make_features(
    path: Path, manifest: Manifest, *, views: int = 2, width: int = 6, sound: bool = False
) -> CachedFeatures:
    """Return cached tokens (2, width) a view, noise: one plain view a clip, and `views` random ones of train.

    With sound there are also three tokens of it a view, as wide as those of `Ear`; zeros for SILENT clips.
    """
    ids = [clip.clip_id for clip in manifest.clips]
    train = [clip.clip_id for clip in manifest.of_split("train")]
    rng = np.random.default_rng(0)

    def noise(clip_ids: list[str], count: int, tokens: int, width: int) -> np.ndarray:
        return rng.standard_normal((len(clip_ids), count, tokens, width)).astype(np.float32)

    plain, augmented = {"rgb": noise(ids, 1, 2, width)}, {"rgb": noise(train, views, 2, width)}
    present = {"rgb": np.ones(len(ids), bool)}
    if sound:
        present["audio"] = np.array([clip_id not in SILENT for clip_id in ids])
        heard = np.array([clip_id not in SILENT for clip_id in train])
        plain["audio"] = noise(ids, 1, 3, Ear.tokens_width) * present["audio"][:, None, None, None]
        augmented["audio"] = noise(train, views, 3, Ear.tokens_width) * heard[:, None, None, None]
    identity = BOTH_IDENTITY if sound else IDENTITY
    write_features(
        path,
        identity=identity,
        clip_ids=ids,
        plain=plain,
        present=present,
        augmented_ids=train,
        augmented=augmented,
    )
    return CachedFeatures(path, identity)


class Ear(Backbone):
    """Spectrograms (B, 8, T) to a token a step: what a ResNet is, within microseconds."""

    tokens_width = 6

    def __init__(self) -> None:
        super().__init__(width=self.tokens_width)
        self.step = nn.Linear(MEL_SHAPE[0], self.tokens_width)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.step(batch.transpose(1, 2) / 40)


def make_model(
    *,
    frozen: bool = False,
    width: int = 4,
    head: dict[str, Any] = HEAD,
    multi_label: tuple[str, ...] = (),
    seed: int = 0,
) -> Recogniser:
    spec = {
        "backbones": {"rgb": {**BACKBONE, "width": width, "frozen": frozen}},
        "neck": {"kind": "mean"},
        "heads": {"action": head},
    }
    options = {"clip_frames": SPEC.clip_frames, "channels_last": True, "seed": seed}
    return build(spec, classes={"action": CLASSES}, multi_label=multi_label, **options)


def make_both_model(*, frozen: bool = False) -> Recogniser:
    """Return a model that also listens."""
    rgb = make_model().backbones["rgb"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        neck = Mbt(widths={"rgb": 16, "audio": Ear.tokens_width}, **{k: v for k, v in MBT.items() if k != "kind"})
        model = Recogniser({"rgb": rgb, "audio": Ear()}, neck, {"action": nn.Linear(neck.width, len(CLASSES))})
    model.freeze(*(("rgb", "audio") if frozen else ()))
    return model


@dataclass(frozen=True)
class Bench:
    """Data on disk, and how to start runs on it."""

    folder: Path
    inputs: Inputs
    fabric: Fabric

    def run(
        self,
        kind: Kind,
        *,
        state: Path | None = None,
        model: Recogniser | None = None,
        save_every_s: float = 1e9,
        seed: int = 0,
        fabric: Fabric | None = None,
        augment: dict[str, dict[str, Any]] = AUGMENT,
        compiled: bool = False,
        **changes: Any,
    ) -> Run:
        """Return a fresh run; `changes` are of SETTINGS."""
        view = {"backbones": {"rgb": BACKBONE}, "augment": augment, "seed": seed}
        sound, make = "audio" in self.inputs.folders, make_both_model if "audio" in self.inputs.folders else make_model
        features = make_features(self.folder / "features.h5", self.inputs.manifest, width=16, sound=sound)
        inputs = self.inputs if kind == "live" else replace(self.inputs, features=features)
        return Run(
            model or make(frozen=kind == "cached"),
            inputs.source("train", **view),
            inputs.source("val", **view),
            settings=Settings(**{**SETTINGS, **changes}),
            fabric=fabric or self.fabric,
            heads={"action": HEAD},
            classes={"action": CLASSES},
            seed=seed,
            checkpoint=state or Path(mkdtemp(dir=self.folder)) / "state.pt",
            save_every_s=save_every_s,
            compiled=compiled,
        )


def make_bench(folder: Path, *, sound: bool = False) -> Bench:
    inputs = make_inputs(folder, make_manifest(), sound=sound)
    return Bench(folder, inputs, launch(device="cpu", threads=1, precision="fp32"))


@contextmanager
def compiling_nothing() -> Iterator[None]:
    """Let torch.compile trace and capture as ever, but run what it captures as it is: no compiler takes its time."""
    real = torch.compile

    def trace(model: Any, *, dynamic: bool, options: dict[str, Any] | None = None) -> Any:
        return real(model, backend="aot_eager", dynamic=dynamic)

    with patch.object(torch, "compile", trace):
        yield
    torch.compiler.reset()


def outcome(fitted: Fitted) -> dict[str, Any]:
    """Return all that a run ends with but for the times, as plain values that can be compared bit by bit."""
    states = {
        name: {key: value.numpy().tobytes() for key, value in state.items()}
        for name, state in (("best", fitted.best), ("last", fitted.last))
    }
    history = [{key: value for key, value in row.items() if key not in TIMES} for row in fitted.history]
    return {**states, "history": history, "best_epoch": fitted.best_epoch}


def ignore(row: dict[str, Any]) -> None:
    """Take a row of the history, as `fit` wants it, and do nothing."""


def states(run: Run, module: Any) -> dict[str, torch.Tensor]:
    """Return a copy of the parameters of a part of the run's model."""
    return {name: value.clone() for name, value in module(run._core).state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


@contextmanager
def interrupted_after(puts: int) -> Iterator[None]:
    """Interrupt whoever puts more than so many entries into a store, which the block must let through."""
    real, count = Store.put, 0

    def dying(*args: Any, **facts: Any) -> Any:
        nonlocal count
        count += 1
        if count > puts:
            raise KeyboardInterrupt
        return real(*args, **facts)

    with patch.object(Store, "put", dying), pytest.raises(KeyboardInterrupt):
        yield
