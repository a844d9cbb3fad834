"""Opens what training and evaluation read: the clips of the manifest that have arrays, or cached tokens."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from actrec.data.manifest import Clip, Manifest, load_manifest
from actrec.errors import UserError
from actrec.media.clip import ClipFolder, ClipSpec
from actrec.media.sound import MelFolder, SoundSpec
from actrec.store.features import CachedFeatures
from actrec.store.tree import read_index
from actrec.training.labels import label_tensors
from actrec.training.modalities import Folders, open_modalities
from actrec.training.sources import CachedTokens, LiveClips, Source


@dataclass(frozen=True, slots=True)
class Inputs:
    """The usable clips, and where the arrays of each modality are. `features` None: train on the clips themselves."""

    manifest: Manifest
    folders: Folders
    features: CachedFeatures | None = None

    @property
    def clip_spec(self) -> ClipSpec | None:
        """How videos were cut; None where no pictures are looked at."""
        return next((folder.spec for folder in self.folders.values() if isinstance(folder, ClipFolder)), None)

    @property
    def sound_spec(self) -> SoundSpec | None:
        """What spectrograms were made; None where nobody listens."""
        return next((folder.spec for folder in self.folders.values() if isinstance(folder, MelFolder)), None)

    def with_features(self, path: Path, identity: Mapping[str, Any]) -> "Inputs":
        """Return the same clips, to be read as cached features.

        Raises:
            UserError: if the file holds features of something else than `identity` (see `feature_identity`).
        """
        return replace(self, features=CachedFeatures(path, identity))

    def source(
        self, split: str, *, input_px: int | None, augment: Mapping[str, Mapping[str, Any]], seed: int
    ) -> Source:
        """Return the clips of a split.

        Args:
            split: train, val or test.
            input_px: Of the pictures; None where there are none.
            augment: Of each modality's random views; {} where only plain ones are asked for.
            seed: Of the random ones.

        Raises:
            UserError: if the split has no clip.
        """
        clips = self.manifest.of_split(split)
        if not clips:
            raise UserError(
                f"the {split} split has no usable clip. Give it some: data.split.{split}_frac, or the table"
            )
        labels = label_tensors(clips, self.manifest.classes, self.manifest.multi_label)
        if self.features:
            return CachedTokens(clips, self.features, labels, seed=seed)
        return LiveClips(clips, open_modalities(self.folders, input_px=input_px, augment=augment), labels, seed=seed)

    def digest(self, splits: Sequence[str]) -> str:
        """Return a digest of everything in these splits that a result depends on."""
        parts = [self._describe(self.manifest.of_split(split)) for split in splits]
        what = (list(splits), parts, self.manifest.classes, sorted(self.manifest.multi_label))
        return sha256(repr(what).encode()).hexdigest()

    def _describe(self, clips: Sequence[Clip]) -> tuple[Any, ...]:
        folders = self.folders.values()
        rows = [
            (c.clip_id, c.sample, sorted(c.labels.items()), [folder.digests.get(c.clip_id, "") for folder in folders])
            for c in clips
        ]
        return rows, self.features and self.features.digest([clip.clip_id for clip in clips])


def open_inputs(manifest: Path, *, frames: Path, mels: Path, modalities: Collection[str]) -> Inputs:
    """Return what the stages before have left for a model of these modalities.

    A clip without pictures, because quarantined, is left out. One without sound is left out only by a model that has
    nothing but ears.

    Args:
        manifest: The manifest.
        frames: The folder of clip tensors.
        mels: The folder of spectrograms.
        modalities: Of the model: rgb, audio.

    Raises:
        UserError: if a stage before has not run, or no clip is left.
    """
    folders: dict[str, ClipFolder | MelFolder] = {}
    if "rgb" in modalities:
        folders["rgb"] = ClipFolder(frames, read_index(frames))
    if "audio" in modalities:
        folders["audio"] = MelFolder(mels, read_index(mels))
    needed = folders.get("rgb") or folders["audio"]
    rows = load_manifest(manifest)
    usable = rows.keep(clip.clip_id for clip in rows.clips if clip.clip_id in needed)
    if not usable.clips:
        raise UserError(f"{manifest.parent}: no clip can be used. quarantine_*.csv and sound.csv there say why")
    return Inputs(usable, folders)
