"""Probabilities beside what is true, head by head."""

from collections.abc import Mapping, Sequence

import numpy as np

from actrec.metrics.classification import Scores
from actrec.training.sources import NO_LABEL, Source


def scores_of(
    split: str, source: Source, probs: Mapping[str, np.ndarray], classes: Mapping[str, Sequence[str]]
) -> list[Scores]:
    """Return what each head says of the clips that have a label for it, beside that label."""
    return [_of_head(split, head, source, values, tuple(classes[head])) for head, values in probs.items()]


def _of_head(split: str, head: str, source: Source, probs: np.ndarray, class_names: tuple[str, ...]) -> Scores:
    labels = source.labels[head].numpy()
    known = np.flatnonzero(labels != NO_LABEL).tolist()
    clips = [source.clips[row] for row in known]
    return Scores(
        split=split,
        head=head,
        clip_ids=tuple(clip.clip_id for clip in clips),
        probs=probs[known],
        labels=labels[known],
        class_names=class_names,
        paths=tuple(clip.path for clip in clips),
        groups=tuple(clip.group for clip in clips),
    )
