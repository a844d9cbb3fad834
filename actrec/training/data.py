"""Opens what training and evaluation read: the clips of the manifest that have arrays, or cached tokens."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from actrec.console import say
from actrec.data.manifest import Clip, Manifest, load_manifest
from actrec.errors import UserError
from actrec.media.clip import ClipFolder, ClipSpec
from actrec.media.sound import MelFolder, SoundSpec
from actrec.pose.folder import PoseFolder
from actrec.pose.layouts import Layout
from actrec.store.features import CachedFeatures
from actrec.store.tree import read_index
from actrec.training.labels import label_tensors
from actrec.training.modalities import Folder, Folders, open_modalities
from actrec.training.pair_geometry import PairGeometry
from actrec.training.sources import CachedTokens, LiveClips, Source
from actrec.training.views import PLAIN, PlainViews


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
        self,
        split: str,
        *,
        backbones: Mapping[str, Mapping[str, Any]],
        augment: Mapping[str, Mapping[str, Any]],
        seed: int,
        views: PlainViews = PLAIN,
    ) -> Source:
        """Return the clips of a split.

        Args:
            split: train, val or test.
            backbones: The section `model.backbones`: what each is shown.
            augment: Of each modality's random views; {} where only plain ones are asked for.
            seed: Of the random ones.
            views: The plain ones; of no matter where they are cached.

        Raises:
            UserError: if the split has no clip.
        """
        clips = self.manifest.of_split(split)
        if not clips:
            raise UserError(
                f"the {split} split has no usable clip. Give it some: data.split.{split}_frac, or the table; or do "
                "without it: evaluate.splits"
            )
        labels = label_tensors(clips, self.manifest.classes, self.manifest.multi_label)
        if self.features:
            return CachedTokens(clips, self.features, labels, seed=seed)
        readers = open_modalities(self.folders, backbones=backbones, augment=augment, views=views)
        return LiveClips(clips, readers, labels, seed=seed)

    @property
    def layout(self) -> Layout | None:
        """Of the skeletons; None where nobody looks at them."""
        return next((folder.layout for folder in self.folders.values() if isinstance(folder, PoseFolder)), None)

    @property
    def specs(self) -> dict[str, dict[str, Any]]:
        """How the arrays of each modality were made."""
        return {modality: self._spec_of(folder) for modality, folder in self.folders.items()}

    def _spec_of(self, folder: Folder) -> dict[str, Any]:
        match folder:
            case PoseFolder():  # skeletons are cropped as the pictures beside them
                return {**folder.spec, "beside_px": self.clip_spec.size_px if self.clip_spec else None}
            case PairGeometry():
                return {}
            case _:
                return asdict(folder.spec)

    def parents(self, fine: str, coarse: str) -> tuple[int, ...]:
        """Return the class of the head `coarse` that each class of `fine` belongs to.

        Raises:
            UserError: if a fine class belongs to none, or to several.
        """
        seen: dict[str, set[str]] = {name: set() for name in self.manifest.classes[fine]}
        for clip in self.manifest.clips:
            if fine in clip.labels and coarse in clip.labels:
                seen[clip.labels[fine]].add(clip.labels[coarse])
        if odd := {name: sorted(own) for name, own in seen.items() if len(own) != 1}:
            raise UserError(
                f"model.neck.pcan: each class of {fine} belongs to one of {coarse}, but clips say {odd}. Mend the "
                "labels, or let data.coarse make them"
            )
        numbers = {name: number for number, name in enumerate(self.manifest.classes[coarse])}
        return tuple(numbers[name] for own in seen.values() for name in own)

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


def open_inputs(manifest: Path, *, frames: Path, mels: Path, skeletons: Path, modalities: Collection[str]) -> Inputs:
    """Return what the stages before have left for a model of these modalities.

    A clip without pictures or without a skeleton that the model looks at is left out. One without sound is left out
    only by a model that has nothing but ears. A line says how many are, and why.

    Args:
        manifest: The manifest.
        frames: The folder of clip tensors.
        mels: The folder of spectrograms.
        skeletons: The file of skeletons.
        modalities: Of the model: rgb, audio, pose, geometry.

    Raises:
        UserError: if a stage before has not run, or no clip is left: at all, of a split, or of a class of train.
    """
    folders: dict[str, Folder] = {}
    if "rgb" in modalities:
        folders["rgb"] = ClipFolder(frames, read_index(frames))
    if "audio" in modalities:
        folders["audio"] = MelFolder(mels, read_index(mels))
    if "pose" in modalities:
        folders["pose"] = PoseFolder(skeletons)
    rows = load_manifest(manifest)
    if "geometry" in modalities:
        folders["geometry"] = PairGeometry(rows.clips)
    needed = {modality: folder for modality, folder in folders.items() if modality != "audio" or len(folders) == 1}
    usable = rows.keep(c.clip_id for c in rows.clips if all(c.clip_id in folder.digests for folder in needed.values()))
    if not usable.clips:
        raise UserError(f"{manifest.parent}: no clip can be used. quarantine_*.csv and sound.csv there say why")
    if count := len(rows.clips) - len(usable.clips):
        whys = f"without what the model looks at ({_whys(rows, needed)})"
        left_out = f"{manifest.parent}: left out {count} of {len(rows.clips)} clips, {whys}"
        if lost := rows.lost_in(usable):
            raise UserError(
                f"{left_out}, so {lost}. quarantine_*.csv and sound.csv there name them. Mend them, add clips, or "
                "remove those classes; or let the model look at what they have: model.backbones"
            )
        say(left_out)
    return Inputs(usable, folders)


def _whys(rows: Manifest, needed: Folders) -> str:
    """Return how many clips lack each modality, of sound by the reason why."""
    found: Counter[str] = Counter()
    for modality, folder in needed.items():
        reasons = folder.absent if isinstance(folder, MelFolder) else {}
        found.update(reasons.get(c.clip_id, modality) for c in rows.clips if c.clip_id not in folder.digests)
    return ", ".join(f"{why} {count}" for why, count in sorted(found.items()))
