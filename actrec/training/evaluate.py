"""A trained model on whole splits."""

from collections.abc import Sequence

from lightning_fabric import Fabric

from actrec.metrics.summary import AnyScores
from actrec.models.recogniser import Recogniser
from actrec.training.checkpoint import Checkpoint
from actrec.training.data import Inputs
from actrec.training.predict import predict_together
from actrec.training.ranks import Ranks, own_rows
from actrec.training.scores import scores_of
from actrec.training.sources import Batches
from actrec.training.views import PLAIN, PlainViews


def score_splits(
    model: Recogniser,
    about: Checkpoint,
    inputs: Inputs,
    splits: Sequence[str],
    *,
    views: PlainViews = PLAIN,
    batch_size: int,
    fabric: Fabric,
) -> list[AnyScores]:
    """Return what each head says of the clips of each split, beside their labels.

    Args:
        model: In evaluation mode.
        about: What its checkpoint says of it.
        inputs: The clips.
        splits: Which of them.
        views: What is shown of a clip.
        batch_size: Clips at a time.
        fabric: The device; of several, each process computes a part, and all get the whole.

    Raises:
        UserError: if a split has no clip, or none with a label for a head.
    """
    fabric.to_device(model)
    ranks = Ranks(fabric.global_rank, fabric.world_size)
    scores: list[AnyScores] = []
    for split in splits:
        source = inputs.source(split, backbones=about.model["backbones"], augment={}, seed=about.seed, views=views)
        batches = Batches(own_rows(source, ranks))
        probs = predict_together(model, batches, len(source), fabric=fabric, batch_size=batch_size)
        scores += scores_of(split, source, probs, about.classes)
    return scores
