"""What `features`, `train` and `evaluate` must make alike from params.yaml: model, features' identity, run's key."""

from collections.abc import Collection
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
from actrec.training.data import Inputs, open_inputs
from pipeline import paths


def inputs_of(dataset: str, modalities: Collection[str]) -> Inputs:
    """Return the clips as the stages before have left them, for a model of these modalities."""
    frames, mels = paths.frames(dataset), paths.mels(dataset)
    return open_inputs(paths.manifest(dataset), frames=frames, mels=mels, modalities=modalities)


def fresh_model(p: Params, inputs: Inputs) -> Recogniser:
    """Return the model that params.yaml describes, as it is before training."""
    return build(
        plain(p.model),
        classes=inputs.manifest.classes,
        multi_label=inputs.manifest.multi_label,
        clip_frames=inputs.clip_spec.clip_frames if inputs.clip_spec else 0,
        channels_last=p.compute.channels_last,
        seed=p.seed,
    )


def identity_of(p: Params, about: Checkpoint, inputs: Inputs) -> dict[str, Any]:
    """Return what identifies the features of this experiment."""
    return feature_identity(
        backbones=about.model["backbones"],
        weights_sha256=about.weights_sha256,
        specs={modality: asdict(folder.spec) for modality, folder in inputs.folders.items()},
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
    backbones = {
        modality: {**backbone, "weights": model.bare_weights[modality]}
        for modality, backbone in plain(p.model.backbones).items()
    }
    return Checkpoint(
        model={**plain(p.model), "backbones": backbones},
        classes={head: inputs.manifest.classes[head] for head in p.model.heads},
        multi_label=tuple(sorted(inputs.manifest.multi_label & set(p.model.heads))),
        clip_spec=inputs.clip_spec,
        sound_spec=inputs.sound_spec,
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
    version = code_version("pipeline.train", "torch", "torchvision", "transformers")
    return item_key(version, settings, inputs.digest(["train", "val"]))
