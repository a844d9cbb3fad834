"""How much of a backbone's output says nothing: zeros, and units that never move."""

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

# A ReLU network's pooled features are 0 in a few per cent of places. Where half are, or a tenth of the units never
# move, weights or inputs are broken: black crops, a wrong normalisation, a checkpoint of something else.
MAX_ZERO_FRAC = 0.5
MAX_DEAD_FRAC = 0.1


@dataclass(frozen=True, slots=True)
class FeatureHealth:
    """Of one backbone's features over all clips.

    Args:
        zero_frac: Share of values that are exactly 0.
        zero_vectors: How many tokens are nothing but zeros.
        dead_units: How many of the D units have the same value in every token.
        units: D.
    """

    zero_frac: float
    zero_vectors: int
    dead_units: int
    units: int

    def warning(self, modality: str) -> str:
        """Return what the user should look into, "" if nothing."""
        found = []
        if self.zero_frac > MAX_ZERO_FRAC:
            found.append(f"{self.zero_frac:.0%} of the values are 0 (expected at most {MAX_ZERO_FRAC:.0%})")
        if self.dead_units > MAX_DEAD_FRAC * self.units:
            limit = f"expected at most {MAX_DEAD_FRAC:.0%}"
            found.append(f"{self.dead_units} of {self.units} units never move ({limit})")
        if self.zero_vectors:
            found.append(f"vectors that are all zeros: {self.zero_vectors} (expected none)")
        if not found:
            return ""
        return (
            f"WARNING: features of {modality}: {', '.join(found)}. Look at what it is shown "
            "(data/processed/<dataset>), at input_px and, if it has any, at its weights"
        )

    def as_dict(self) -> dict[str, float | int]:
        """Return the numbers for metrics.json."""
        return asdict(self)


def feature_health(features: npt.NDArray[np.floating]) -> FeatureHealth:
    """Return how much of features says nothing.

    Args:
        features: float (…, D), of the clips that have the modality; at least one token.
    """
    tokens = features.reshape(-1, features.shape[-1])
    zero = tokens == 0
    return FeatureHealth(
        zero_frac=float(zero.mean()),
        zero_vectors=int(zero.all(axis=1).sum()),
        dead_units=int((tokens == tokens[0]).all(axis=0).sum()) if len(tokens) > 1 else 0,
        units=tokens.shape[1],
    )
