"""Training runs of seconds: eighteen clips of noise, a network of width 4 or a head on cached tokens."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Literal

import numpy as np
import torch
from lightning_fabric import Fabric

from actrec.data.manifest import Clip, Manifest, Split
from actrec.media.clip import ClipFolder, ClipSpec, encode
from actrec.media.facts import MediaFacts
from actrec.models.recogniser import Recogniser, build
from actrec.store.features import CachedFeatures, write_features
from actrec.training.checkpoint import Checkpoint
from actrec.training.data import Inputs
from actrec.training.device import launch
from actrec.training.fit import Fitted, Run
from actrec.training.settings import Settings

FACTS = MediaFacts("mp4", "h264", "yuv420p", 16, 16, 0, 10.0, 4, 0.4, False)
SPEC = ClipSpec(clip_frames=4, clips_per_video=1, frame_stride=None, size_px=20, resize="crop")
CLASSES = ("a", "b", "c")
AUGMENT = {"min_area_frac": 0.6, "flip_prob": 0.5, "color_jitter": 0.1}
PLAIN = {"min_area_frac": 1.0, "flip_prob": 0.0, "color_jitter": 0.0}
IDENTITY = {"weights_sha256": {"rgb": "f" * 64}}
BACKBONE = {"kind": "small3d", "width": 4, "weights": {"kind": "none"}, "frozen": False, "input_px": 16}
HEAD = {"kind": "linear", "dropout": 0.3, "loss_weight": 1.0}
SETTINGS: dict[str, Any] = {
    "lr": 0.05,
    "backbone_lr_factor": 0.5,
    "epochs": 3,
    "batch_size": 4,
    "accumulate": 1,
    "optimizer": {"kind": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "schedule": {"kind": "cosine", "warmup_epochs": 1, "final_frac": 0.1},
    "freeze": {"epochs": 0, "lr": 0.1},
    "clip_norm": 1.0,
    "label_smoothing": 0.1,
    "class_weights": "balanced",
    "select_on": "action.loss",
    "early_stopping": {"patience_epochs": 0, "min_delta": 0.0},
}
SGD = {"kind": "sgd", "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
ADAMW = {"kind": "adamw", "weight_decay": 0.01}
CONSTANT = {"kind": "none", "warmup_epochs": 0}
TIMES = ("data_s", "compute_s", "epoch_s", "peak_memory_mb")
ABOUT = Checkpoint(
    model={"backbones": {"rgb": BACKBONE}, "neck": {"kind": "mean"}, "heads": {"action": HEAD}},
    classes={"action": CLASSES},
    clip_spec=SPEC,
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


def make_features(path: Path, manifest: Manifest, *, views: int = 2, width: int = 6) -> CachedFeatures:
    """Return cached tokens (2, width) a view, noise: one plain view a clip, and `views` random ones of train."""
    ids = [clip.clip_id for clip in manifest.clips]
    train = [clip.clip_id for clip in manifest.of_split("train")]
    rng = np.random.default_rng(0)
    plain = rng.standard_normal((len(ids), 1, 2, width)).astype(np.float32)
    augmented = rng.standard_normal((len(train), views, 2, width)).astype(np.float32)
    write_features(
        path,
        identity=IDENTITY,
        clip_ids=ids,
        plain={"rgb": plain},
        augmented_ids=train,
        augmented={"rgb": augmented},
    )
    return CachedFeatures(path, IDENTITY)


def make_model(*, frozen: bool = False, width: int = 4, head: dict[str, Any] = HEAD, seed: int = 0) -> Recogniser:
    spec = {"backbones": {"rgb": {**BACKBONE, "width": width, "frozen": frozen}}, "heads": {"action": head}}
    return build(spec, classes={"action": CLASSES}, clip_frames=SPEC.clip_frames, channels_last=True, seed=seed)


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
        augment: dict[str, float] = AUGMENT,
        **changes: Any,
    ) -> Run:
        """Return a fresh run; `changes` are of SETTINGS."""
        view = {"input_px": BACKBONE["input_px"], "augment": augment, "seed": seed}
        features = make_features(self.folder / "features.h5", self.inputs.manifest, width=16)
        inputs = self.inputs if kind == "live" else Inputs(self.inputs.manifest, self.inputs.clips, features)
        return Run(
            model or make_model(frozen=kind == "cached"),
            inputs.source("train", **view),
            inputs.source("val", **view),
            settings=Settings(**{**SETTINGS, **changes}),
            fabric=fabric or self.fabric,
            heads={"action": HEAD},
            classes={"action": CLASSES},
            seed=seed,
            checkpoint=state or Path(mkdtemp(dir=self.folder)) / "state.pt",
            save_every_s=save_every_s,
        )


def make_bench(folder: Path) -> Bench:
    manifest = make_manifest()
    clips = make_folder(folder / "frames", manifest)
    return Bench(folder, Inputs(manifest, clips), launch(device="cpu", threads=1, precision="fp32"))


def outcome(fitted: Fitted) -> dict[str, Any]:
    """Return all that a run ends with but for the times, as plain values that can be compared bit by bit."""
    states = {
        name: {key: value.numpy().tobytes() for key, value in state.items()}
        for name, state in (("best", fitted.best), ("last", fitted.last))
    }
    history = [{key: value for key, value in row.items() if key not in TIMES} for row in fitted.history]
    return {**states, "history": history, "best_epoch": fitted.best_epoch}
