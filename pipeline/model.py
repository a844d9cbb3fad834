"""What `features`, `train` and `evaluate` must make alike from params.yaml: model, features' identity, run's key."""

from collections.abc import Collection
from statistics import median
from typing import Any

from actrec import paths
from actrec.models.recogniser import Recogniser, build
from actrec.params import Params
from actrec.params.load import plain
from actrec.store.cas import item_key
from actrec.store.closure import code_version
from actrec.store.features import feature_identity
from actrec.training.checkpoint import Checkpoint
from actrec.training.data import Inputs, open_inputs
from actrec.training.sources import Source


def live_inputs(dataset: str, modalities: Collection[str]) -> Inputs:
    """Return the clips as the stages before have left them, for a model of these modalities."""
    return open_inputs(
        paths.manifest(dataset),
        frames=paths.frames(dataset),
        mels=paths.mels(dataset),
        skeletons=paths.skeletons(dataset),
        modalities=modalities,
    )


def fresh_model(p: Params, inputs: Inputs) -> Recogniser:
    """Return the model that params.yaml describes, as it is before training."""
    return build(
        plain(p.model),
        classes=inputs.manifest.classes,
        multi_label=inputs.manifest.multi_label,
        clip_frames=inputs.clip_spec.clip_frames if inputs.clip_spec else 0,
        layout=inputs.layout,
        parents=parents_of(p, inputs),
        channels_last=p.compute.channels_last,
        seed=p.seed,
    )


def parents_of(p: Params, inputs: Inputs) -> tuple[int, ...]:
    """Return the coarse class of each fine one, as PCAN wants it; () without it."""
    neck = p.model.neck
    return inputs.parents(neck.pcan.fine, neck.pcan.coarse) if neck.kind == "late" and neck.pcan else ()


def identity_of(p: Params, about: Checkpoint, inputs: Inputs) -> dict[str, Any]:
    """Return what identifies the features of this experiment."""
    return feature_identity(
        backbones=about.model["backbones"],
        weights_sha256=about.weights_sha256,
        specs=inputs.specs,
        features=plain(p.features),
        compute=plain(p.compute, without=["compile"]),
        seed=p.seed,
    )


def inputs_of(p: Params, about: Checkpoint, inputs: Inputs) -> Inputs:
    """Return the inputs as the experiment reads them: cached features where it asks for them, else the clips."""
    if not p.features.enabled:
        return inputs
    return inputs.with_features(paths.features(p.data.name), identity_of(p, about, inputs))


def sources_of(p: Params, about: Checkpoint, inputs: Inputs) -> tuple[Source, Source]:
    """Return the clips that are learned from, and those that choose the epoch."""
    view = {"backbones": about.model["backbones"], "augment": plain(p.train.augment), "seed": p.seed}
    return inputs.source("train", **view), inputs.source("val", **view)


def checkpoint_of(p: Params, model: Recogniser, inputs: Inputs) -> Checkpoint:
    """Return what a checkpoint says of its model, before the first epoch."""
    backbones = {
        modality: {**backbone, "weights": model.bare_weights[modality]}
        for modality, backbone in plain(p.model.backbones).items()
    }
    return Checkpoint(
        model={**plain(p.model), "backbones": backbones, "neck": _bare(plain(p.model.neck))},
        classes={head: inputs.manifest.classes[head] for head in p.model.heads},
        multi_label=tuple(sorted(inputs.manifest.multi_label & set(p.model.heads))),
        clip_spec=inputs.clip_spec,
        sound_spec=inputs.sound_spec,
        layout=inputs.layout.name if inputs.layout else "",
        parents=parents_of(p, inputs),
        typical_s=median(clip.duration_s for clip in inputs.manifest.of_split("train")),
        weights_sha256=model.weights_sha256,
        channels_last=p.compute.channels_last,
        seed=p.seed,
        epoch=0,
    )


def _bare(neck: dict[str, Any]) -> dict[str, Any]:
    """Return a neck whose laterals look up no weights."""
    laterals = neck.get("laterals", {})
    return {**neck, "laterals": {**laterals, "weights": {"kind": "none"}}} if "weights" in laterals else neck


def run_key(p: Params, about: Checkpoint, inputs: Inputs, *, device: str) -> str:
    """Return the key of a training run: the same settings, weights, code, data and device, or another run."""
    sections = {name: plain(getattr(p, name)) for name in ("model", "train", "compute")}
    settings = {**sections, "weights_sha256": about.weights_sha256, "seed": p.seed, "device": device}
    version = code_version("pipeline.train", "torch", "torchvision", "transformers")
    return item_key(version, settings, inputs.digest(["train", "val"]))
