"""Opens what training and evaluation read: the clips of the manifest that have tensors, or cached tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from actrec.data.manifest import Clip, Manifest, load_manifest
from actrec.errors import UserError
from actrec.media.clip import ClipFolder
from actrec.store.features import CachedFeatures
from actrec.store.tree import read_index
from actrec.training.sources import CachedTokens, LiveClips, Source, label_tensors


@dataclass(frozen=True, slots=True)
class Inputs:
    """The usable clips, and where their arrays are. `features` None: train on the clips themselves."""

    manifest: Manifest
    clips: ClipFolder
    features: CachedFeatures | None = None

    def with_features(self, path: Path, identity: Mapping[str, Any]) -> "Inputs":
        """Return the same clips, to be read as cached features.

        Raises:
            UserError: if the file holds features of something else than `identity` (see `feature_identity`).
        """
        return replace(self, features=CachedFeatures(path, identity))

    def source(self, split: str, *, input_px: int, augment: Mapping[str, float], seed: int) -> Source:
        """Return the clips of a split.

        Raises:
            UserError: if it has none.
        """
        clips = self.manifest.of_split(split)
        if not clips:
            raise UserError(
                f"the {split} split has no usable clip. Give it some: data.split.{split}_frac, or the table"
            )
        labels = label_tensors(clips, self.manifest.classes)
        if self.features:
            return CachedTokens(clips, self.features, labels, seed=seed)
        return LiveClips(clips, self.clips, labels, input_px=input_px, augment=augment, seed=seed)

    def digest(self, splits: Sequence[str]) -> str:
        """Return a digest of everything in these splits that a result depends on."""
        parts = [self._describe(self.manifest.of_split(split)) for split in splits]
        return sha256(repr((list(splits), parts, self.manifest.classes)).encode()).hexdigest()

    def _describe(self, clips: Sequence[Clip]) -> tuple[Any, ...]:
        rows = [(clip.clip_id, sorted(clip.labels.items()), self.clips.digests[clip.clip_id]) for clip in clips]
        return rows, self.features and self.features.digest([clip.clip_id for clip in clips])


def open_inputs(manifest: Path, frames: Path) -> Inputs:
    """Return what the stages before have left; clips without a tensor, because quarantined, are left out.

    Args:
        manifest: The manifest.
        frames: The folder of clip tensors.

    Raises:
        UserError: if a stage before has not run, or no clip is left.
    """
    clips = ClipFolder(frames, read_index(frames))
    rows = load_manifest(manifest)
    return Inputs(rows.keep(clip.clip_id for clip in rows.clips if clip.clip_id in clips), clips)
