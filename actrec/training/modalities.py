"""What a model is shown of a clip: each modality reads its arrays by clip id, plain or at random."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch

from actrec.media.clip import ClipFolder
from actrec.media.sound import MelFolder
from actrec.training.views import plain_view, random_mel, random_view


class Modality(Protocol):
    """One modality of all clips. `digests` names the content of each clip that has it."""

    digests: Mapping[str, str]

    def plain(self, clip_id: str) -> torch.Tensor:
        """Return the plain views of a clip (views, …)."""
        ...

    def random(self, clip_id: str, rng: np.random.Generator, view: int | None = None) -> torch.Tensor:
        """Return a random view (…), of stored view number `view` or of any."""
        ...

    def absent(self) -> torch.Tensor:
        """Return zeros in the shape of `plain`, to stand where a clip lacks the modality; no model looks at them."""
        ...


class RgbClips:
    """Pictures: uint8 (clips_per_video, T, S, S, 3) from the frames stage.

    Args:
        folder: Holds them.
        input_px: S, what the backbone takes.
        augment: See `random_view`.
    """

    def __init__(self, folder: ClipFolder, *, input_px: int, augment: Mapping[str, float]) -> None:
        self._folder, self._input_px, self._augment = folder, input_px, augment
        self.digests: Mapping[str, str] = folder.digests

    def plain(self, clip_id: str) -> torch.Tensor:
        """Return all stored views, uint8 (clips_per_video, T, S, S, 3)."""
        return plain_view(self._folder[clip_id], input_px=self._input_px)

    def random(self, clip_id: str, rng: np.random.Generator, view: int | None = None) -> torch.Tensor:
        """Return a random crop, uint8 (T, S, S, 3)."""
        stored = self._folder[clip_id]
        chosen = rng.integers(len(stored)) if view is None else view
        return random_view(stored[chosen], rng, input_px=self._input_px, **self._augment)

    def absent(self) -> torch.Tensor:
        """Return a black clip."""
        spec, side = self._folder.spec, self._input_px
        return torch.zeros((spec.clips_per_video, spec.clip_frames, side, side, 3), dtype=torch.uint8)


class LogMels:
    """Sound: log-Mel spectrograms float32 (F, T) in dB from the mels stage; one view a clip.

    Args:
        folder: Holds them.
        augment: See `random_mel`.
    """

    def __init__(self, folder: MelFolder, *, augment: Mapping[str, Any]) -> None:
        self._folder, self._augment = folder, augment
        self.digests: Mapping[str, str] = folder.digests

    def plain(self, clip_id: str) -> torch.Tensor:
        """Return the spectrogram, float32 (1, F, T)."""
        return torch.as_tensor(self._folder[clip_id])[None]

    def random(self, clip_id: str, rng: np.random.Generator, view: int | None = None) -> torch.Tensor:
        """Return the spectrogram with bands hidden, float32 (F, T)."""
        return random_mel(torch.as_tensor(self._folder[clip_id]), rng, **self._augment)

    def absent(self) -> torch.Tensor:
        """Return zeros."""
        return torch.zeros((1, *self._folder.spec.shape))


Folders = Mapping[str, ClipFolder | MelFolder]


def open_modalities(
    folders: Folders, *, input_px: int | None, augment: Mapping[str, Mapping[str, Any]]
) -> dict[str, Modality]:
    """Return how each modality is read.

    Args:
        folders: What the stages before have left, a modality.
        input_px: Of the pictures; None where there are none.
        augment: Of the random views of each modality; {} where none are asked for.
    """
    found: dict[str, Modality] = {}
    for modality, folder in folders.items():
        match folder:
            case ClipFolder():
                assert input_px is not None, "a model that sees has an input size"
                found[modality] = RgbClips(folder, input_px=input_px, augment=augment.get(modality, {}))
            case MelFolder():
                found[modality] = LogMels(folder, augment=augment.get(modality, {}))
    return found
