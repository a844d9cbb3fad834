"""A trained model on whole splits."""

from collections.abc import Sequence

from lightning_fabric import Fabric

from actrec.metrics.summary import AnyScores
from actrec.models.recogniser import Recogniser
from actrec.training.checkpoint import Checkpoint
from actrec.training.data import Inputs
from actrec.training.predict import predict
from actrec.training.scores import scores_of
from actrec.training.sources import Batches


def score_splits(
    model: Recogniser, about: Checkpoint, inputs: Inputs, splits: Sequence[str], *, batch_size: int, fabric: Fabric
) -> list[AnyScores]:
    """Return what each head says of the clips of each split, beside their labels.

    Args:
        model: In evaluation mode.
        about: What its checkpoint says of it.
        inputs: The clips.
        splits: Which of them.
        batch_size: Clips at a time.
        fabric: The device.

    Raises:
        UserError: if a split has no clip, or none with a label for a head.
    """
    runner = fabric.setup_module(model)
    scores: list[AnyScores] = []
    for split in splits:
        source = inputs.source(split, input_px=about.input_px, augment={}, seed=about.seed)
        probs = predict(runner, Batches(source), device=fabric.device, batch_size=batch_size)
        scores += scores_of(split, source, probs, about.classes)
    return scores
