"""What each modality adds to a fused model's score."""

import math
from collections.abc import Callable, Sequence
from itertools import combinations

# Every subset is scored: 2^4 - 1 evaluations of the model.
_MAX_MODALITIES = 4


def contributions(
    modalities: Sequence[str], score: Callable[[frozenset[str]], float], *, empty: float
) -> dict[str, dict[str, float]]:
    """Return what each modality contributes: `{modality: {"drop_one": …, "shapley": …}}`.

    `drop_one` is the score with all less the score without this one: small where another modality says the same.
    `shapley` is what this one adds, averaged over all orders in which the modalities can be added one by one; these sum
    to the score with all less `empty`.

    Args:
        modalities: Their names; 1 to 4.
        score: Of the model that sees only these modalities, higher is better; called once a subset.
        empty: The score of knowing nothing, such as that of the most frequent class.

    Raises:
        ValueError: if there are no modalities, or more than 4, or one twice.

    Source: Shapley, A value for n-person games, 1953.
    """
    if not 1 <= len(modalities) <= _MAX_MODALITIES or len(set(modalities)) < len(modalities):
        raise ValueError(f"expected 1 to {_MAX_MODALITIES} different modalities, got {list(modalities)}")
    everything = frozenset(modalities)
    scores = {subset: score(subset) if subset else empty for subset in _subsets(everything)}
    return {
        modality: {
            "drop_one": scores[everything] - scores[everything - {modality}],
            "shapley": _shapley(modality, everything, scores),
        }
        for modality in modalities
    }


def _shapley(modality: str, everything: frozenset[str], scores: dict[frozenset[str], float]) -> float:
    count, total = len(everything), 0.0
    for before in _subsets(everything - {modality}):
        # Of the orders of all, the share that has exactly these before the modality.
        orders = math.factorial(len(before)) * math.factorial(count - len(before) - 1)
        total += orders / math.factorial(count) * (scores[before | {modality}] - scores[before])
    return total


def _subsets(names: frozenset[str]) -> list[frozenset[str]]:
    # Sorted: the order of sums, and with it their last bits, is the same in every run.
    ordered = sorted(names)
    return [frozenset(chosen) for size in range(len(ordered) + 1) for chosen in combinations(ordered, size)]
