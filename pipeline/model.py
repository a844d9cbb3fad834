"""What `features`, `train` and `evaluate` must make alike from params.yaml: model, features' identity, run's key."""

from dataclasses import asdict
from statistics import median
from typing import Any

from actrec.models.recogniser import Recogniser, build
from actrec.params import Params
from actrec.params.load import plain
from actrec.store.cas import item_key
from actrec.store.closure import code_version
from actrec.store.features import feature_identity
from actrec.training.checkpoint import Checkpoint
from actrec.training.data import Inputs
from pipeline import paths


def fresh_model(p: Params, inputs: Inputs) -> Recogniser:
    """Return the model that params.yaml describes, as it is before training."""
    return build(
        plain(p.model),
        classes=inputs.manifest.classes,
        clip_frames=inputs.clips.spec.clip_frames,
        channels_last=p.compute.channels_last,
        seed=p.seed,
    )


def identity_of(p: Params, about: Checkpoint, inputs: Inputs) -> dict[str, Any]:
    """Return what identifies the features of this experiment."""
    return feature_identity(
        backbones=about.model["backbones"],
        weights_sha256=about.weights_sha256,
        clip_spec=asdict(inputs.clips.spec),
        features=plain(p.features),
        compute=plain(p.compute),
        seed=p.seed,
    )


def inputs_for(p: Params, about: Checkpoint, inputs: Inputs) -> Inputs:
    """Return the inputs as the experiment reads them: cached features where it asks for them, else the clips."""
    if not p.features.enabled:
        return inputs
    return inputs.with_features(paths.features(p.data.name), identity_of(p, about, inputs))


def checkpoint_of(p: Params, model: Recogniser, inputs: Inputs) -> Checkpoint:
    """Return what a checkpoint says of its model, before the first epoch."""
    return Checkpoint(
        model=plain(p.model),
        classes={head: inputs.manifest.classes[head] for head in p.model.heads},
        clip_spec=inputs.clips.spec,
        typical_s=median(clip.duration_s for clip in inputs.manifest.of_split("train")),
        weights_sha256=model.weights_sha256,
        channels_last=p.compute.channels_last,
        seed=p.seed,
        epoch=0,
    )


def run_key(p: Params, about: Checkpoint, inputs: Inputs, *, device: str) -> str:
    """Return the key of a training run: the same settings, weights, code, data and device, or another run."""
    sections = {name: plain(getattr(p, name)) for name in ("model", "train", "compute")}
    settings = {**sections, "weights_sha256": about.weights_sha256, "seed": p.seed, "device": device}
    return item_key(code_version("pipeline.train", "torch", "torchvision"), settings, inputs.digest(["train", "val"]))
