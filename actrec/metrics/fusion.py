"""What several modalities say together, of the probabilities of each."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from actrec.metrics.summary import AnyScores


def mean_in_ratio(probs: npt.NDArray[np.floating], shares: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Return (n, c) the weighted mean over modalities.

    Args:
        probs: (m, n, c); what stands for a modality that a clip lacks is of no matter.
        shares: (m, n) >= 0, a modality's weight for each clip: 0 where the clip lacks it, but of some other above 0.
    """
    return (np.einsum("mnc,mn->nc", probs, shares) / shares.sum(axis=0)[:, None]).astype(np.float32)


def fused(streams: Sequence[AnyScores], ratio: Sequence[float], *, output: str) -> AnyScores:
    """Return scores of all modalities together: of each clip the mean over those that it has, in a ratio.

    A clip that has only modalities without weight is left out.

    Args:
        streams: What each modality says of the clips that have it, all of one split and head.
        ratio: A number >= 0 for each of them, not all 0.
        output: The name of the result.
    """
    weighed = [(stream, share) for stream, share in zip(streams, ratio, strict=True) if share]
    origin: dict[str, tuple[AnyScores, int]] = {}
    # Whoever saw most comes first, and has the clips in the order of the split.
    for stream, _ in sorted(weighed, key=lambda own: -len(own[0].clip_ids)):
        for row, clip_id in enumerate(stream.clip_ids):
            origin.setdefault(clip_id, (stream, row))
    place = {clip_id: n for n, clip_id in enumerate(origin)}
    probs = np.zeros((len(weighed), len(place), len(streams[0].class_names)))
    shares = np.zeros(probs.shape[:2])
    for own, own_shares, (stream, share) in zip(probs, shares, weighed, strict=True):
        rows = [place[clip_id] for clip_id in stream.clip_ids]
        own[rows], own_shares[rows] = stream.probs, share
    return replace(
        streams[0],
        head=output,
        clip_ids=tuple(place),
        probs=mean_in_ratio(probs, shares),
        labels=np.stack([stream.labels[row] for stream, row in origin.values()]),
        paths=tuple(stream.paths[row] for stream, row in origin.values() if stream.paths),
        groups=tuple(stream.groups[row] for stream, row in origin.values() if stream.groups),
    )
