"""A trained model on whole splits."""

from collections.abc import Sequence

import numpy as np
from lightning_fabric import Fabric

from actrec.errors import UserError
from actrec.metrics.summary import AnyScores
from actrec.models.recogniser import Recogniser
from actrec.training.checkpoint import Checkpoint
from actrec.training.data import Inputs
from actrec.training.predict import predict_together
from actrec.training.scores import scores_of
from actrec.training.sources import Batches
from actrec.training.views import PLAIN, PlainViews


def score_splits(
    model: Recogniser,
    about: Checkpoint,
    inputs: Inputs,
    splits: Sequence[str],
    *,
    views: Sequence[PlainViews] = (PLAIN,),
    batch_size: int,
    fabric: Fabric,
) -> list[AnyScores]:
    """Return what each head says of the clips of each split, beside their labels.

    Args:
        model: In evaluation mode.
        about: What its checkpoint says of it.
        inputs: The clips.
        splits: Which of them.
        views: What is shown of a clip; probabilities are averaged over all.
        batch_size: Clips at a time.
        fabric: The device, and its precision.

    Raises:
        UserError: if the model has other classes than the clips, or a split has no clip, or none with a label for a
            head.
    """
    _check_classes(about, inputs)
    fabric.to_device(model)
    scores: list[AnyScores] = []
    for split in splits:
        found = []
        for own in views:
            source = inputs.source(split, backbones=about.model["backbones"], augment={}, seed=about.seed, views=own)
            batches = Batches(source)
            found.append(predict_together(model, batches, len(source), fabric=fabric, batch_size=batch_size))
        probs = {output: np.mean([each[output] for each in found], axis=0) for output in found[0]}
        scores += scores_of(split, source, probs, about.classes, ratios=model.ratios)
    return scores


def _check_classes(about: Checkpoint, inputs: Inputs) -> None:
    """Refuse a model of other classes: its numbers would stand for the wrong ones, without a word."""
    for head, own in about.classes.items():
        listed = inputs.manifest.classes.get(head, ())
        if own != listed:
            extra, missing = sorted(set(own) - set(listed)), sorted(set(listed) - set(own))
            raise UserError(
                f"{head}: the model has {len(own)} classes, the manifest {len(listed)}; "
                f"only the model: {extra}, only the manifest: {missing}. Train it on these clips: dvc repro train"
            )
