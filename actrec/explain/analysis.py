"""What `evaluate` adds on request: what modalities contribute, where a VideoMAE looks, what speaks for a class."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from actrec.explain.contribution import contributions as contributions_of
from actrec.explain.grad_cam import cam_pictures
from actrec.explain.mistakes import mistake_pictures
from actrec.explain.pairs import pair_pictures
from actrec.explain.rollout import attention_heat, on_frames
from actrec.metrics.classification import Scores
from actrec.metrics.summary import AnyScores, summarise
from actrec.models.recogniser import Recogniser
from actrec.models.videomae import VideoMae
from actrec.report.attention import attention_grid, clip_titles
from actrec.report.contributions import contributions_plot
from actrec.training.checkpoint import Checkpoint
from actrec.training.data import Inputs
from actrec.training.labels import NO_LABEL, label_tensors
from actrec.training.predict import predict, to_device
from actrec.training.scores import scores_of
from actrec.training.sources import Batches
from actrec.training.views import PlainViews


def analyse(
    model: Recogniser,
    about: Checkpoint,
    inputs: Inputs,
    scores: Sequence[AnyScores],
    *,
    root: Path,
    splits: Sequence[str],
    views: Sequence[PlainViews],
    batch_size: int,
    contributions: bool,
    attention_clips: int,
    worst_clips: int,
    grad_cam: Mapping[str, int] | None,
    fabric: Fabric,
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return what is asked for besides the scores, of the last split: a part of metrics.json, and pictures by name.

    Args:
        model: In evaluation mode.
        about: What its checkpoint says of it.
        inputs: The clips.
        scores: What it says of them.
        root: The data root, for `worst_clips` of pairs alone.
        splits: Those of `evaluate`.
        views: What is shown of a clip; for the analysis the first of these.
        batch_size: Clips at a time.
        contributions: See `modality_contributions`.
        attention_clips: How many clips `attention_picture` shows; 0 for none.
        worst_clips: How many clips `mistake_pictures` and `pair_pictures` show; 0 for none.
        grad_cam: See `cam_pictures`; None for none.
        fabric: The device.
    """
    split, numbers, pictures = splits[-1], {}, {}
    if contributions:
        found = modality_contributions(model, about, inputs, split, views[0], batch_size=batch_size, fabric=fabric)
        numbers["contributions"] = found
        pictures["contributions.png"] = contributions_plot(found, split=split)
    if attention_clips:
        pictures["attention.png"] = attention_picture(model, about, inputs, split, clips=attention_clips, fabric=fabric)
    if grad_cam:
        pictures |= cam_pictures(model, about, inputs, scores, split, views[0], **grad_cam, fabric=fabric)
    if worst_clips:
        own, clips = [each for each in scores if each.split == split], inputs.manifest.of_split(split)
        pictures |= mistake_pictures(own, clips, inputs.folders, limit=worst_clips)
        pictures |= pair_pictures(own, clips, root, limit=worst_clips)
    return numbers, pictures


Contributions = dict[str, dict[str, dict[str, float]]]


def modality_contributions(
    model: Recogniser,
    about: Checkpoint,
    inputs: Inputs,
    split: str,
    views: PlainViews,
    *,
    batch_size: int,
    fabric: Fabric,
) -> Contributions:
    """Return {head: {modality: {drop_one, shapley}}} of the score on a split.

    The score is mean_per_class_acc, or map_macro where clips may have several classes. A clip that has none of the
    modalities in question, and every clip when there is none, is answered by how frequent the classes are in train.

    Args:
        model: A fused one, in evaluation mode.
        about: What its checkpoint says of it.
        inputs: The clips.
        split: Which of them.
        views: What is shown of a clip.
        batch_size: Clips at a time.
        fabric: The device.
    """
    view: dict[str, Any] = {"backbones": about.model["backbones"], "augment": {}, "seed": about.seed}
    source = inputs.source(split, views=views, **view)
    num_classes = {head: len(names) for head, names in about.classes.items()}
    manifest = inputs.manifest
    labels = label_tensors(manifest.of_split("train"), manifest.classes, manifest.multi_label)
    prior = class_frequencies(labels, num_classes)
    runner: Any = fabric.setup_module(model)
    runner.mark_forward_method("tokens")
    runner.mark_forward_method("decide")
    found: Contributions = {head: {} for head in about.classes}
    answers: dict[frozenset[str], dict[str, np.ndarray]] = {}

    def score(head: str, subset: frozenset[str]) -> float:
        if subset not in answers:
            only = _Only(runner, subset, prior)
            answers[subset] = predict(only, Batches(source), device=fabric.device, batch_size=batch_size)
        return _score(scores_of(split, source, {head: answers[subset][head]}, about.classes)[0])

    modalities = sorted(about.model["backbones"])
    for head in about.classes:
        guess = np.tile(prior[head].numpy(), (len(source), 1))
        empty = _score(scores_of(split, source, {head: guess}, about.classes)[0])
        found[head] = contributions_of(modalities, lambda subset, head=head: score(head, subset), empty=empty)
    return found


def _score(scores: AnyScores) -> float:
    metric = "mean_per_class_acc" if isinstance(scores, Scores) else "map_macro"
    return float(summarise(scores)[metric])


def class_frequencies(labels: Mapping[str, torch.Tensor], num_classes: Mapping[str, int]) -> dict[str, torch.Tensor]:
    """Return the share of each class among labelled clips, float32 (classes,) a head; labels as of `label_tensors`."""
    shares = {}
    for head, count in num_classes.items():
        own = labels[head]
        if own.dim() == 2:
            shares[head] = own[own[:, 0] != NO_LABEL].mean(dim=0)
        else:
            shares[head] = torch.bincount(own[own != NO_LABEL], minlength=count).float()
            shares[head] /= shares[head].sum()
    return shares


class _Only:
    """A model that is shown some of the modalities; without any it knows how frequent classes are."""

    def __init__(self, model: Any, subset: frozenset[str], prior: Mapping[str, torch.Tensor]) -> None:
        self._model, self._subset, self._prior = model, subset, prior

    def eval(self) -> None:
        self._model.eval()

    def to_probs(self, head: str, probs: torch.Tensor) -> torch.Tensor:
        return probs

    def __call__(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        """Return probabilities (B, classes) a head."""
        tokens = batch["tokens"] if "tokens" in batch else self._model.tokens(batch)
        present = {m: there & (m in self._subset) for m, there in batch["present"].items()}
        answered = torch.stack(list(present.values())).any(dim=0)
        device = answered.device
        probs = {h: share.to(device).repeat(len(answered), 1) for h, share in self._prior.items()}
        if answered.any():
            said = self._model.decide(
                {m: values[answered] for m, values in tokens.items()},
                {m: there[answered] for m, there in present.items()},
            )
            for head, logits in said.items():
                probs[head][answered] = self._model.to_probs(head, logits)
        return probs


@torch.inference_mode()
def attention_picture(
    model: Recogniser, about: Checkpoint, inputs: Inputs, split: str, *, clips: int, fabric: Fabric
) -> bytes:
    """Return a PNG with the roll-out of attention over the first clips of a split, spread over it.

    Args:
        model: With a VideoMAE for pictures, in evaluation mode.
        about: What its checkpoint says of it.
        inputs: The clips.
        split: Which of them.
        clips: How many.
        fabric: The device.
    """
    backbone = model.backbones["rgb"]
    assert isinstance(backbone, VideoMae), "the schema has seen to that"
    live = Inputs(inputs.manifest, inputs.folders)
    source = live.source(split, backbones=about.model["backbones"], augment={}, seed=about.seed)
    rows = np.unique(np.linspace(0, len(source) - 1, clips).round().astype(int))
    batch = to_device(source.plain_batch(rows), fabric.device)
    model.to(fabric.device)
    head = next(iter(about.classes))
    said = model.to_probs(head, model(batch)[head]).unflatten(0, (-1, batch["views"])).mean(dim=1).argmax(dim=1)
    first = batch["rgb"][:: batch["views"]]
    heat = on_frames(attention_heat(backbone, first), clip_frames=first.shape[1], size_px=first.shape[2])
    labels = source.labels[head][rows]
    true = labels.tolist() if labels.dim() == 1 else [NO_LABEL] * len(rows)
    titles = clip_titles(about.classes[head], true, said.tolist())
    return attention_grid(first.cpu().numpy(), heat.cpu().numpy(), titles)
