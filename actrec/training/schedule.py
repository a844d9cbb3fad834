"""The learning rate, as a function of where training stands: nothing to save, nothing to restore."""

import math
from collections.abc import Mapping, Sequence
from typing import Any


def lr_factor(
    schedule: Mapping[str, Any],
    *,
    progress: float,
    step: float,
    epochs: int,
    scores: Sequence[float],
    lower_is_better: bool,
) -> float:
    """Return what the base rate is multiplied with.

    Args:
        schedule: The section `train.schedule`.
        progress: Epochs done in this phase, with the part of the current one: 2.5 is the middle of the third.
        step: The part of an epoch that the coming step makes; warm-up counts it in, so that it does not begin with 0.
        epochs: Of this phase.
        scores: The selected validation metric of each finished epoch of this phase; `plateau` reads it.
        lower_is_better: For a loss.

    Returns:
        A factor that rises linearly from `warmup_from_frac` to 1 while warming up, then what the schedule says.
    """
    warmup, start = schedule["warmup_epochs"], schedule["warmup_from_frac"]
    if progress < warmup:
        return start + (1 - start) * min((progress + step) / warmup, 1.0)
    match schedule:
        case {"kind": "none"}:
            return 1.0
        case {"kind": "cosine", "final_frac": final}:
            done = (progress - warmup) / max(epochs - warmup, 1e-9)
            return final + (1 - final) * (1 + math.cos(math.pi * min(done, 1.0))) / 2
        case {"kind": "step", "every_epochs": every, "factor": factor}:
            return factor ** int(progress // every)
        case {"kind": "plateau", "patience_epochs": patience, "factor": factor}:
            return factor ** _plateaus(scores, patience, lower_is_better)
        case _:
            raise ValueError(f"unknown schedule {schedule}")


def _plateaus(scores: Sequence[float], patience: int, lower_is_better: bool) -> int:
    """Return how often `patience` epochs in a row brought nothing better."""
    best, waited, count = -math.inf, 0, 0
    for score in scores:
        value = -score if lower_is_better else score
        best, waited = (value, 0) if value > best else (best, waited + 1)
        if waited == patience:
            count, waited = count + 1, 0
    return count


def epochs_without_gain(scores: Sequence[float], *, min_delta: float, lower_is_better: bool) -> int:
    """Return for how many epochs up to the last the score has not risen by more than `min_delta` above the best."""
    best, waited = -math.inf, 0
    for score in scores:
        value = -score if lower_is_better else score
        best, waited = (value, 0) if value > best + min_delta else (best, waited + 1)
    return waited


def best_epoch(scores: Sequence[float], losses: Sequence[float], *, lower_is_better: bool) -> int:
    """Return the index of the best score; of equals, which a small val split has many of, that of the lowest loss."""
    return min(range(len(scores)), key=lambda i: (scores[i] if lower_is_better else -scores[i], losses[i]))
