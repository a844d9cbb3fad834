"""How the two people of each pair stand: read from the manifest, for no stage before has anything to add."""

from collections.abc import Iterable, Mapping
from hashlib import sha256

import numpy as np
import torch

from actrec.data.geometry import NUM_FEATURES, spatial_features
from actrec.data.manifest import Clip
from actrec.data.people import People
from actrec.media.facts import MediaFacts


class PairGeometry:
    """A `Modality`: float32 (views, 1, 8), one view a clip, see `spatial_features`.

    A mirror image has the same numbers, so a random view is the plain one.

    Args:
        clips: Those that are not about two people have none.
    """

    is_slow = False

    def __init__(self, clips: Iterable[Clip]) -> None:
        self._values = {
            clip.clip_id: _numbers(clip.people, clip.facts)
            for clip in clips
            if clip.people and len(clip.people.boxes) == 2
        }
        self.digests: Mapping[str, str] = {
            clip_id: sha256(values.tobytes()).hexdigest() for clip_id, values in self._values.items()
        }

    def parts(self, clip_id: str) -> tuple[str, ...]:
        """Return the clip itself."""
        return (clip_id,)

    def plain(self, clip_id: str) -> torch.Tensor:
        """Return the numbers, float32 (1, 1, 8)."""
        return torch.from_numpy(self._values[clip_id])[None, None]

    def random(self, clip_id: str, rng: np.random.Generator, view: int | None = None) -> torch.Tensor:
        """Return the numbers, float32 (1, 8)."""
        return torch.from_numpy(self._values[clip_id])[None]

    def absent(self) -> torch.Tensor:
        """Return zeros."""
        return torch.zeros((1, 1, NUM_FEATURES))


def _numbers(people: People, facts: MediaFacts) -> np.ndarray:
    width_px, height_px = facts.upright_px
    around = {"width_px": width_px, "height_px": height_px, "persons": people.persons, "wraps": people.wraps}
    return spatial_features(*people.boxes, **around)
